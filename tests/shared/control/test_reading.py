"""What a unit costs ARM in reads, and that whatever was not read is seen in time all the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.control.reconciler import wake_unit
from shared.control.services import UNITS
from shared.control.unit import STATE, StateRow
from shared.domain import parse, render
from shared.domain.arm import ArmKind
from shared.errors import ArmBusy
from shared.seams import Json
from shared.wire.commands import Kind
from tests.examples import CONNECTION, GATEWAY, changed

from .world import NAME, SECOND, World

GW = parse.gateway(GATEWAY).spec
REFS = {**render.gateway_refs("hub", GW), **render.connection_refs("home", GW)}
LINK = REFS[ArmKind.CONNECTION]


@pytest.fixture
async def world() -> World:
    """Joined, and at rest for long enough that nothing is left to do."""
    world = World()
    await world.joined()
    await world.run(120)
    return world


def since(world: World, start: int) -> Counter[str]:
    return Counter(r.verb for r in world.arm.requests[start:])


def azure_ready(world: World, conditions: Any) -> str:
    return next(str(c.message) for c in conditions if c.type == "AzureReady")


async def state(world: World) -> StateRow:
    row = await world.store.get(UNITS, "hub", STATE)
    assert row is not None
    return StateRow.model_validate(row.data)


async def test_an_hour_at_rest_is_three_lists_a_minute_and_one_look_at_everything(world: World) -> None:
    start, steps = len(world.arm.requests), world.steps
    await world.run(3600)
    assert world.steps - steps >= 60
    asked = since(world, start)
    assert set(asked) == {"list", "get", "has_shared_key"}, "and nothing is written"
    assert 3 * 59 <= asked["list"] <= 3 * 60 and asked["get"] == len(REFS) and asked["has_shared_key"] == 1
    got = [r.target for r in world.arm.requests[start:] if r.verb == "get"]
    assert sorted(got) == sorted(r.id() for r in REFS.values()), "each once"


async def news(world: World, n: int) -> None:
    """A heartbeat that wakes the unit, although nothing is wrong, and the step that it causes."""
    assert world.agent.tunnel is not None
    bgp = replace(world.agent.tunnel.bgp, last_error=f"reset {n}")
    world.agent.tunnel = replace(world.agent.tunnel, bgp=bgp)
    await world.agent.report()
    await world.handle_messages()


async def test_news_from_a_home_that_is_well_costs_no_read(world: World) -> None:
    start, steps = len(world.arm.requests), world.steps
    for n in range(30):
        await world.run(20)
        await news(world, n)
        await world.run(40)
    assert world.steps - steps >= 60, "each heartbeat and each sweep was a step"
    assert since(world, start) == {"list": 3 * 30}


async def test_such_a_step_does_not_overtake_the_sweep(world: World) -> None:
    world.clock.advance(30)
    await wake_unit(world.services, "hub", "sweep")
    start = len(world.arm.requests)
    await world.step("hub", world.clock.now(), "heartbeat")
    assert since(world, start) == {}
    await world.handle_messages()
    assert since(world, start) == {"list": 3}


async def test_no_sweep_for_a_while_makes_any_step_read(world: World) -> None:
    world.clock.advance(61)
    start = len(world.arm.requests)
    await news(world, 1)
    assert since(world, start) == {"list": 3}


async def test_news_of_trouble_is_a_reason_to_read(world: World) -> None:
    await world.run(1)
    start = len(world.arm.requests)
    world.agent.breaks()
    await world.run(31)
    assert since(world, start)["get"] >= 1 and since(world, start)["list"] >= 3


async def test_a_silent_homes_connection_is_asked_for_its_status(world: World) -> None:
    world.agent.alive = False
    await world.run(180)
    world.azure_sees("NotConnected")
    start = len(world.arm.requests)
    await world.run(600)
    assert since(world, start) == {"list": 30, "get": 10}
    assert {r.target for r in world.arm.requests[start:] if r.verb == "get"} == {LINK.id()}
    told = azure_ready(world, (await world.app.specs.get_connection("home")).conditions)
    assert "NotConnected" in told
    world.agent.alive = True
    world.azure_sees("Connected")
    await world.run(120)
    start = len(world.arm.requests)
    await world.run(300)
    assert since(world, start) == {"list": 15}, "proven again, and Azure said so too"
    assert "Connected" in azure_ready(world, (await world.app.specs.get_connection("home")).conditions)


async def test_the_mark_holds_no_body_and_no_secret(world: World) -> None:
    row = await world.store.get(UNITS, "hub", STATE)
    assert row is not None and set(row.data["read"]) == {"basis", "at", "full"}


def _lng_asn(body: Json) -> None:
    body["properties"]["bgpSettings"]["asn"] = 65099


def _lng_address(body: Json) -> None:
    del body["properties"]["fqdn"]
    body["properties"]["gatewayIpAddress"] = "192.0.2.1"


def _dpd(body: Json) -> None:
    body["properties"]["dpdTimeoutSeconds"] = 9


def _policy(body: Json) -> None:
    body["properties"]["ipsecPolicies"][0]["ikeEncryption"] = "AES128"


def _mode(body: Json) -> None:
    body["properties"]["connectionMode"] = "Default"


def _sku(body: Json) -> None:
    body["properties"]["sku"] = {"name": "VpnGw2AZ", "tier": "VpnGw2AZ"}


def _owner(body: Json) -> None:
    body["tags"]["homelink-owner"] = "somebody"


def _space(body: Json) -> None:
    body["properties"]["addressSpace"]["addressPrefixes"].append("10.9.0.0/16")


@pytest.mark.parametrize(
    ("kind", "edit", "within_s"),
    [
        (ArmKind.LOCAL_GATEWAY, _lng_asn, 150),
        (ArmKind.LOCAL_GATEWAY, _lng_address, 150),
        (ArmKind.CONNECTION, _dpd, 150),
        (ArmKind.CONNECTION, _policy, 150),
        (ArmKind.CONNECTION, _mode, 150),
        (ArmKind.GATEWAY, _sku, 150),
        (ArmKind.GATEWAY, _owner, 150),
        (ArmKind.PUBLIC_IP, _owner, 3600 + 150),
        (ArmKind.VIRTUAL_NETWORK, _space, 3600 + 150),
    ],
)
async def test_an_edit_by_hand_is_seen_and_corrected(
    world: World, kind: ArmKind, edit: Callable[[Json], None], within_s: int
) -> None:
    before, start = world.arm.resource(REFS[kind]), len(world.arm.requests)
    assert before is not None
    world.arm.edit(REFS[kind], edit)
    assert world.arm.resource(REFS[kind]) != before

    async def corrected() -> bool:
        after = world.arm.resource(REFS[kind]) or {"etag": ""}
        return {**after, "etag": ""} == {**before, "etag": ""}

    await world.until(corrected, within_s)
    writes = [r for r in world.arm.requests[start:] if r.verb not in ("get", "list", "poll", "has_shared_key")]
    assert [(w.verb, w.target) for w in writes] == [("put", REFS[kind].id())], "that one, once"
    await world.until(world.ready, 120)


@pytest.mark.parametrize("kind", [ArmKind.CONNECTION])
async def test_what_somebody_deleted_is_made_again(world: World, kind: ArmKind) -> None:
    world.arm.remove(REFS[kind])
    await world.run(150)
    made = world.arm.resource(REFS[kind])
    assert made is not None and made["properties"]["provisioningState"] == "Succeeded"


@pytest.mark.parametrize("lie", ["nothing", "other fields"])
async def test_a_list_alone_causes_no_write(world: World, lie: str) -> None:
    """Lists may lag, or leave out a field that a GET has."""
    real = world.arm.list

    async def lying(subscription: str, group: str, kind: ArmKind) -> list[Json]:
        items = [] if lie == "nothing" else list(await real(subscription, group, kind))
        for item in items:
            item["properties"].pop("connectionMode", None)
        return items

    world.arm.list = lying  # type: ignore[method-assign]
    writes, start = len(world.arm.writes()), len(world.arm.requests)
    await world.run(600)
    assert len(world.arm.writes()) == writes and await world.ready()
    assert since(world, start)["get"] <= 3 * 10, "it costs a GET per doubtful resource and cycle"


async def test_a_changed_spec_is_read_and_written_at_once(world: World) -> None:
    await world.app.specs.put_connection("home", parse.connection(changed(CONNECTION, "spec.dpdTimeoutSeconds", 30)))
    start = len(world.arm.requests)
    await world.app.reconciler.step("hub")
    asked = [(r.verb, r.target) for r in world.arm.requests[start:]]
    reads = [*(("get", r.id()) for r in REFS.values()), ("has_shared_key", LINK.id())]
    assert sorted(asked[:-1]) == sorted(reads) and asked[-1] == ("put", LINK.id())


async def test_after_an_operation_everything_is_read_once(world: World) -> None:
    await world.app.specs.put_connection("home", parse.connection(changed(CONNECTION, "spec.dpdTimeoutSeconds", 30)))
    start = len(world.arm.requests)
    await world.run(300)
    vnet = [r for r in world.arm.requests[start:] if r.target == REFS[ArmKind.VIRTUAL_NETWORK].id()]
    assert len(vnet) == 2, "once before the write, once after it"


def early_calls(world: World, start: int, retry_after_s: float) -> list[str]:
    """Calls that came after a refusal and before its time; those of the same instant were under way already."""
    early, told = [], None
    for r in world.arm.requests[start:]:
        assert r.at is not None
        if told is not None and told < r.at < told + timedelta(seconds=retry_after_s):
            early.append(f"{r.verb} {r.target} {(r.at - told).total_seconds():.0f} s after the refusal")
        if r.outcome == "ArmBusy":
            told = r.at
    return early


async def test_a_storm_of_429_is_met_with_silence_and_the_home_is_served_all_the_same(world: World) -> None:
    start = len(world.arm.requests)
    world.arm.throttle(600, retry_after_s=45)
    await world.run(200)
    assert await world.ready(), "what was last seen holds for a while"
    world.agent.source = SECOND
    world.agent.breaks()
    world.resolver.answer(NAME, SECOND)
    await world.run(300)
    refused = [r for r in world.arm.requests[start:] if r.outcome == "ArmBusy"]
    assert len({r.at for r in refused}) >= 5, "it was a storm"
    assert early_calls(world, start, 45) == []
    assert (await world.app.specs.incidents("home"))[0].finding == "home-address-changed", "decisions went on"
    in_sync = next(c for c in (await world.app.specs.get_gateway("hub")).conditions if c.type == "InSync")
    assert in_sync.status == "False" and ("Azure" in in_sync.message)
    await world.until(world.ready, 300)
    assert early_calls(world, start, 45) == []
    assert (await world.lng())["gatewayIpAddress"] == SECOND


async def test_a_home_is_told_to_remove_its_half_while_arm_wants_quiet(world: World) -> None:
    start = len(world.arm.requests)
    world.arm.throttle(900, retry_after_s=300)
    await world.run(70)
    await world.app.specs.delete_connection("home")
    await world.run(120)
    assert [c.kind for c in world.agent.commands][-1] is Kind.REMOVE and world.agent.tunnel is None
    assert len({r.at for r in world.arm.requests[start:]}) == 1, "ARM was asked once"


async def test_a_creation_through_a_storm_ends_well_and_asks_nothing_early() -> None:
    world = World()
    await world.put()
    await world.agent.enrol()
    for _ in range(4):
        await world.run(20)
        world.arm.throttle(40, retry_after_s=25)
        await world.run(40)
    await world.until(world.ready)
    assert early_calls(world, 0, 25) == []
    puts = [r.target for r in world.arm.requests if r.verb == "put" and r.outcome == "ok"]
    assert puts == [REFS[k].id() for k in ArmKind], "nothing is written twice"


async def test_a_long_silence_is_told(world: World) -> None:
    world.arm.throttle(3600, retry_after_s=3000)
    await world.run(600)
    in_sync = next(c for c in (await world.app.specs.get_gateway("hub")).conditions if c.type == "InSync")
    assert in_sync.status == "False" and "asked for quiet until" in in_sync.message


async def test_a_lock_stops_no_reads(world: World) -> None:
    locked = ArmBusy("somebody else is at work", 100.0, "AnotherOperationInProgress", locked=True)
    world.arm.fail_next("put", locked)
    world.arm.edit(REFS[ArmKind.LOCAL_GATEWAY], _lng_asn)
    await world.run(61)
    assert (await state(world)).arm_not_before is None
    start = len(world.arm.requests)
    await world.run(61)
    assert since(world, start)["get"] > 0


async def test_a_home_at_a_known_address_is_repaired_with_few_reads(world: World) -> None:
    """The urgent path: what is to be written is read, and only that, beside the lists and the status."""
    world.agent.source = SECOND
    world.agent.breaks()
    world.resolver.answer(NAME, SECOND)
    start = len(world.arm.requests)

    async def pinned() -> bool:
        return bool((await world.lng()).get("gatewayIpAddress") == SECOND)

    await world.until(pinned, 60)
    asked = Counter((r.verb, r.target.rsplit("/", 2)[1]) for r in world.arm.requests[start:])
    assert asked["put", "localNetworkGateways"] == 1 and asked["get", "virtualNetworks"] == 0
    assert asked["get", "localNetworkGateways"] == 1
