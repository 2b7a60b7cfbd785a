"""What the simulated Azure refuses, and with which code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError

from tests.lab.azure.conftest import Raw
from tests.lab.azure.world import GROUP, POLICY, World, build

Change = Callable[[dict[str, Any]], None]


def code(error: HttpResponseError) -> str:
    assert error.error is not None
    return str(error.error.code)


async def refused(raw: Raw, url: str, body: dict[str, Any] | None, method: str = "PUT") -> tuple[int, str]:
    status, _, answer = await raw(method, f"{url}?api-version=2024-05-01", body)
    assert isinstance(answer, dict)
    return status, answer["error"]["code"]


async def test_gateway_rules(world: World, raw: Raw) -> None:
    url = world.id("virtualNetworkGateways", "gw")
    assert await refused(raw, url, world.gateway()) == (400, "InvalidResourceReference")
    async with world.aio_client() as client:
        await build(world, client, connection=False)
        plain = {**world.address(), "zones": []}
        await (await client.public_ip_addresses.begin_create_or_update(GROUP, "nozone", plain)).result()
        net2 = await client.virtual_networks.begin_create_or_update(GROUP, "net2", world.network())
        other = world.id("virtualNetworkGateways", "gw2")
        body = world.gateway(network="net2", address="nozone")
        assert (await refused(raw, other, body)) == (429, "RetryableError")  # net2 is still Updating
        await net2.result()
        assert (await refused(raw, other, body))[1] == "VmssVpnGatewayPublicIpsMustHaveZonesConfigured"
        old = world.gateway("VpnGw1", network="net2", address="nozone")
        assert await refused(raw, other, old) == (400, "NonAzSkusNotAllowedForVPNGateway")
        assert (await refused(raw, other, world.gateway(network="net2")))[1] == "PublicIPAddressInUse"
        assert (await refused(raw, other, world.gateway(address="nozone")))[0] == 400
        wrong = world.gateway(network="net2")
        wrong["properties"]["vpnGatewayGeneration"] = "Generation2"
        assert (await refused(raw, other, wrong))[1] == "VpnGatewayGenerationNotSupported"


async def test_what_is_in_use_is_not_deleted(world: World, raw: Raw) -> None:
    async with world.aio_client() as client:
        await build(world, client)
    expected = {
        world.id("virtualNetworks", "net"): "InUseSubnetCannotBeDeleted",
        world.id("virtualNetworks", "net") + "/subnets/GatewaySubnet": "InUseSubnetCannotBeDeleted",
        world.id("publicIPAddresses", "pip"): "PublicIPAddressCannotBeDeleted",
        world.id("virtualNetworkGateways", "gw"): "VirtualNetworkGatewayInUse",
        world.id("localNetworkGateways", "lng"): "LocalNetworkGatewayInUse",
    }
    for url, wanted in expected.items():
        assert await refused(raw, url, None, "DELETE") == (400, wanted)
    shrunk = {**world.network(), "properties": {"addressSpace": {"addressPrefixes": ["10.0.0.0/16"]}, "subnets": []}}
    assert (await refused(raw, world.id("virtualNetworks", "net"), shrunk))[1] == "InUseSubnetCannotBeDeleted"
    assert (await refused(raw, world.id("virtualNetworks", "net"), world.network("10.0.2.0/27")))[0] == 400


@pytest.mark.parametrize(
    ("subnets", "wanted"),
    [
        ([("GatewaySubnet", "10.0.1.0/30")], "GatewaySubnetTooSmall"),
        ([("a", "10.1.0.0/24")], "NetcfgInvalidSubnet"),
        ([("a", "10.0.0.0/24"), ("b", "10.0.0.128/25")], "NetcfgSubnetRangesOverlap"),
        ([("a", "10.0.0.1/24")], "InvalidCIDRNotation"),
    ],
)
async def test_subnet_rules(world: World, raw: Raw, subnets: list[tuple[str, str]], wanted: str) -> None:
    body = world.network()
    body["properties"]["subnets"] = [{"name": n, "properties": {"addressPrefix": p}} for n, p in subnets]
    assert await refused(raw, world.id("virtualNetworks", "net"), body) == (400, wanted)


async def test_local_gateway_needs_prefix_or_bgp_and_one_place(world: World, raw: Raw) -> None:
    url = world.id("localNetworkGateways", "lng")
    neither = world.local()
    del neither["properties"]["bgpSettings"]
    assert (await refused(raw, url, neither))[0] == 400
    both = world.local(fqdn="home.example", gatewayIpAddress="198.51.100.23")
    assert (await refused(raw, url, both))[0] == 400
    assert (await refused(raw, url, {"properties": {}}))[1] == "LocationRequired"


CHANGES: dict[str, Change] = {
    "gcm pairing": lambda p: p["ipsecPolicies"][0].update(ipsecIntegrity="SHA256"),
    "incomplete": lambda p: p["ipsecPolicies"][0].pop("pfsGroup"),
    "two policies": lambda p: p["ipsecPolicies"].append(dict(POLICY)),
    "lifetime": lambda p: p["ipsecPolicies"][0].update(saLifeTimeSeconds=299),
    "dpd": lambda p: p.update(dpdTimeoutSeconds=5),
    "mode": lambda p: p.update(connectionMode="Sometimes"),
    "key": lambda p: p.update(sharedKey="has-a-dash"),
    "no such gateway": lambda p: p["localNetworkGateway2"].update(id="/subscriptions/x/nowhere"),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_connection_rules(world: World, raw: Raw, change: str) -> None:
    async with world.aio_client() as client:
        await build(world, client, connection=False)
    body = world.connection()
    CHANGES[change](body["properties"])
    status, headers, answer = await raw("PUT", world.id("connections", "home"), body)
    assert status == 400 and "azure-asyncoperation" not in headers
    assert "has-a-dash" not in str(answer)


async def test_unknown_places(world: World, raw: Raw) -> None:
    sub = f"/subscriptions/{world.subscription}"
    assert (await refused(raw, "/subscriptions/other/resourceGroups", None, "GET"))[1] == "SubscriptionNotFound"
    missing = world.id("virtualNetworks", "n").replace(GROUP, "nogroup")
    assert (await refused(raw, missing, world.network()))[1] == "ResourceGroupNotFound"
    strange = f"{sub}/resourceGroups/{GROUP}/providers/Microsoft.Network/routeTables/x"
    assert await refused(raw, strange, None, "GET") == (404, "InvalidResourceType")
    operation = f"{sub}/providers/Microsoft.Network/locations/westeurope/operations/none"
    assert await refused(raw, operation, None, "GET") == (404, "NotFound")
    assert (await raw("DELETE", world.id("connections", "never")))[0] == 204


async def test_tokens_are_checked(world: World, raw: Raw) -> None:
    url = f"/subscriptions/{world.subscription}"
    assert (await raw("GET", url))[0] == 200
    assert (await raw("GET", url, token=world.token(f"{world.lab.base_url}/")))[0] == 200
    cases = {
        "nonsense": "InvalidAuthenticationToken",
        world.token("https://vault.azure.net"): "InvalidAuthenticationTokenAudience",
        world.lab.tokens.issue("https://management.azure.com", -1)[0]: "ExpiredAuthenticationToken",
    }
    for token, wanted in cases.items():
        status, headers, body = await raw("GET", url, token=token)
        assert isinstance(body, dict)
        assert (status, body["error"]["code"]) == (401, wanted)
        assert "www-authenticate" in headers and token not in str(body)


async def test_reads_are_throttled_by_a_bucket(world: World, raw: Raw) -> None:
    url = f"/subscriptions/{world.subscription}"
    answers = [await raw("GET", url) for _ in range(251)]
    assert answers[0][1]["x-ms-ratelimit-remaining-subscription-reads"] == "249"
    assert [status for status, *_ in answers] == [200] * 250 + [429]
    assert answers[-1][1]["retry-after"] == "1"
    await world.clock.advance(1)
    assert (await raw("GET", url))[0] == 200
