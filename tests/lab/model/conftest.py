"""What the tests that play histories have in common."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from lab.model import histories


@pytest.fixture(scope="package")
def begun() -> Iterator[None]:
    """A process that is ready to play many histories."""
    before = gc.get_threshold()
    histories.prepare()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()
