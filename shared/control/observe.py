"""Reading what is: ARM's resources, the agents' last words, DNS. Read only, all at once, nothing remembered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from shared.domain import limits
from shared.domain.arm import ArmRef
from shared.domain.dns import DnsView
from shared.errors import ArmBusy, HomelinkError
from shared.seams import Json
from shared.wire.decode import from_plain
from shared.wire.errors import WireError
from shared.wire.reports import Heartbeat, TunnelHealth

from .agents import Agents
from .services import Services

T = TypeVar("T")


@dataclass(frozen=True)
class AgentSeen:
    """`id` None: nobody enrolled under that name. The rest is None until a first heartbeat. `fresh`: recent enough to
    count as evidence. `heard` is when the control plane received it, `otherwise` one that last told something else."""

    id: str | None
    heard: datetime | None = None
    source: str | None = None
    report: Heartbeat | None = None
    fresh: bool = False
    otherwise: datetime | None = None

    def new_for_s(self, now: datetime) -> float:
        """What the agent tells now, silence included, is no older than this."""
        since = (self.otherwise if self.fresh else None) or self.heard or now
        return (now - since).total_seconds()

    def tunnel(self, connection_id: str) -> TunnelHealth | None:
        """What a fresh report says of a Connection."""
        if self.report is None or not self.fresh:
            return None
        return next((t for t in self.report.tunnels if t.connection_id == connection_id), None)


async def resources(services: Services, refs: Iterable[ArmRef]) -> dict[ArmRef, Json | None]:
    """Every resource as ARM has it, without secrets. Raises ArmBusy, ArmRejected."""
    wanted = list(refs)
    found = await together(services.arm.get(r) for r in wanted)
    return dict(zip(wanted, found, strict=True))


async def together(calls: Iterable[Awaitable[T]]) -> list[T]:
    """All answers, or, when every call has ended, what weighs most: ARM's longest wish for quiet before a refusal."""
    answers = await asyncio.gather(*calls, return_exceptions=True)
    errors = [a for a in answers if isinstance(a, BaseException)]
    if errors:
        raise max(errors, key=_weight)
    return [a for a in answers if not isinstance(a, BaseException)]


def _weight(error: BaseException) -> tuple[int, float]:
    if isinstance(error, ArmBusy):
        return 1, error.delay_s
    return (0, 0.0) if isinstance(error, HomelinkError) else (2, 0.0)


async def names(services: Services, fqdns: Iterable[str]) -> dict[str, DnsView]:
    wanted = sorted(set(fqdns))
    views = await asyncio.gather(*(services.resolver.look(n) for n in wanted))
    return dict(zip(wanted, views, strict=True))


async def agent(agents: Agents, name: str, now: datetime) -> AgentSeen:
    agent_id = await agents.id_of(name)
    data: dict[str, Any] | None = await agents.health(agent_id) if agent_id else None
    if data is None:
        return AgentSeen(agent_id)
    heard = datetime.fromisoformat(data["heard"])
    fresh = (now - heard).total_seconds() <= limits.HEARTBEAT_FRESH_S
    try:
        report = from_plain(Heartbeat, data["report"])
    except WireError:
        return AgentSeen(agent_id, heard)  # stored by another version; the next heartbeat replaces it
    otherwise = data.get("otherwise")
    since = datetime.fromisoformat(otherwise) if otherwise else None
    return AgentSeen(agent_id, heard, str(data["source"]), report, fresh, since)
