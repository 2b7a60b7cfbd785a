"""Alerts: whom they are about, told once however often they come, a look and nothing more, and an end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from shared.control.alerts import REFUSED, Taken
from shared.control.events import Asked, Event
from shared.control.services import ALERTS, RECONCILE, UNITS
from shared.control.unit import ALERT
from shared.domain import limits
from shared.domain.problem import InvalidInput
from shared.errors import TemporaryError
from shared.seams import Write
from shared.wiring import build
from tests.alerts import CONNECTION_ID, GATEWAY_ID, NETWORK, alert, dimension, raw

from .world import World

DAY = 86_400


@pytest.fixture
async def world() -> World:
    made = World()
    await made.put()
    return made


async def take(world: World, *targets: str, **changes: Any) -> Taken:
    return await world.app.alerts.take(raw(alert(*targets, **changes)))


async def told(world: World) -> list[Event]:
    events = (await world.app.specs.gateway_events("hub", Asked())).items
    return [e for e in events if e.reason.startswith("Alert")]


def wakes(world: World) -> int:
    found = 0
    while (message := world.queue.receive(RECONCILE)) is not None:
        found += '"alert"' in message.text
        world.queue.delete(RECONCILE, message)
    return found


@pytest.mark.parametrize(
    ("target", "about"),
    [
        (GATEWAY_ID, "gateway/hub"),
        (GATEWAY_ID.upper() + "/", "gateway/hub"),
        (f"{NETWORK}/publicIPAddresses/hub-pip", "gateway/hub"),
        (CONNECTION_ID.lower(), "connection/home"),
        (f"{NETWORK}/localNetworkGateways/home-lng", "connection/home"),
    ],
)
async def test_the_target_gets_an_event_and_its_unit_a_look(world: World, target: str, about: str) -> None:
    assert await take(world, target) == Taken(False, (about,), ())
    [event] = await told(world)
    assert (event.reason, event.type) == ("AlertFired", "Warning") and event.gateway == "hub"
    assert event.connection == ("home" if "connection" in about else None)
    assert event.message == "Azure Monitor, Sev1: tunnel-without-traffic. No traffic for five minutes"
    assert wakes(world) == 1 and await world.app.alerts.kept() == []


async def test_resolved_is_news_of_its_own(world: World) -> None:
    await take(world, GATEWAY_ID)
    assert not (await take(world, GATEWAY_ID, monitorCondition="Resolved")).known
    assert [(e.reason, e.type) for e in await told(world)] == [("AlertResolved", "Normal"), ("AlertFired", "Warning")]


@pytest.mark.parametrize(("name", "about"), [("HOME", "connection/home"), ("other", "gateway/hub")])
async def test_a_metric_of_the_gateway_says_which_connection(world: World, name: str, about: str) -> None:
    found = await take(world, GATEWAY_ID, context=dimension("ConnectionName", name))
    assert found.targets == (about,)


async def test_several_targets_of_which_some_are_ours(world: World) -> None:
    found = await take(world, GATEWAY_ID, "/Subscriptions/X", CONNECTION_ID)
    assert found == Taken(False, ("gateway/hub", "connection/home"), ("/subscriptions/x",))
    assert len(await told(world)) == 2 and wakes(world) == 1 and await world.app.alerts.kept() == []


async def test_a_repeated_delivery_tells_nothing_and_wakes_again(world: World) -> None:
    await take(world, GATEWAY_ID)
    assert (await take(world, GATEWAY_ID)).known and len(await told(world)) == 1
    assert wakes(world) == 2, "the first may have died before it woke anybody"


async def test_of_two_deliveries_at_once_the_store_takes_one(world: World) -> None:
    both = asyncio.Barrier(2)

    async def together(*_: object) -> None:
        await both.wait()

    world.store.before_transact = together
    found = await asyncio.gather(take(world, GATEWAY_ID), take(world, GATEWAY_ID))
    assert sorted(f.known for f in found) == [False, True] and len(await told(world)) == 1


async def test_a_delivery_that_dies_before_its_wake_is_made_good_by_the_next(world: World) -> None:
    class Away:
        async def send(self, *_: object, **__: object) -> None:
            raise TemporaryError("the queue is away", 1.0)

    with pytest.raises(TemporaryError):
        await build(replace(world.services, queue=Away())).alerts.take(raw(alert(GATEWAY_ID)))  # type: ignore[arg-type]
    assert (await take(world, GATEWAY_ID)).known and wakes(world) == 1 and len(await told(world)) == 1


async def test_an_alert_alone_triggers_a_look_and_nothing_more() -> None:
    """Through the whole machinery, with a tunnel that is well: no write to Azure, no command, no Incident."""
    world = World()
    await world.joined()
    await world.run(300)
    writes, commands, steps = len(world.arm.writes()), len(world.agent.commands), world.steps
    for n in range(20):
        await take(world, GATEWAY_ID, CONNECTION_ID, alertId=f"/alert/{n}", severity="Sev0")
    await world.handle_messages()
    assert world.steps > steps, "it looked"
    await world.run(120)
    assert len(world.arm.writes()) == writes and len(world.agent.commands) == commands
    assert await world.ready() and await world.app.specs.incidents("home") == []


async def test_nothing_of_ours_is_kept_for_a_person_to_see(world: World) -> None:
    assert await take(world, "/Somebody/Elses") == Taken(False, (), ("/somebody/elses",))
    [kept] = await world.app.alerts.kept()
    assert "no resources" in kept.reason and "/Somebody/Elses" in kept.body
    assert wakes(world) == 0 and await told(world) == []


async def test_what_cannot_be_read_is_kept_scrubbed_and_cut(world: World) -> None:
    body = b'{"schemaId": "other", "sharedKey": "s3cret-s3cret", "from": "198.51.100.23", "long": "%s"}' % (b"x" * 9000)
    with pytest.raises(InvalidInput):
        await world.app.alerts.take(body)
    [kept] = await world.app.alerts.kept()
    assert kept.reason.startswith("schemaId: ") and "198.51.100.0/24" in kept.body
    assert len(kept.body) == limits.ALERT_CHARS
    assert "s3cret" not in world.store.everything() and "198.51.100.23" not in world.store.everything()


@pytest.mark.parametrize("body", [b"", b"\xff\x00", b"[" * 300_000, b'{"schemaId": "\\ud800"}', b"x" * 1_000_000])
async def test_anything_is_kept(world: World, body: bytes) -> None:
    for _ in range(2):
        world.clock.advance(1)
        with pytest.raises(InvalidInput):
            await world.app.alerts.take(body)
    kept = await world.app.alerts.kept()
    assert len(kept) == 2 and kept[0].at > kept[1].at, "newest first"


async def test_no_secret_of_a_rule_gets_into_an_event(world: World) -> None:
    await take(world, CONNECTION_ID, description="see https://wiki/?sig=s3cret")
    assert "s3cret" not in world.store.everything()


async def test_azure_is_not_asked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def asked(*_: object) -> None:
        raise AssertionError("ARM was asked")

    for name in ("get", "list", "poll"):
        monkeypatch.setattr(world.arm, name, asked)
    await take(world, GATEWAY_ID)


async def test_marks_go_after_a_day_and_kept_ones_with_the_events(world: World) -> None:
    await world.run(61)
    await take(world, GATEWAY_ID)
    await take(world, "/not/ours")
    world.clock.advance(DAY)
    assert "alert marks" not in (await world.app.retention.run()).rows
    world.clock.advance(1)
    assert (await world.app.retention.run()).rows == {"alert marks": 1}
    assert await world.store.query(UNITS, "hub", ALERT) == []
    world.clock.advance(29 * DAY)
    assert (await world.app.retention.run()).rows["refused alerts"] == 1
    assert await world.store.query(ALERTS, REFUSED) == []


async def test_only_so_many_are_kept_and_the_newest(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ALERTS_KEPT", 3)
    for n in range(8):
        world.clock.advance(1)
        await take(world, f"/not/ours/{n}")
    assert (await world.app.retention.run()).rows == {"refused alerts": 5}
    assert [k.body.partition("/not/ours/")[2][0] for k in await world.app.alerts.kept()] == ["7", "6", "5"]
    assert len(await world.store.query(ALERTS, REFUSED)) == 3


async def test_a_gateway_that_is_gone_gets_none(world: World) -> None:
    seen: list[tuple[str, Sequence[Write]]] = []

    async def note(table: str, partition: str, writes: Sequence[Write]) -> None:
        seen.append((table, writes))

    world.store.before_transact = note
    assert (await take(world, GATEWAY_ID.replace("hub", "gone"))).targets == ()
    assert [table for table, _ in seen] == [ALERTS]
