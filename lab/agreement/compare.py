"""Whether two stories of one scenario agree, and by which tolerances. Each tolerance is a function with its reason.

Compared are, per scenario: every Condition at the end (type, status, reason), the order of deeds, the path of each
Condition, and the findings and rungs of Incidents.

What may differ:
1. Conditions against deeds, and among each other: a step tells all Conditions that changed since the last one at once,
   and which step is first to see the next heartbeat is chance. So each Condition's path is compared by itself.
2. What passes: a world looks at itself with a heartbeat every few seconds, so what lasts no longer than PASSING_S may
   be seen in one world and missed in the other. A state of a path may be left out if it lasted no longer; so may an
   Incident in which nothing was done.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from itertools import combinations

from lab.agreement import TIMING
from lab.agreement.story import Story

PASSING_S = 2 * TIMING.heartbeat_s + 4.0
"""Two heartbeats, and the way from the last of them through queue and step."""


def disagreements(lab: Story, model: Story) -> list[str]:
    """Empty when the stories agree; else what is different, both sides told."""
    pairs = [
        (f"{kind} at the end", lab.conditions.get(kind), model.conditions.get(kind))
        for kind in sorted(lab.conditions.keys() | model.conditions.keys())
    ]
    different = [pair for pair in pairs if pair[1] != pair[2]]
    for kind in sorted(lab.paths.keys() | model.paths.keys()):
        if not paths(lab, kind) & paths(model, kind):
            different.append((f"path of {kind}", _told(lab, kind), _told(model, kind)))
    if not deeds(lab) & deeds(model):
        different.append(("deeds", " | ".join(_deeds(lab)), " | ".join(_deeds(model))))
    return [f"{lab.scenario}: {what}: the lab has {here}, the model {there}" for what, here, there in different]


def paths(story: Story, kind: str) -> set[tuple[str, ...]]:
    """A Condition's path in all ways in which it may have been seen."""
    path = story.paths.get(kind, [])
    ends = [s.at for s in path[1:]] + [story.ended]
    passing = [n for n, s in enumerate(path) if 0 < n < len(path) - 1 and _s(s.at, ends[n]) <= PASSING_S]
    return {_merged([s.what for n, s in enumerate(path) if n not in left]) for left in _subsets(passing)}


def deeds(story: Story) -> set[tuple[str, ...]]:
    """The deeds, with and without each Incident that may have been missed."""
    passing = [i.id for i in story.incidents if not i.rungs and _s(i.opened, i.closed) <= PASSING_S]
    return {_deeds(story, left) for left in _subsets(passing)}


def _deeds(story: Story, left: Collection[object] = ()) -> tuple[str, ...]:
    told = {i.id: f" {'/'.join(i.rungs)}".rstrip() for i in story.incidents}
    return tuple(d.what + told.get(d.incident, "") for d in story.deeds if d.incident not in left)


def _merged(states: Sequence[str]) -> tuple[str, ...]:
    return tuple(s for n, s in enumerate(states) if n == 0 or states[n - 1] != s)


def _subsets(items: Sequence[object]) -> Iterator[frozenset[object]]:
    for size in range(len(items) + 1):
        yield from map(frozenset, combinations(items, size))


def _s(start: datetime, end: datetime | None) -> float:
    return float("inf") if end is None else (end - start).total_seconds()


def _told(story: Story, kind: str) -> str:
    return " -> ".join(f"{s.what} @{_s(story.began, s.at):.0f}" for s in story.paths.get(kind, []))
