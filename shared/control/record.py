"""The incident recorder: what was known and what was decided at each step of an Incident, kept to be read and replayed.

A row per decision in the unit's partition, inserted in the transaction that stores what the decision changed. Its
situation is everything that `repair.decide` was given, so the decision can be made again by another version and
compared. Rows are history: they begin with `~`, are not loaded by steps, and end with the Incident (retention.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.domain import limits
from shared.domain.model import Model
from shared.domain.replay import DecisionEntry
from shared.seams import Json, Write, WriteKind
from shared.wire.ulid import ulid

from . import events
from .audit import RECONCILER, Audit
from .services import UNITS, Services

RECORD = "~record:"


def prefix(connection: str, incident: str = "") -> str:
    """Of the keys of a Connection's records, or of one Incident's."""
    return f"{RECORD}{connection}:{incident}:" if incident else f"{RECORD}{connection}:"


def write(services: Services, connection: str, incident: str, made: DecisionEntry) -> Write:
    key = ulid(made.at.timestamp(), services.random.token(10))
    return Write(WriteKind.INSERT, prefix(connection, incident) + key, made.model_dump(mode="json"))


def due(made: DecisionEntry, last: datetime | None, told: bool) -> bool:
    """An act, news (`told`), or a minute without a record: a quiet hour must not fill the table."""
    quiet = last is None or (made.at - last).total_seconds() >= limits.RECORD_QUIET_S
    return made.kind == "act" or told or quiet


@dataclass(frozen=True)
class Window:
    """When an Incident was, with the step before it and the one after it."""

    since: datetime
    until: datetime

    @classmethod
    def of(cls, opened: datetime, closed: datetime | None, now: datetime) -> Window:
        margin = timedelta(seconds=limits.SWEEP_S)
        return cls(opened - margin, min(now, closed + margin) if closed else now)

    def months(self) -> list[str]:
        """Partitions of the audit: there are two where a month ends."""
        return sorted({f"{self.since:%Y-%m}", f"{self.until:%Y-%m}"})

    def holds(self, at: datetime) -> bool:
        return self.since <= at <= self.until


async def timeline(services: Services, unit: str, connection: str, incident: str, window: Window) -> list[Json]:
    """Everything that is known of an Incident, in order: decisions with their situation, Events of the Connection and
    of its Gateway, and what was written to ARM and sent to agents."""
    rows = await services.store.query(UNITS, unit, prefix(connection, incident))
    found: list[Json] = [{"what": "decision", **_plain(DecisionEntry.model_validate(r.data))} for r in rows]
    asked, page, told = events.Asked(window.since, limits.EVENT_PAGE.most), None, list[events.Event]()
    while page is None or page.next:
        page = await events.page(services.store, unit, None, replace(asked, after=page.next if page else None))
        told += [e for e in page.items if e.connection in (None, connection) and window.holds(e.at)]
    found += [{"what": "event", **_plain(e)} for e in reversed(told)]  # oldest first: some have the same time
    for month in window.months():
        entries = reversed(await Audit(services).month(month))
        acts = [vars(e) for e in entries if e.actor == RECONCILER and window.holds(datetime.fromisoformat(e.at))]
        found += [{"what": "act", **a} for a in acts]
    return sorted(found, key=lambda line: datetime.fromisoformat(line["at"]))


def _plain(row: Model) -> Json:
    data: Json = row.model_dump(mode="json", by_alias=True)
    return data
