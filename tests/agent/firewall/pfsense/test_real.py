"""The pfSense driver over the twin in the lab's network: a real charon and bgpd carry what config.xml means."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from agent.adapters import SystemClock, SystemRandom
from agent.firewall.pfsense.box import Box
from agent.firewall.pfsense.driver import PfSense
from agent.firewall.pfsense.ways import Rest, Web
from lab.net.charon import call
from shared.domain.home_evidence import RunningBgp, RunningSa, read
from shared.wire.commands import SecretRef
from shared.wire.reports import TunnelHealth
from tests.agent import fakes
from tests.agent.firewall.contract_suite import LONG
from tests.agent.firewall.linux.world import VNET, Lab, wait_for
from tests.agent.firewall.pfsense.world import FOREIGN, PLAIN
from tests.lab.pfsense.test_carrier import twin
from tests.shared.domain.situations import NOW

pytestmark = pytest.mark.lab
PSK = "a-<&>'\"-key"
GCM = ("GCMAES256", "GCMAES256")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    world = Lab()
    yield world
    world.close()


@pytest.fixture(scope="module", params=["plain", "foreign"])
def firewall(lab: Lab, request: pytest.FixtureRequest) -> Iterator[PfSense]:
    """One after the other; `foreign` has a tunnel and a BGP with AS 64900 of its own, and its owner's consent."""
    foreign, stack = request.param == "foreign", AsyncExitStack()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PFSENSE_KEY", "a-rest-key")
        process = lab.do(stack.enter_async_context(twin(lab.net, FOREIGN if foreign else PLAIN)))
    clock, random = SystemClock(), SystemRandom()
    way = Rest(Web(process.url, None, None), "a-rest-key")
    yield PfSense(Box([way], clock, random), "wan", foreign, clock, random)
    lab.do(stack.aclose())


only_plain = pytest.mark.parametrize("firewall", ["plain"], indirect=True)
only_foreign = pytest.mark.parametrize("firewall", ["foreign"], indirect=True)


def tunnel(firewall: PfSense) -> TunnelHealth:
    (found,) = firewall.health().tunnels
    return found


@only_plain
def test_a_tunnel_comes_up_stays_through_a_new_key_and_goes(lab: Lab, firewall: PfSense) -> None:
    lab.azure(PSK)
    d = fakes.desired(probe="10.0.0.4")
    firewall.apply(d, 1, PSK, LONG)
    wait_for(lambda: tunnel(firewall).bgp.received == (VNET,), 60)
    t = tunnel(firewall)
    assert (t.ike.state, t.ike.remote_address, t.child.installed) == ("ESTABLISHED", "203.0.113.10", True)
    wait_for(lambda: tunnel(firewall).bgp.sent == ("192.168.1.0/24",), 15)
    wait_for(lambda: VNET in tunnel(firewall).routes and [p for p in tunnel(firewall).probes if p.ok], 20)
    firewall.confirm()
    before = tunnel(firewall).ike.established_s or 0
    changed = fakes.desired(probe="10.0.0.4", mss=1300, psk=SecretRef("psk-home", "v2"))
    firewall.apply(changed, 2, PSK, LONG)
    t = tunnel(firewall)
    assert (t.ike.established_s or 0) >= before
    assert t.bgp.state == "Established"
    firewall.confirm()
    evidence = read(firewall.diagnose("home"), NOW)
    assert evidence.applied == changed
    assert evidence.bgp == RunningBgp(64_600, 65_515, "10.0.1.30", "192.168.1.1", 60, 180)
    assert evidence.sa == RunningSa("203.0.113.10", "203.0.113.10", "GCMAES256", "SHA384", "ECP384", *GCM, None)
    rekeyed(lab, firewall)
    assert firewall.initiate("home") == "SA installed"
    firewall.remove("home")
    assert firewall.health().tunnels == ()


def rekeyed(lab: Lab, firewall: PfSense) -> None:
    """The child and then the IKE SA, by the charon of the tunnel, and each is counted."""
    (vici,) = Path(lab.net.directory / "pf" / "ipsec1").glob("charon.vici")

    def ask(use: Callable[[Any], object]) -> None:
        lab.do(call(vici, use))

    def counts() -> tuple[int | None, int | None]:
        return tunnel(firewall).ike.rekeys, tunnel(firewall).child.rekeys

    assert counts() == (0, 0)
    ask(lambda session: session.rekey({"child": "con1"}))
    wait_for(lambda: counts() == (0, 1), 10)
    evidence = read(firewall.diagnose("home"), NOW)
    assert evidence.sa is not None
    assert evidence.sa.pfs_group == "ECP384"  # known from the first rekeying on
    ask(lambda session: session.rekey({"ike": "con1"}))
    wait_for(lambda: counts() == (1, 1), 10)


@only_plain
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


@only_plain
def test_a_wrong_asn_is_said_for_longer_than_bgpd_says_it(lab: Lab, firewall: PfSense) -> None:
    lab.azure(PSK, peer_asn=64_999)
    firewall.apply(fakes.desired(), 1, PSK, LONG)

    def notified() -> bool:
        return "Bad Peer AS" in (tunnel(firewall).bgp.last_error or "")

    wait_for(notified, 60)
    wait_for(lambda: "Bad Peer AS" not in str(firewall.diagnose("home")["neighbor"]), 30)
    assert notified()
    firewall.rollback()


@only_foreign
def test_azure_sees_the_connections_asn_though_the_firewall_has_another(lab: Lab, firewall: PfSense) -> None:
    """FRR's `local-as`, which the driver sets where a foreign ASN is there already, towards a real peer."""
    lab.azure(PSK)
    d = fakes.desired()
    firewall.apply(d, 1, PSK, LONG)
    wait_for(lambda: tunnel(firewall).bgp.received == (VNET,), 60)
    evidence = read(firewall.diagnose("home"), NOW)
    assert evidence.bgp == RunningBgp(64_600, 65_515, "10.0.1.30", "192.168.1.1", 60, 180)

    def learned() -> list[tuple[str, str]]:
        routes = lab.do(lab.plane.learned_routes("gw"))
        return [(r.network, r.as_path) for r in routes if r.source_peer == "192.168.1.1"]

    wait_for(lambda: learned() == [("192.168.1.0/24", "64600")], 20)
    assert firewall.diff(d) == ()
    firewall.confirm()
    firewall.remove("home")
    assert firewall.health().tunnels == ()
