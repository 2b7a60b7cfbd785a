"""Schedule time: it runs faster, keeps what it gained, and a change of factor wakes who waits."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest

from lab.host.clock import HostClock, wait_event


async def test_factor_one_is_the_wall_clock() -> None:
    clock = HostClock()
    assert abs(clock.scheduled() - clock.now()) < timedelta(seconds=0.1)


async def test_a_wait_is_divided_by_the_factor() -> None:
    clock = HostClock(600)
    began = time.monotonic()
    assert await clock.wait_until(clock.scheduled() + timedelta(minutes=1), asyncio.Event())
    assert 0.08 <= time.monotonic() - began < 1.0


async def test_changing_the_factor_wakes_who_waits_and_keeps_the_gain() -> None:
    clock = HostClock()
    waiting = asyncio.create_task(clock.wait_until(clock.scheduled() + timedelta(minutes=10), asyncio.Event()))
    assert not await wait_event(asyncio.Event(), 0.01)
    clock.set_factor(3600)
    async with asyncio.timeout(5):
        assert await waiting
    clock.set_factor(1)
    assert clock.scheduled() - clock.now() > timedelta(minutes=9)
    # An occurrence one minute ahead in schedule time is one minute ahead on the wall again.
    ahead = clock.wall(clock.scheduled() + timedelta(minutes=1)) - clock.now()
    assert timedelta(seconds=59) < ahead <= timedelta(seconds=60)


async def test_a_cancelled_wait_says_so() -> None:
    cancelled = asyncio.Event()
    cancelled.set()
    clock = HostClock()
    assert not await clock.wait_until(clock.scheduled() + timedelta(hours=1), cancelled)


@pytest.mark.parametrize("factor", [0, 0.5, -1, 3601, float("nan")])
async def test_senseless_factors_are_refused(factor: float) -> None:
    with pytest.raises(ValueError, match="between 1 and 3600"):
        HostClock(factor)
