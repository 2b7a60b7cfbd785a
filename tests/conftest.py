"""What holds for every test: those marked `lab` need the sandbox, and share its one network one after the other."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from lab.net import sandbox

# Deterministic, and without a wall clock: a slow machine is no failure.
settings.register_profile("homelink", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("homelink")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `-n 2 --dist loadgroup` one worker takes the lab's tests, which mostly wait, and the other the rest."""
    for item in items:
        if item.get_closest_marker("lab"):
            item.add_marker(pytest.mark.xdist_group("lab"))


@pytest.fixture(autouse=True)
def _sandbox(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("lab") and os.environ.get(sandbox.VARIABLE) != "1":
        pytest.fail(
            "this test needs the lab's sandbox: run `make test`",
            pytrace=False,
        )
