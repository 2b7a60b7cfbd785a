"""The audit: one row for every mutation, whoever asked for it, written before it is tried. Rows are never changed.

Partition = month, key = ULID, so that a month reads in order and retention.py can drop whole partitions. A row says
who, what and to which resource; bodies are not in it, because a connection's body holds the pre-shared key. Nor is the
address of a home: rows outlive homes, and whoever calls with a function key may call from one. That a row exists says
that it was tried; what became of it shows in the status and, for commands, in their results.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared import telemetry
from shared.domain.arm import ArmKind, ArmRef
from shared.seams import Arm, Asked, BgpQuestion, Json, Operation, Started, Write, WriteKind

from .redact import without_addresses
from .services import AUDIT, Services

RECONCILER = "reconciler"


@dataclass(frozen=True)
class Entry:
    """`at` is ISO 8601 in UTC; `subject` as in gateway/hub or an ARM resource id; `trace` leads to everything else that
    the same cause brought about."""

    id: str
    at: str
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]
    trace: str | None = None


class Audit:
    def __init__(self, services: Services) -> None:
        self._s = services

    async def record(self, actor: str, action: str, subject: str, **detail: Any) -> None:
        """`actor` is stored without the address of a single machine; `subject` and `detail` name things, not places."""
        now, key, actor = self._s.now(), self._s.ulid(), without_addresses(actor)
        said = {"actor": actor, "action": action, "subject": subject, "detail": detail}
        data = {"at": now.isoformat(), **said, "trace": telemetry.trace_id()}
        telemetry.news()
        await self._s.store.transact(AUDIT, f"{now:%Y-%m}", [Write(WriteKind.INSERT, key, data)])

    async def month(self, month: str) -> list[Entry]:
        """Newest first; `month` as in 2026-11."""
        rows = await self._s.store.query(AUDIT, month)
        return [Entry(id=r.key, **r.data) for r in reversed(rows)]


class AuditedArm:
    """An Arm that records every write before it is sent. Reads pass through."""

    def __init__(self, arm: Arm, services: Services) -> None:
        self._arm, self._audit = arm, Audit(services)

    async def ensure_resource_group(self, subscription: str, name: str, location: str) -> None:
        await self._audit.record(
            RECONCILER, "arm-ensure-resource-group", f"/subscriptions/{subscription}/resourceGroups/{name}"
        )
        await self._arm.ensure_resource_group(subscription, name, location)

    async def get(self, ref: ArmRef) -> Json | None:
        return await self._arm.get(ref)

    async def list(self, subscription: str, resource_group: str, kind: ArmKind) -> Sequence[Json]:
        return await self._arm.list(subscription, resource_group, kind)

    async def poll(self, operation_url: str) -> Operation:
        return await self._arm.poll(operation_url)

    async def ask_bgp(self, gateway: ArmRef, question: BgpQuestion, peer: str = "") -> Asked:
        return await self._arm.ask_bgp(gateway, question, peer)

    async def bgp_answer(self, question: BgpQuestion, operation_url: str) -> Asked:
        return await self._arm.bgp_answer(question, operation_url)

    async def put(self, ref: ArmRef, body: Json) -> Started:
        await self._audit.record(RECONCILER, "arm-put", ref.id())
        return await self._arm.put(ref, body)

    async def delete(self, ref: ArmRef) -> Started | None:
        await self._audit.record(RECONCILER, "arm-delete", ref.id())
        return await self._arm.delete(ref)

    async def set_shared_key(self, ref: ArmRef, value: str) -> Started:
        await self._audit.record(RECONCILER, "arm-set-shared-key", ref.id())
        return await self._arm.set_shared_key(ref, value)

    async def has_shared_key(self, ref: ArmRef, value: str) -> bool:
        return await self._arm.has_shared_key(ref, value)

    async def move_shared_key(self, ref: ArmRef, put: Callable[[str], Awaitable[str]]) -> str:
        await self._audit.record(RECONCILER, "arm-move-shared-key", ref.id())
        return await self._arm.move_shared_key(ref, put)

    async def tag(self, ref: ArmRef, tags: Mapping[str, str]) -> Started:
        await self._audit.record(RECONCILER, "arm-tag", ref.id())
        return await self._arm.tag(ref, tags)

    async def reset_connection(self, ref: ArmRef) -> Started:
        await self._audit.record(RECONCILER, "arm-reset-connection", ref.id())
        return await self._arm.reset_connection(ref)

    async def reset_gateway(self, ref: ArmRef) -> Started:
        await self._audit.record(RECONCILER, "arm-reset-gateway", ref.id())
        return await self._arm.reset_gateway(ref)
