"""What is told of a Gateway and a Connection: each cause has its own reason, and times stay while the status does."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.domain import conditions, parse, render
from shared.domain.arm import ArmKind
from shared.domain.conditions import Condition, Link
from shared.domain.dns import ONLY_IPV6, DnsFault, DnsView
from shared.domain.plan import Action, Change, Plan
from shared.domain.render import AzureEnd
from shared.wire.commands import DesiredTunnel, SecretRef
from shared.wire.reports import BgpHealth, ChildHealth, ProbeHealth
from tests.examples import CONNECTION, changed

from .situations import END, GW, HOME, NOW, OTHER, WANTED
from .situations import HEALTH as GOOD


def tunnel(document: dict[str, Any] = CONNECTION) -> DesiredTunnel:
    return render.tunnel("home", "ID", parse.connection(document).spec, GW, END, SecretRef("psk-ID", "v1"))


def resource(state: str = "Succeeded", **properties: Any) -> dict[str, Any]:
    return {"name": "r", "properties": {"provisioningState": state, **properties}}


RESOURCES: dict[ArmKind, Any] = {
    ArmKind.LOCAL_GATEWAY: resource(),
    ArmKind.CONNECTION: resource(connectionStatus="Connected"),
}
FINE = Link(
    resources=RESOURCES,
    desired=WANTED,
    trouble="",
    agent_known=True,
    health=GOOD,
    heartbeat_age_s=3.0,
    pin=None,
    fqdn="home.homelink.test",
    resolved=HOME,
    reported_address=HOME,
)


def verdict(kind: str, link: Link, note: str = "it runs") -> tuple[str, str]:
    status, reason, message = conditions.connection(link, note)[kind]
    assert message
    return status, reason


def ill(**changes: Any) -> Link:
    return replace(FINE, health=replace(GOOD, **changes))


def test_all_is_well() -> None:
    found = conditions.connection(FINE, "")
    assert {s for s, _, _ in found.values()} == {"True"}
    assert found["Ready"][1] == "Verified" and next(iter(found)) == "Ready"


NO_CHILD = ChildHealth(False, 0, 0, None)
DOWN = BgpHealth("Active", 0.0, (), ())

LNG, IPSEC = ArmKind.LOCAL_GATEWAY, ArmKind.CONNECTION
CASES = [
    ("AzureReady", replace(FINE, resources=None), "False", "OperationRunning"),
    ("AzureReady", replace(FINE, resources=None, azure_before=("True", "Succeeded", "exists")), "True", "Succeeded"),
    (
        "AzureReady",
        replace(FINE, resources=None, azure_before=("True", "Succeeded", "exists"), operated=True),
        "False",
        "OperationRunning",
    ),
    ("AzureReady", replace(FINE, resources={}), "False", "Missing"),
    ("AzureReady", replace(FINE, resources={**RESOURCES, ArmKind.CONNECTION: None}), "False", "Missing"),
    (
        "AzureReady",
        replace(FINE, resources={**RESOURCES, IPSEC: resource("Updating")}),
        "False",
        "Updating",
    ),
    (
        "AzureReady",
        replace(FINE, resources={**RESOURCES, LNG: resource("Failed")}),
        "False",
        "Failed",
    ),
    ("AgentConnected", replace(FINE, agent_known=False), "False", "NotEnrolled"),
    ("AgentConnected", replace(FINE, heartbeat_age_s=None), "False", "NeverSeen"),
    ("AgentConnected", replace(FINE, health=None, reported_address=None, heartbeat_age_s=600.0), "Unknown", "Silent"),
    ("AgentConnected", replace(FINE, health=None), "True", "Heartbeats"),
    ("FirewallReady", replace(FINE, health=None), "Unknown", "NoReport"),
    ("FirewallReady", replace(FINE, desired=None), "Unknown", "Waiting"),
    ("FirewallReady", replace(FINE, desired=None, trouble="no transit"), "False", "Impossible"),
    ("FirewallReady", ill(digest="other"), "False", "Pending"),
    ("FirewallReady", ill(confirmed=False), "False", "Unconfirmed"),
    ("TunnelUp", ill(child=NO_CHILD, ike_error="AUTHENTICATION_FAILED"), "False", "AuthenticationFailed"),
    ("TunnelUp", ill(child=NO_CHILD, ike_error="NO_PROPOSAL_CHOSEN"), "False", "ProposalMismatch"),
    ("TunnelUp", ill(child=NO_CHILD, ike_error="TS_UNACCEPTABLE"), "False", "SelectorMismatch"),
    ("TunnelUp", ill(child=NO_CHILD, ike_error="SOMETHING_NEW"), "False", "Down"),
    ("TunnelUp", ill(child=NO_CHILD), "False", "Down"),
    ("TunnelUp", ill(ike_error="AUTHENTICATION_FAILED"), "True", "Installed"),
    ("BgpEstablished", ill(bgp=replace(DOWN, last_error="OPEN Message Error/Bad Peer AS")), "False", "AsnMismatch"),
    ("BgpEstablished", ill(bgp=replace(DOWN, last_error="Hold Timer Expired")), "False", "Down"),
    ("BgpEstablished", ill(bgp=DOWN), "False", "Down"),
    ("RoutesExchanged", ill(bgp=replace(GOOD.bgp, received=())), "False", "Incomplete"),
    ("RoutesExchanged", ill(bgp=replace(GOOD.bgp, sent=())), "False", "Incomplete"),
    ("RoutesExchanged", replace(FINE, health=None), "Unknown", "NoReport"),
    ("TrafficFlows", ill(probes=()), "False", "ProbeFails"),
    ("TrafficFlows", ill(probes=(ProbeHealth("10.0.0.4", False, None),)), "False", "ProbeFails"),
    ("TrafficFlows", ill(probes=(ProbeHealth("10.0.0.5", True, 1.0),)), "False", "ProbeFails"),
    ("AddressCurrent", replace(FINE, resolved=None), "False", "NotResolved"),
    ("AddressCurrent", replace(FINE, reported_address=OTHER), "False", "Stale"),
    ("AddressCurrent", replace(FINE, reported_address=None), "True", "Agrees"),
    ("AddressCurrent", replace(FINE, pin=OTHER, resolved=None), "True", "Pinned"),
]


ONE = ("198.51.100.23",)


def named(*answer: str, note: str = "", **changes: Any) -> Link:
    """Both authoritative servers say the same."""
    view = DnsView("home.homelink.test", {"a": answer, "b": answer}, {}, 60, note)
    return replace(FINE, dns=view, resolved=view.agreed(), **changes)


def with_spec(path: str, value: Any, **changes: Any) -> Link:
    return replace(FINE, spec=parse.connection(changed(CONNECTION, path, value)).spec, **changes)


CASES += [
    ("AddressCurrent", named(*ONE), "True", "Agrees"),
    ("AddressCurrent", named(*ONE, reported_address=OTHER), "False", "Stale"),
    ("AddressCurrent", named(), "False", "NoAddress"),
    ("AddressCurrent", named(note=ONLY_IPV6), "False", "Ipv6Only"),
    ("AddressCurrent", named(HOME, OTHER), "False", "SeveralAddresses"),
    ("AddressCurrent", named("192.168.178.2"), "False", "PrivateAddress"),
    ("AddressCurrent", named("100.64.3.4"), "False", "Cgnat"),
    ("AddressCurrent", named("100.64.3.4", pin=HOME), "True", "Pinned"),
    ("AddressCurrent", replace(named(), dns=DnsView("h", {"a": None}, {}, 0, "SERVFAIL")), "False", "NotResolved"),
    ("AddressCurrent", replace(named(), dns=DnsView("h", {"a": ONE, "b": (OTHER,)}, {}, 0)), "False", "NotResolved"),
    ("AddressCurrent", named(*ONE, taken={"office": HOME}), "False", "Shared"),
    ("AddressCurrent", named(*ONE, reported_address=OTHER, taken={"office": OTHER}), "False", "Shared"),
    ("AddressCurrent", named(*ONE, taken={"office": OTHER}), "True", "Agrees"),
    ("Recommended", FINE, "True", "AsRecommended"),
    ("Recommended", with_spec("spec.mss", 1350), "True", "AsRecommended"),
    ("Recommended", with_spec("spec.mss", 1200), "True", "AsRecommended"),
    ("Recommended", with_spec("spec.mss", 1360), "True", "AsRecommended"),
    ("Recommended", with_spec("spec.mss", 1199), "False", "MssUnusual"),
    ("Recommended", with_spec("spec.mss", 1361), "False", "MssUnusual"),
    ("Recommended", with_spec("spec.mode", "ResponderOnly", wan_address="192.168.178.2"), "True", "AsRecommended"),
    ("Recommended", with_spec("spec.mode", "Default"), "False", "PortForwardNeeded"),
    ("Recommended", with_spec("spec.mode", "InitiatorOnly", wan_address="192.168.178.2"), "False", "PortForwardNeeded"),
    ("Recommended", with_spec("spec.mode", "InitiatorOnly", wan_address=HOME), "True", "AsRecommended"),
    ("Recommended", named("192.168.178.2"), "False", "DoubleNat"),
    ("Recommended", named("100.64.3.4"), "False", "DoubleNat"),
    ("Recommended", named(*ONE, wan_address="100.64.3.4"), "False", "DoubleNat"),
    ("Recommended", named(*ONE, wan_address="192.168.178.2"), "True", "AsRecommended"),
]
APART = ("AddressCurrent", "Recommended")
"""Conditions that do not make a Connection unready."""


@pytest.mark.parametrize(("kind", "link", "status", "reason"), CASES, ids=[f"{c[0]} {c[3]}" for c in CASES])
def test_each_cause_has_its_reason(kind: str, link: Link, status: str, reason: str) -> None:
    assert verdict(kind, link) == (status, reason)
    if status != "True" and kind not in APART:
        assert verdict("Ready", link)[0] != "True", "nothing is ready while something lacks"


def test_ready_tells_the_first_cause() -> None:
    link = ill(child=NO_CHILD, bgp=DOWN, ike_error="AUTHENTICATION_FAILED")
    status, reason, message = conditions.connection(link, "")["Ready"]
    assert (status, reason) == ("False", "AuthenticationFailed") and message.startswith("TunnelUp: ")


def test_an_address_that_dns_lags_behind_does_not_make_a_working_tunnel_unready() -> None:
    assert verdict("Ready", replace(FINE, reported_address=OTHER)) == ("True", "Verified")


def test_every_fault_of_a_name_has_its_own_words_and_names_what_was_found() -> None:
    told = {f: conditions._DNS_FAULTS[f] for f in DnsFault}
    assert len(set(told.values())) == len(DnsFault)
    assert "100.64.3.4" in conditions.connection(named("100.64.3.4"), "")["AddressCurrent"][2]
    failed = replace(named(), dns=DnsView("h", {"a": None}, {}, 0, "SERVFAIL"))
    assert "SERVFAIL" in conditions.connection(failed, "")["AddressCurrent"][2]


def test_remarks_never_stand_in_the_way_of_ready_and_are_told_together() -> None:
    link = with_spec("spec", {**CONNECTION["spec"], "mss": 1400, "mode": "Default"}, wan_address="192.168.178.2")
    found = conditions.connection(link, "")
    assert found["Ready"][:2] == ("True", "Verified")
    assert all(word in found["Recommended"][2] for word in ("1400", "4500", "192.168.178.2"))


def test_a_transit_that_cannot_be_is_told_where_it_was_asked_for() -> None:
    """What render.tunnel refuses becomes the message of FirewallReady."""
    spec = parse.connection(changed(CONNECTION, "spec.transit", {"mode": "gatewaySubnet"})).spec
    with pytest.raises(ValueError, match=r"10\.0\.1\.4") as refused:
        render.tunnel("home", "ID", spec, GW, AzureEnd("203.0.113.10", "10.0.1.4"), SecretRef("psk-ID", "v1"))
    link = replace(FINE, desired=None, trouble=str(refused.value))
    status, reason, message = conditions.connection(link, "")["FirewallReady"]
    assert (status, reason) == ("False", "Impossible") and "pointToPoint" in message


def test_without_a_probe_traffic_is_not_judged() -> None:
    desired = tunnel(changed(CONNECTION, "spec.probe", None))
    link = replace(FINE, desired=desired, health=replace(GOOD, digest=desired.digest(), probes=()))
    assert verdict("TrafficFlows", link) == ("True", "NotProbed")
    assert verdict("Ready", link)[0] == "True"


LACKING = [
    ({"digest": "x"}, "another configuration"),
    ({"child": NO_CHILD}, "child SA"),
    ({"bgp": DOWN}, "BGP is Active"),
    ({"bgp": replace(GOOD.bgp, received=())}, "Azure's prefixes"),
    ({"bgp": replace(GOOD.bgp, sent=())}, "home's prefixes"),
    ({"probes": ()}, "probe to 10.0.0.4"),
]


@pytest.mark.parametrize(("change", "word"), LACKING)
def test_each_piece_of_evidence_is_needed(change: dict[str, Any], word: str) -> None:
    assert any(word in x for x in conditions.missing_evidence(WANTED, replace(GOOD, **change)))


def test_evidence() -> None:
    assert conditions.missing_evidence(WANTED, GOOD) == []
    assert conditions.missing_evidence(WANTED, None) == ["no fresh heartbeat"]
    assert not conditions.probe_ok(WANTED, None)


NETWORK, ADDRESS, GATEWAY_KIND = ArmKind.VIRTUAL_NETWORK, ArmKind.PUBLIC_IP, ArmKind.GATEWAY
ALL: dict[ArmKind, Any] = {k: resource() for k in (NETWORK, ADDRESS, GATEWAY_KIND)}
REF = render.gateway_refs("hub", GW)[NETWORK]


def test_a_gateway_that_is_as_specified() -> None:
    found = conditions.gateway(ALL, Plan(()), "", ())
    assert [s for s, _, _ in found.values()] == ["True"] * 5


@pytest.mark.parametrize(
    ("resources", "changes", "reason"),
    [
        (ALL, (Change(Action.UPDATE, REF, {}),), "Pending"),
        (ALL, (Change(Action.UPDATE, REF, {}), Change(Action.BLOCKED, REF, {}, (), "not ours")), "Blocked"),
        (None, (), "Pending"),
    ],
)
def test_in_sync_only_when_nothing_is_to_do(resources: Any, changes: tuple[Change, ...], reason: str) -> None:
    status, found, message = conditions.gateway(resources, Plan(changes), "", ())["InSync"]
    assert (status, found) == ("False", reason)
    assert reason != "Blocked" or message == "not ours"


def test_the_refusal_of_arm_stands_in_the_message() -> None:
    found = conditions.gateway({**ALL, GATEWAY_KIND: None}, Plan(()), "QuotaExceeded: no more", ())
    assert found["GatewayReady"][:2] == ("False", "Missing")
    assert "QuotaExceeded" in found["GatewayReady"][2] and "QuotaExceeded" in found["Ready"][2]


def test_while_an_operation_runs_what_was_true_stays() -> None:
    before = conditions.transitioned((), conditions.gateway(ALL, Plan(()), "", ()), NOW)
    found = conditions.gateway(None, Plan(()), "runs", before)
    assert found["GatewayReady"][0] == "True" and found["InSync"] == ("False", "Pending", "runs")


def test_the_time_is_that_of_the_last_change_of_status() -> None:
    def at(minutes: int, old: tuple[Condition, ...], status: Any, reason: str) -> tuple[Condition, ...]:
        return conditions.transitioned(old, {"X": (status, reason, "m")}, NOW + timedelta(minutes=minutes))

    first = at(0, (), "False", "Down")
    same = at(1, first, "False", "AuthenticationFailed")
    assert (same[0].reason, same[0].last_transition_time) == ("AuthenticationFailed", NOW)
    turned = at(2, same, "True", "Installed")
    assert turned[0].last_transition_time == NOW + timedelta(minutes=2)
    back = at(3, turned, "Unknown", "NoReport")
    assert back[0].last_transition_time == NOW + timedelta(minutes=3)
