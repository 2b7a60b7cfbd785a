"""Firewalls without a network, and the network's fixtures for the tests that carry packets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.pfsense.twin import Twin
from tests.lab.net.conftest import net as net
from tests.lab.net.conftest import plane as plane
from tests.lab.pfsense.azure import FOREIGN, PLAIN


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Twin]:
    with Twin(tmp_path, PLAIN) as fw:
        yield fw


@pytest.fixture
def foreign(tmp_path: Path) -> Iterator[Twin]:
    with Twin(tmp_path, FOREIGN) as fw:
        yield fw
