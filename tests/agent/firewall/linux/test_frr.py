"""FRR's lines without FRR: what is asked of it in each situation, and how its answers are read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import FirewallError
from agent.firewall.linux.frr import Frr, Ours, changes, evidence, now_ours, parse, read_health, removal
from agent.firewall.linux.run import Ran
from tests.agent.fakes import desired

FRR_8_4 = """frr version 8.4.4
!
router bgp 64600
 bgp router-id 192.168.1.1
 neighbor 10.0.1.30 remote-as 65515
 neighbor 10.0.1.30 description homelink-home
 neighbor 10.0.1.30 ebgp-multihop 255
 neighbor 10.0.1.30 update-source 192.168.1.1
 neighbor 10.0.1.30 timers 60 180
 neighbor 10.0.1.30 timers connect 10
 !
 address-family ipv4 unicast
  network 192.168.1.0/24
  neighbor 10.0.1.30 route-map homelink-home-in in
  neighbor 10.0.1.30 route-map homelink-home-out out
 exit-address-family
exit
!
ip prefix-list homelink-home-in seq 5 permit 10.0.0.0/16 le 32
ip prefix-list homelink-home-out seq 5 permit 192.168.1.0/24
!
route-map homelink-home-in permit 10
 match ip address prefix-list homelink-home-in
exit
!
route-map homelink-home-out permit 10
 match ip address prefix-list homelink-home-out
exit
!
end
"""
ALL_OURS = Ours(True, ("192.168.1.0/24",))


def test_what_is_so_needs_no_line() -> None:
    assert changes(parse(FRR_8_4), desired(), ALL_OURS) == []


def test_an_empty_frr_gets_everything_and_says_who_we_are() -> None:
    lines = changes(parse(""), desired(), Ours())
    assert "router bgp 64600" in lines
    assert "bgp router-id 192.168.1.1" in lines
    assert "neighbor 10.0.1.30 description homelink-home" in lines
    assert "neighbor 10.0.1.30 activate" in lines
    assert now_ours(parse(""), desired(), Ours()) == ALL_OURS


def test_only_what_differs_is_sent() -> None:
    faster = replace(desired().bgp, keepalive_s=10, hold_s=30)
    assert changes(parse(FRR_8_4), desired(bgp=faster), ALL_OURS) == [
        "router bgp 64600",
        "neighbor 10.0.1.30 timers 10 30",
        "exit",
    ]


def test_nothing_to_accept_means_nothing_is_accepted() -> None:
    lines = changes(parse(""), desired(bgp=replace(desired().bgp, accept=())), Ours())
    assert "route-map homelink-home-in deny 10" in lines
    assert not any("prefix-list homelink-home-in" in line for line in lines)


def test_what_somebody_added_to_our_neighbour_stays() -> None:
    edited = FRR_8_4.replace("timers connect 10", "timers connect 10\n neighbor 10.0.1.30 bfd")
    assert changes(parse(edited), desired(), ALL_OURS) == []


def test_another_asn_or_somebodys_neighbour_is_in_the_way() -> None:
    with pytest.raises(FirewallError, match="ASN 65001"):
        changes(parse("router bgp 65001\nexit\n"), desired(), Ours())
    with pytest.raises(FirewallError, match="did not make"):
        changes(parse("router bgp 64600\n neighbor 10.0.1.30 remote-as 1\nexit\n"), desired(), Ours())


def test_a_vrf_is_not_our_instance() -> None:
    assert parse("router bgp 65001 vrf blue\n neighbor 10.0.1.30 remote-as 1\nexit\n").asn is None


def test_removal_takes_the_instance_only_if_it_was_ours_and_is_empty() -> None:
    assert removal(parse(FRR_8_4), "home", ALL_OURS)[0] == "no router bgp 64600"
    assert "no router bgp 64600" not in removal(parse(FRR_8_4), "home", Ours(False, ("192.168.1.0/24",)))
    shared = FRR_8_4.replace(" !\n address", " neighbor 192.0.2.9 remote-as 7\n !\n address")
    lines = removal(parse(shared), "home", ALL_OURS)
    assert lines[:2] == ["router bgp 64600", "no neighbor 10.0.1.30"]
    assert "no network 192.168.1.0/24" in lines
    assert removal(parse(""), "home", ALL_OURS) == []


def test_a_network_that_was_there_before_is_not_ours() -> None:
    before = parse(
        "router bgp 64600\n address-family ipv4 unicast\n  network 192.168.1.0/24\n exit-address-family\nexit\n"
    )
    assert now_ours(before, desired(), Ours()) == Ours(False, ())


def test_health_of_an_established_session() -> None:
    text = (
        '{"10.0.1.30": {"bgpState": "Established", "bgpTimerUpMsec": 5000}}\n'
        '{"advertisedRoutes": {"192.168.1.0/24": {}}}\n{"routes": {"10.0.0.0/16": []}}'
    )
    health = read_health("10.0.1.30", text)
    assert (health.state, health.uptime_s, health.received, health.sent) == (
        "Established", 5.0, ("10.0.0.0/16",), ("192.168.1.0/24",),
    )  # fmt: skip


def test_health_of_a_refused_session_has_bgpds_reason() -> None:
    text = '{"10.0.1.30": {"bgpState": "Idle", "lastNotificationReason": "OPEN Message Error/Bad Peer AS"}}'
    assert read_health("10.0.1.30", text).last_error == "OPEN Message Error/Bad Peer AS"


@given(st.text(alphabet='{}[]":,10.bgpState\n ', max_size=80))
def test_any_answer_of_vtysh_can_be_read(text: str) -> None:
    assert read_health("10.0.1.30", text).received == ()


@given(st.lists(st.sampled_from(FRR_8_4.splitlines()), max_size=40))
def test_any_mutilated_configuration_leads_to_lines_or_a_clear_refusal(lines: list[str]) -> None:
    running = parse("\n".join(lines))
    try:
        changes(running, desired(), ALL_OURS)
    except FirewallError as e:
        assert "Homelink did not make" in str(e)
    removal(running, "home", ALL_OURS)


def test_a_notification_is_remembered_until_a_session_stands() -> None:
    """bgpd tells it for 10 s only, and then that it waits for an OPEN."""
    peer, said = "10.0.1.30", [""]

    def vtysh(words: Sequence[str], stdin: str) -> Ran:
        return Ran(0, said[0], "")

    frr = Frr(("vtysh",), vtysh)

    def hears(state: str, **reason: str) -> str | None:
        said[0] = json.dumps({peer: {"bgpState": state, **reason}})
        return frr.health(desired()).last_error

    waiting = {"lastResetDueTo": "Waiting for peer OPEN"}
    assert hears("Active", **waiting) == "Waiting for peer OPEN"
    assert hears("Idle", lastNotificationReason="OPEN Message Error/Bad Peer AS") == "OPEN Message Error/Bad Peer AS"
    assert hears("Active", **waiting) == "OPEN Message Error/Bad Peer AS"
    assert hears("Established") is None
    assert hears("Active", **waiting) == "Waiting for peer OPEN"


def test_evidence_is_what_a_diagnosis_needs_and_no_counters() -> None:
    raw = {"localAs": 64600, "remoteAs": 65515, "bgpState": "Active", "messageStats": {"opensSent": 4}}
    assert evidence("10.0.1.30", json.dumps({"10.0.1.30": raw})) == {
        "address": "10.0.1.30", "localAs": 64600, "remoteAs": 65515, "bgpState": "Active",
    }  # fmt: skip
    assert evidence("10.0.1.30", "% No such neighbor") == {}
