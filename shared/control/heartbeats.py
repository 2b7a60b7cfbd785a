"""Receiving a heartbeat: verify, store, answer, and say which units should look.

The handler holds the REPORT key and the ANSWER key of the agent and nothing else of it. A heartbeat is evidence; what
to do about it is the reconciler's business. Only a beat that tells something new wakes a unit.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from shared import telemetry
from shared.errors import StoreConflict, TemporaryError
from shared.seams import Json, Row, Write, WriteKind
from shared.telemetry import Attr
from shared.wire.commands import Kind
from shared.wire.decode import from_plain, to_plain
from shared.wire.errors import Malformed
from shared.wire.keys import Purpose
from shared.wire.reports import Heartbeat, HeartbeatAnswer, Result, TunnelHealth
from shared.wire.seal import canonical, seal, unseal

from .agents import AGENT, COMMAND, HEALTH, AgentRow, Agents
from .services import AGENTS, Services


@dataclass(frozen=True)
class Received:
    """`answer` is sealed. `accepted` is false for a beat not newer than the last. `moved`: the source changed."""

    answer: str
    accepted: bool
    moved: bool
    units: tuple[str, ...]


class Heartbeats:
    def __init__(self, services: Services, agents: Agents) -> None:
        self._s, self._agents = services, agents

    async def receive(self, agent_id: str, sealed: str, source_address: str) -> Received:
        """Raises WireError for what cannot be believed or read, NotFound for an agent that is not ours any more,
        TemporaryError when another instance stores a heartbeat of this agent at this moment."""
        key = await self._agents.key(agent_id, Purpose.REPORT)
        beat = from_plain(Heartbeat, unseal(key, Purpose.REPORT, sealed))
        if beat.agent != agent_id or beat.controller != self._s.controller:
            raise Malformed("this heartbeat was meant for another controller or sent for another agent")
        agent, etag = await self._agents.load(agent_id)
        await self._record_results(agent_id, beat)  # before any answer: what is acknowledged is never told again
        before = await self._s.store.get(AGENTS, agent_id, HEALTH)
        if before is not None and beat.beat <= before.data["beat"]:
            return Received(await self._answer(agent, before.data["beat"], beat, source_address), False, False, ())
        old = before.data if before else {}
        moved = before is not None and old["source"] != source_address
        other = moved or old.get("summary") != summary(beat)
        try:
            agent = await self._catch_up(agent, etag, beat)
            await self._store(agent_id, beat, source_address, before, old.get("heard" if other else "otherwise"))
        except StoreConflict as e:
            raise TemporaryError("another message of this agent is being taken in: send the next one", 2.0) from e
        news = other or bool(beat.results)
        units = sorted({str(r.data["gateway"]) for r in await self._agents.served(agent.name)}) if news else []
        return Received(await self._answer(agent, beat.beat, beat, source_address), True, moved, tuple(units))

    async def _answer(self, agent: AgentRow, beat: int, heard: Heartbeat, source: str) -> str:
        now = self._s.now()
        issued = agent.next_seq - 1
        waiting = issued > heard.high_seq and agent.work_until is not None and now < agent.work_until
        done = tuple(r.command_id for r in heard.results)
        answer = HeartbeatAnswer(now.timestamp(), beat, issued, waiting, done, source)
        return seal(await self._agents.key(agent.id, Purpose.ANSWER), Purpose.ANSWER, to_plain(answer))

    async def _catch_up(self, agent: AgentRow, etag: str, beat: Heartbeat) -> AgentRow:
        """Tables restored from a backup: go on above what the agent has already accepted."""
        if beat.high_seq < agent.next_seq:
            return agent
        agent = agent.model_copy(update={"next_seq": beat.high_seq + 1})
        write = Write(WriteKind.REPLACE, AGENT, agent.model_dump(mode="json"), etag)
        await self._s.store.transact(AGENTS, agent.id, [write])
        return agent

    async def _store(
        self, agent_id: str, beat: Heartbeat, source: str, before: Row | None, otherwise: str | None
    ) -> None:
        """`otherwise`: when a heartbeat last told of another state than this one."""
        data = {
            "beat": beat.beat,
            "heard": self._s.now().isoformat(),
            "source": source,
            "otherwise": otherwise,
            "summary": summary(beat),
            "report": to_plain(beat),
        }
        kind = WriteKind.INSERT if before is None else WriteKind.REPLACE
        write = Write(kind, HEALTH, data, None if before is None else before.etag)
        await self._s.store.transact(AGENTS, agent_id, [write])

    async def _record_results(self, agent_id: str, beat: Heartbeat) -> None:
        for result in beat.results:
            row = await self._s.store.get(AGENTS, agent_id, COMMAND + result.command_id)
            if row is None or row.data.get("outcome") is not None:
                continue
            now = self._s.now()
            data = {**row.data, "outcome": result.outcome, "detail": result.detail, "ended": now.isoformat()}
            if result.kind == Kind.DIAGNOSE:
                data["data"] = result.data
            try:
                write = Write(WriteKind.REPLACE, row.key, data, row.etag)
                await self._s.store.transact(AGENTS, agent_id, [write])
            except StoreConflict:
                continue  # the same heartbeat in another instance was faster
            _tell(row.data, result, now)


def _tell(command: Json, result: Result, now: datetime) -> None:
    """The agent's part as a span, in the trace of the command. Its clock is believed between issue and now only."""
    telemetry.news()
    issued = datetime.fromisoformat(command["issued"]).timestamp()
    ended = min(max(issued, result.at), now.timestamp())
    began = min(max(issued, issued if result.began is None else result.began), ended)
    about = {Attr.CONNECTION: command["connection"], Attr.OUTCOME: result.outcome}
    span = datetime.fromtimestamp(began, UTC), datetime.fromtimestamp(ended, UTC)
    telemetry.past(f"agent {command['kind']}", command.get("trace", ""), *span, about)


def summary(beat: Heartbeat) -> str:
    """A digest of what a reconciler would act upon, so that counters and uptimes do not wake it."""
    parts: list[Any] = [beat.in_incident, beat.paused, beat.firewall.reachable, beat.firewall.wan_address]
    parts += [_tunnel(t) for t in beat.tunnels]
    return hashlib.sha256(canonical({"": parts})).hexdigest()


def _tunnel(t: TunnelHealth) -> list[Any]:
    return [
        t.connection_id,
        t.digest,
        t.confirmed,
        t.child.installed,
        t.ike_error,
        t.bgp.state,
        t.bgp.last_error,
        sorted(t.bgp.received),
        sorted(t.bgp.sent),
        [[p.target, p.ok] for p in t.probes],
    ]
