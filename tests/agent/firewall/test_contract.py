"""The contract over the fake, so that tests of the core stand on something that behaves like a driver."""

from __future__ import annotations

from typing import Any

import pytest

from agent.firewall.contract import Firewall
from shared.wire.commands import DesiredTunnel
from tests.agent import fakes
from tests.agent.firewall.contract_suite import FirewallContract


class FakeBench:
    def __init__(self) -> None:
        self.world = fakes.World()
        self._fake = fakes.FakeFirewall(self.world)
        self.firewall: Firewall = self._fake

    def desired(self, **changes: Any) -> DesiredTunnel:
        return fakes.desired(**changes)

    def psk(self, desired: DesiredTunnel) -> str:
        return f"key-{desired.psk.version}"

    def reopened(self) -> Firewall:
        return self._fake

    def drift(self) -> None:
        self._fake.drifted |= set(self._fake.installed)

    def let_dead_man_fire(self, revert_s: float) -> None:
        self.world.mono += revert_s
        self._fake.tick()

    def canonical(self) -> object:
        return dict(self._fake.installed)

    def foreign(self) -> object:
        return self._fake.foreign


@pytest.fixture
def bench() -> FakeBench:
    return FakeBench()


class TestFakeFirewall(FirewallContract):
    pass
