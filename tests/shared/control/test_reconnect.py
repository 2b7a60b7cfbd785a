"""A provider that cuts the line every night: after some nights the hour is known, told, and waited out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.control.services import UNITS
from shared.control.unit import LINK
from shared.domain import limits
from shared.wire.commands import Kind

from .world import FIRST, NAME, World

BEAT_S = 30
NIGHTS = [
    (datetime(2026, 11, 2, 3, 1, tzinfo=UTC), "198.51.100.61"),
    (datetime(2026, 11, 3, 2, 58, tzinfo=UTC), "198.51.100.62"),
    (datetime(2026, 11, 4, 3, 4, tzinfo=UTC), "198.51.100.63"),
]
NEXT = datetime(2026, 11, 5, 3, 2, tzinfo=UTC)


@pytest.fixture
async def world() -> World:
    made = World()
    await made.joined()
    await made.run(60)
    return made


async def sleep_until(world: World, at: datetime) -> None:
    """Nothing happened meanwhile: the next thing heard is the agent."""
    world.clock.advance_to(at)
    await world.agent.report()


async def line_cut(world: World, address: str) -> None:
    """It comes back with another address; the Incident is over when Azure follows the name again."""
    world.agent.source = address
    world.agent.breaks()
    world.resolver.answer(NAME, address)
    await world.run(BEAT_S)
    incident = (await world.app.specs.incidents("home"))[0].id

    async def closed() -> bool:
        newest = (await world.app.specs.incidents("home"))[0]
        return newest.id == incident and newest.closed is not None

    await world.until(closed, 2000)


async def drops(world: World) -> None:
    """The tunnel is gone; the address is the same."""
    assert world.agent.tunnel is not None
    child = replace(world.agent.tunnel.child, installed=False, installed_s=None)
    world.agent.tunnel = replace(world.agent.tunnel, child=child)
    world.agent.breaks()
    world.azure_sees("NotConnected")
    await world.agent.report()
    await world.handle_messages()


async def initiated_after_s(world: World) -> float:
    """Seconds from the Incident to the agent's order to dial."""
    before = [c.kind for c in world.agent.commands].count(Kind.INITIATE)

    async def ordered() -> bool:
        return [c.kind for c in world.agent.commands].count(Kind.INITIATE) > before

    await world.until(ordered, 600)
    opened = (await world.app.specs.incidents("home"))[0].opened
    return (world.clock.now() - opened).total_seconds()


async def test_after_three_nights_the_hour_is_known_and_waited_out(world: World) -> None:
    for at, address in NIGHTS:
        await sleep_until(world, at)
        await line_cut(world, address)
    [told] = [f for f in (await world.app.diagnose.known("home")).findings if f.code == "isp-reconnect"]
    assert "03:01 UTC" in told.evidence[0].what and "3 times" in told.evidence[0].what
    row = await world.store.get(UNITS, "hub", LINK + "home")
    assert row is not None and "198.51.100.6" not in str(row.data["moves"]), "times only"

    await sleep_until(world, NEXT)
    await drops(world)
    wanted = limits.INITIATE_AFTER_S + limits.RECONNECT_WAIT_S
    assert wanted <= await initiated_after_s(world) <= wanted + BEAT_S
    timeline = (await world.app.specs.incidents("home"))[0].timeline
    assert "the provider cuts the line at about 03:01 UTC" in timeline[0].what
    await world.until(world.ready, 120)
    assert world.arm.resets == {}


async def test_a_changed_address_is_acted_upon_at_once_at_that_hour_too(world: World) -> None:
    for at, address in NIGHTS:
        await sleep_until(world, at)
        await line_cut(world, address)
    await sleep_until(world, NEXT)
    world.agent.source = "198.51.100.64"
    world.agent.breaks()
    world.resolver.answer(NAME, "198.51.100.64")
    await world.agent.report()
    assert await initiated_after_s(world) <= BEAT_S


@pytest.mark.parametrize("what", ["nights not known", "another hour", "all over the day"])
async def test_without_such_an_hour_nothing_waits_longer(world: World, what: str) -> None:
    nights = NIGHTS if what != "nights not known" else []
    for n, (at, address) in enumerate(nights):
        await sleep_until(world, at + (timedelta(hours=n) if what == "all over the day" else timedelta()))
        await line_cut(world, address)
    await sleep_until(world, NEXT + (timedelta(hours=5) if what == "another hour" else timedelta()))
    await drops(world)
    assert limits.INITIATE_AFTER_S <= await initiated_after_s(world) <= limits.INITIATE_AFTER_S + BEAT_S


async def test_what_was_learned_is_forgotten(world: World) -> None:
    for at, address in NIGHTS:
        await sleep_until(world, at)
        await line_cut(world, address)
    await sleep_until(world, NIGHTS[-1][0] + timedelta(days=limits.RECONNECT_DAYS))
    await world.run(60)
    row = await world.store.get(UNITS, "hub", LINK + "home")
    assert row is not None and row.data["moves"] == []
    assert (await world.app.diagnose.known("home")).findings == ()


async def test_the_first_address_is_no_change(world: World) -> None:
    row = await world.store.get(UNITS, "hub", LINK + "home")
    assert row is not None and row.data["known_address"] == FIRST and row.data["moves"] == []
