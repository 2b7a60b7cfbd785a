"""The ladder climbed by the real control plane: what hangs in Azure is reset, once, whatever dies on the way."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest

from lab.model import agent, corpus
from lab.model.history import Event, History
from lab.model.play import Outcome, beginning, play
from shared.domain import limits

CONNECTION, GATEWAY = "arm POST /resetconnection connections/home", "arm POST /reset virtualNetworkGateways/hub"


def hangs(*faults: Event, whole: bool = False, homes: int = 1) -> Outcome:
    wedge = Event(5.0, "wedge", {"home": "home", "whole": whole})
    return play(History(1, homes, {}, (wedge, *faults)))


def resets(outcome: Outcome) -> list[str]:
    return re.findall(f"{CONNECTION}|{GATEWAY}", outcome.log)


def struck(kind: str, call: str, after: bool) -> Event:
    arguments: dict[str, Any] = {"where": "functions", "skip": 0, "times": 1, "seconds": 0.0}
    # The first reset comes after RESET_CONNECTION_AFTER_S; the faults must not have ended by then.
    return Event(6.0, "strike", {"kind": kind, "call": call, "after": after, **arguments})


pytestmark = pytest.mark.usefixtures("begun")


def test_a_connection_that_hangs_is_dialled_twice_and_reset_once() -> None:
    outcome = hangs()
    assert outcome.violations == () and resets(outcome) == [CONNECTION]
    dialled = outcome.log.index('"kind": "initiate", "outcome": "done"')
    assert dialled < outcome.log.index(CONNECTION) and "a person resets" not in outcome.log


def test_a_gateway_that_hangs_is_reset_when_its_connection_was() -> None:
    outcome = hangs(whole=True)
    assert outcome.violations == () and resets(outcome) == [CONNECTION, GATEWAY]
    assert "a person resets" not in outcome.log


def test_a_connection_that_hangs_at_a_new_address_is_reset_too() -> None:
    """The pin is right, dialling does not help: what follows is the ladder's, not dialling for ever."""
    outcome = hangs(Event(20.0, "move", {"home": "home", "address": "198.51.100.175", "outage_s": 0.0}))
    assert outcome.violations == () and resets(outcome) == [CONNECTION]
    assert outcome.log.count("command-accepted") <= 4 and "a person resets" not in outcome.log


def test_one_home_does_not_cut_off_the_other() -> None:
    """The connection's reset is refused for good, so it is not asked for again, and the other home works."""
    refused = {"kind": "refuse", "method": "POST", "path": "/resetconnection", "times": 99, "status": 400}
    trouble = Event(6.0, "arm_trouble", {**refused, "code": "BadRequest", "seconds": 0.0})
    until = Event(700.0, "owner_works", {"home": "home", "number": 1})  # so long the faults last
    outcome = hangs(trouble, until, homes=2)
    assert outcome.violations == () and resets(outcome) == [CONNECTION]


def test_a_home_that_works_is_not_cut_off_because_its_agent_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    beginning(2)
    monkeypatch.setattr(agent, "RESTART_S", 1e6)
    refused = {"kind": "refuse", "method": "POST", "path": "/resetconnection", "times": 99, "status": 400}
    trouble = Event(6.0, "arm_trouble", {**refused, "code": "BadRequest", "seconds": 0.0})
    outcome = hangs(Event(3.0, "kill_agent", {"home": "cabin"}), trouble, Event(2500.0, "rest", {}), homes=2)
    assert GATEWAY not in resets(outcome) and not any(v.startswith("2") for v in outcome.violations)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", ["kill", "error"])
def test_a_reset_whose_outcome_is_unknown_is_not_asked_for_again(kind: str, after: bool) -> None:
    """It counts as tried: what follows is the gateway's, 25 minutes after the beginning."""
    until = Event(700.0, "owner_works", {"home": "home", "number": 1})
    outcome = hangs(struck(kind, "arm.reset_connection", after), until)
    assert outcome.violations == ()
    assert resets(outcome) == ([CONNECTION] if after else [GATEWAY])


def test_a_reset_that_a_lock_refused_was_none() -> None:
    locked = {"kind": "refuse", "method": "POST", "path": "/resetconnection", "times": 1, "status": 409}
    trouble = Event(6.0, "arm_trouble", {**locked, "code": "AnotherOperationInProgress", "seconds": 0.0})
    until = Event(700.0, "owner_works", {"home": "home", "number": 1})
    outcome = hangs(trouble, until)
    assert outcome.violations == () and resets(outcome) == [CONNECTION] * 2


def test_a_reset_that_a_lock_was_in_the_way_of_is_asked_for_again_after_five_minutes() -> None:
    path = corpus.FOLDER / "2-locked-reset-is-asked-for-again.json"
    outcome = play(corpus.read(path).history)
    asked = [float(line.split()[0]) for line in outcome.log.splitlines() if f" ctl {CONNECTION}" in line]
    assert len(asked) >= 2 and all(b - a >= limits.RESET_LOCKED_S for a, b in pairwise(asked)), asked
