"""The lab's tests run in its sandbox; outside they fail with the one command that works."""

from __future__ import annotations

import os

import pytest

from lab.net import sandbox


@pytest.fixture(autouse=True)
def _in_the_sandbox(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("lab") and sandbox.VARIABLE not in os.environ:
        pytest.fail("this test needs the lab's sandbox: run `make test`", pytrace=False)
