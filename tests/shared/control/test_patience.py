"""What lasts long, or begins before the home is heard: nothing waits or asks for ever, or is told too soon."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shared.control.events import Asked, Reason, page
from shared.control.unit import IncidentRow
from shared.domain import parse, render
from shared.domain.arm import ArmKind
from shared.wire.reports import TunnelHealth
from tests.examples import GATEWAY

from .test_diagnose import answer
from .world import CONNECTION, NAME, SECOND, World

THIRD = "198.51.100.99"
DAY_S = 86_400


def changed(**spec: Any) -> dict[str, Any]:
    """The Connection's document with other fields; None takes one away."""
    kept = {k: v for k, v in {**CONNECTION["spec"], **spec}.items() if v is not None}  # type: ignore[dict-item]
    return {**CONNECTION, "spec": kept}


async def joined(document: dict[str, Any] = CONNECTION) -> World:
    world = World()
    await world.put(connection=document)
    await world.agent.enrol()
    await world.until(world.ready)
    await world.run(60)
    return world


async def pinned() -> World:
    """The home is at its second address, and Azure is pointed at it."""
    world = await joined()
    moved(world, SECOND)
    await world.run(120)
    assert (await world.lng())["gatewayIpAddress"] == SECOND
    return world


def moved(world: World, address: str) -> None:
    world.agent.source = address
    world.agent.breaks()
    world.azure_sees("NotConnected")
    world.resolver.answer(NAME, address)


def tunnel(world: World) -> TunnelHealth:
    assert world.agent.tunnel is not None
    return world.agent.tunnel


def lost(health: TunnelHealth) -> TunnelHealth:
    probes = tuple(replace(p, ok=False) for p in health.probes)
    child = replace(health.child, installed=False, installed_s=None)
    return replace(health, child=child, bgp=replace(health.bgp, state="Idle"), probes=probes)


async def incident(world: World) -> IncidentRow:
    return (await world.app.specs.incidents("home"))[0]


async def exhausted(world: World) -> list[str]:
    told = (await page(world.store, "hub", "home", Asked())).items
    return [e.message for e in told if e.reason == Reason.REPAIRS_EXHAUSTED]


async def power_cut(world: World, seconds: int = 900) -> None:
    world.agent.alive = False
    world.azure_sees("NotConnected")
    await world.run(seconds)


@pytest.mark.parametrize("first", ["another spec", "prefixes still on their way"])
async def test_what_passes_at_the_return_of_a_home_calls_nobody(first: str) -> None:
    world = await joined()
    whole = tunnel(world)
    await power_cut(world)
    if first == "another spec":
        await world.app.specs.put_connection("home", parse.connection(changed(mss=1300)))
        world.agent.tunnel = lost(whole)
    else:
        world.agent.tunnel = replace(whole, bgp=replace(whole.bgp, received=()))
    await world.run(120)
    await world.agent.report()
    await world.step("hub")
    if first != "another spec":
        world.agent.tunnel = whole
        world.azure_sees("Connected")
    world.agent.alive = True
    await world.run(600)
    assert await exhausted(world) == []


async def test_a_home_that_returns_is_dialled_before_anything_is_reset() -> None:
    world = await joined()
    world.agent.touch = lambda: None  # type: ignore[method-assign]
    world.agent.tunnel = lost(tunnel(world))
    world.azure_sees("NotConnected")
    await world.run(300)
    world.agent.alive = False
    await world.run(3 * 3600)
    before = len(await tried(world))
    world.agent.alive = True
    await world.run(700)
    assert (await tried(world))[before:][:3] == ["initiate", "initiate", "reset-connection"]


async def tried(world: World) -> list[str]:
    return [str(a.rung) for a in (await world.app.specs.unit_of("home")).links["home"].attempts]


async def test_an_incident_ends_without_probe_and_pin_too() -> None:
    world = await joined(changed(probe=None, repair={"pin": False}))
    whole = tunnel(world)
    world.agent.source = SECOND
    world.agent.tunnel = lost(whole)
    world.azure_sees("NotConnected")
    world.resolver.answer(NAME, SECOND)
    await world.run(300)
    world.agent.tunnel = replace(whole, child=replace(whole.child, installed_s=0.0))
    world.azure_sees("Connected")
    await world.run(600)
    found = await incident(world)
    assert found.closed and found.verified
    assert (await world.app.specs.unit_of("home")).links["home"].known_address == SECOND


async def test_a_pause_does_not_leave_azure_at_a_dead_address() -> None:
    world = await pinned()
    await world.app.specs.put_connection("home", parse.connection(changed(repair={"policy": "observe"})))
    moved(world, THIRD)
    await world.run(600)
    assert not (await world.lng()).get("gatewayIpAddress")


@pytest.mark.parametrize("agent", ["silent", "failing"])
async def test_a_diagnosis_comes_to_an_end(agent: str) -> None:
    world = await joined()
    if agent == "silent":
        await power_cut(world, 200)
    for _ in range(20):
        found = await world.app.diagnose.ask("home", "a person")
        if not found.pending:
            break
        if found.asked and agent == "failing":
            await answer(world, {}, "failed", "the firewall is unreachable")
        world.clock.advance(found.retry_after_s)
    assert not found.pending
    assert sum(r.verb == "ask_bgp" for r in world.arm.requests) <= 3


async def test_what_is_blocked_is_told_and_keeps_no_incident_open() -> None:
    world = await joined()
    whole = tunnel(world)
    world.agent.tunnel = lost(whole)
    await world.run(60)
    refs = render.connection_refs("home", parse.gateway(GATEWAY).spec, parse.connection(CONNECTION).spec)
    world.arm.edit(refs[ArmKind.LOCAL_GATEWAY], lambda body: body["tags"].clear())
    await world.run(3700)
    assert "read only" in (await incident(world)).timeline[-1].what
    world.agent.tunnel = whole
    await world.run(300)
    assert (await incident(world)).closed is not None


async def test_who_is_let_go_while_pinned_is_left_with_the_name() -> None:
    world = await pinned()
    await world.app.specs.delete_connection("home", release=True)
    await world.run(600)
    assert not await world.app.specs.list_connections()
    lng = await world.lng()
    assert lng.get("fqdn") == NAME and not lng.get("gatewayIpAddress")
