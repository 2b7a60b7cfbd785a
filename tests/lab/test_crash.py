"""kill -9 of the Functions host while ARM creates the gateway: the next one takes over, and nothing is done twice."""

from __future__ import annotations

import pytest

from lab import scenario
from lab.client import eventually
from lab.world import World

pytestmark = pytest.mark.lab


async def gateway_puts(world: World) -> list[int]:
    """Status codes of the PUTs of the gateway that ARM saw."""
    requests = (await world.api.metrics())["requests"]
    return [r["status"] for r in requests if r["method"] == "PUT" and "/virtualnetworkgateways/" in r["path"].lower()]


async def test_a_host_killed_in_mid_creation_is_replaced() -> None:
    async with World(factor=240, logs=scenario.logs_folder("test-crash")) as world:
        await scenario.put_documents(world)

        async def creating() -> bool:
            return len(await gateway_puts(world)) == 1

        await eventually("ARM creating the gateway", creating, within=60, every=0.05)
        await world.kill_host()
        await world.start_host()

        async def exists() -> bool:
            found = await world.api.conditions("gateways", "hub")
            return found["Ready"][0] == "True"

        await eventually("the gateway being there", exists, within=90)
        await world.start_agent("home-fw", timing="heartbeat_s = 5")

        async def ready() -> bool:
            return (await world.api.conditions("connections", "home"))["Ready"][0] == "True"

        await eventually("the tunnel being proven", ready, within=60)
        assert await gateway_puts(world) == [201]
        assert all((await scenario.pings(world)).values())
