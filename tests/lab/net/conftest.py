"""Fixtures of the lab's network. What is marked `lab` needs the sandbox, and says so rather than being skipped."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest

from lab.net.dataplane import NetDataPlane
from lab.net.sandbox import VARIABLE
from lab.net.world import Network


@pytest.fixture(autouse=True)
def _sandbox(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("lab") is not None and os.environ.get(VARIABLE) != "1":
        pytest.fail(
            "this test needs the lab's sandbox: run `make test` (or: python -m lab.net.sandbox -- pytest ...)",
            pytrace=False,
        )


@pytest.fixture
async def net(_sandbox: None) -> AsyncIterator[Network]:
    async with Network(ddns_lag_s=1.0, ttl=3) as network:
        yield network


@pytest.fixture
async def plane(net: Network) -> AsyncIterator[NetDataPlane]:
    data_plane = NetDataPlane(net.directory)
    yield data_plane
    await data_plane.close()
