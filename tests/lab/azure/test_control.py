"""The lab's own handles, and the clock behind them."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import Mock

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from lab.azure.clock import ScaledClock, VirtualClock
from lab.azure.control import Control
from lab.azure.faults import Faults
from lab.azure.metrics import Metrics
from lab.azure.statelog import StateLog
from tests.lab.azure.conftest import Raw
from tests.lab.azure.world import World


async def test_the_clock_is_read_and_set(world: World, raw: Raw) -> None:
    assert (await raw("POST", "/lab/clock", {"factor": 60}))[0] == 200
    answer = (await raw("GET", "/lab/clock"))[2]
    assert isinstance(answer, dict) and answer["factor"] == 60
    for wrong in ({"factor": 0}, {"factor": "fast"}, {}):
        assert (await raw("POST", "/lab/clock", wrong))[0] == 400
    assert world.clock.factor == 60


async def test_metrics_count_arm_only(world: World, raw: Raw) -> None:
    before = world.lab.metrics.view()
    await raw("GET", f"/subscriptions/{world.subscription}")
    await raw("DELETE", world.id("connections", "none"))
    await raw("GET", "/lab/clock")
    answer = (await raw("GET", "/lab/metrics"))[2]
    assert isinstance(answer, dict)
    assert (answer["arm_reads"], answer["arm_writes"]) == (before["arm_reads"] + 1, before["arm_writes"] + 1)
    last = answer["requests"][-1]
    assert (last["method"], last["path"], last["status"]) == ("DELETE", world.id("connections", "none"), 204)


@pytest.mark.parametrize(
    ("peer", "own", "allowed"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("203.0.113.80", "203.0.113.80", True),
        ("198.51.100.23", "203.0.113.80", False),
    ],
)
async def test_only_this_host_may_use_the_handles(peer: str, own: str, allowed: bool) -> None:
    clock = VirtualClock()
    handlers: dict[str, Any] = {
        route.path: route.handler for route in Control(clock, Metrics(), StateLog(clock), Faults()).routes()
    }
    transport = Mock(asyncio.Transport)
    transport.get_extra_info.side_effect = {"peername": (peer, 1), "sockname": (own, 2)}.get
    request = make_mocked_request("GET", "/lab/metrics", transport=transport)
    if allowed:
        assert (await handlers["/lab/metrics"](request)).status == 200
    else:
        with pytest.raises(web.HTTPForbidden):
            await handlers["/lab/metrics"](request)


async def test_a_change_of_factor_reaches_sleepers() -> None:
    clock = ScaledClock(1.0)
    sleeper = asyncio.create_task(clock.sleep(3600))
    await asyncio.sleep(0)
    assert not sleeper.done()
    clock.set_factor(10_000.0)
    await asyncio.wait_for(sleeper, 5)
    assert clock.monotonic() >= 3599


@pytest.mark.parametrize(("factor", "wanted"), [(1.0, 10), (2.5, 4), (60.0, 1), (1000.0, 1)])
async def test_retry_after_is_scaled_and_never_zero(factor: float, wanted: int) -> None:
    assert ScaledClock(factor).retry_after(10) == wanted


@pytest.mark.parametrize("factor", [0.0, -1.0, 1e6])
def test_a_mad_factor_is_refused(factor: float) -> None:
    with pytest.raises(ValueError, match="clock factor"):
        ScaledClock(factor)
