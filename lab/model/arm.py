"""The Arm seam on the lab's own ARM, without HTTP: the same rules, times, locks and answers, in virtual time.

Answers are read by the product's own functions (`shared.azure.arm_operations`, `arm_errors`), so a status code means
here what it means to the real adapter; only the SDK and the socket are missing.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from lab.azure.clock import Clock
from lab.azure.faults import Faults
from lab.azure.metrics import Metrics
from lab.azure.operations import Operations
from lab.azure.plumbing import Plumbing
from lab.azure.pool import AddressPool
from lab.azure.provider import World
from lab.azure.resolver import Resolver
from lab.azure.router import Answer, Call, Router
from lab.azure.statelog import StateLog
from lab.azure.store import Store
from lab.dataplane import DataPlane
from shared.azure.arm import TAGGED_S, without_secrets
from shared.azure.arm_errors import failure, gone
from shared.azure.arm_operations import POLL_S, asked, operation_of, started
from shared.errors import PermanentError
from shared.seams import ArmKind, ArmRef, Asked, BgpQuestion, Json, Operation, Started

BASE = "https://management.invalid"
TENANT = "11111111-1111-1111-1111-111111111111"


class Azure:
    """The simulated subscription: what `lab.azure.server` is, without sockets, Key Vault and storage."""

    def __init__(
        self,
        subscription: str,
        addresses: Sequence[str],
        clock: Clock,
        dataplane: DataPlane,
        resolver: Resolver,
        new_id: Callable[[], str],
    ) -> None:
        log = StateLog(clock)
        self.store = Store(subscription, new_id)
        self.faults = Faults()
        self.metrics = Metrics()
        self.plumbing = Plumbing(dataplane, resolver, self.store, clock, log)
        self.operations = Operations(clock, new_id, log, self.faults)
        pool = AddressPool(tuple(addresses))
        self.world = World(self.store, clock, self.operations, self.plumbing, pool, log)
        self.router = Router(self.world, TENANT, clock, self.metrics, self.faults)


@dataclass(frozen=True)
class _Request:
    method: str
    url: str


@dataclass(frozen=True)
class _Response:
    """As much of an azure-core response as the product reads."""

    status_code: int
    headers: dict[str, str]
    content: str = field(repr=False)
    request: _Request

    def text(self) -> str:
        return self.content

    def json(self) -> Any:
        return json.loads(self.content)


class ModelArm:
    """`wrote` is told of every write before it is sent: (verb, ref, the resource as it was); `refused` of those that
    ARM did not take: (verb, ref)."""

    def __init__(
        self,
        azure: Azure,
        principal: str,
        wrote: Callable[[str, ArmRef, Json | None], None],
        refused: Callable[[str, ArmRef], None] = lambda verb, ref: None,
    ) -> None:
        self._azure, self._principal, self._wrote, self._refused = azure, principal, wrote, refused

    async def ensure_resource_group(self, subscription: str, name: str, location: str) -> None:
        path = f"/subscriptions/{subscription}/resourcegroups/{name}"
        response = await self._send("GET", path)
        if response.status_code == 200:
            return
        if not gone(response):
            raise failure(name, response)
        response = await self._send("PUT", path, {"location": location})
        if response.status_code not in (200, 201):
            raise failure(name, response)

    async def get(self, ref: ArmRef) -> Json | None:
        response = await self._send("GET", ref.id())
        if gone(response):
            return None
        if response.status_code != 200:
            raise failure(ref.name, response)
        found: Json = without_secrets(response.json())
        return found

    async def list(self, subscription: str, resource_group: str, kind: ArmKind) -> Sequence[Json]:
        response = await self._send("GET", ArmRef(subscription, resource_group, kind, "").id().rstrip("/"))
        if gone(response):
            return []
        if response.status_code != 200:
            raise failure(kind.value, response)
        return [without_secrets(item) for item in response.json()["value"]]

    async def put(self, ref: ArmRef, body: Json) -> Started:
        return await self._write("PUT", ref, "", body, (200, 201))

    async def delete(self, ref: ArmRef) -> Started | None:
        self._tell("DELETE", ref)
        response = await self._send("DELETE", ref.id())
        if response.status_code == 204 or gone(response):
            return None
        if response.status_code not in (200, 202):
            raise failure(ref.name, response)
        return started(response)

    async def set_shared_key(self, ref: ArmRef, value: str) -> Started:
        return await self._write("PUT", ref, "/sharedkey", {"value": value}, (200, 201))

    async def has_shared_key(self, ref: ArmRef, value: str) -> bool:
        response = await self._send("GET", ref.id() + "/sharedkey")
        if response.status_code != 200:
            raise failure(ref.name, response)
        return bool(response.json()["value"] == value)

    async def move_shared_key(self, ref: ArmRef, put: Callable[[str], Awaitable[str]]) -> str:
        response = await self._send("GET", ref.id() + "/sharedkey")
        if response.status_code != 200:
            raise failure(ref.name, response)
        return await put(str(response.json()["value"]))

    async def tag(self, ref: ArmRef, tags: Mapping[str, str]) -> Started:
        await self._write("PATCH", ref, "", {"tags": dict(tags)}, (200,))
        return Started(None, POLL_S if ref.kind in (ArmKind.GATEWAY, ArmKind.CONNECTION) else TAGGED_S)

    async def reset_connection(self, ref: ArmRef) -> Started:
        return await self._write("POST", ref, "/resetconnection", {}, (202,))

    async def reset_gateway(self, ref: ArmRef) -> Started:
        return await self._write("POST", ref, "/reset", {}, (200, 202))

    async def poll(self, operation_url: str) -> Operation:
        return operation_of(operation_url, await self._operation(operation_url))

    async def ask_bgp(self, gateway: ArmRef, question: BgpQuestion, peer: str = "") -> Asked:
        query = {"api-version": "2026-03-01", **({"peer": peer} if question is BgpQuestion.ADVERTISED else {})}
        return asked(question, await self._send("POST", f"{gateway.id()}/{question.value}", query=query))

    async def bgp_answer(self, question: BgpQuestion, operation_url: str) -> Asked:
        return asked(question, await self._operation(operation_url), operation_url)

    async def _operation(self, url: str) -> _Response:
        parts = urlsplit(url)
        if f"{parts.scheme}://{parts.netloc}" != BASE:
            raise PermanentError("The operation URL is not on the ARM host: not asked. Read the resource.")
        return await self._send("GET", parts.path, query=dict(parse_qsl(parts.query)))

    async def _write(self, verb: str, ref: ArmRef, action: str, body: Json, good: tuple[int, ...]) -> Started:
        self._tell(f"{verb} {action}".strip(), ref)
        response = await self._send(verb, ref.id() + action, body)
        if response.status_code not in good:
            if response.status_code < 500:
                self._refused(f"{verb} {action}".strip(), ref)
            raise failure(ref.name, response)
        return started(response)

    def _tell(self, verb: str, ref: ArmRef) -> None:
        resource = self._azure.store.get(ref.id())
        self._wrote(verb, ref, None if resource is None else {"tags": dict(resource.tags), "type": resource.type})

    async def _send(
        self, method: str, path: str, body: Json | None = None, query: dict[str, str] | None = None
    ) -> _Response:
        raw = b"" if body is None else json.dumps(body).encode()
        call = Call(method, path, query or {"api-version": "2026-03-01"}, BASE, raw)
        answer: Answer = await self._azure.router.answer(call, self._principal)
        text = "" if answer.body is None else json.dumps(answer.body)
        return _Response(answer.status, answer.headers, text, _Request(method, f"{BASE}{path}"))
