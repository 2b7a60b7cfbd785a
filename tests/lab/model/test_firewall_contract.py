"""The model's firewall keeps the contract that every driver keeps."""

from __future__ import annotations

from typing import Any

import pytest

from agent.firewall.contract import Firewall
from shared.wire.commands import DesiredTunnel
from tests.agent import fakes
from tests.agent.firewall.contract_suite import FirewallContract
from tests.lab.model.site import Site


class ModelBench:
    def __init__(self) -> None:
        self.site = Site()
        self.firewall: Firewall = self.site.firewall

    def desired(self, **changes: Any) -> DesiredTunnel:
        return fakes.desired(**changes)

    def psk(self, desired: DesiredTunnel) -> str:
        return f"key-{desired.psk.version}"

    def reopened(self) -> Firewall:
        return self.site.firewall

    def drift(self) -> None:
        for name in self.site.firewall.records:
            self.site.firewall.hand_edit(name, "removed")

    def let_dead_man_fire(self, revert_s: float) -> None:
        self.site.wait(revert_s)

    def canonical(self) -> object:
        return self.site.firewall.canonical()

    def foreign(self) -> object:
        return dict(self.site.firewall.others)


@pytest.fixture
def bench() -> ModelBench:
    return ModelBench()


class TestModelFirewall(FirewallContract):
    pass
