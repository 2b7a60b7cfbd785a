"""One lab network for all tests of the driver; each test gets an empty firewall with something foreign in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.net.sandbox import VARIABLE
from tests.agent.firewall.linux.world import Lab, LinuxBench


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    if os.environ.get(VARIABLE) != "1":
        pytest.fail("this test needs the lab's sandbox: python -m lab.net.sandbox -- pytest ...", pytrace=False)
    world = Lab()
    yield world
    world.close()


@pytest.fixture
def bench(lab: Lab, tmp_path: Path) -> Iterator[LinuxBench]:
    bench = LinuxBench(lab, tmp_path / "state")
    bench.configure("ip prefix-list somebody-elses seq 99 permit 172.16.99.0/24")
    yield bench
    bench.clean()


@pytest.fixture
def azure(lab: Lab) -> Iterator[Lab]:
    """The lab whose Azure end of the connection, once a test has ordered one, is taken away after it."""
    yield lab
    lab.no_azure()
