"""What is kept no longer: history beyond its time, and what belonged to agents and Gateways that are gone.

Events and closed Incidents hold addresses of homes, which are personal data, so they end. What is current (a known
address, a pin, the source of a heartbeat) lives as long as its Connection or agent. A daily run deletes so many rows at
most, and begins from what is there: one that dies or uses up its share is gone on with by the next. Beside a working
reconciler it needs no lease: what it deletes is never written again (history, audit, what has run out), except a lease
row, which goes by its ETag.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from shared.domain import limits
from shared.errors import HomelinkError, StoreConflict
from shared.seams import Row, Write, WriteKind
from shared.wire import keys
from shared.wire.ulid import ulid

from . import lease
from .agents import AGENT, COMMAND, TOKENS, AgentRow, Agents, TokenRow, key_name, queue_of
from .alerts import REFUSED
from .ask_azure import BGP
from .events import EVENT
from .record import RECORD
from .saving import chunks
from .services import AGENTS, ALERTS, AUDIT, NAMES, UNITS, Services
from .unit import ALERT, CLOSED

FIRST_MONTH = date(2026, 1, 1)
"""Nothing was audited before; partitions cannot be listed, so months are counted from here."""


@dataclass
class Pruned:
    """Rows that went, by kind. `unfinished`: the run's share was used up. `troubles`: what could not be pruned, and
    why; everything else was."""

    rows: dict[str, int] = field(default_factory=dict)
    unfinished: bool = False
    troubles: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        told = ", ".join(f"{n} {kind}" for kind, n in sorted(self.rows.items()) if n) or "nothing"
        return told + (", more at the next run" if self.unfinished else "")


class Retention:
    def __init__(self, services: Services, agents: Agents) -> None:
        self._s, self._agents = services, agents

    async def run(self) -> Pruned:
        """Does not raise HomelinkError: see `troubles`."""
        run = _Run(self._s, self._agents)
        for work in (run.units, run.agents, run.tokens, run.audit, run.alerts):
            with run.tolerant(work.__name__):
                await work()
        return run.pruned


class _Run:
    """`_share` is what it may still delete."""

    def __init__(self, services: Services, agents: Agents) -> None:
        self._s, self._agents, self._now = services, agents, services.now()
        self._share, self.pruned = limits.RETENTION_ROWS, Pruned()

    @contextmanager
    def tolerant(self, what: str) -> Iterator[None]:
        try:
            yield
        except HomelinkError as e:
            self.pruned.troubles.append(f"{what}: {e}")

    async def units(self) -> None:
        """By their leases: such a row is left even of a Gateway that is gone, and is the last to go."""
        for row in await self._s.store.scan(UNITS, lease.KEY):
            if self._share == 0:
                return
            with self.tolerant(f"unit {row.partition}"):
                await self._history(row.partition)
                await self._lease(row)

    async def _history(self, unit: str) -> None:
        store, before = self._s.store, self._now - timedelta(days=self._s.keep.events_days)
        kept = limits.EVENTS_KEPT
        told = await store.query(UNITS, unit, EVENT, limit=kept + self._share)  # newest first
        await self._delete("events", [r for n, r in enumerate(told) if n >= kept or _time(r, "at") < before])
        closed = await store.query(UNITS, unit, CLOSED)
        closed.sort(key=lambda r: _time(r, "closed"), reverse=True)
        old = [r for n, r in enumerate(closed) if n >= limits.INCIDENTS_KEPT or _time(r, "closed") < before]
        await self._delete("incidents", old)
        records = await store.query(UNITS, unit, RECORD, limit=self._share)
        await self._delete("records", [r for r in records if _time(r, "at") < before])
        repeats = self._now - timedelta(seconds=limits.ALERT_REPEATS_S)
        marks = await store.query(UNITS, unit, ALERT)
        await self._delete("alert marks", [r for r in marks if _time(r, "at") < repeats])
        told = await store.query(UNITS, unit, BGP)
        known = self._now - timedelta(seconds=limits.DIAGNOSE_KNOWN_S)
        await self._delete("bgp answers", [r for r in told if _time(r, "not_before") < known])

    async def _lease(self, row: Row) -> None:
        """Whoever takes the lease at this moment changes its ETag, and keeps it."""
        rest = await self._s.store.query(UNITS, row.partition, limit=2)
        if len(rest) == 1 and _time(row, "until") <= self._now:
            with suppress(StoreConflict):
                gone = Write(WriteKind.DELETE, row.key, etag=row.etag)
                await self._s.store.transact(UNITS, row.partition, [gone])
                self._count("leases", 1)

    async def agents(self) -> None:
        for row in await self._s.store.scan(AGENTS, AGENT):
            if self._share == 0:
                return
            agent = AgentRow.model_validate(row.data)
            with self.tolerant(f"agent {agent.id}"):
                if await self._void(agent):
                    await self._forget(agent)
                else:
                    await self._commands(agent, self._now - timedelta(days=limits.COMMANDS_DAYS))

    async def _void(self, agent: AgentRow) -> bool:
        """A later enrolment has had the name for long enough, or this one never came to its end."""
        current = await self._agents.id_of(agent.name)
        if current == agent.id:
            return False
        successor = await self._s.store.get(AGENTS, current, AGENT) if current and current > agent.id else None
        since = AgentRow.model_validate(successor.data).enrolled if successor else agent.enrolled
        return self._now - since >= timedelta(seconds=limits.REPLACED_S)

    async def _forget(self, agent: AgentRow) -> None:
        """Its keys, its queue, its health with the address it came from; the row by which it is found goes last."""
        for purpose in keys.Purpose:
            await self._s.vault.delete(key_name(agent.id, purpose))
        await self._s.queue.remove(queue_of(agent.id))
        rows = await self._s.store.query(AGENTS, agent.id, limit=self._share + 1)
        await self._delete("agent rows", [r for r in rows if r.key != AGENT])
        await self._delete("agent rows", [r for r in rows if r.key == AGENT])

    async def _commands(self, agent: AgentRow, before: datetime) -> None:
        end = COMMAND + ulid(before.timestamp(), bytes(10))
        rows = await self._s.store.query(AGENTS, agent.id, COMMAND, end=end, limit=self._share)
        await self._delete("commands", rows)

    async def tokens(self) -> None:
        """Of enrolment, which have run out: nobody may use them any more."""
        rows = await self._s.store.query(NAMES, TOKENS)
        old = self._now - timedelta(seconds=limits.REPLACED_S)
        await self._delete("tokens", [r for r in rows if TokenRow.model_validate(r.data).expires < old])

    async def audit(self) -> None:
        """Whole months only, so that a month that is shown is complete."""
        first_kept = (self._now - timedelta(days=self._s.keep.audit_days)).date().replace(day=1)
        month = FIRST_MONTH
        while month < first_kept and self._share:
            await self._delete("audit", await self._s.store.query(AUDIT, f"{month:%Y-%m}", limit=self._share))
            month = (month + timedelta(days=31)).replace(day=1)

    async def alerts(self) -> None:
        """That were refused, or not ours."""
        before, kept = self._now - timedelta(days=self._s.keep.events_days), limits.ALERTS_KEPT
        rows = await self._s.store.query(ALERTS, REFUSED, limit=kept + self._share)  # newest first
        await self._delete("refused alerts", [r for n, r in enumerate(rows) if n >= kept or _time(r, "at") < before])

    async def _delete(self, kind: str, rows: Iterable[Row]) -> None:
        """All of one partition and no longer written by anybody. No more than the share allows."""
        doomed = list(rows)
        self.pruned.unfinished |= len(doomed) >= self._share
        doomed = doomed[: self._share]
        for chunk in chunks([Write(WriteKind.DELETE, r.key) for r in doomed]):
            await self._s.store.transact(_TABLES[kind], doomed[0].partition, chunk)
            self._share -= len(chunk)
            self._count(kind, len(chunk))

    def _count(self, kind: str, rows: int) -> None:
        self.pruned.rows[kind] = self.pruned.rows.get(kind, 0) + rows


_TABLES = {
    "events": UNITS,
    "incidents": UNITS,
    "agent rows": AGENTS,
    "commands": AGENTS,
    "tokens": NAMES,
    "audit": AUDIT,
    "alert marks": UNITS,
    "bgp answers": UNITS,
    "records": UNITS,
    "refused alerts": ALERTS,
}


def _time(row: Row, name: str) -> datetime:
    return datetime.fromisoformat(row.data[name])
