"""What is told of a Gateway and a Connection: each cause has its own reason, and times stay while the status does."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.domain import conditions, parse, render
from shared.domain.arm import ArmKind
from shared.domain.conditions import Condition, Link
from shared.domain.plan import Action, Change, Plan
from shared.domain.render import AzureEnd
from shared.wire.commands import DesiredTunnel, SecretRef
from shared.wire.reports import BgpHealth, ChildHealth, IkeHealth, ProbeHealth, TunnelHealth
from tests.examples import CONNECTION, GATEWAY, changed

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
GW = parse.gateway(GATEWAY).spec
END = AzureEnd("203.0.113.10", "10.0.1.30")
HOME, OTHER = "198.51.100.23", "198.51.100.77"


def tunnel(document: dict[str, Any] = CONNECTION) -> DesiredTunnel:
    return render.tunnel("home", "ID", parse.connection(document).spec, GW, END, SecretRef("psk-ID", "v1"))


WANTED = tunnel()
GOOD = TunnelHealth(
    connection="home",
    connection_id="ID",
    generation=1,
    digest=WANTED.digest(),
    psk_version="v1",
    confirmed=True,
    ike=IkeHealth("ESTABLISHED", "203.0.113.10", 60.0, True),
    child=ChildHealth(True, 1, 1, 60.0),
    bgp=BgpHealth("Established", 60.0, ("10.0.0.0/16",), ("192.168.1.0/24",)),
    routes=("10.0.0.0/16",),
    probes=(ProbeHealth("10.0.0.4", True, 1.0),),
)


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


@pytest.mark.parametrize(("kind", "link", "status", "reason"), CASES, ids=[f"{c[0]} {c[3]}" for c in CASES])
def test_each_cause_has_its_reason(kind: str, link: Link, status: str, reason: str) -> None:
    assert verdict(kind, link) == (status, reason)
    if status != "True" and kind != "AddressCurrent":
        assert verdict("Ready", link)[0] != "True", "nothing is ready while something lacks"


def test_ready_tells_the_first_cause() -> None:
    link = ill(child=NO_CHILD, bgp=DOWN, ike_error="AUTHENTICATION_FAILED")
    status, reason, message = conditions.connection(link, "")["Ready"]
    assert (status, reason) == ("False", "AuthenticationFailed") and message.startswith("TunnelUp: ")


def test_an_address_that_dns_lags_behind_does_not_make_a_working_tunnel_unready() -> None:
    assert verdict("Ready", replace(FINE, reported_address=OTHER)) == ("True", "Verified")


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
