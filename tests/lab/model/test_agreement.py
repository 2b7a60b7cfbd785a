"""The scenarios of the agreement in the model alone, and the comparison by itself: what it forgives and what it does
not. That the lab ends in the same way is tests/lab/test_agreement.py's business."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from lab.agreement import report
from lab.agreement.compare import PASSING_S, disagreements
from lab.agreement.model import ModelSide
from lab.agreement.scenarios import SCENARIOS
from lab.agreement.story import Deed, Incident, State, Story, Teller
from lab.model import loop

START = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


def model_stories(seed: int = 1) -> list[Story]:
    async def play() -> list[Story]:
        teller = Teller(ModelSide(seed))
        return [await teller.tell(each) for each in SCENARIOS]

    return loop.run(play())


@pytest.mark.parametrize("seed", [2, 3])
def test_chance_makes_no_difference(seed: int) -> None:
    for here, there in zip(model_stories(), model_stories(seed), strict=True):
        assert disagreements(here, there) == []


def test_it_measures_in_the_order_of_things() -> None:
    times = [t for t in report.times(model_stories()).values() if t is not None]
    assert len(times) == 5 and times[1:] == sorted(times[1:])


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def story() -> Story:
    """A key is changed, an Incident opens and is closed by an initiate, and the tunnel is down in between."""
    down = [State(at(0), "True Installed"), State(at(10), "False Down"), State(at(30), "True Installed")]
    deeds = [Deed(at(5), "home: KeyChanged"), Deed(at(10), "home: IncidentOpened", "1"), Deed(at(40), "home: IncidentClosed", "1")]  # fmt: skip  # noqa: E501
    incident = Incident("1", "tunnel-down", ("initiate",), at(10), at(30), at(40))
    return Story("a", at(0), at(60), {"home/TunnelUp": "True Installed"}, deeds, {"home/TunnelUp": down}, [incident])


def test_a_story_agrees_with_itself_at_another_pace() -> None:
    later = story()
    later.deeds = [replace(d, at=d.at + timedelta(seconds=3)) for d in later.deeds]
    assert disagreements(story(), later) == []


def test_another_end_is_told() -> None:
    other = replace(story(), conditions={"home/TunnelUp": "False Down"})
    assert disagreements(story(), other) == [
        "a: home/TunnelUp at the end: the lab has True Installed, the model False Down"
    ]


def test_a_state_may_be_missed_only_if_it_passed() -> None:
    long, short, never = story(), story(), story()
    never.paths = {"home/TunnelUp": [State(at(0), "True Installed")]}
    short.paths["home/TunnelUp"][2] = State(at(10 + PASSING_S), "True Installed")
    assert disagreements(short, never) == []
    assert disagreements(long, never) != []


def test_another_order_of_deeds_is_told() -> None:
    other = story()
    other.deeds = [other.deeds[1], other.deeds[0], other.deeds[2]]
    assert len(disagreements(story(), other)) == 1


def test_other_rungs_are_told_and_an_incident_in_which_nothing_was_done_may_be_missed() -> None:
    idle, gone = story(), story()
    idle.incidents = [replace(i, rungs=(), closed=at(10 + PASSING_S)) for i in idle.incidents]
    gone.incidents, gone.deeds = [], [d for d in gone.deeds if not d.incident]
    other = replace(story(), incidents=[replace(i, rungs=("initiate", "initiate")) for i in story().incidents])
    assert len(disagreements(story(), other)) == 1
    assert disagreements(idle, gone) == []
    busy = replace(idle, incidents=[replace(i, rungs=("initiate",)) for i in idle.incidents])
    assert len(disagreements(busy, gone)) == 1
