"""Deployments as `az network vpn-connection create` sends them, and what else a template may hold."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.lab.azure.conftest import Raw
from tests.lab.azure.world import GROUP, KEY, LOCATION, World, build

VERSION = "?api-version=2022-09-01"


def body(world: World, *, local: str = "lng", **extra: Any) -> dict[str, Any]:
    """The template of az CLI 2.91.0, with what `extra` adds to it."""
    connection = {
        "type": "Microsoft.Network/connections",
        "name": "home",
        "location": LOCATION,
        "tags": {},
        "apiVersion": "2025-01-01",
        "dependsOn": [],
        "properties": {
            "virtualNetworkGateway1": {"id": world.id("virtualNetworkGateways", "gw")},
            "enableBgp": True,
            "connectionType": "IPSec",
            "routingWeight": 10,
            "usePolicyBasedTrafficSelectors": False,
            "expressRouteGatewayBypass": None,
            "localNetworkGateway2": {"id": world.id("localNetworkGateways", local)},
            "sharedKey": "[parameters('sharedKey')]",
        },
    }
    template = {
        "$schema": "https://schema.management.azure.com/schemas/2015-01-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "parameters": {"sharedKey": {"type": "securestring", "metadata": {"description": "Secure sharedKey"}}},
        "variables": {},
        "resources": [connection],
        "outputs": {"resource": {"type": "object", "value": "[reference('home')]"}},
        **extra,
    }
    parameters = {"sharedKey": {"value": KEY}}
    return {"properties": {"template": template, "parameters": parameters, "mode": "incremental"}}


def url(world: World, name: str = "vpn_connection_deploy_x") -> str:
    base = f"/subscriptions/{world.subscription}/resourcegroups/{GROUP}/providers/Microsoft.Resources"
    return f"{base}/deployments/{name}"


async def test_a_connection_is_deployed(world: World, raw: Raw) -> None:
    async with world.aio_client() as arm:
        await build(world, arm, connection=False)
    status, headers, answer = await raw("PUT", url(world) + VERSION, body(world))
    assert (status, answer["properties"]["provisioningState"]) == (201, "Accepted")
    assert KEY not in json.dumps(answer)
    poll = headers["azure-asyncoperation"]
    assert "/operationStatuses/" in poll and "location" not in headers
    assert (await raw("GET", poll))[2] == {"status": "Running"}
    again = await raw("PUT", url(world) + VERSION, body(world))
    assert (again[0], again[2]["error"]["code"]) == (409, "DeploymentActive")
    await world.clock.advance(60)
    assert (await raw("GET", poll))[2] == {"status": "Succeeded"}
    _, _, shown = await raw("GET", url(world) + VERSION)
    output = shown["properties"]["outputs"]["resource"]
    assert (output["type"], output["value"]["provisioningState"]) == ("Object", "Succeeded")
    assert KEY not in json.dumps(shown)
    assert world.plane.connections["home"].psk == KEY
    _, _, operations = await raw("GET", url(world) + "/operations" + VERSION)
    assert operations["value"][0]["properties"]["targetResource"]["id"] == world.id("connections", "home")
    assert (await raw("DELETE", url(world) + VERSION))[0] == 204
    assert (await raw("GET", url(world) + VERSION))[2]["error"]["code"] == "DeploymentNotFound"
    assert (await raw("GET", world.id("connections", "home") + VERSION))[0] == 200


async def test_a_refusal_and_a_failure_end_in_deployment_failed(world: World, raw: Raw) -> None:
    _, headers, _ = await raw("PUT", url(world) + VERSION, body(world))
    await world.clock.advance(60)
    _, _, status = await raw("GET", headers["azure-asyncoperation"])
    assert (status["status"], status["error"]["code"]) == ("Failed", "DeploymentFailed")
    assert status["error"]["details"][0]["code"] == "InvalidResourceReference"
    assert (await raw("GET", url(world) + VERSION))[2]["properties"]["provisioningState"] == "Failed"


async def test_order_variables_and_ids(world: World, raw: Raw) -> None:
    network = world.network()["properties"]
    resources = [
        {
            "type": "Microsoft.Network/virtualNetworks",
            "name": "[variables('second')]",
            "location": "[resourceGroup().location]",
            "properties": network,
            "dependsOn": ["[resourceId('Microsoft.Network/virtualNetworks', 'first')]"],
        },
        {"type": "Microsoft.Network/virtualNetworks", "name": "first", "location": LOCATION, "properties": network},
    ]
    outputs = {"id": {"type": "string", "value": "[resourceId('Microsoft.Network/virtualNetworks', 'first')]"}}
    given = body(world, resources=resources, outputs=outputs, variables={"second": "[concat('sec', 'ond')]"})
    await raw("PUT", url(world) + VERSION, given)
    await world.clock.advance(5)
    assert (await raw("GET", world.id("virtualNetworks", "first") + VERSION))[0] == 200
    assert (await raw("GET", world.id("virtualNetworks", "second") + VERSION))[0] == 404
    await world.clock.advance(60)
    assert (await raw("GET", world.id("virtualNetworks", "second") + VERSION))[0] == 200
    _, _, shown = await raw("GET", url(world) + VERSION)
    assert shown["properties"]["outputs"]["id"]["value"] == world.id("virtualNetworks", "first")


@pytest.mark.parametrize(
    "extra",
    [
        {"resources": [{"type": "Microsoft.Compute/virtualMachines", "name": "x"}]},
        {"resources": [{"type": "Microsoft.Network/connections", "name": "x", "copy": {"count": 2}}]},
        {"resources": "none"},
        {"parameters": {}},
        {"parameters": {"sharedKey": {"type": "securestring"}, "other": {"type": "string"}}},
        {
            "resources": [
                {"type": "Microsoft.Network/connections", "name": "a", "dependsOn": ["b"]},
                {"type": "Microsoft.Network/connections", "name": "b", "dependsOn": ["a"]},
            ]
        },
    ],
)
async def test_templates_that_are_refused(world: World, raw: Raw, extra: dict[str, Any]) -> None:
    status, _, answer = await raw("PUT", url(world) + VERSION, body(world, **extra))
    assert (status, answer["error"]["code"]) == (400, "InvalidTemplate")
    assert KEY not in json.dumps(answer)
