"""Taking in an alert of Azure Monitor: which units it is about, one Event on each, and a wake.

An alert triggers a look and nothing else; what is wrong the reconciler finds out itself. Azure delivers an alert again
when an answer was slow, so the row that marks a delivery and the Event go into one transaction: of two deliveries at
once the store takes one. A repeated delivery wakes nevertheless, because the first may have died before it did.

What cannot be read, or is about nothing of ours, is kept for a person to see, without its secrets and addresses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shared.domain import limits
from shared.domain.adopted import connection_names
from shared.domain.alert import Alert, decode
from shared.domain.arm import ArmKind
from shared.domain.problem import InvalidInput
from shared.domain.render import connection_refs, gateway_chain
from shared.domain.spec import ConnectionSpec
from shared.errors import RowExists
from shared.seams import Write, WriteKind

from .events import Reason, Scribe, Told, newest_first
from .reconciler import wake_unit
from .redact import without_addresses
from .saving import AT_ONCE
from .scrub import without_secrets
from .services import ALERTS, UNITS, Services
from .unit import ALERT, CONNECTION, GATEWAY, ConnectionRow, GatewayRow

REFUSED = "refused"
"""The partition of what was not understood or not ours; keys sort newest first."""


@dataclass(frozen=True)
class Taken:
    """`known`: this alert in this condition was here before. `targets` as in gateway/hub; `not_ours` are ARM ids."""

    known: bool
    targets: tuple[str, ...]
    not_ours: tuple[str, ...]


@dataclass(frozen=True)
class Kept:
    """One that was refused, or is about nothing of ours. `at` is ISO 8601 in UTC; `body` is cut at ALERT_CHARS."""

    id: str
    at: str
    reason: str
    body: str


class Alerts:
    def __init__(self, services: Services) -> None:
        self._s = services

    async def take(self, raw: bytes) -> Taken:
        """The body of a webhook. Raises InvalidInput for what is no alert in the common schema, and keeps it."""
        try:
            alert = decode(raw)
        except InvalidInput as e:
            await self._keep(raw, "; ".join(f"{p.path}: {p.message}" for p in e.problems))
            raise
        ours = await self._ours()
        not_ours = tuple(t for t in alert.targets if t not in ours)
        hit = [ours[t] for t in alert.targets if t in ours]
        if not hit:
            await self._keep(raw, "its targets are no resources of this controller's Gateways and Connections")
        known, targets = False, []
        for unit in dict.fromkeys(unit for unit, _ in hit):
            about = await self._about(unit, {c for u, c in hit if u == unit}, alert)
            known |= not await self._tell(unit, about, alert)
            targets += [f"connection/{c}" if c else f"gateway/{unit}" for c in about]
            await wake_unit(self._s, unit, "alert")
        return Taken(known, tuple(targets), not_ours)

    async def kept(self) -> list[Kept]:
        """Newest first."""
        rows = await self._s.store.query(ALERTS, REFUSED, limit=limits.ALERTS_KEPT)
        return [Kept(**r.data) for r in rows]

    async def _ours(self) -> dict[str, tuple[str, str | None]]:
        """ARM id in lower case -> its unit, and the Connection that it belongs to. From the specs: ARM is not asked."""
        found: dict[str, tuple[str, str | None]] = {}
        for row in await self._s.store.scan(UNITS, GATEWAY):
            unit, spec = row.partition, GatewayRow.model_validate(row.data).spec
            found |= {ref.id().lower(): (unit, None) for ref in gateway_chain(unit, spec)}
            for name, connection in (await self._connections(unit)).items():
                found |= {ref.id().lower(): (unit, name) for ref in connection_refs(name, spec, connection).values()}
        return found

    async def _about(self, unit: str, hit: set[str | None], alert: Alert) -> list[str | None]:
        """A metric of the gateway tells in its dimensions which Connections it is about."""
        if None in hit and alert.connections:
            specs = await self._connections(unit)
            in_azure = {c: connection_names(c, spec)[ArmKind.CONNECTION].lower() for c, spec in specs.items()}
            named = [c for c, name in in_azure.items() if name in alert.connections]
            hit = (hit - {None}) | set(named) if named else hit
        return sorted(hit, key=lambda c: c or "")[: AT_ONCE - 1]  # what fits beside the mark

    async def _connections(self, unit: str) -> dict[str, ConnectionSpec]:
        rows = await self._s.store.query(UNITS, unit, CONNECTION)
        return {r.key.removeprefix(CONNECTION): ConnectionRow.model_validate(r.data).spec for r in rows}

    async def _tell(self, unit: str, about: list[str | None], alert: Alert) -> bool:
        """Whether it is new."""
        fired = alert.condition == "Fired"
        message = without_secrets(f"Azure Monitor, {alert.severity}: {alert.rule}. {alert.description}".strip())
        told = Told(Reason.ALERT_FIRED if fired else Reason.ALERT_RESOLVED, message, "Warning" if fired else "Normal")
        scribe = Scribe(self._s, unit)
        mark: dict[str, Any] = {"at": self._s.now().isoformat()}
        writes = [Write(WriteKind.INSERT, ALERT + alert.digest, mark), *(scribe.write(told, c) for c in about)]
        try:
            await self._s.store.transact(UNITS, unit, writes)
        except RowExists:
            return False
        return True

    async def _keep(self, raw: bytes, reason: str) -> None:
        text = raw[: limits.ALERT_BYTES].decode(errors="replace")
        body = without_addresses(without_secrets(text))[: limits.ALERT_CHARS]
        kept = Kept(self._s.ulid(), self._s.now().isoformat(), reason[: limits.EVENT_CHARS], body)
        write = Write(WriteKind.INSERT, newest_first(kept.id), vars(kept))
        await self._s.store.transact(ALERTS, REFUSED, [write])
