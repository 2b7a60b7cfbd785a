"""The Linux driver over a real charon and a real FRR, through the lab's NAT."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.errors import FirewallError
from agent.firewall.contract import Health, Revert
from shared.wire.commands import Esp, SecretRef
from shared.wire.reports import TunnelHealth
from tests.agent.firewall.contract_suite import LONG, FirewallContract
from tests.agent.firewall.linux.world import Lab, LinuxBench, in_home, wait_for

pytestmark = pytest.mark.lab


class TestLinuxFirewall(FirewallContract):
    @pytest.fixture
    def bench(self, bench: LinuxBench) -> LinuxBench:
        """The contract needs no Azure end, so nothing waits for one to answer."""
        bench.initiates = False
        return bench


def tunnel(bench: LinuxBench) -> TunnelHealth:
    (found,) = bench.firewall.health().tunnels
    return found


def up(bench: LinuxBench) -> TunnelHealth | None:
    health: Health = bench.firewall.health()
    return health.tunnels[0] if health.up() and health.tunnels[0].bgp.received else None


def test_a_tunnel_comes_up_and_its_health_is_real(bench: LinuxBench, azure: Lab) -> None:
    d = bench.desired()
    psk = bench.psk(d)
    azure.azure(psk)
    bench.firewall.apply(d, 1, psk, LONG)
    t: TunnelHealth = wait_for(lambda: up(bench), 30)
    assert t.ike.state == "ESTABLISHED"
    assert t.ike.nat_traversal
    assert t.ike.remote_address == "203.0.113.10"
    assert t.child.installed
    assert t.bgp.received == ("10.0.0.0/16",)
    wait_for(lambda: tunnel(bench).bgp.sent == ("192.168.1.0/24",), 15)
    wait_for(lambda: "10.0.0.0/16" in tunnel(bench).routes, 15)
    (probe,) = wait_for(lambda: [p for p in tunnel(bench).probes if p.ok], 15)
    assert probe.rtt_ms is not None
    assert tunnel(bench).child.bytes_in > 0
    assert (t.ike_error, t.bgp.last_error) == (None, None)
    assert bench.firewall.health().firewall.wan_address == "192.168.178.2"
    assert bench.firewall.diff(d) == ()


def test_initiate_replaces_a_live_sa(bench: LinuxBench, azure: Lab) -> None:
    d = bench.desired()
    psk = bench.psk(d)
    azure.azure(psk)
    bench.firewall.apply(d, 1, psk, LONG)
    wait_for(lambda: up(bench), 30)
    wait_for(lambda: (tunnel(bench).ike.established_s or 0) >= 2, 10)
    assert bench.firewall.initiate("home") == "SA installed"
    established = tunnel(bench).ike.established_s
    assert established is not None
    assert established < 2


def test_a_new_key_alone_leaves_the_live_sa_in_place(bench: LinuxBench, azure: Lab) -> None:
    d = bench.desired()
    psk = bench.psk(d)
    azure.azure(psk)
    bench.firewall.apply(d, 1, psk, LONG)
    wait_for(lambda: up(bench), 30)
    before = wait_for(lambda: (tunnel(bench).ike.established_s or 0) >= 1 and tunnel(bench).ike.established_s, 10)
    other = replace(d, psk=SecretRef(d.psk.name, "v2"))
    bench.firewall.apply(other, 2, bench.psk(other), LONG)
    t = tunnel(bench)
    assert t.child.installed
    assert t.ike.established_s is not None
    assert t.ike.established_s >= before
    assert t.psk_version == "v2"
    assert "AUTHENTICATION_FAILED" in bench.firewall.initiate("home")


def test_a_wrong_key_fails_in_charon_and_is_said(bench: LinuxBench, azure: Lab) -> None:
    d = bench.desired()
    azure.azure("quite-another-key")
    bench.firewall.apply(d, 1, bench.psk(d), LONG)
    t = tunnel(bench)
    assert not t.child.installed
    assert t.ike_error == "AUTHENTICATION_FAILED"
    assert bench.psk(d) not in repr(bench.firewall.health())
    azure.azure(bench.psk(d))
    bench.firewall.start("home")
    assert tunnel(bench).child.installed
    assert tunnel(bench).ike_error is None


def test_a_wrong_policy_is_said(bench: LinuxBench, azure: Lab) -> None:
    d = bench.desired(esp=Esp("AES256", "SHA256", "PFS2048", 27_000))
    azure.azure(bench.psk(d))
    bench.firewall.apply(d, 1, bench.psk(d), LONG)
    assert tunnel(bench).ike_error == "NO_PROPOSAL_CHOSEN"


def test_a_wrong_asn_fails_in_bgpd_and_is_said(bench: LinuxBench, azure: Lab) -> None:
    d = bench.desired()
    azure.azure(bench.psk(d), peer_asn=64_999)
    bench.firewall.apply(d, 1, bench.psk(d), LONG)
    wait_for(lambda: tunnel(bench).child.installed, 10)
    said = wait_for(lambda: "Bad Peer AS" in (tunnel(bench).bgp.last_error or "") and tunnel(bench).bgp, 40)
    assert said.state != "Established"
    assert said.received == ()


def test_silence_is_no_sa_and_no_error_of_the_driver(bench: LinuxBench) -> None:
    d = bench.desired()
    bench.firewall.apply(d, 1, bench.psk(d), LONG)
    t = tunnel(bench)
    assert t.ike.state in ("CONNECTING", "NONE")
    assert t.ike_error == "PEER_NOT_RESPONDING"
    assert t.bgp.state in ("Idle", "Connect", "Active")


def test_a_bgp_of_another_asn_is_refused_and_left_alone(bench: LinuxBench) -> None:
    bench.configure("router bgp 65001", "bgp router-id 192.168.1.1")
    before = bench.canonical()
    d = bench.desired()
    with pytest.raises(FirewallError, match="ASN 65001, the Connection wants 64600"):
        bench.firewall.apply(d, 1, bench.psk(d), LONG)
    assert bench.canonical() == before
    assert bench.firewall.read().tunnels == ()


def test_somebody_elses_neighbour_and_network_outlive_ours(bench: LinuxBench) -> None:
    foreign = ("neighbor 192.168.1.99 remote-as 64777", "address-family ipv4 unicast", "network 192.168.99.0/24")
    bench.configure("router bgp 64600", *foreign, "network 192.168.1.0/24")
    before = bench.running()
    d = bench.desired()
    bench.firewall.apply(d, 1, bench.psk(d), LONG)
    assert bench.running() != before
    bench.firewall.confirm()
    bench.firewall.remove("home")
    assert bench.running() == before


def test_what_frr_refuses_leaves_nothing_behind(bench: LinuxBench) -> None:
    bench.configure("router bgp 64600", "neighbor 10.0.1.30 remote-as 65000")
    before = bench.canonical()
    with pytest.raises(FirewallError, match=r"neighbour 10\.0\.1\.30 that Homelink did not make"):
        bench.firewall.apply(bench.desired(), 1, bench.psk(bench.desired()), LONG)
    assert bench.canonical() == before
    assert bench.firewall.read().pending is None


def test_changed_addresses_leave_nothing_of_the_old_ones(bench: LinuxBench) -> None:
    d = bench.desired()
    bench.firewall.apply(d, 1, bench.psk(d), LONG)
    bench.firewall.confirm()
    moved = bench.desired(
        transit=replace(d.transit, local="10.0.1.33", remote="10.0.1.34"),
        bgp=replace(d.bgp, peer_address="10.0.1.34", advertise=("192.168.0.0/16",), peer_asn=65_514),
    )
    bench.firewall.apply(moved, 2, bench.psk(moved), LONG)
    assert bench.firewall.diff(moved) == ()
    seen = str(bench.canonical())
    assert "10.0.1.30" not in seen
    assert "10.0.1.29" not in seen
    assert "192.168.1.0/24" not in bench.running()


def test_the_kernel_takes_the_clamp_in_both_directions(bench: LinuxBench) -> None:
    d = bench.desired(mss=1234)
    bench.firewall.apply(d, 1, bench.psk(d), LONG)
    table = in_home(("nft", "list", "table", "inet", "homelink")).out
    assert table.count("size set 1234") == 2


def test_a_reboot_in_mid_change_counts_as_run_out(bench: LinuxBench) -> None:
    d = bench.desired()
    bench.firewall.apply(d, 1, bench.psk(d), Revert(600.0, ()))
    later = bench.reopened()
    later._boot = "another-boot"
    pending = later.read().pending
    assert pending is not None
    assert pending.deadline == float("-inf")
