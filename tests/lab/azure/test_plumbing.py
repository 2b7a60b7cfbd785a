"""What reaches the data plane, and when: names, pins, resets, twins."""

from __future__ import annotations

import json

import pytest
from azure.core.exceptions import HttpResponseError

from lab.azure.resolver import ResolveError
from lab.dataplane import TunnelStatus
from tests.lab.azure.conftest import Raw
from tests.lab.azure.world import GROUP, KEY, POLICY, World, build

NAME = "home.example"


async def test_views_hold_what_the_resources_say(world: World) -> None:
    async with world.aio_client() as client:
        await build(world, client)
    gateway = world.plane.gateways["gw"]
    assert (gateway.asn, gateway.public_ip, gateway.bgp_address) == (65010, "203.0.113.10", "10.0.1.30")
    assert gateway.vnet_prefixes == ("10.0.0.0/16",)
    view = world.plane.connections["home"]
    assert (view.gateway, view.peer_address, view.psk) == ("gw", "198.51.100.23", KEY)
    assert (view.mode, view.enable_bgp, view.dpd_timeout_s) == ("ResponderOnly", True, 45)
    assert (view.peer_asn, view.peer_bgp_address, view.static_prefixes) == (65020, "192.168.1.1", ())
    assert view.policy == POLICY


async def test_a_disconnected_tunnel_follows_its_name_within_five_minutes(world: World) -> None:
    async with world.aio_client() as client:
        await build(world, client)
    world.resolver.names[NAME] = "198.51.100.99"
    world.plane.up["home"] = TunnelStatus(connected=True)
    await world.clock.advance(900)
    assert world.plane.connections["home"].peer_address == "198.51.100.23"  # connected: it never looks
    del world.plane.up["home"]
    await world.clock.advance(300)
    assert world.plane.connections["home"].peer_address == "198.51.100.99"
    world.resolver.names[NAME] = ResolveError("SERVFAIL")
    await world.clock.advance(300)
    assert world.plane.connections["home"].peer_address == "198.51.100.99"
    world.resolver.names[NAME] = None
    await world.clock.advance(300)
    assert world.plane.connections["home"].peer_address is None


@pytest.mark.parametrize("reset", ["connection", "gateway"])
async def test_resets_resolve_again_and_are_counted(world: World, reset: str) -> None:
    async with world.aio_client() as client:
        await build(world, client)
        world.resolver.names[NAME] = "198.51.100.99"
        if reset == "connection":
            poller = await client.virtual_network_gateway_connections.begin_reset_connection(GROUP, "home")
        else:
            poller = await client.virtual_network_gateways.begin_reset(GROUP, "gw")
        await world.clock.advance(0)
        assert world.plane.connections["home"].peer_address == "198.51.100.99"
        assert world.plane.resets == [f"{reset} {'home' if reset == 'connection' else 'gw'}"]
        await poller.result()
    assert world.lab.metrics.view()["resets"] == {"connection": 0, "gateway": 0, reset: 1}


async def test_a_pin_takes_effect_when_its_operation_ends(world: World) -> None:
    async with world.aio_client() as client:
        await build(world, client)
        locals_ = client.local_network_gateways
        poller = await locals_.begin_create_or_update(GROUP, "lng", world.local(gatewayIpAddress="198.51.100.77"))
        await world.clock.advance(20)
        assert world.plane.connections["home"].peer_address == "198.51.100.23"
        await poller.result()
        assert world.plane.connections["home"].peer_address == "198.51.100.77"
        await (await locals_.begin_create_or_update(GROUP, "lng", world.local())).result()
        assert world.plane.connections["home"].peer_address == "198.51.100.23"
        changed = world.local()
        changed["properties"]["bgpSettings"]["asn"] = 65021
        await (await locals_.begin_create_or_update(GROUP, "lng", changed)).result()
        assert world.plane.connections["home"].peer_asn == 65021


async def test_a_policy_change_reaches_the_data_plane(world: World) -> None:
    async with world.aio_client() as client:
        await build(world, client)
        body = world.connection()
        body["properties"]["ipsecPolicies"][0]["dhGroup"] = "ECP384"
        connections = client.virtual_network_gateway_connections
        await (await connections.begin_create_or_update(GROUP, "home", body)).result()
    policy = world.plane.connections["home"].policy
    assert policy is not None and policy["dhGroup"] == "ECP384"


async def test_two_local_gateways_with_one_address_fail(world: World) -> None:
    async with world.aio_client() as client:
        await build(world, client)
        twin = world.local(gatewayIpAddress="198.51.100.23")
        await (await client.local_network_gateways.begin_create_or_update(GROUP, "twin", twin)).result()
        connections = client.virtual_network_gateway_connections
        poller = await connections.begin_create_or_update(GROUP, "second", world.connection(local="twin"))
        with pytest.raises(HttpResponseError):
            await poller.result()
        assert (await connections.get(GROUP, "second")).properties.provisioning_state == "Failed"
        assert set(world.plane.connections) == {"home"}
        other = world.local(gatewayIpAddress="198.51.100.24")
        await (await client.local_network_gateways.begin_create_or_update(GROUP, "twin", other)).result()
        assert (await connections.get(GROUP, "second")).properties.provisioning_state == "Succeeded"
        assert world.plane.connections["second"].peer_address == "198.51.100.24"


async def test_a_broken_data_plane_fails_the_operation(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_view: object) -> None:
        raise RuntimeError("charon is gone")

    async with world.aio_client() as client:
        await build(world, client, connection=False)
        monkeypatch.setattr(world.plane, "set_connection", broken)
        connections = client.virtual_network_gateway_connections
        with pytest.raises(HttpResponseError):
            await (await connections.begin_create_or_update(GROUP, "home", world.connection())).result()
        assert (await connections.get(GROUP, "home")).properties.provisioning_state == "Failed"


async def test_a_data_plane_that_does_not_answer_is_a_500(world: World, raw: Raw) -> None:
    async def broken(_name: str) -> TunnelStatus:
        raise RuntimeError("no vici socket")

    async with world.aio_client() as client:
        await build(world, client)
    world.plane.tunnel = broken  # type: ignore[method-assign, assignment]
    status, _, body = await raw("GET", world.id("connections", "home"))
    assert (status, body["error"]["code"]) == (500, "InternalServerError")


async def test_the_state_log_tells_the_story_without_the_key(world: World) -> None:
    async with world.aio_client() as client:
        await build(world, client)
    path = world.lab.config.state_log
    assert path is not None
    text = path.read_text()
    events = [json.loads(line)["event"] for line in text.splitlines()]
    assert "connection carried" in events and KEY not in text
    assert KEY not in repr(world.plane.connections["home"])
