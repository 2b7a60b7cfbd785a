"""Active-active gateways, APIPA addresses and several gateways: what ARM shows of them and what is carried."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.mgmt.network.aio import NetworkManagementClient

from lab.azure.plumbing import FAILOVER_S
from lab.azure.store import Resource
from lab.dataplane import BgpPeer, InstanceTunnel, InstanceView, Route, TunnelStatus
from tests.lab.azure.world import GROUP, World, build

APIPA = ("169.254.21.1", "169.254.21.5")


def active_active(world: World) -> dict[str, Any]:
    """The gateway's body with two IP configurations, `default` on `pip` and `second` on `pip2`."""
    body = world.gateway()
    second = world.gateway(address="pip2")["properties"]["ipConfigurations"][0] | {"name": "second"}
    body["properties"]["activeActive"] = True
    body["properties"]["ipConfigurations"].append(second)
    return body


def custom(world: World, body: dict[str, Any], *addresses: str) -> dict[str, Any]:
    """The same with APIPA addresses, one per IP configuration."""
    names = [config["name"] for config in body["properties"]["ipConfigurations"]]
    body["properties"]["bgpSettings"]["bgpPeeringAddresses"] = [
        {"ipconfigurationId": config_id(world, name), "customBgpIpAddresses": [address]}
        for name, address in zip(names, addresses, strict=True)
    ]
    return body


def config_id(world: World, name: str) -> str:
    return f"{world.id('virtualNetworkGateways', 'gw')}/ipConfigurations/{name}"


def of(world: World, type_: str, name: str) -> Resource:
    """The resource as plumbing wants it: who it is and whose."""
    gateway = {"virtualNetworkGateway1": {"id": world.id("virtualNetworkGateways", "gw")}}
    return Resource(world.id(type_, name), name, type_, GROUP, "westeurope", {}, gateway, "guid", "etag")


async def put(client: NetworkManagementClient, body: dict[str, Any], name: str = "gw") -> Any:
    return await (await client.virtual_network_gateways.begin_create_or_update(GROUP, name, body)).result()


async def build_two(world: World, client: NetworkManagementClient) -> None:
    """The demo's chain, then active-active."""
    await build(world, client)
    await (await client.public_ip_addresses.begin_create_or_update(GROUP, "pip2", world.address())).result()
    await put(client, active_active(world))


async def test_an_active_active_gateway_has_two_of_everything(world: World) -> None:
    async with world.aio_client() as client:
        await build_two(world, client)
        shown = (await client.virtual_network_gateways.get(GROUP, "gw")).properties
    assert shown.active_active and shown.bgp_settings.bgp_peering_address == "10.0.1.4,10.0.1.5"
    found = [
        (a.ipconfiguration_id.rpartition("/")[2], a.default_bgp_ip_addresses, a.tunnel_ip_addresses)
        for a in shown.bgp_settings.bgp_peering_addresses
    ]
    assert found == [("default", ["10.0.1.4"], ["203.0.113.10"]), ("second", ["10.0.1.5"], ["203.0.113.11"])]
    view = world.plane.gateways["gw"]
    assert view.instances == (InstanceView("203.0.113.10", "10.0.1.4"), InstanceView("203.0.113.11", "10.0.1.5"))
    assert world.plane.connections["home"].apipa == ()


async def test_each_tunnel_and_session_names_its_instance(world: World) -> None:
    since = datetime(2026, 11, 1, 12, 0, 5, tzinfo=UTC)
    tunnels = (InstanceTunnel("203.0.113.10", True, 10, 20, since), InstanceTunnel("203.0.113.11", True, 1, 2, since))
    async with world.aio_client() as client:
        await build_two(world, client)
        connection = (await client.virtual_network_gateway_connections.get(GROUP, "home")).properties
        assert connection.connection_status == "Connecting"
        resource, plumbing = of(world, "connections", "home"), world.lab.plumbing
        assert (await plumbing.status(resource)).tunnels == ()  # none was ever up
        world.plane.up["home"] = TunnelStatus.of(tunnels)
        status = await plumbing.status(resource)
        assert (status.status, status.ingress_bytes, status.egress_bytes) == ("Connected", 11, 22)
        assert [(t.name, t.status, t.ingress_bytes) for t in status.tunnels] == [
            ("home_203.0.113.10", "Connected", 10),
            ("home_203.0.113.11", "Connected", 1),
        ]
        world.plane.up["home"] = TunnelStatus.of((InstanceTunnel("203.0.113.10", False), tunnels[1]))
        status = await plumbing.status(resource)
        assert (status.status, [t.status for t in status.tunnels]) == ("Connected", ["NotConnected", "Connected"])
        world.plane.up["home"] = TunnelStatus.of(tuple(InstanceTunnel(t.public_ip, False) for t in tunnels))
        assert (await plumbing.status(resource)).status == "NotConnected"

        world.plane.peers = [BgpPeer("192.168.1.1", 65020, "Established", 1.0, 1, 2, 3, "10.0.1.5")]
        world.plane.routes = [Route("192.168.1.0/24", "192.168.1.1", "65020", "192.168.1.1", "EBgp", 0, "10.0.1.5")]
        gateways = client.virtual_network_gateways
        (peer,) = (await (await gateways.begin_get_bgp_peer_status(GROUP, "gw")).result()).value
        (route,) = (await (await gateways.begin_get_learned_routes(GROUP, "gw")).result()).value
    assert (peer.local_address, route.local_address) == ("10.0.1.5", "10.0.1.5")


