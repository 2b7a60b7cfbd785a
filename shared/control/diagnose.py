"""Diagnosis: what is wrong with a Connection and where its two ends differ, from every witness there is.

It looks and asks, and changes nothing but the agent's queue. Everything that can be known at once is told at once, with
the age of each witness. The agent's own evidence takes a heartbeat or two to come, and what Azure's gateway says of BGP
some seconds: until both are there the diagnosis is pending, and whoever wants them asks again. A step of the reconciler
may run at the same time: no lease is taken, for nothing here is stored under one.

What Azure has is read afresh by `ask` and not at all by `known`; then the last step's Conditions stand in for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.domain import findings, home_evidence, limits, plan, render
from shared.domain.arm import ArmKind, ArmRef
from shared.domain.both_ends import Row
from shared.domain.findings import Finding
from shared.domain.home_evidence import HomeEvidence
from shared.domain.witnesses import CommandSeen
from shared.errors import ArmBusy, ArmRejected, NotFound
from shared.seams import Json
from shared.seams import Row as StoredRow
from shared.wire.commands import Kind, Target
from shared.wire.ulid import ulid

from . import observe, witnesses
from .agents import COMMAND, Agents
from .ask_azure import AskAzure, Told
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
AZURE_ANSWERS_S = 10
"""What ARM was recorded to ask for between two polls."""


@dataclass(frozen=True)
class Heard:
    """A witness: when it was last heard, None for never; `note` says what is not as good as it could be."""

    witness: str
    at: datetime | None
    note: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """`asked`: the command that the agent has not answered yet, None when there is nothing to wait for. `azure_asked`:
    Azure's gateway has not answered everything yet. `agent_asked`: there is no point in asking the agent (again): it is
    not heard, or was asked a moment ago, whatever became of it."""

    connection: str
    at: datetime
    findings: tuple[Finding, ...]
    both_ends: tuple[Row, ...]
    witnesses: tuple[Heard, ...]
    asked: str | None = None
    azure_asked: bool = False
    agent_asked: bool = False

    @property
    def pending(self) -> bool:
        return self.asked is not None or self.azure_asked

    @property
    def retry_after_s(self) -> int:
        """When to ask again, while it is pending."""
        return ANSWERS_S if self.asked is not None else AZURE_ANSWERS_S


@dataclass(frozen=True)
class _Azure:
    """`observed` is empty when ARM was not asked, or did not answer (`note`)."""

    observed: dict[ArmRef, Json | None]
    note: str


class Diagnose:
    def __init__(self, services: Services, agents: Agents, specs: Specs) -> None:
        self._s, self._agents, self._specs = services, agents, specs
        self._commands = Commands(services, agents)
        self._ask_azure = AskAzure(services)

    async def known(self, name: str) -> Diagnosis:
        """From what is stored, and DNS. Raises NotFound."""
        unit = await self._specs.unit_of(name)
        azure = _Azure({}, "not asked: what its last step told")
        return await self._diagnosis(unit, name, azure, await self._ask_azure.known(unit.name, name))

    async def ask(self, name: str, actor: str) -> Diagnosis:
        """Reads both ends as they are now, and asks Azure's gateway and the agent unless an answer is young or on its
        way. Raises NotFound, TemporaryError."""
        unit = await self._specs.unit_of(name)
        azure = await self._azure(unit, name)
        found = await self._diagnosis(unit, name, azure, await self._gateway(unit, name, azure))
        if found.asked is not None or found.agent_asked or self._answered(found):
            return found
        return replace(found, asked=await self._ask_agent(unit, name, actor))

    async def _gateway(self, unit: Unit, name: str, azure: _Azure) -> Told:
        """Only where ARM answers at all: it may have asked for quiet."""
        if unit.gateway is None or not azure.observed:
            return await self._ask_azure.known(unit.name, name)
        gateway = render.gateway_refs(unit.name, unit.gateway.spec)[ArmKind.GATEWAY]
        return await self._ask_azure.ask(unit.name, name, gateway, _mine(unit, name, azure.observed))

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
        refs += unit.refs(name).values()
        try:
            return _Azure(await observe.resources(self._s, refs), "")
        except (ArmBusy, ArmRejected) as e:
            return _Azure({}, f"cannot be read: {e}")

    async def _diagnosis(self, unit: Unit, name: str, azure: _Azure, bgp: Told) -> Diagnosis:
        now, row = self._s.now(), unit.connections[name]
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
        known = witnesses.known(half)
        ends = replace(witnesses.ends(half, mine, evidence), azure_bgp=bgp.view)
        seen = replace(known, ends=ends, commands=_commands(rows, now))
        if asked_arm:
            link = half.conditions_link(None if running else mine)
            todo = None if running else _plan(self._s, unit, azure.observed)
            seen = replace(seen, link=link, azure_at=now, azure_status=status or known.azure_status, plan=todo)
        waiting = [r for r in rows if r.data["kind"] == Kind.DIAGNOSE and not r.data["outcome"] and not _over(r, now)]
        return Diagnosis(
            connection=name,
            at=now,
            findings=findings.findings(seen),
            both_ends=seen.rows,
            witnesses=(
                Heard("azure", seen.azure_at, azure.note),
                Heard("azure-bgp", bgp.view.at if bgp.view else None, bgp.note),
                Heard("dns", now, view.note),
                Heard("heartbeat", agent.heard, "" if agent.fresh else "too old to count, or never heard"),
                Heard("diagnosis", evidence.at if evidence else None, "" if evidence else "the agent was not asked"),
            ),
            asked=waiting[-1].key.removeprefix(COMMAND) if waiting else None,
            azure_asked=bgp.pending,
            agent_asked=not agent.fresh or any(r.data["kind"] == Kind.DIAGNOSE and _young(r, now) for r in rows),
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


def _young(row: StoredRow, now: datetime) -> bool:
    return now - datetime.fromisoformat(row.data["issued"]) <= timedelta(seconds=limits.DIAGNOSE_FRESH_S)


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
    refs = {**render.gateway_refs(unit.name, unit.gateway.spec), **unit.refs(name)}
    return {kind: observed[ref] for kind, ref in refs.items() if ref in observed}


def _plan(services: Services, unit: Unit, observed: dict[ArmRef, Json | None]) -> plan.Plan:
    whole = AzureHalf(services, unit, set()).plan(observed)
    return plan.Plan(tuple(c for c in whole.changes if c.ref in observed))
