"""Status, header names and body keys against real ARM traffic.

The recordings are read where they are and are no part of the project. Ours may show more keys than a recording of 2017
to 2020 did, if they are listed in LATER, and may not show less, except for what newer api-versions dropped (GONE).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lab.azure.conftest import Raw
from tests.lab.azure.world import LOCATION, World

FILE = Path(__file__).parents[3] / ".." / "shared" / "data" / "azure" / "key_exchanges.json"
pytestmark = pytest.mark.skipif(not FILE.exists(), reason="the recorded exchanges are not beside this checkout")

LATER = {"properties.connectionMode", "sku.tier", "zones", "properties.ipAddress"}
GONE = {"properties.subnets[].properties.subnetID"}
PROTOCOL = ("azure-asyncoperation", "location", "etag")

Answer = tuple[int, dict[str, str], Any]


def recorded(src: str, method: str, url: str, answer: int, /, **body: object) -> dict[str, Any]:
    """The first recording of that kind whose body has the given texts in its JSON."""
    for item in json.loads(FILE.read_text()):
        text = json.dumps(item["body"])
        same = item["method"] == method and item["status"] == answer and url in item["url"].partition("?")[0]
        if same and item["src"].startswith(src) and all(f'"{k}": {json.dumps(v)}' in text for k, v in body.items()):
            return dict(item)
    raise AssertionError(f"no recording of {src} {method} {url} {answer} {body}")


def keys(value: Any, path: str = "") -> set[str]:
    if isinstance(value, dict):
        found: set[str] = set()
        for name, inner in value.items():
            if path == "tags":
                continue
            here = f"{path}.{name}" if path else name
            found |= {here} | keys(inner, here)
        return found
    if isinstance(value, list):
        return set().union(*(keys(item, f"{path}[]") for item in value)) if value else set()
    return set()


def compare(ours: Answer, theirs: dict[str, Any]) -> None:
    status, headers, body = ours
    assert status == theirs["status"]
    their_headers = {name.lower() for name in theirs["headers"]}
    for name in PROTOCOL:
        assert (name in headers) == (name in their_headers), name
    for name in their_headers - {"retry-after"}:
        if "ratelimit" in name:
            assert any("x-ms-ratelimit-remaining-subscription" in ours for ours in headers)
        else:
            assert name in headers, name
    if theirs["body"] is None:
        assert body is None
        return
    missing = keys(theirs["body"]) - keys(body) - GONE
    assert not missing
    assert not keys(body) - keys(theirs["body"]) - LATER


@pytest.fixture
def urls(world: World) -> Callable[[str, str], str]:
    return lambda type_, name: world.id(type_, name) + "?api-version=2019-11-01"


Urls = Callable[[str, str], str]


def local(address: str = "40.71.184.214", *prefixes: str) -> dict[str, Any]:
    space = {"addressPrefixes": list(prefixes or ("192.168.3.0/24",))}
    return {"location": LOCATION, "properties": {"localNetworkAddressSpace": space, "gatewayIpAddress": address}}


async def finished(world: World, answer: Answer) -> None:
    assert answer[0] in (200, 201, 202), answer[2]
    await world.clock.advance(2000)


async def test_local_network_gateway(world: World, raw: Raw, urls: Urls) -> None:
    url = urls("localNetworkGateways", "lng")
    lng = "/localNetworkGateways/"
    compare(await raw("GET", url), recorded("xplat", "GET", lng, 404, code="ResourceNotFound"))
    created = await raw("PUT", url, local())
    compare(created, recorded("java", "PUT", lng, 201))
    operation = created[1]["azure-asyncoperation"]
    running = await raw("GET", operation)
    compare(running, recorded("java", "GET", "/operations/", 200, status="InProgress"))
    assert running[1]["retry-after"] == "10"
    await finished(world, created)
    done = await raw("GET", operation)
    compare(done, recorded("java", "GET", "/operations/", 200, status="Succeeded"))
    assert "retry-after" not in done[1]
    read = await raw("GET", url)
    compare(read, recorded("java", "GET", lng, 200, provisioningState="Succeeded"))
    assert read[2]["etag"] == read[1]["etag"] != created[2]["etag"]
    assert read[2]["properties"]["resourceGuid"] == created[2]["properties"]["resourceGuid"]
    compare(await raw("PATCH", url, {"tags": {"tag3": "value3"}}), recorded("java", "PATCH", lng, 200))
    updated = await raw("PUT", url, local())
    compare(updated, recorded("java", "PUT", lng, 200))
    await finished(world, updated)
    deleted = await raw("DELETE", url)
    compare(deleted, recorded("java", "DELETE", lng, 202))
    assert (await raw("GET", deleted[1]["location"]))[0] == 202
    await finished(world, deleted)
    compare(await raw("GET", deleted[1]["location"]), recorded("net", "GET", "/operationResults/", 204))
    assert (await raw("GET", url))[2]["error"]["code"] == "NotFound"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (local("10.0.0.257"), "InvalidIpAddress"),
        (local("40.71.184.214", "192.168.0.0"), "InvalidAddressPrefixFormat"),
    ],
)
async def test_refusals(raw: Raw, urls: Urls, body: dict[str, Any], code: str) -> None:
    theirs = recorded("xplat", "PUT", "/localNetworkGateways/", 400, code=code)
    url = urls("localNetworkGateways", theirs["url"].partition("?")[0].rpartition("/")[2])
    answer = await raw("PUT", url, body)
    compare(answer, theirs)
    ours, recorded_message = answer[2]["error"]["message"], theirs["body"]["error"]["message"]
    assert ours.partition("/subscriptions/")[0] == recorded_message.partition("/subscriptions/")[0]


async def test_zero_asn_and_bad_peering_address(world: World, raw: Raw, urls: Urls) -> None:
    url = urls("localNetworkGateways", "lng")
    body = local()
    body["properties"]["bgpSettings"] = {"asn": 0, "bgpPeeringAddress": "11.0.0.1"}
    theirs = recorded("xplat", "PUT", "/localNetworkGateways/", 400, code="LocalNetworkGatewayCannotHaveZeroAsn")
    compare(await raw("PUT", url, body), theirs)
    body["properties"]["bgpSettings"] = {"asn": 65020, "bgpPeeringAddress": "11.0.0.257"}
    accepted = await raw("PUT", url, body)
    await finished(world, accepted)
    failed = await raw("GET", accepted[1]["azure-asyncoperation"])
    theirs = recorded("xplat", "GET", "/operations/", 200, status="Failed")
    compare(failed, theirs)
    assert failed[2] == theirs["body"]
    assert (await raw("GET", url))[2]["properties"]["provisioningState"] == "Failed"


async def test_gateway_and_connection(world: World, raw: Raw, urls: Urls) -> None:
    sample = "java/testManageVpnGatewaySite2Site"
    vnet, pip = urls("virtualNetworks", "net"), urls("publicIPAddresses", "pip")
    created = await raw("PUT", vnet, world.network())
    compare(created, recorded(sample, "PUT", "/virtualNetworks/", 201))
    await finished(world, created)
    compare(await raw("GET", vnet), recorded(sample, "GET", "/virtualNetworks/vnet", 200, type="Microsoft.Network/virtualNetworks"))  # fmt: skip  # noqa: E501
    subnet = vnet.replace("/net?", "/net/subnets/GatewaySubnet?")
    compare(await raw("GET", subnet), recorded("python", "GET", "/subnets/GatewaySubnet", 200))
    created = await raw("PUT", pip, world.address())
    compare(created, recorded(sample, "PUT", "/publicIPAddresses/", 201))
    await finished(world, created)
    compare(await raw("GET", pip), recorded(sample, "GET", "/publicIPAddresses/", 200))

    gateway = urls("virtualNetworkGateways", "gw")
    created = await raw("PUT", gateway, world.gateway())
    theirs = recorded(sample, "PUT", "/virtualNetworkGateways/", 201)
    compare(created, theirs)
    assert created[2]["properties"]["bgpSettings"]["asn"] == theirs["body"]["properties"]["bgpSettings"]["asn"] == 0
    await finished(world, created)
    compare(await raw("GET", gateway), recorded(sample, "GET", "/virtualNetworkGateways/vngw", 200, gatewayType="Vpn"))

    await finished(world, await raw("PUT", urls("localNetworkGateways", "lng"), local()))
    connection = urls("connections", "home")
    body = world.connection()
    for name in ("ipsecPolicies", "enableBgp", "connectionMode"):
        del body["properties"][name]
    created = await raw("PUT", connection, body)
    compare(created, recorded(sample, "PUT", "/connections/", 201))
    busy = await raw("DELETE", connection)
    theirs = recorded("xplat", "DELETE", "/connections/", 409)
    compare(busy, theirs)
    assert busy[2]["error"]["message"].partition("uri:")[0] == theirs["body"]["error"]["message"].partition("uri:")[0]
    await finished(world, created)
    compare(await raw("GET", connection), recorded(sample, "GET", "/connections/con", 200))
    listed = await raw("GET", gateway.replace("/gw?", "/gw/connections?"))
    theirs = recorded(sample, "GET", "/connections", 200, connectionType="IPsec")
    assert (listed[0], set(listed[2])) == (theirs["status"], {"value"})
    assert not {"sharedKey", "connectionStatus"} & set(listed[2]["value"][0]["properties"])
    key = await raw("PUT", connection.replace("/home?", "/home/sharedkey?"), {"value": "Another_key2"})
    compare(key, recorded("xplat", "PUT", "/sharedkey", 200))
    await finished(world, key)

    reset = await raw("POST", gateway.replace("/gw?", "/gw/reset?"))
    compare(reset, recorded(sample, "POST", "/reset", 202))
    compare(await raw("GET", reset[1]["location"]), recorded(sample, "GET", "/operationResults/", 202))
    await asyncio.sleep(0)
    await finished(world, reset)
    compare(await raw("GET", reset[1]["location"]), recorded(sample, "GET", "/operationResults/", 200))
    tagged = await raw("PATCH", gateway, {"tags": {"tag3": "value3"}})
    compare(tagged, recorded("java/testVirtualNetworkGatewaySiteToSite", "PATCH", "/virtualNetworkGateways/", 200))
    assert tagged[2]["properties"]["provisioningState"] == "Updating"