async def test_a_reset_hits_the_instance_that_it_names_for_a_failover(world: World) -> None:
    async with world.aio_client() as client:
        await build_two(world, client)
        gateways = client.virtual_network_gateways
        for vip in (None, "None", "203.0.113.11"):
            await (await gateways.begin_reset(GROUP, "gw", gateway_vip=vip)).result()
        assert world.plane.resets == ["gateway gw", "gateway gw", "gateway gw 203.0.113.11"]
        assert world.plane.outages == [FAILOVER_S / world.clock.factor] * 3
        with pytest.raises(HttpResponseError, match="InvalidGatewayVip"):
            await gateways.begin_reset(GROUP, "gw", gateway_vip="203.0.113.99")


async def test_apipa_addresses_are_the_gateways_then_the_connections(world: World) -> None:
    async with world.aio_client() as client:
        await build_two(world, client)
        await put(client, custom(world, active_active(world), *APIPA))
        assert not world.plane.connections["home"].apipa  # the home's BGP address is no APIPA address
        local = world.local()
        local["properties"]["bgpSettings"]["bgpPeeringAddress"] = "169.254.21.2"
        await (await client.local_network_gateways.begin_create_or_update(GROUP, "lng", local)).result()
        view = world.plane.connections["home"]
        assert (view.peer_bgp_address, view.apipa) == ("169.254.21.2", APIPA)

        body = world.connection()
        body["properties"]["gatewayCustomBgpIpAddresses"] = [
            {"ipConfigurationId": config_id(world, "second"), "customBgpIpAddress": "169.254.22.9"}
        ]
        connections = client.virtual_network_gateway_connections
        await (await connections.begin_create_or_update(GROUP, "home", body)).result()
        assert world.plane.connections["home"].apipa == ("169.254.21.1", "169.254.22.9")
        await put(client, custom(world, active_active(world), "169.254.22.1", "169.254.22.9"))
        assert world.plane.connections["home"].apipa == ("169.254.22.1", "169.254.22.9")
        await put(client, active_active(world))
        assert not world.plane.connections["home"].apipa
        shown = (await client.virtual_network_gateways.get(GROUP, "gw")).properties.bgp_settings
        assert [a.custom_bgp_ip_addresses for a in shown.bgp_peering_addresses] == [[], []]


@pytest.mark.parametrize(
    ("addresses", "code"),
    [
        (("169.254.20.255",), "InvalidCustomBgpIpAddress"),
        (("169.254.23.0",), "InvalidCustomBgpIpAddress"),
        (("10.0.1.1",), "InvalidCustomBgpIpAddress"),
        (("169.254.21.1", "169.254.21.1"), "DuplicateCustomBgpIpAddress"),
    ],
)
async def test_refused_apipa_addresses(world: World, addresses: tuple[str, ...], code: str) -> None:
    async with world.aio_client() as client:
        await build_two(world, client)
        body = custom(world, active_active(world) if len(addresses) == 2 else world.gateway(), *addresses)
        with pytest.raises(HttpResponseError, match=code):
            await put(client, body)
        body = custom(world, world.gateway(), "169.254.21.1")
        body["properties"]["bgpSettings"]["bgpPeeringAddresses"][0]["ipconfigurationId"] = config_id(world, "third")
        with pytest.raises(HttpResponseError, match="InvalidIpConfigurationId"):
            await put(client, body)


async def test_two_instances_need_two_addresses_and_names(world: World) -> None:
    async with world.aio_client() as client:
        await build_two(world, client)
        for field in ("name", "address"):
            body = active_active(world)
            first, second = body["properties"]["ipConfigurations"]
            second["properties" if field == "address" else "name"] = first[
                "properties" if field == "address" else "name"
            ]
            with pytest.raises(HttpResponseError, match="InvalidGatewayIpConfigurations"):
                await put(client, body)


async def test_names_of_two_resource_groups_do_not_meet_in_the_network(world: World) -> None:
    plumbing = world.lab.plumbing
    async with world.aio_client() as client:
        await build(world, client)
    for type_, name in (("virtualNetworkGateways", "gw"), ("connections", "home")):
        mine = of(world, type_, name)
        twin = replace(mine, id=mine.id.replace(GROUP, "rg-other"))
        labels = [plumbing.label(resource) for resource in (mine, twin, twin, mine)]
        assert labels == [name, f"{name}.2", f"{name}.2", name]
