"""An Incident names its cause: the root of what is found until the tunnel is proven, without asking anybody for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.control import incidents
from shared.control.events import Asked, Reason, page
from shared.control.unit import IncidentRow
from shared.domain import parse

from .world import CONNECTION, NAME, SECOND, World


@pytest.fixture
async def world() -> World:
    made = World()
    await made.joined()
    await made.run(60)
    return made


def down(world: World, ike_error: str | None = None) -> None:
    """No SA, and what charon says of it."""
    tunnel = world.agent.tunnel
    assert tunnel is not None
    child = replace(tunnel.child, installed=False, installed_s=None)
    probes = tuple(replace(p, ok=False) for p in tunnel.probes)
    world.agent.tunnel = replace(tunnel, child=child, probes=probes, ike_error=ike_error)
    world.azure_sees("NotConnected")


def refuse(world: World, reason: str) -> None:
    """Whatever is dialled, the ends refuse each other."""
    world.agent.touch = lambda: down(world, reason)  # type: ignore[method-assign]
    down(world, reason)


async def incident(world: World) -> IncidentRow:
    return (await world.app.specs.incidents("home"))[0]


async def closed(world: World) -> bool:
    return (await incident(world)).closed is not None


async def test_it_opens_under_the_name_of_what_was_noticed(world: World) -> None:
    refuse(world, "AUTHENTICATION_FAILED")
    await world.run(120)
    found = await incident(world)
    told = (await page(world.store, "hub", "home", Asked())).items
    [opened] = [e for e in told if e.reason == Reason.INCIDENT_OPENED]
    assert (opened.message, found.finding) == (f"Incident {found.id}: tunnel-down.", "psk-mismatch")


async def test_a_refusal_is_the_cause_and_stays_it_when_all_is_well_again(world: World) -> None:
    touch = world.agent.touch
    refuse(world, "AUTHENTICATION_FAILED")
    await world.run(120)
    assert (await incident(world)).finding == "psk-mismatch"
    world.agent.touch = touch  # type: ignore[method-assign]
    world.agent.touch()
    assert world.agent.tunnel is not None
    world.agent.tunnel = replace(world.agent.tunnel, ike_error=None)
    await world.until(lambda: closed(world), 300)
    found = await incident(world)
    assert found.finding == "psk-mismatch"
    told = (await page(world.store, "hub", "home", Asked())).items
    assert [e.message for e in told if e.reason == Reason.INCIDENT_CLOSED] == [
        f"Incident {found.id} (psk-mismatch): nothing is left to do."
    ]


async def test_what_shows_after_a_changed_address_was_caused_by_it(world: World) -> None:
    world.agent.source = SECOND
    down(world, "PEER_NOT_RESPONDING")
    await world.run(60)  # the name still says the old address
    assert (await incident(world)).finding == "home-address-changed"
    world.resolver.answer(NAME, SECOND)
    await world.until(lambda: closed(world), 1200)
    assert (await incident(world)).finding == "home-address-changed"


async def test_what_breaks_after_the_proof_is_not_the_cause(world: World) -> None:
    world.agent.source = SECOND
    world.agent.breaks()
    world.resolver.answer(NAME, SECOND)

    async def proven() -> bool:
        told = await world.app.specs.incidents("home")
        return bool(told) and told[0].verified is not None

    await world.until(proven, 300)
    refuse(world, "AUTHENTICATION_FAILED")
    await world.run(120)
    found = await incident(world)
    assert (found.finding, found.closed) == ("home-address-changed", None)


async def test_an_old_key_that_a_changed_address_brings_to_light_is_the_cause(world: World) -> None:
    world.agent.source = SECOND
    world.resolver.answer(NAME, SECOND)
    refuse(world, "AUTHENTICATION_FAILED")
    await world.run(120)
    assert (await incident(world)).finding == "psk-mismatch"


async def test_a_home_that_was_offline_was_so_when_it_dials_again(world: World) -> None:
    world.agent.alive = False
    world.azure_sees("NotConnected")
    await world.run(300)
    assert (await incident(world)).finding == "home-offline"
    world.agent.alive = True
    down(world)
    await world.run(60)
    assert (await incident(world)).finding == "home-offline", "no tunnel yet: that is what it comes from"
    world.agent.touch()
    await world.until(lambda: closed(world), 300)
    assert (await incident(world)).finding == "home-offline"


async def test_an_agent_that_is_silent_while_azure_is_connected_is_no_offline_home(world: World) -> None:
    world.agent.alive = False
    await world.run(300)
    assert (await incident(world)).finding == "agent-silent"


async def test_what_nothing_explains_is_named_by_what_shows(world: World) -> None:
    world.agent.breaks()
    await world.run(120)
    assert (await incident(world)).finding == "probe-fails"


async def test_naming_the_cause_asks_azure_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same outage, seen by two control planes of which one does not look for the cause."""
    asked = []
    for looks in (True, False):
        if not looks:
            monkeypatch.setattr(incidents, "_cause", lambda half, known: known)
        world = World()
        await world.joined()
        refuse(world, "AUTHENTICATION_FAILED")
        await world.run(1200)
        asked.append([(r.verb, r.target) for r in world.arm.requests])
        assert (await incident(world)).finding == ("psk-mismatch" if looks else "tunnel-down")
    assert asked[0] == asked[1]


async def exhausted(world: World) -> list[str]:
    told = (await page(world.store, "hub", "home", Asked())).items
    return [e.message for e in told if e.reason == Reason.REPAIRS_EXHAUSTED]


async def test_a_person_is_called_once_and_not_at_once(world: World) -> None:
    refuse(world, "AUTHENTICATION_FAILED")
    await world.run(400)
    assert await exhausted(world) == []
    await world.run(900)
    [message] = await exhausted(world)
    assert "AUTHENTICATION_FAILED" in message and (await incident(world)).exhausted in message


async def test_who_wants_no_repairs_is_not_told_that_they_are_exhausted(world: World) -> None:
    spec = {**CONNECTION["spec"], "repair": {"policy": "observe"}}  # type: ignore[dict-item]
    await world.app.specs.put_connection("home", parse.connection({**CONNECTION, "spec": spec}))
    refuse(world, "AUTHENTICATION_FAILED")
    await world.run(1300)
    assert (await incident(world)).closed is None and await exhausted(world) == []


async def test_an_old_key_is_told_until_there_is_another(world: World) -> None:
    async def recommended() -> str:
        return (await world.conditions())["Recommended"][1]

    assert await recommended() == "AsRecommended"
    world.clock.advance(366 * 86400)
    await world.run(60)
    assert await recommended() == "KeyOld"
    await world.app.specs.set_psk("home", "another.key.0123456789")
    await world.run(60)
    assert await recommended() == "AsRecommended"
