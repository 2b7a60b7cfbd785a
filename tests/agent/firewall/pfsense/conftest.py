"""Two firewalls per module. A test leaves its own as it found it; where it meddled, the firewall is reinstalled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.pfsense.twin import Twin
from tests.agent.firewall.pfsense.world import FOREIGN, PLAIN, PfSenseBench


def _twin(folder: Path, config: Path) -> Iterator[Twin]:
    with Twin(folder, config) as twin:
        yield twin


def _bench(twin: Twin) -> Iterator[PfSenseBench]:
    bench = PfSenseBench(twin)
    start = bench.twin.config()
    yield bench
    bench.clean(start)


@pytest.fixture(scope="module")
def plain_twin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twin]:
    yield from _twin(tmp_path_factory.mktemp("plain"), PLAIN)


@pytest.fixture(scope="module")
def foreign_twin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twin]:
    yield from _twin(tmp_path_factory.mktemp("foreign"), FOREIGN)


@pytest.fixture
def plain(plain_twin: Twin) -> Iterator[PfSenseBench]:
    yield from _bench(plain_twin)


@pytest.fixture
def foreign(foreign_twin: Twin) -> Iterator[PfSenseBench]:
    """With a hand-made tunnel `ipsec2`, BGP with AS 64900 and a neighbour."""
    yield from _bench(foreign_twin)
