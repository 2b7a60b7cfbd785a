"""A death at every call of every seam: before it, and after its effect but before its answer. Systematically.

Drawn histories strike wherever luck has it. Here short scenarios, which between them make every call there is, are
played once undisturbed to see which calls happen, and then again with one death each, at a chosen one of those calls.
Up to its death such a history is the undisturbed one, so the call is sure to come.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

from lab.model.history import Event, History
from lab.model.play import Outcome, play

HOME = "home"
CONFIRM_FAILS = {"kind": "error", "where": HOME, "call": "firewall.confirm", "skip": 0, "after": False}
"""For longer than an unconfirmed change may last."""

Deed = tuple[float, str, dict[str, object]]


def _scenario(*deeds: Deed) -> History:
    return History(1, 1, {}, tuple(Event(at, name, dict(arguments)) for at, name, arguments in deeds))


SCENARIOS: dict[str, History] = {
    "repair": _scenario(
        (1.0, "move", {"home": HOME, "address": "198.51.100.77", "outage_s": 0.0}),
        (90.0, "rotate_key", {"home": HOME, "number": 1}),
        (200.0, "rest", {}),
    ),
    "delete": _scenario(
        (1.0, "delete_connection", {"home": HOME}),
        (100.0, "connect_again", {"home": HOME}),
        (180.0, "rest", {}),
    ),
    "enrol": _scenario(
        (1.0, "reinstall_agent", {"home": HOME}),
        (60.0, "hand_edit", {"home": HOME, "what": "removed"}),
        (150.0, "rest", {}),
    ),
    "rollback": _scenario(
        (0.5, "dead_man_fails", {"home": HOME}),
        (0.5, "strike", {**CONFIRM_FAILS, "times": 1000, "seconds": 0.0}),
        (1.0, "change_spec", {"home": HOME, "number": 3}),
        (720.0, "rest", {}),
    ),
    "diagnose": _scenario(
        (1.0, "diagnose", {"home": HOME}),
        (8.0, "diagnose", {"home": HOME}),
        (16.0, "diagnose", {"home": HOME}),
        (24.0, "diagnose", {"home": HOME}),
        (40.0, "rest", {}),
    ),
    "adopt": _scenario(
        (1.0, "release", {"home": HOME}),
        (100.0, "adopt", {"home": HOME}),
        (240.0, "rest", {}),
    ),
    "gateway": _scenario(
        (1.0, "delete_connection", {"home": HOME}),
        (100.0, "delete_gateway", {}),
        (1200.0, "put_gateway", {}),
        (1201.0, "connect_again", {"home": HOME}),
        (1300.0, "rest", {}),
    ),
    "retention": _scenario(
        (1.0, "reinstall_agent", {"home": HOME}),
        (30.0, "standstill", {"seconds": 139_800.0}),
        (139_960.0, "rest", {}),
    ),
}
"""Each as short as what it is about allows, the shortest first; a replaced enrolment is forgotten by the second daily
run after it."""


@dataclass(frozen=True)
class Point:
    """The `nth` time (from 0) that a call is made in a scenario, and on which side of it the process dies."""

    scenario: str
    where: str
    call: str
    nth: int
    after: bool

    def history(self) -> History:
        death = {"kind": "kill", "where": self.where, "call": self.call, "skip": self.nth, "after": self.after}
        scenario = SCENARIOS[self.scenario]
        return replace(scenario, events=(Event(0.0, "strike", {**death, "times": 1, "seconds": 0.0}), *scenario.events))

    def happened(self, outcome: Outcome) -> bool:
        return f" {self.call} kill {'after' if self.after else 'before'}\n" in outcome.log

    def __str__(self) -> str:
        return f"{self.scenario}: {self.where} dies {'after' if self.after else 'before'} {self.call} no. {self.nth}"


@cache
def calls(scenario: str) -> tuple[tuple[str, str], ...]:
    """(where, call) in the order of an undisturbed scenario. AssertionError if it breaks an invariant by itself."""
    outcome = play(SCENARIOS[scenario])
    assert not outcome.violations, f"{scenario}: {outcome.violations}"
    return outcome.calls


def everything() -> list[tuple[str, str]]:
    """Every (where, call) of all scenarios."""
    return sorted({found for scenario in SCENARIOS for found in calls(scenario)})


def death(where: str, call: str, after: bool) -> tuple[Point, Outcome]:
    """One that happened, in the first scenario that makes this call; which time of it differs from call to call, but is
    fixed. A call that fails has no effect to die after: then it is the next one. StopIteration if there is none."""
    scenario = next(s for s in SCENARIOS if (where, call) in calls(s))
    count = calls(scenario).count((where, call))
    first = zlib.crc32(f"{call} {after}".encode())
    points = (Point(scenario, where, call, (first + n) % count, after) for n in range(count))
    played = ((point, play(point.history())) for point in points)
    return next((point, outcome) for point, outcome in played if point.happened(outcome))


def sweep(most: int) -> Iterator[Point]:
    """Both sides of the first `most` times of every call in every scenario."""
    for scenario in SCENARIOS:
        for where, call in sorted(set(calls(scenario))):
            for nth in range(min(most, calls(scenario).count((where, call)))):
                yield Point(scenario, where, call, nth, False)
                yield Point(scenario, where, call, nth, True)
