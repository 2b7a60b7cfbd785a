"""Fixtures of the lab's network. What is marked `lab` needs the sandbox, and says so rather than being skipped."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from lab.net.dataplane import NetDataPlane
from lab.net.world import Network


@pytest.fixture
async def net(_sandbox: None) -> AsyncIterator[Network]:
    async with Network(ddns_lag_s=1.0, ttl=3) as network:
        yield network


@pytest.fixture
async def plane(net: Network) -> AsyncIterator[NetDataPlane]:
    data_plane = NetDataPlane(net.directory)
    yield data_plane
    await data_plane.close()
