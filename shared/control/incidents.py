"""The Incident of one Connection as a step sees it: opened, told, given its cause, verified, closed.

The cause is the root of the Findings that can be made from what the step has at hand (witnesses.py), so it costs no
call. An Incident opens under the name of what was noticed, for the first look is chance: each end sees it at a time of
its own. The cause is looked for whenever a decision is recorded (news, or a minute) from then on, until the tunnel is
proven: what stutters after that is no cause of the outage. Traded off: what only a diagnosis can see names no Incident.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from shared.domain import conditions, findings, limits, repair, replay
from shared.domain.ladder import Act, Decision, GiveUp

from . import record, witnesses
from .unit import IncidentEntry, IncidentRow

if TYPE_CHECKING:
    from .home_half import HomeHalf

GIVEN_UP = timedelta(seconds=limits.RESET_CONNECTION_AFTER_S)
STANDS = timedelta(seconds=limits.EXHAUSTED_S)
"""Sooner, a change may yet be on its way, or a session has not said everything."""


def tell(half: HomeHalf, situation: repair.Situation, decision: Decision) -> None:
    """Opens, continues, and closes the Incident, and records what was known and decided."""
    link, lacks, reported = half.link, situation.lacks, situation.reported_address
    incident = half.unit.incidents.get(link.incident or "")
    moved = reported is not None and link.known_address is not None and reported != link.known_address
    if incident is None:
        trouble = [what for what in lacks if what != conditions.NOT_APPLIED]
        if link.known_address is None or not (trouble or moved):
            return  # a change that waits to be applied is no trouble
        finding = "home-address-changed" if moved else "tunnel-down"
        incident = IncidentRow(id=half.services.ulid(), connection=half.name, finding=finding, opened=half.now)
        half.unit.detected_s[incident.id] = half.agent.new_for_s(half.now)
    told = len(incident.timeline)
    what = f"{decision.rung}: {decision.reason}" if isinstance(decision, Act) else decision.reason
    if decision is not repair.STEADY and (not incident.timeline or incident.timeline[-1].what != what):
        entry = IncidentEntry(at=half.now, what=what)
        incident = incident.model_copy(update={"timeline": (*incident.timeline, entry)[-200:]})
    if not isinstance(decision, GiveUp) or situation.idle(half.now):
        half.update(gave_up=None)
    elif link.gave_up is None:
        half.update(gave_up=half.now)
    elif half.now - max(link.gave_up + STANDS, incident.opened + GIVEN_UP) >= timedelta() and not incident.exhausted:
        incident = incident.model_copy(update={"exhausted": decision.reason})
    if incident.verified is None and link.healthy_since is not None and not moved:
        incident = incident.model_copy(update={"verified": half.now})
    quiet = decision is repair.STEADY and link.pin is None and (half.settled or bool(half.blocked))
    done = incident.verified is not None and quiet and not lacks
    if done:
        incident = incident.model_copy(update={"closed": half.now})
    made = replay.entry(situation, decision, half.now)
    if done or record.due(made, link.recorded, len(incident.timeline) != told):
        if incident.verified is None and incident.opened != half.now:
            incident = incident.model_copy(update={"finding": _cause(half, incident.finding)})
        half.unit.records.setdefault(half.name, []).append(record.write(half.services, half.name, incident.id, made))
        half.update(recorded=half.now)
    half.unit.incidents[incident.id] = incident
    half.update(incident=None if done else incident.id)
    if done:
        half.update(down_since=None)


def _cause(half: HomeHalf, known: str) -> str:
    """A cause gives way to another one, and a symptom to anything: a home that is heard again, and has no tunnel for
    some seconds yet, was offline all the same."""
    found = findings.root(findings.findings(witnesses.known(half)))
    return known if found is None or (found in findings.SYMPTOMS and known not in findings.SYMPTOMS) else found
