"""Diagnosis: what is wrong with a Connection and where its two ends differ, from every witness there is.

It looks and asks, and changes nothing but the agent's queue. Everything that can be known at once is told at once, with
the age of each witness; the agent's own evidence takes a heartbeat or two to come, so whoever wants it asks again. A
step of the reconciler may run at the same time: no lease is taken, for nothing here is stored under one.

What Azure has is read afresh by `ask` and not at all by `known`; then the last step's Conditions stand in for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from shared.domain import findings, home_evidence, limits, plan, render
from shared.domain.arm import ArmKind, ArmRef
from shared.domain.both_ends import Ends, Row
from shared.domain.findings import Finding
from shared.domain.home_evidence import HomeEvidence
from shared.domain.situation import CommandSeen, Situation
from shared.errors import ArmBusy, ArmRejected, NotFound
from shared.seams import Json
from shared.seams import Row as StoredRow
from shared.wire.commands import DesiredTunnel, Kind, Target
from shared.wire.decode import from_plain
from shared.wire.errors import WireError
from shared.wire.ulid import ulid

from . import observe, transitions
from .agents import COMMAND, Agents
from .azure_half import AzureHalf
from .commands import Commands
from .home_half import HomeHalf
from .services import AGENTS, Services
from .specs import Specs
from .unit import Unit

TTL_S = {
    Kind.APPLY.value: limits.APPLY_TTL_S,
    Kind.REMOVE.value: limits.APPLY_TTL_S,
    Kind.INITIATE.value: limits.INITIATE_TTL_S,
    Kind.DIAGNOSE.value: limits.DIAGNOSE_TTL_S,
}
ANSWERS_S = 40
"""An agent fetches a command at its next heartbeat (30 s), and tells the result at once."""


@dataclass(frozen=True)
class Heard:
    """A witness: when it was last heard, None for never; `note` says what is not as good as it could be."""

    witness: str
    at: datetime | None
    note: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """`asked`: the command that the agent has not answered yet, None when there is nothing to wait for."""

    connection: str
    at: datetime
    findings: tuple[Finding, ...]
    both_ends: tuple[Row, ...]
    witnesses: tuple[Heard, ...]
    asked: str | None = None


@dataclass(frozen=True)
class _Azure:
    """`observed` is empty when ARM was not asked, or did not answer (`note`)."""

    observed: dict[ArmRef, Json | None]
    note: str


class Diagnose:
    def __init__(self, services: Services, agents: Agents, specs: Specs) -> None:
        self._s, self._agents, self._specs = services, agents, specs
        self._commands = Commands(services, agents)

    async def known(self, name: str) -> Diagnosis:
        """From what is stored, and DNS. Raises NotFound."""
        unit = await self._specs.unit_of(name)
        return await self._diagnosis(unit, name, _Azure({}, "not asked: what its last step told"))

    async def ask(self, name: str, actor: str) -> Diagnosis:
        """Reads both ends as they are now, and asks the agent unless its answer is young or on its way. Raises
        NotFound, TemporaryError."""
        unit = await self._specs.unit_of(name)
        found = await self._diagnosis(unit, name, await self._azure(unit, name))
        if found.asked is not None or self._answered(found):
            return found
        command = await self._ask_agent(unit, name, actor)
        return Diagnosis(name, found.at, found.findings, found.both_ends, found.witnesses, command)

    def _answered(self, found: Diagnosis) -> bool:
        at = next(w.at for w in found.witnesses if w.witness == "diagnosis")
        return at is not None and found.at - at <= timedelta(seconds=limits.DIAGNOSE_FRESH_S)

    async def _ask_agent(self, unit: Unit, name: str, actor: str) -> str | None:
        row, link = unit.connections[name], unit.links[name]
        agent_id = await self._agents.id_of(row.spec.agent)
        if agent_id is None or row.deleting:
            return None
        target, generation = Target(name, row.id), max(row.generation, link.generation)
        try:
            sent = await self._commands.issue(
                agent_id, Kind.DIAGNOSE, generation, target, limits.DIAGNOSE_TTL_S, actor=actor
            )
        except NotFound:
            return None  # it was enrolled anew at this moment
        return sent.id

    async def _azure(self, unit: Unit, name: str) -> _Azure:
        if unit.gateway is None:
            return _Azure({}, "")
        refs = [*render.gateway_chain(unit.name, unit.gateway.spec)]
        refs += render.connection_refs(name, unit.gateway.spec).values()
        try:
            return _Azure(await observe.resources(self._s, refs), "")
        except (ArmBusy, ArmRejected) as e:
            return _Azure({}, f"cannot be read: {e}")

    async def _diagnosis(self, unit: Unit, name: str, azure: _Azure) -> Diagnosis:
        now, row, link = self._s.now(), unit.connections[name], unit.links[name]
        agent = await observe.agent(self._agents, row.spec.agent, now)
        view = (await observe.names(self._s, [row.spec.fqdn]))[row.spec.fqdn]
        rows = await self._recent(agent.id, name, now)
        evidence = _evidence(rows)
        half = HomeHalf(self._s, self._commands, unit, name, now, agent, view)
        end = _end(unit, azure.observed)
        half.render(end)
        mine = _mine(unit, name, azure.observed)
        running = unit.state.operation is not None
        asked_arm = bool(azure.observed)
        status = ((mine.get(ArmKind.CONNECTION) or {}).get("properties") or {}).get("connectionStatus")
        last = unit.state.read.at if unit.state.read else unit.state.last_step
        situation = Situation(
            name=name,
            now=now,
            link=half.conditions_link(mine if asked_arm and not running else None),
            ends=_ends(unit, half, mine, evidence),
            heard=agent.heard,
            report=agent.report if agent.fresh else None,
            azure_at=now if asked_arm else last,
            azure_status=status or link.azure_status,
            plan=_plan(self._s, unit, azure.observed) if asked_arm and not running else None,
            gateway=unit.state.conditions,
            known_address=link.known_address,
            pinned_since=link.pin.since if link.pin else None,
            down_since=_down_since(unit, name),
            down_elsewhere=tuple(n for n in sorted(unit.links) if n != name and _down_since(unit, n)),
            others=len(unit.links) - 1,
            refusal=_refusal(unit, name, now),
            operation=_operation(unit),
            commands=_commands(rows, now),
            restored=link.generation > row.generation,
        )
        waiting = [r for r in rows if r.data["kind"] == Kind.DIAGNOSE and not r.data["outcome"] and not _over(r, now)]
        return Diagnosis(
            connection=name,
            at=now,
            findings=findings.findings(situation),
            both_ends=situation.rows,
            witnesses=(
                Heard("azure", situation.azure_at, azure.note),
                Heard("dns", now, view.note),
                Heard("heartbeat", agent.heard, "" if agent.fresh else "too old to count, or never heard"),
                Heard("diagnosis", evidence.at if evidence else None, "" if evidence else "the agent was not asked"),
            ),
            asked=waiting[-1].key.removeprefix(COMMAND) if waiting else None,
        )

    async def _recent(self, agent_id: str | None, name: str, now: datetime) -> list[StoredRow]:
        """The commands about a Connection that are young enough to tell something, oldest first."""
        if agent_id is None:
            return []
        since = (now - timedelta(seconds=limits.DIAGNOSE_KNOWN_S)).timestamp()
        start = COMMAND + ulid(since, bytes(10))
        rows = await self._s.store.query(AGENTS, agent_id, COMMAND, start=start)
        return [r for r in rows if r.data["connection"] == name]


def _evidence(rows: list[StoredRow]) -> HomeEvidence | None:
    """The newest answer to a diagnose."""
    answered = [r.data for r in rows if r.data["kind"] == Kind.DIAGNOSE and r.data["outcome"] == "done"]
    if not answered:
        return None
    return home_evidence.read(answered[-1].get("data") or {}, datetime.fromisoformat(answered[-1]["ended"]))


def _commands(rows: list[StoredRow], now: datetime) -> tuple[CommandSeen, ...]:
    return tuple(
        CommandSeen(
            kind=str(r.data["kind"]),
            issued=datetime.fromisoformat(r.data["issued"]),
            outcome=r.data["outcome"],
            detail=str(r.data.get("detail") or ""),
            over=_over(r, now),
        )
        for r in rows
    )


def _over(row: StoredRow, now: datetime) -> bool:
    issued = datetime.fromisoformat(row.data["issued"])
    late = TTL_S[str(row.data["kind"])] + limits.HEARTBEAT_FRESH_S  # the result comes with a heartbeat
    return now > issued + timedelta(seconds=late)


def _end(unit: Unit, observed: dict[ArmRef, Json | None]) -> render.AzureEnd | None:
    if unit.gateway is None:
        return None
    refs = render.gateway_refs(unit.name, unit.gateway.spec)
    read = render.azure_end(observed.get(refs[ArmKind.GATEWAY]), observed.get(refs[ArmKind.PUBLIC_IP]))
    state = unit.state
    stored = bool(state.public_ip and state.bgp_address)
    return read or (render.AzureEnd(str(state.public_ip), str(state.bgp_address)) if stored else None)


def _mine(unit: Unit, name: str, observed: dict[ArmRef, Json | None]) -> dict[ArmKind, Json | None]:
    """What was read, by kind."""
    if unit.gateway is None:
        return {}
    spec = unit.gateway.spec
    refs = {**render.gateway_refs(unit.name, spec), **render.connection_refs(name, spec)}
    return {kind: observed[ref] for kind, ref in refs.items() if ref in observed}


def _plan(services: Services, unit: Unit, observed: dict[ArmRef, Json | None]) -> plan.Plan:
    whole = AzureHalf(services, unit, set()).plan(observed)
    return plan.Plan(tuple(c for c in whole.changes if c.ref in observed))


def _ends(unit: Unit, half: HomeHalf, mine: dict[ArmKind, Json | None], evidence: HomeEvidence | None) -> Ends:
    if unit.gateway is None:
        raise NotFound(f"there is no Gateway {unit.name}")
    link = half.link
    return Ends(
        spec=half.row.spec,
        gateway=unit.gateway.spec,
        desired=half.desired,
        resources=mine,
        health=half.health,
        evidence=evidence,
        last_sent=_tunnel(link.applied),
        psk_version=link.psk_version,
        azure_psk_version=link.azure_psk_version,
        home_address=link.pin.address if link.pin else half.dns.agreed(),
        reported_address=half.agent.source if half.agent.fresh else None,
    )


def _tunnel(raw: Any) -> DesiredTunnel | None:
    try:
        return from_plain(DesiredTunnel, raw)
    except (WireError, ValueError):
        return None  # nothing sent yet, or by another version


def _down_since(unit: Unit, name: str) -> datetime | None:
    told = (c for c in unit.links[name].conditions if c.type == "TunnelUp" and c.status == "False")
    return next((c.last_transition_time for c in told), None)


def _operation(unit: Unit) -> str:
    op = unit.state.operation
    return f"{op.action} of {op.kind.value}/{op.name} runs since {op.started:%H:%M:%S} UTC." if op else ""


def _refusal(unit: Unit, name: str, now: datetime) -> str:
    """ARM's last words, where they are about this Connection or what all stand on."""
    refusal = unit.state.refusal
    if refusal is None or refusal.until < now:
        return ""
    about = transitions.concerned(*refusal.target.split("/"))
    return f"{refusal.target}: {refusal.code}: {refusal.message}" if about in (None, name) else ""
