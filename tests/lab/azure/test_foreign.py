"""What may stand beside ours on a gateway: connections between gateways and point-to-site clients."""

from __future__ import annotations

from tests.lab.azure.conftest import Raw
from tests.lab.azure.world import World, build

VERSION = "?api-version=2024-05-01"


async def test_a_connection_between_two_gateways_is_kept_and_carries_nothing(world: World, raw: Raw) -> None:
    async with world.aio_client() as arm:
        await build(world, arm)
    for name, body in (("virtualNetworks/net2", world.network()), ("publicIPAddresses/pip2", world.address())):
        await raw("PUT", world.id(*name.split("/")) + VERSION, body)
    await world.clock.advance(60)
    await raw("PUT", world.id("virtualNetworkGateways", "gw2") + VERSION, world.gateway(network="net2", address="pip2"))
    await world.clock.advance(2000)
    body = world.connection()
    del body["properties"]["localNetworkGateway2"]
    body["properties"]["connectionType"] = "VNet2VNet"
    body["properties"]["virtualNetworkGateway2"] = {"id": world.id("virtualNetworkGateways", "gw2")}
    url = world.id("connections", "foreign") + VERSION
    assert (await raw("PUT", url, body))[0] == 201
    busy = await raw("DELETE", world.id("connections", "home") + VERSION)
    assert busy[2]["error"]["code"] == "AnotherOperationInProgress"
    await world.clock.advance(60)
    shown = (await raw("GET", url))[2]["properties"]
    assert (shown["connectionType"], shown["provisioningState"]) == ("Vnet2Vnet", "Succeeded")
    assert shown["connectionStatus"] == "Unknown" and set(world.plane.connections) == {"home"}
    reset = await raw("POST", world.id("connections", "foreign") + "/resetconnection" + VERSION)
    assert reset[0] == 202
    await world.clock.advance(60)
    assert world.plane.resets == []
    assert (await raw("DELETE", url))[0] == 202


async def test_a_put_without_the_vpn_clients_takes_them_off(world: World, raw: Raw) -> None:
    async with world.aio_client() as arm:
        await build(world, arm, connection=False)
    url = world.id("virtualNetworkGateways", "gw") + VERSION
    body = world.gateway()
    certificate = {"name": "root", "properties": {"publicCertData": "MII"}}
    body["properties"]["vpnClientConfiguration"] = {
        "vpnClientAddressPool": {"addressPrefixes": ["172.16.201.0/24"]},
        "vpnClientRootCertificates": [certificate],
    }
    assert (await raw("PUT", url, body))[0] == 200
    await world.clock.advance(60)
    read = (await raw("GET", url))[2]
    clients = read["properties"]["vpnClientConfiguration"]
    assert clients["vpnClientRootCertificates"][0]["properties"]["provisioningState"] == "Succeeded"
    assert (await raw("PUT", url, read))[0] == 200  # read, changed, written: they stay
    await world.clock.advance(60)
    assert (await raw("GET", url))[2]["properties"]["vpnClientConfiguration"]["vpnClientAddressPool"]
    assert (await raw("PUT", url, world.gateway()))[0] == 200
    await world.clock.advance(60)
    assert "vpnClientConfiguration" not in (await raw("GET", url))[2]["properties"]


async def test_network_watchers_are_listed(world: World, raw: Raw) -> None:
    url = world.id("networkWatchers", "nw") + VERSION
    _, _, made = await raw("PUT", url, {"location": "westeurope"})
    assert made["properties"]["provisioningState"] == "Succeeded"
    await world.clock.advance(1)
    listed = await raw(
        "GET", f"/subscriptions/{world.subscription}/providers/Microsoft.Network/networkWatchers{VERSION}"
    )
    assert [item["name"] for item in listed[2]["value"]] == ["nw"]
    assert (await raw("POST", url.replace("?", "/troubleshoot?"), {}))[2]["error"]["code"] == "InvalidResourceType"
