"""Events over HTTP: parameters, pages, refusals; and the daily run of retention."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta, timezone

import pytest

from tests.app import FUNCTIONS
from tests.examples import CONNECTION, GATEWAY
from tests.functions.calls import call, world
from tests.shared.control.world import World

__all__ = ["world"]
HUB, HOME = {"name": "hub"}, {"name": "home"}


async def test_pages_from_the_newest_to_the_first(world: World) -> None:
    await world.joined()
    whole = (await call("get_gateway_events", route=HUB, params={"limit": "500"})).json
    assert whole["next"] is None and len(whole["items"]) > 20
    assert whole["items"][-1]["reason"] == "Created" and set(whole["items"][0]) == {
        "id", "at", "gateway", "connection", "type", "reason", "message", "trace",
    }  # fmt: skip
    found, params = [], {"limit": "7"}
    while params.get("next") != "":
        answer = await call("get_gateway_events", route=HUB, params=params)
        assert answer.status == 200 and len(answer.json["items"]) <= 7
        found += answer.json["items"]
        params["next"] = answer.json["next"] or ""
    assert found == whole["items"]
    mine = (await call("get_connection_events", route=HOME, params={"limit": "500"})).json["items"]
    assert mine == [e for e in whole["items"] if e["connection"] == "home"]


async def test_since(world: World) -> None:
    await world.joined()
    events = (await call("get_gateway_events", route=HUB, params={"limit": "500"})).json["items"]
    at = datetime.fromisoformat(events[10]["at"])
    for zone in (UTC, timezone(timedelta(hours=5, minutes=30))):
        since = at.astimezone(zone).isoformat()
        answer = await call("get_gateway_events", route=HUB, params={"since": since, "limit": "500"})
        assert answer.json["items"] == [e for e in events if datetime.fromisoformat(e["at"]) >= at]


@pytest.mark.parametrize(
    ("params", "rules"),
    [
        ({"since": "yesterday"}, ["since-form"]),
        ({"since": ""}, ["since-form"]),
        ({"since": "2026-11-22"}, ["since-form"]),
        ({"since": "2026-11-22T10:00:00"}, ["since-form"]),
        ({"since": "2026-11-22T10:00:00 01:00"}, ["since-form"]),
        ({"since": "2026-02-30T10:00:00Z"}, ["since-form"]),
        ({"since": "0000-01-01T00:00:00Z"}, ["since-form"]),
        ({"limit": "0"}, ["limit-range"]),
        ({"limit": "501"}, ["limit-range"]),
        ({"limit": "-1"}, ["limit-range"]),
        ({"limit": ""}, ["limit-range"]),
        ({"limit": "1e2"}, ["limit-range"]),
        ({"limit": "１０"}, ["limit-range"]),
        ({"next": "abc"}, ["next-form"]),
        ({"next": ""}, ["next-form"]),
        ({"since": "x", "limit": "x", "next": "x"}, ["since-form", "limit-range", "next-form"]),
    ],
)
@pytest.mark.parametrize("name", ["get_gateway_events", "get_connection_events"])
async def test_what_is_refused(world: World, name: str, params: dict[str, str], rules: list[str]) -> None:
    await world.put()
    route = HUB if "gateway" in name else HOME
    answer = await call(name, route=route, params=params)
    assert answer.status == 422 and answer.problem() == rules


@pytest.mark.parametrize(
    "since",
    [
        "2016-12-31T23:59:60Z",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59.999999999-23:59",
        "2026-11-22t10:00:00z",
        "2026-11-22T10:00:00.123456789-00:00",
    ],
)
async def test_every_time_of_rfc_3339_is_taken(world: World, since: str) -> None:
    await world.put()
    assert (await call("get_gateway_events", route=HUB, params={"since": since})).status == 200


async def test_what_does_not_exist(world: World) -> None:
    assert (await call("get_gateway_events", route=HUB)).status == 404
    assert (await call("get_connection_events", route=HOME)).status == 404
    await call("put_gateway", GATEWAY, HUB)
    await call("put_connection", CONNECTION, HOME)
    assert [e["reason"] for e in (await call("get_connection_events", route=HOME)).json["items"]] == ["Created"]


async def test_the_daily_run_tells_what_went(world: World, caplog: pytest.LogCaptureFixture) -> None:
    await world.joined()
    world.clock.advance(40 * 86_400)
    with caplog.at_level(logging.INFO, logger="homelink.retention"):
        await FUNCTIONS["retention"].get_user_function()(timer=None)
    [line] = [r.getMessage() for r in caplog.records if r.name == "homelink.retention"]
    assert line.startswith("retention removed ") and " events" in line and " tokens" in line
    assert (await call("get_connection_events", route=HOME)).json == {"items": [], "next": None}
