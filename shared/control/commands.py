"""Issuing commands. The sequence is taken and the command recorded in one transaction, then it is sent.

A crash between the two leaves a gap in the sequence and a record without an outcome; the reconciler, which looks at
what the agent reports and not at what was sent, issues it again. Sent at least once; the agent makes it once.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from shared import telemetry
from shared.errors import StoreConflict, TemporaryError
from shared.seams import Write, WriteKind
from shared.telemetry import Attr, SpanKind
from shared.wire.commands import Apply, Body, Command, Kind
from shared.wire.keys import Purpose
from shared.wire.seal import seal

from .agents import AGENT, COMMAND, Agents, queue_of
from .audit import RECONCILER, Audit
from .services import AGENTS, Services


class Commands:
    def __init__(self, services: Services, agents: Agents) -> None:
        self._s, self._agents, self._audit = services, agents, Audit(services)

    async def issue(
        self, agent_id: str, kind: Kind, generation: int, body: Body, ttl_s: float, *, actor: str = RECONCILER
    ) -> Command:
        """Records and sends; `actor` is who wants it, for the audit. Raises NotFound for an agent that was replaced,
        TemporaryError when writers collide."""
        about = {Attr.CONNECTION: connection_of(body)}
        with telemetry.span(f"command {kind.value}", SpanKind.PRODUCER, about):
            return await self._issue(agent_id, kind, generation, body, ttl_s, actor)

    async def _issue(self, agent_id: str, kind: Kind, generation: int, body: Body, ttl_s: float, actor: str) -> Command:
        for _ in range(5):
            try:
                command = await self._record(agent_id, kind, generation, body, ttl_s)
                break
            except StoreConflict:
                continue
        else:
            raise TemporaryError(f"five writers in a row were faster at agent {agent_id}", 2.0)
        await self._audit.record(actor, f"command-{kind.value}", f"agent/{agent_id}", command=command.id)
        key = await self._agents.key(agent_id, Purpose.COMMAND)
        text = seal(key, Purpose.COMMAND, command.to_payload())
        await self._s.queue.send(queue_of(agent_id), text, ttl_s=ttl_s)
        return command

    async def _record(self, agent_id: str, kind: Kind, generation: int, body: Body, ttl_s: float) -> Command:
        agent, etag = await self._agents.load(agent_id)
        now = self._s.now()
        until = now + timedelta(seconds=ttl_s)
        command = Command(
            id=self._s.ulid(),
            seq=agent.next_seq,
            audience=agent_id,
            controller=self._s.controller,
            not_after=int(until.timestamp()),
            generation=generation,
            kind=kind,
            body=body,
            trace=telemetry.traceparent(),
        )
        later = max(until, agent.work_until or until)
        row = agent.model_copy(update={"next_seq": agent.next_seq + 1, "work_until": later})
        record: dict[str, Any] = {
            "seq": command.seq,
            "kind": kind.value,
            "connection": connection_of(body),
            "generation": generation,
            "issued": now.isoformat(),
            "outcome": None,
            "trace": command.trace,
        }
        writes = [
            Write(WriteKind.REPLACE, AGENT, row.model_dump(mode="json"), etag),
            Write(WriteKind.INSERT, COMMAND + command.id, record),
        ]
        await self._s.store.transact(AGENTS, agent_id, writes)
        return command


def connection_of(body: Body) -> str:
    return body.desired.connection if isinstance(body, Apply) else body.connection
