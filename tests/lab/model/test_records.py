"""The incident recorder: what the API tells of an Incident can be decided again, by this version and by later ones."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from lab.model import loop
from lab.model.assumptions import Assumptions
from lab.model.play import beginning
from lab.model.world import World
from shared.domain.replay import DecisionEntry, replayed

RECORDS = Path(__file__).parent / "records"


def decisions(record: dict[str, Any]) -> list[DecisionEntry]:
    lines = [{k: v for k, v in line.items() if k != "what"} for line in record["record"] if line["what"] == "decision"]
    return [DecisionEntry.model_validate(line) for line in lines]


async def an_address_change(frozen: bytes) -> dict[str, Any]:
    world = World.thaw(frozen, 7, Assumptions())
    world.start()
    await asyncio.sleep(20)
    world.places["home"].home.move("198.51.100.77", 15.0)
    for _ in range(200):
        await asyncio.sleep(10)
        incidents = await world.expect(200, "GET", "connections/home/incidents")
        if incidents["items"] and incidents["items"][0]["closed"]:
            break
    found: dict[str, Any] = await world.expect(200, "GET", f"connections/home/incidents/{incidents['items'][0]['id']}")
    for secret in world.watch.secrets:
        assert secret not in json.dumps(found)
    assert not world.watch.violations
    return found


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    frozen, at = beginning(1)
    return loop.run(an_address_change(frozen), at)


def test_a_record_tells_the_whole_story_in_order(record: dict[str, Any]) -> None:
    lines = record["record"]
    assert [line["at"] for line in lines] == sorted(line["at"] for line in lines)
    rungs = [line["rung"] for line in lines if line["what"] == "decision" and line["kind"] == "act"]
    assert rungs == ["pin", "initiate", "unpin"]
    reasons = [line["reason"] for line in lines if line["what"] == "event"]
    assert reasons.index("IncidentOpened") < reasons.index("PinSet") < reasons.index("IncidentVerified")
    assert reasons.index("PinEnded") < reasons.index("IncidentClosed")
    acts = [(line["action"], line["subject"].rpartition("/")[2]) for line in lines if line["what"] == "act"]
    assert acts.count(("arm-put", "home-lng")) == 2, "the pin and its end"
    assert any(action == "command-initiate" for action, _ in acts)
    witnessed = next(line for line in lines if line["what"] == "decision" and line["rung"] == "pin")["situation"]
    assert witnessed["reported_address"] == "198.51.100.77" and witnessed["known_address"] == "198.51.100.20"
    assert list(witnessed["dns"]["authoritative"].values()) == [["198.51.100.77"]] * 2


def test_every_decision_is_made_again_as_it_was(record: dict[str, Any]) -> None:
    made = decisions(record)
    assert len(made) >= 5
    for one in made:
        assert replayed(one) == one


@pytest.mark.parametrize("path", sorted(RECORDS.glob("*.json")), ids=lambda p: p.stem)
def test_decisions_of_recorded_incidents_have_not_changed(path: Path) -> None:
    """A change here is a change of mind: look at it, then record the Incident anew."""
    for one in decisions(json.loads(path.read_text())):
        assert replayed(one) == one, one.at
