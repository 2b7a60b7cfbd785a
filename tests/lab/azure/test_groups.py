from __future__ import annotations

import json

from tests.lab.azure.conftest import Raw
from tests.lab.azure.world import GROUP, World, build

VERSION = "?api-version=2021-04-01"


async def test_deleting_a_group_deletes_what_is_in_it(world: World, raw: Raw) -> None:
    base = f"/subscriptions/{world.subscription}/resourceGroups/{GROUP}"
    async with world.aio_client() as arm:
        await build(world, arm)
    listed = (await raw("GET", f"{base}/resources{VERSION}"))[2]["value"]
    assert {item["name"] for item in listed} == {"net", "pip", "gw", "lng", "home"}
    status, headers, _ = await raw("DELETE", base.lower() + VERSION)
    assert (status, headers["retry-after"]) == (202, "15")
    assert (await raw("GET", base + VERSION))[2]["properties"]["provisioningState"] == "Deleting"
    late = await raw("PUT", world.id("virtualNetworks", "late") + VERSION, world.network())
    assert (late[0], late[2]["error"]["code"]) == (409, "ResourceGroupBeingDeleted")
    assert (await raw("GET", headers["location"]))[0] == 202
    await world.clock.advance(400)
    assert (await raw("GET", headers["location"]))[0] == 200
    assert (await raw("HEAD", base + VERSION))[0] == 404
    assert world.plane.gateways == {} and world.plane.connections == {}
    assert (await raw("GET", f"/subscriptions/{world.subscription}/resources{VERSION}"))[2] == {"value": []}


async def test_what_is_used_from_elsewhere_blocks_the_deletion(world: World, raw: Raw) -> None:
    base = f"/subscriptions/{world.subscription}/resourceGroups"
    async with world.aio_client() as arm:
        await build(world, arm, connection=False)
    assert (await raw("PUT", f"{base}/other{VERSION}", {"location": "westeurope"}))[0] == 201
    connection = world.connection()
    status, _, _ = await raw("PUT", f"{base}/other/providers/Microsoft.Network/connections/c{VERSION}", connection)
    assert status == 201
    await world.clock.advance(60)
    _, headers, _ = await raw("DELETE", f"{base}/{GROUP}{VERSION}")
    await world.clock.advance(400)
    status, _, answer = await raw("GET", headers["location"])
    assert (status, answer["error"]["code"]) == (409, "ResourceGroupDeletionBlocked")
    cause = json.loads(answer["error"]["details"][0]["message"])
    assert cause["error"]["code"] == "LocalNetworkGatewayInUse"
    assert (await raw("GET", f"{base}/{GROUP}{VERSION}"))[2]["properties"]["provisioningState"] == "Succeeded"


async def test_group_rules(world: World, raw: Raw) -> None:
    base = f"/subscriptions/{world.subscription}/resourceGroups"
    assert (await raw("PUT", f"{base}/x{VERSION}", {}))[2]["error"]["code"] == "LocationRequired"
    moved = await raw("PUT", f"{base}/{GROUP.upper()}{VERSION}", {"location": "East US"})
    assert (moved[0], moved[2]["error"]["code"]) == (409, "InvalidResourceGroupLocation")
    tagged = await raw("PATCH", f"{base}/{GROUP}{VERSION}", {"tags": {"a": "b"}})
    assert (tagged[0], tagged[2]["tags"], tagged[2]["name"]) == (200, {"a": "b"}, GROUP)
    assert (await raw("DELETE", f"{base}/none{VERSION}"))[2]["error"]["code"] == "ResourceGroupNotFound"
    registered = await raw("GET", f"/subscriptions/{world.subscription}/providers/microsoft.network{VERSION}")
    assert registered[2]["registrationState"] == "Registered"
