"""The pfSense driver over the twin in the lab's network: a real charon and bgpd carry what config.xml means."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest

from agent.adapters import SystemClock, SystemRandom
from agent.firewall.pfsense.box import Box
from agent.firewall.pfsense.driver import PfSense
from agent.firewall.pfsense.ways import Rest, Web
from shared.wire.commands import SecretRef
from shared.wire.reports import TunnelHealth
from tests.agent import fakes
from tests.agent.firewall.contract_suite import LONG
from tests.agent.firewall.linux.world import VNET, Lab, wait_for
from tests.agent.firewall.pfsense.world import PLAIN
from tests.lab.pfsense.test_carrier import twin

pytestmark = pytest.mark.lab
PSK = "a-<&>'\"-key"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    world = Lab()
    yield world
    world.close()


@pytest.fixture(scope="module")
def firewall(lab: Lab) -> Iterator[PfSense]:
    stack = AsyncExitStack()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PFSENSE_KEY", "a-rest-key")
        process = lab.do(stack.enter_async_context(twin(lab.net, PLAIN)))
    clock, random = SystemClock(), SystemRandom()
    yield PfSense(Box([Rest(Web(process.url, None, None), "a-rest-key")], clock, random), "wan", False, clock, random)
    lab.do(stack.aclose())


def test_a_tunnel_comes_up_stays_through_a_new_key_and_goes(lab: Lab, firewall: PfSense) -> None:
    lab.azure(PSK)
    d = fakes.desired(probe="10.0.0.4")
    firewall.apply(d, 1, PSK, LONG)

    def tunnel() -> TunnelHealth:
        (found,) = firewall.health().tunnels
        return found

    wait_for(lambda: tunnel().bgp.received == (VNET,), 60)
    t = tunnel()
    assert (t.ike.state, t.ike.remote_address, t.child.installed) == ("ESTABLISHED", "203.0.113.10", True)
    wait_for(lambda: tunnel().bgp.sent == ("192.168.1.0/24",), 15)
    wait_for(lambda: VNET in tunnel().routes and [p for p in tunnel().probes if p.ok], 20)
    firewall.confirm()
    before = tunnel().ike.established_s or 0
    changed = fakes.desired(probe="10.0.0.4", mss=1300, psk=SecretRef("psk-home", "v2"))
    firewall.apply(changed, 2, PSK, LONG)
    t = tunnel()
    assert (t.ike.established_s or 0) >= before
    assert t.bgp.state == "Established"
    firewall.confirm()
    assert firewall.initiate("home") == "SA installed"
    firewall.remove("home")
    assert firewall.health().tunnels == ()


def test_a_wrong_key_fails_in_charon_and_is_said(lab: Lab, firewall: PfSense) -> None:
    lab.azure("quite-another-key")
    firewall.apply(fakes.desired(), 1, PSK, LONG)
    refused = "not established: AUTHENTICATION_FAILED"  # charon is loaded in the background: not at once
    wait_for(lambda: firewall.initiate("home") == refused, 30)
    t = firewall.health().tunnels[0]
    assert not t.child.installed
    assert t.ike_error == "AUTHENTICATION_FAILED"
    firewall.rollback()
    assert firewall.health().tunnels == ()
