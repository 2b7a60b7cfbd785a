"""A reconciler that dies at every single call it makes: whatever it was about to do or had just done, the end is the
same, as if every accepted command had taken effect once (DESIGN section 8, 1-3)."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from shared.control.services import UNITS
from shared.control.unit import LINK, LinkRow
from shared.domain import parse, render
from shared.domain.arm import ArmKind
from shared.wire.commands import Kind
from tests.examples import CONNECTION, GATEWAY, changed

from .faults import READS
from .world import FIRST, NAME, SECOND, World

GW = parse.gateway(GATEWAY).spec
REFS = {**render.gateway_refs("hub", GW), **render.connection_refs("home", GW)}
QUICK = changed(CONNECTION, "spec.repair", {"unpinAfterSeconds": 15})
WITHIN_S = 1200
"""A message whose step died comes up again after 600 s; nothing may need more than that and the sweep."""

Scenario = Callable[[World], Awaitable[None]]


def quick_world(kind: type[World] = World) -> World:
    world = kind(gateway_takes_s=15)
    world.arm.takes_s.update({k: 5 for k in world.arm.takes_s if "virtualNetworkGateways" not in k})
    world.arm.takes_s["delete virtualNetworkGateways"] = 5
    return world


async def joins(world: World) -> None:
    await world.put(connection=QUICK)
    await world.agent.enrol()
    await world.until(world.ready, WITHIN_S)


async def moves(world: World) -> None:
    world.agent.source = SECOND
    world.agent.breaks()
    world.resolver.answer(NAME, SECOND)

    async def closed() -> bool:
        incidents = await world.app.specs.incidents("home")
        return bool(incidents) and incidents[0].closed is not None and await world.ready()

    await world.until(closed, WITHIN_S)


async def leaves(world: World) -> None:
    await world.app.specs.delete_connection("home")

    async def forgotten() -> bool:
        return await world.app.specs.list_connections() == []

    await world.until(forgotten, WITHIN_S)
    await world.app.specs.delete_gateway("hub")

    async def gone() -> bool:
        return await world.app.specs.list_gateways() == []

    await world.until(gone, WITHIN_S)


async def end_state(world: World) -> dict[str, Any]:
    """What must be the same whatever died on the way."""
    resources = {k: world.arm.resource(r) for k, r in REFS.items()}
    for body in resources.values():
        if body is not None:
            del body["etag"]
    row = await world.store.get(UNITS, "hub", LINK + "home")
    link = LinkRow.model_validate(row.data) if row else LinkRow()
    key = await world.vault.get(link.psk_name) if link.psk_name else None
    tunnel = world.agent.tunnel
    return {
        "resources": resources,
        "keys in the vault": [n for n in world.vault.names() if n.startswith("psk-")] if key is None else 1,
        "one key at both ends": key is not None
        and world.arm.shared_key(REFS[ArmKind.CONNECTION]) == key.value
        and link.psk_version == link.azure_psk_version == key.version
        and tunnel is not None
        and tunnel.psk_version == key.version,
        "pin": link.pin,
        "known address": link.known_address,
        "tunnel": tunnel is not None and tunnel.child.installed and all(p.ok for p in tunnel.probes),
        "resets": world.arm.resets,
        "findings": [i.finding for i in await world.app.specs.incidents("home")] if row else [],
    }


async def after_every_crash(start: World, scenario: Scenario) -> None:
    calm = copy.deepcopy(start)
    calm.fault.calls = []
    await scenario(calm)
    await calm.run(180)
    calls, wanted = calm.fault.calls, await end_state(calm)
    initiated = [c.kind for c in calm.agent.commands].count(Kind.INITIATE)
    points = [(k, after) for k, name in enumerate(calls) if not reads(name) for after in (False, True)]
    assert len(points) > 50 and len(calls) > len(points)
    wrong = []
    for number, after in points:
        world = copy.deepcopy(start)
        world.fault.kill(number, after)
        try:
            await scenario(world)
            await world.run(180)
            found = await end_state(world)
        except Exception as e:
            found = {"scenario": repr(e)}
        bad = {k: (v, wanted.get(k)) for k, v in found.items() if v != wanted.get(k)}
        bounces = [c.kind for c in world.agent.commands].count(Kind.INITIATE)
        if world.crashes != 1:
            bad["crashes"] = (world.crashes, 1)
        if bounces > initiated + 1:
            bad["the tunnel was bounced"] = (bounces, initiated)
        if bad:
            wrong.append((number, calls[number], "after" if after else "before", bad))
    assert not wrong, f"{len(wrong)} of {len(points)} crashes end otherwise, the first: {wrong[0]}"


def reads(name: str) -> bool:
    """A read changes nothing, so to die around it is to die after the write before it, or before the one after it: of
    all calls these are the points that differ."""
    return name.partition(".")[2] in READS


async def test_while_joining() -> None:
    await after_every_crash(quick_world(), joins)


async def test_while_repairing() -> None:
    world = quick_world()
    await joins(world)
    await world.run(60)
    await after_every_crash(world, moves)


async def test_while_leaving() -> None:
    world = quick_world()
    await joins(world)
    await world.run(60)
    await after_every_crash(world, leaves)


@pytest.mark.parametrize("scenario", [joins, moves, leaves])
async def test_the_calm_runs_end_where_they_should(scenario: Scenario) -> None:
    """The tests above compare with these."""
    world = quick_world()
    await joins(world)
    if scenario is not joins:
        await world.run(60)
        await scenario(world)
    await world.run(180)
    found = await end_state(world)
    lng = (found["resources"][ArmKind.LOCAL_GATEWAY] or {}).get("properties", {})
    assert found["resets"] == {} and found["pin"] is None
    if scenario is leaves:
        assert set(found["resources"].values()) == {None} and found["keys in the vault"] == [] and not found["tunnel"]
        return
    assert lng["fqdn"] == NAME and "gatewayIpAddress" not in lng
    assert found["one key at both ends"] and found["tunnel"] and await world.ready()
    assert found["known address"] == (SECOND if scenario is moves else FIRST)
    assert found["findings"] == (["home-address-changed"] if scenario is moves else [])
