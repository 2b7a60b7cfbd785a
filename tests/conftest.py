"""What holds for every test: those marked `lab` need the sandbox."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from lab.net import sandbox

# Deterministic, and without a wall clock: a slow machine is no failure.
settings.register_profile("homelink", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("homelink")


@pytest.fixture(autouse=True)
def _sandbox(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("lab") and os.environ.get(sandbox.VARIABLE) != "1":
        pytest.fail(
            "this test needs the lab's sandbox: run `make test`",
            pytrace=False,
        )
