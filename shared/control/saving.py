"""Storing what a step changed: only rows that differ, each with the Events that explain it, fenced by the lease.

A transaction takes 100 writes, and a Gateway may have 100 Connections. What belongs to one Connection (its Events, its
Incidents, its row) is a group and never torn apart; groups share a transaction as far as they fit, and the unit's own
state, with the operation that runs, is the last. A crash in between leaves whole groups: the next step sees the rest
as not done. A group counts as stored only when it is, so trouble of the store loses nothing of it either.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from shared import telemetry
from shared.seams import Write, WriteKind

from . import transitions
from .events import EVENT, Scribe
from .lease import Lease
from .unit import LINK, STATE, IncidentRow, Unit, to_data

log = logging.getLogger("homelink.events")

AT_ONCE = 99
"""Writes beside the lease row in one transaction."""


@dataclass(frozen=True)
class Group:
    """`connection` is None for the unit's own state."""

    connection: str | None
    writes: list[Write]


async def save(unit: Unit, lease: Lease, scribe: Scribe) -> None:
    """Raises StoreConflict when the lease is lost."""
    for groups in _packed(_changed(unit, scribe)):
        await lease.commit([w for g in groups for w in g.writes])
        for group in groups:
            _tell(unit, group)
            _note_stored(unit, group.connection)


def chunks(writes: list[Write]) -> Iterator[list[Write]]:
    """Writes that may be torn apart, as transactions take them."""
    return (writes[i : i + AT_ONCE] for i in range(0, len(writes), AT_ONCE))


def _changed(unit: Unit, scribe: Scribe) -> Iterator[Group]:
    for name, link in sorted(unit.links.items()):
        old = unit.stored_links.get(name)
        writes = [*_incident_writes(unit, scribe, name), *unit.records.get(name, ())]
        if link != old and old is not None:
            writes += [scribe.write(t, name) for t in transitions.of_link(old, link)]
        if link != old:
            writes.append(Write(WriteKind.UPSERT, LINK + name, to_data(link)))
        if writes:
            yield Group(name, writes)
    if unit.state != unit.stored_state:
        told = transitions.of_state(unit.stored_state, unit.state, unit.connection_of)
        writes = [scribe.write(t, name) for name, t in told]
        yield Group(None, [*writes, Write(WriteKind.UPSERT, STATE, to_data(unit.state))])


def _incident_writes(unit: Unit, scribe: Scribe, connection: str) -> list[Write]:
    writes: list[Write] = []
    for incident in _of(unit.incidents.values(), connection):
        old = unit.stored_incidents.get(incident.id)
        if incident == old:
            continue
        writes += [scribe.write(t, connection) for t in transitions.of_incident(old, incident)]
        writes.append(Write(WriteKind.UPSERT, incident.key, to_data(incident)))
        if old is not None and old.key != incident.key:
            writes.append(Write(WriteKind.DELETE, old.key))
    return writes


def _packed(groups: Iterable[Group]) -> Iterator[list[Group]]:
    chunk: list[Group] = []
    for group in groups:
        if chunk and sum(len(g.writes) for g in [*chunk, group]) > AT_ONCE:
            yield chunk
            chunk = []
        chunk.append(group)
    if chunk:
        yield chunk


def _tell(unit: Unit, group: Group) -> None:
    """Its Events as log lines, and how long its Incidents took: said once, when the store has them."""
    for row in (w.data for w in group.writes if w.key.startswith(EVENT)):
        about = {"gateway": unit.name, "connection": row["connection"]}
        level = logging.WARNING if row["type"] == "Warning" else logging.INFO
        log.log(level, "%s: %s", row["reason"], row["message"], extra=about)
    for incident in _of(unit.incidents.values(), group.connection or ""):
        old = unit.stored_incidents.get(incident.id)
        if old is None and incident.id in unit.detected_s:
            telemetry.record(telemetry.DETECTION, unit.detected_s[incident.id])
        if incident.verified is not None and (old is None or old.verified is None):
            took = incident.verified - incident.opened
            telemetry.record(telemetry.RECOVERY, took.total_seconds(), incident.finding)


def _note_stored(unit: Unit, connection: str | None) -> None:
    if connection is None:
        unit.stored_state = unit.state
        return
    unit.stored_links[connection] = unit.links[connection]
    unit.records.pop(connection, None)
    unit.stored_incidents |= {i.id: i for i in _of(unit.incidents.values(), connection)}


def _of(incidents: Iterable[IncidentRow], connection: str) -> list[IncidentRow]:
    return [i for i in incidents if i.connection == connection]
