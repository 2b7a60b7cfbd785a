from __future__ import annotations

import pytest

from tests.lab.azure.conftest import Raw
from tests.lab.azure.world import GROUP, World, build


@pytest.mark.parametrize("version", ["2015-05-01-preview", "2019-11-01", "2031-12-31", ""])
async def test_any_api_version_is_answered_and_repeated_in_operation_urls(world: World, raw: Raw, version: str) -> None:
    url = world.id("localNetworkGateways", "lng")
    query = f"?api-version={version}" if version else ""
    status, headers, _ = await raw("PUT", url + query, world.local())
    assert status == 201
    assert headers["azure-asyncoperation"].endswith(f"?api-version={version or '2026-03-01'}")
    assert (await raw("GET", headers["azure-asyncoperation"]))[2] == {"status": "InProgress"}


@pytest.mark.parametrize("change", [str.lower, str.upper])
async def test_paths_are_read_without_regard_to_case(world: World, raw: Raw, change: object) -> None:
    assert callable(change)
    async with world.aio_client() as arm:
        await build(world, arm)
    for path in (
        f"/subscriptions/{world.subscription}/resourceGroups/{GROUP}",
        world.id("connections", "home"),
        world.id("virtualNetworks", "net") + "/subnets/GatewaySubnet",
        world.id("virtualNetworkGateways", "gw") + "/connections",
    ):
        asked = "/subscriptions" + change(path.removeprefix("/subscriptions"))
        here, there = await raw("GET", f"{path}?api-version=2024-05-01"), await raw("GET", f"{asked}?api-version=1")
        assert (here[0], here[2]) == (200, there[2])
    for action in ("getBgpPeerStatus", "GETBGPPEERSTATUS", "reset"):
        path = world.id("virtualNetworkGateways", "gw") + f"/{change(action)}"
        assert (await raw("POST", f"{path}?api-version=2024-05-01&gatewayVip=None"))[0] == 202


async def test_clients_find_cloud_tenant_and_subscription(world: World, raw: Raw) -> None:
    for path in ("/metadata/endpoints", "//metadata/endpoints"):
        _, _, cloud = await raw("GET", f"{path}?api-version=2022-09-01")
        assert cloud["authentication"]["loginEndpoint"] == world.lab.base_url
        assert (await raw("GET", f"{path}?api-version=2019-05-01"))[2] == [cloud]
    [tenant] = (await raw("GET", "/tenants?api-version=2022-12-01"))[2]["value"]
    [subscription] = (await raw("GET", "/subscriptions?api-version=2022-12-01"))[2]["value"]
    assert tenant["tenantId"] == subscription["tenantId"] == world.lab.config.tenant
    assert (await raw("GET", f"/subscriptions/{world.subscription}"))[2] == subscription
    missing = await raw("GET", "/subscriptions/00000000-0000-0000-0000-000000000001")
    assert (missing[0], missing[2]["error"]["code"]) == (404, "SubscriptionNotFound")


@pytest.mark.parametrize(("version", "name"), [("2019-11-01", None), ("2022-01-01", "gw")])
async def test_a_gateway_s_reset_ends_with_the_gateway_since_2020(
    world: World, raw: Raw, version: str, name: str | None
) -> None:
    async with world.aio_client() as arm:
        await build(world, arm, connection=False)
    path = world.id("virtualNetworkGateways", "gw") + f"/reset?api-version={version}&gatewayVip=None"
    _, headers, _ = await raw("POST", path)
    await world.clock.advance(2000)
    status, _, body = await raw("GET", headers["location"])
    assert (status, body and body["name"]) == (200, name)


async def test_reset_shared_key_makes_one_of_the_length_asked_for(world: World, raw: Raw) -> None:
    async with world.aio_client() as arm:
        await build(world, arm)
        connections = arm.virtual_network_gateway_connections
        poller = await connections.begin_reset_shared_key(GROUP, "home", {"keyLength": 24})
        assert (await poller.result()).key_length == 24
        key = (await connections.get_shared_key(GROUP, "home")).value
        assert len(key) == 24 and world.plane.connections["home"].psk == key
    path = world.id("connections", "home") + "/sharedkey/reset?api-version=2024-05-01"
    assert (await raw("POST", path, {"keyLength": 129}))[0] == 400
