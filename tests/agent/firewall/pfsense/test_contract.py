"""The contract over the twin, by each way into it."""

from __future__ import annotations

import pytest

from tests.agent.firewall.contract_suite import FirewallContract
from tests.agent.firewall.pfsense.world import PfSenseBench


class TestRest(FirewallContract):
    @pytest.fixture
    def bench(self, plain: PfSenseBench) -> PfSenseBench:
        return plain


class TestXmlRpc(FirewallContract):
    @pytest.fixture
    def bench(self, plain: PfSenseBench) -> PfSenseBench:
        return PfSenseBench(plain.twin, "xmlrpc")


class TestOnTheFirewall(FirewallContract):
    @pytest.fixture
    def bench(self, plain: PfSenseBench) -> PfSenseBench:
        return PfSenseBench(plain.twin, "local")
