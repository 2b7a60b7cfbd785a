"""Events: what happened to a Gateway and its Connections, one row each, Kubernetes' meaning of the word.

An Event lies in the unit's own partition and is inserted in the transaction that stores the state it explains, so a
stale writer leaves none. It is never changed. Its key begins with `~`, behind every row that a step loads, and goes on
with the complement of its id: ascending keys are then newest first, which is the only order a table reads in.
Traded off: one order for the whole unit. A Connection's Events are picked out of it, which is bounded by how many a
unit keeps (retention.py), and spares a second copy of each row.

A Connection's Events may hold the addresses of its home and are dropped with it; a Gateway's own never hold one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

from shared import telemetry
from shared.domain import limits
from shared.domain.model import Model
from shared.seams import Store, Write, WriteKind
from shared.wire.ulid import ulid

from .redact import without_addresses
from .services import UNITS, Services

HISTORY = "~"
"""Every key of a partition from here on is history: no step loads it."""
EVENT = "~event:"
_BATCH = 500
_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_COMPLEMENT = str.maketrans(_DIGITS, _DIGITS[::-1])

Type = Literal["Normal", "Warning"]


class Reason(StrEnum):
    """Of every Event but a Condition's, whose reason is the Condition's own."""

    CREATED = "Created"
    SPEC_CHANGED = "SpecChanged"
    DELETION_REQUESTED = "DeletionRequested"
    DELETED = "Deleted"
    OPERATION_STARTED = "OperationStarted"
    OPERATION_ENDED = "OperationEnded"
    OPERATION_FAILED = "OperationFailed"
    AZURE_REFUSED = "AzureRefused"
    KEY_CHANGED = "KeyChanged"
    KEY_TAKEN = "KeyTaken"
    COMMAND_ISSUED = "CommandIssued"
    COMMAND_DONE = "CommandDone"
    COMMAND_FAILED = "CommandFailed"
    COMMAND_UNANSWERED = "CommandUnanswered"
    PIN_SET = "PinSet"
    PIN_ENDED = "PinEnded"
    INCIDENT_OPENED = "IncidentOpened"
    REPAIRS_EXHAUSTED = "RepairsExhausted"
    INCIDENT_VERIFIED = "IncidentVerified"
    INCIDENT_CLOSED = "IncidentClosed"
    ALERT_FIRED = "AlertFired"
    ALERT_RESOLVED = "AlertResolved"


@dataclass(frozen=True)
class Told:
    """An Event before it has an id and a place."""

    reason: str
    message: str
    type: Type = "Normal"


class Event(Model):
    """`connection` is None for what concerns the Gateway itself. `trace`: of what brought it about, where known."""

    id: str
    at: datetime
    gateway: str
    connection: str | None
    type: Type
    reason: str
    message: str
    trace: str | None = None


def newest_first(ulid: str) -> str:
    """The complement of a ULID: as keys, the newest comes first."""
    return ulid.translate(_COMPLEMENT)


def key_of(event_id: str) -> str:
    return EVENT + newest_first(event_id)


def key_at(at: datetime) -> str:
    """Events at or after `at` have smaller keys, those before it have greater ones (to the millisecond)."""
    return key_of(ulid(max(0.0, at.timestamp()), bytes(10))) + HISTORY


@dataclass
class Scribe:
    """Writes down the Events of one step or one request; their ids keep the order in which they were told."""

    services: Services
    gateway: str
    _count: int = field(default=0)

    def write(self, told: Told, connection: str | None = None) -> Write:
        """The insert that belongs into the transaction of what it explains. A message is cut at EVENT_CHARS."""
        now = self.services.now()
        event_id = ulid(now.timestamp(), self._count.to_bytes(2, "big") + self.services.random.token(8))
        self._count += 1
        message = told.message if connection else without_addresses(told.message)
        event = Event(
            id=event_id,
            at=now,
            gateway=self.gateway,
            connection=connection,
            type=told.type,
            reason=told.reason,
            message=message[: limits.EVENT_CHARS],
            trace=telemetry.trace_id(),
        )
        telemetry.news()
        return Write(WriteKind.INSERT, key_of(event_id), event.model_dump(mode="json"))


@dataclass(frozen=True)
class Asked:
    """Which Events: those at or after `since`, older than the one with the id `after`, at most `limit`."""

    since: datetime | None = None
    limit: int = limits.EVENT_PAGE.default
    after: str | None = None


@dataclass(frozen=True)
class Page:
    """`next`: the id after which the next page begins, None on the last."""

    items: tuple[Event, ...]
    next: str | None


async def page(store: Store, gateway: str, connection: str | None, asked: Asked) -> Page:
    """Newest first; of the whole unit, or of one Connection. Pages neither repeat nor miss an Event that was there when
    the first was read, whatever is added meanwhile."""
    start = key_of(asked.after) + HISTORY if asked.after else EVENT
    end = key_at(asked.since) if asked.since else ""
    found: list[Event] = []
    while len(found) <= asked.limit:
        rows = await store.query(UNITS, gateway, EVENT, start=start, end=end, limit=_BATCH)
        events = [Event.model_validate(r.data) for r in rows]
        found += [e for e in events if connection in (None, e.connection) and (not asked.since or e.at >= asked.since)]
        if len(rows) < _BATCH:
            break
        start = rows[-1].key + HISTORY
    items = tuple(found[: asked.limit])
    return Page(items, items[-1].id if len(found) > asked.limit else None)
