from __future__ import annotations

import aiohttp
import pytest

from lab.azure.faults import Fault
from tests.lab.azure.conftest import Certs, Raw
from tests.lab.azure.world import World, build

VERSION = "?api-version=2024-05-01"


async def test_a_refusal_comes_once_and_costs_what_a_request_costs(world: World, raw: Raw) -> None:
    world.lab.faults.add(Fault("refuse", "put", "/LOCALNETWORKGATEWAYS/", retry_after=7))
    url = world.id("localNetworkGateways", "lng") + VERSION
    status, headers, body = await raw("PUT", url, world.local())
    assert (status, body["error"]["code"]) == (429, "RetryableErrorDueToAnotherOperation")
    assert headers["retry-after"] == "7"
    assert (await raw("PUT", url, world.local()))[0] == 201


async def test_a_creation_that_fails_after_two_hours_leaves_a_failed_resource(world: World, raw: Raw) -> None:
    async with world.aio_client() as arm:
        await build(world, arm, connection=False)
    words = "Operation timed out. Please retry after some time or contact support."
    world.lab.faults.add(Fault("fail", "PUT", "/connections/", 1, 500, "GwmOperationTimeOut", words, None, 7200))
    url = world.id("connections", "home") + VERSION
    _, headers, _ = await raw("PUT", url, world.connection())
    await world.clock.advance(7200)
    assert (await raw("GET", headers["azure-asyncoperation"]))[2] == {"status": "InProgress"}
    await world.clock.advance(60)
    failed = (await raw("GET", headers["azure-asyncoperation"]))[2]
    assert (failed["status"], failed["error"]["code"]) == ("Failed", "GwmOperationTimeOut")
    assert (await raw("GET", url))[2]["properties"]["provisioningState"] == "Failed"
    assert "home" not in world.plane.connections
    await raw("PUT", url, world.connection())
    await world.clock.advance(60)
    assert (await raw("GET", url))[2]["properties"]["provisioningState"] == "Succeeded"


async def test_a_lost_operation_answers_404_and_does_its_work(world: World, raw: Raw) -> None:
    world.lab.faults.add(Fault("lose", "PUT", "/localNetworkGateways/lng"))
    url = world.id("localNetworkGateways", "lng") + VERSION
    _, headers, _ = await raw("PUT", url, world.local())
    status, _, body = await raw("GET", headers["azure-asyncoperation"])
    assert (status, body["error"]["code"]) == (404, "NotFound")
    await world.clock.advance(60)
    assert (await raw("GET", url))[2]["properties"]["provisioningState"] == "Succeeded"


async def test_faults_are_told_over_http(world: World, raw: Raw, certs: Certs) -> None:
    url = f"{world.lab.base_url}/lab/faults"
    async with aiohttp.ClientSession() as session:
        for wrong in ({}, {"kind": "refuse"}, {"kind": "x", "method": "GET", "path": "/"}, {"kind": 1, "other": 2}):
            async with session.post(url, json=wrong, ssl=certs.client()) as answer:
                assert answer.status == 400
        fault = {"kind": "refuse", "method": "GET", "path": "/virtualNetworks", "times": 2, "status": 503}
        async with session.post(url, json=fault, ssl=certs.client()) as answer:
            assert (await answer.json())[0]["times"] == 2
        path = f"/subscriptions/{world.subscription}/providers/Microsoft.Network/virtualNetworks{VERSION}"
        assert (await raw("GET", path))[0] == 503
        async with session.delete(url, ssl=certs.client()) as answer:
            assert await answer.json() == []
    assert (await raw("GET", path))[0] == 200


@pytest.mark.parametrize("given", [{"kind": "lose", "method": "BREW", "path": "x"}, {"kind": "lose", "method": "GET"}])
def test_nonsense_is_refused(given: dict[str, str]) -> None:
    with pytest.raises((ValueError, TypeError)):
        Fault.parse(dict(given))
