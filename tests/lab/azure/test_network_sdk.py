"""The unmodified azure-mgmt-network, sync and aio, through the life of everything."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError

from lab.dataplane import BgpPeer, Route, TunnelStatus
from tests.lab.azure.world import GROUP, KEY, LOCATION, World, build


async def test_sync_sdk_creates_reads_resets_and_deletes(world: World) -> None:
    world.resolver.names["home.example"] = "198.51.100.23"
    loop = asyncio.get_running_loop()

    def life() -> None:
        client = world.client(loop)
        net = client.virtual_networks.begin_create_or_update(GROUP, "net", world.network()).result()
        assert net.properties.provisioning_state == "Succeeded"
        subnet = client.subnets.begin_create_or_update(
            GROUP, "net", "vm", {"properties": {"addressPrefix": "10.0.0.0/24"}}
        ).result()
        assert subnet.properties.address_prefix == "10.0.0.0/24"
        assert [item.name for item in client.subnets.list(GROUP, "net")] == ["GatewaySubnet", "vm"]
        client.subnets.begin_delete(GROUP, "net", "vm").result()
        with pytest.raises(ResourceNotFoundError) as missing:
            client.subnets.get(GROUP, "net", "vm")
        assert missing.value.error is not None and missing.value.error.code == "NotFound"
        pip = client.public_ip_addresses.begin_create_or_update(GROUP, "pip", world.address()).result()
        assert pip.properties.ip_address == "203.0.113.10"
        gateway = client.virtual_network_gateways.begin_create_or_update(GROUP, "gw", world.gateway()).result()
        assert gateway.properties.bgp_settings.asn == 65010
        assert gateway.properties.bgp_settings.bgp_peering_address == "10.0.1.30"
        assert gateway.properties.bgp_settings.bgp_peering_addresses[0].tunnel_ip_addresses == ["203.0.113.10"]
        client.local_network_gateways.begin_create_or_update(GROUP, "lng", world.local()).result()
        connections = client.virtual_network_gateway_connections
        created = connections.begin_create_or_update(GROUP, "home", world.connection()).result()
        assert created.properties.shared_key == KEY
        connections.begin_set_shared_key(GROUP, "home", {"value": "Another_key2"}).result()
        assert connections.get_shared_key(GROUP, "home").value == "Another_key2"
        assert connections.begin_reset_connection(GROUP, "home").result() is None
        assert client.virtual_network_gateways.begin_reset(GROUP, "gw").result().name == "gw"
        assert json.loads(connections.begin_get_ike_sas(GROUP, "home").result())["Status"] == "Successful"
        tagged = client.virtual_network_gateways.begin_update_tags(GROUP, "gw", {"tags": {"x": "y"}}).result()
        assert tagged.tags == {"x": "y"}
        assert connections.begin_update_tags(GROUP, "home", {"tags": {"x": "y"}}).result().tags == {"x": "y"}
        assert client.local_network_gateways.update_tags(GROUP, "lng", {"tags": {"x": "y"}}).tags == {"x": "y"}
        connections.begin_delete(GROUP, "home").result()
        client.virtual_network_gateways.begin_delete(GROUP, "gw").result()
        client.local_network_gateways.begin_delete(GROUP, "lng").result()
        client.public_ip_addresses.begin_delete(GROUP, "pip").result()
        client.virtual_networks.begin_delete(GROUP, "net").result()
        for kind in (client.virtual_networks, client.public_ip_addresses, client.virtual_network_gateways):
            assert list(kind.list(GROUP)) == []
        assert list(client.virtual_networks.list_all()) == []
        client.close()

    await asyncio.to_thread(life)
    assert world.plane.resets == ["connection home", "gateway gw"]
    assert world.plane.gateways == {} and world.plane.connections == {}


async def test_aio_sdk_sees_status_routes_and_bytes_of_the_data_plane(world: World) -> None:
    async with world.aio_client() as client:
        await build(world, client)
        connections = client.virtual_network_gateway_connections
        assert (await connections.get(GROUP, "home")).properties.connection_status == "Unknown"
        await world.clock.advance(15)
        assert (await connections.get(GROUP, "home")).properties.connection_status == "Connecting"
        since = datetime(2026, 11, 1, 12, 30, tzinfo=UTC)
        world.plane.up["home"] = TunnelStatus(True, 1000, 2000, since)
        found = (await connections.get(GROUP, "home")).properties
        assert (found.connection_status, found.ingress_bytes_transferred) == ("Connected", 1000)
        assert found.egress_bytes_transferred == 2000
        del world.plane.up["home"]
        assert (await connections.get(GROUP, "home")).properties.connection_status == "NotConnected"

        world.plane.peers = [BgpPeer("192.168.1.1", 65020, "Established", 3661.5, 1, 9, 8)]
        world.plane.routes = [Route("192.168.1.0/24", "192.168.1.1", "65020", "192.168.1.1", "EBgp", 32768)]
        gateways = client.virtual_network_gateways
        [peer] = (await (await gateways.begin_get_bgp_peer_status(GROUP, "gw")).result()).value
        assert (peer.state, peer.asn, peer.connected_duration) == ("Connected", 65020, "01:01:01.5000000")
        assert peer.local_address == "10.0.1.30"
        [route] = (await (await gateways.begin_get_learned_routes(GROUP, "gw")).result()).value
        assert (route.network, route.as_path, route.origin) == ("192.168.1.0/24", "65020", "EBgp")
        poller = await gateways.begin_get_advertised_routes(GROUP, "gw", peer="192.168.1.1")
        assert [r.next_hop for r in (await poller.result()).value] == ["192.168.1.1"]
        [listed] = [item async for item in gateways.list_connections(GROUP, "gw")]
        assert listed.name == "home"


async def test_list_shows_neither_key_nor_status(world: World) -> None:
    async with world.aio_client() as client:
        await build(world, client)
        [listed] = [item async for item in client.virtual_network_gateway_connections.list(GROUP)]
        assert listed.properties.shared_key is None and listed.properties.connection_status is None


async def test_put_keeps_the_key_and_put_sharedkey_changes_it(world: World) -> None:
    async with world.aio_client() as client:
        await build(world, client)
        connections = client.virtual_network_gateway_connections
        poller = await connections.begin_create_or_update(GROUP, "home", world.connection("Something_else"))
        assert (await poller.result()).properties.shared_key == KEY
        assert world.plane.connections["home"].psk == KEY
        await (await connections.begin_set_shared_key(GROUP, "home", {"value": "Third_key3"})).result()
        assert world.plane.connections["home"].psk == "Third_key3"
        with pytest.raises(HttpResponseError) as refused:
            await connections.begin_set_shared_key(GROUP, "home", {"value": "with space-and-dash"})
        assert "with space" not in str(refused.value)


async def test_one_write_at_a_time_on_a_gateway(world: World) -> None:
    async with world.aio_client() as client:
        await build(world, client)
        connections = client.virtual_network_gateway_connections
        await connections.begin_set_shared_key(GROUP, "home", {"value": "Third_key3"})
        for attempt in (
            connections.begin_delete(GROUP, "home"),
            connections.begin_reset_connection(GROUP, "home"),
            client.virtual_network_gateways.begin_reset(GROUP, "gw"),
            client.local_network_gateways.begin_create_or_update(GROUP, "lng", world.local()),
        ):
            with pytest.raises(ResourceExistsError) as refused:
                await attempt
            assert refused.value.error is not None and refused.value.error.code == "AnotherOperationInProgress"
        await world.clock.advance(31)
        await (await connections.begin_delete(GROUP, "home")).result()
    assert world.lab.metrics.view()["resets"] == {"connection": 0, "gateway": 0}


async def test_creation_takes_what_azure_takes_and_shows_no_bgp_address_before(world: World) -> None:
    async with world.aio_client() as client:
        await build(world, client, connection=False)
        started = world.clock.monotonic()
        body = world.gateway(network="net2", address="pip2")
        await (await client.virtual_networks.begin_create_or_update(GROUP, "net2", world.network())).result()
        await (await client.public_ip_addresses.begin_create_or_update(GROUP, "pip2", world.address())).result()
        poller = await client.virtual_network_gateways.begin_create_or_update(GROUP, "gw2", body)
        early = await client.virtual_network_gateways.get(GROUP, "gw2")
        assert early.properties.provisioning_state == "Updating"
        assert early.properties.bgp_settings.asn == 0
        assert early.properties.bgp_settings.bgp_peering_address is None
        assert "gw2" not in world.plane.gateways
        with pytest.raises(ResourceExistsError):  # one cannot hang a connection on a gateway that is being made
            other = world.connection()
            other["properties"]["virtualNetworkGateway1"]["id"] = world.id("virtualNetworkGateways", "gw2")
            await client.virtual_network_gateway_connections.begin_create_or_update(GROUP, "c2", other)
        await poller.result()
        assert 1243 <= world.clock.monotonic() - started < 1300
        assert world.plane.gateways["gw2"].public_ip == "203.0.113.11"


@pytest.mark.parametrize("mixed", ["RG-HOME", "rg-Home"])
async def test_names_are_read_without_regard_to_case(world: World, mixed: str) -> None:
    async with world.aio_client() as client:
        await (await client.virtual_networks.begin_create_or_update(GROUP, "Net", world.network())).result()
        found = await client.virtual_networks.get(mixed, "nET")
        assert found.name == "Net" and found.id == world.id("virtualNetworks", "Net")
        assert found.location == LOCATION
