"""Which kinds of change a Plan holds, what they cost, and where nothing honest can be said.

That the figures are what the model finds is tests/lab/bench/test_outage.py's business.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from shared.domain import outage, parse, plan, render
from shared.domain.arm import ArmKind, ArmRef
from shared.domain.outage import REASONS, SEVERAL, Kind
from shared.domain.outage_figures import SIMULATED, Seconds
from shared.domain.plan import Action, Change, Difference
from shared.wire.commands import SecretRef
from shared.wire.decode import to_plain
from tests.examples import CONNECTION, GATEWAY, changed

ROOT = Path(__file__).resolve().parents[3]
OLD_GATEWAY, OLD_HOME = parse.gateway(GATEWAY).spec, parse.connection(CONNECTION).spec
REFS = [*render.gateway_chain("hub", OLD_GATEWAY), *render.connection_refs("home", OLD_GATEWAY).values()]
WIDER = ["10.0.0.0/16", "10.77.0.0/16"]
APIPA = "properties.bgpSettings.bgpPeeringAddresses[default].customBgpIpAddresses"
END = render.AzureEnd("203.0.113.10", "10.0.1.30")


def kinds(document: dict[str, Any], path: str, value: Any) -> set[Kind]:
    """Of the Plan for one changed field of an example document, at both ends."""
    new = changed(document, path, value)
    is_gateway = document is GATEWAY
    gateway = parse.gateway(new).spec if is_gateway else OLD_GATEWAY
    home = OLD_HOME if is_gateway else parse.connection(new).spec

    def resources(g: Any, h: Any) -> list[render.Desired]:
        made = render.gateway_resources("hub", g, "ctl", [h])
        return made + render.connection_resources("home", h, "hub", g, "ctl", None)

    def tunnel(g: Any, h: Any) -> Any:
        return to_plain(render.tunnel("home", "id", h, g, END, SecretRef(h.psk.vault_ref or "own", "1")))

    have = {
        d.ref: {**d.body, "properties": {**d.body["properties"], "provisioningState": "Succeeded"}}
        for d in resources(OLD_GATEWAY, OLD_HOME)
    }
    todo = plan.make(resources(gateway, home), [], have, "ctl")
    found = tuple(plan.differences(tunnel(gateway, home), tunnel(OLD_GATEWAY, OLD_HOME)))
    at_home = outage.of_home("apply" if found else "none", found, runs=True)
    return outage.of_azure(REFS, todo.changes, runs=True) | at_home


@pytest.mark.parametrize(
    ("document", "path", "value", "expected"),
    [
        (CONNECTION, "spec.home.asn", 65033, {Kind.HOME_ASN}),
        (CONNECTION, "spec.home.bgpAddress", "192.168.1.2", {Kind.HOME_BGP_ADDRESS}),
        (CONNECTION, "spec.home.prefixes", ["192.168.1.0/24", "172.16.9.0/24"], {Kind.PREFIXES}),
        (CONNECTION, "spec.fqdn", "other.homelink.test", {Kind.FQDN}),
        (CONNECTION, "spec.mss", 1300, {Kind.MSS}),
        (CONNECTION, "spec.probe", "10.0.0.99", {Kind.PROBE}),
        (CONNECTION, "spec.dpdTimeoutSeconds", 30, {Kind.DPD_TIMEOUT}),
        (CONNECTION, "spec.ipsec", {"saLifetimeSeconds": 14400}, {Kind.SA_LIFETIME}),
        (CONNECTION, "spec.ipsec", {"ikeEncryption": "AES256", "ikeIntegrity": "SHA256"}, {Kind.IPSEC_POLICY}),
        (CONNECTION, "spec.psk", {"generate": False, "vaultRef": "mine"}, {Kind.KEY}),
        (CONNECTION, "spec.mode", "InitiatorOnly", {Kind.MODE}),
        (CONNECTION, "spec.transit", {"mode": "pointToPoint", "local": "172.31.255.1"}, {Kind.TRANSIT}),
        (CONNECTION, "spec.repair", {"policy": "observe"}, set()),
        (GATEWAY, "spec.asn", 65001, {Kind.GATEWAY_ASN}),
        (GATEWAY, "spec.sku", "VpnGw2AZ", {Kind.SKU}),
        (GATEWAY, "spec.virtualNetwork.subnets", [{"name": "more", "prefix": "10.0.77.0/24"}], {Kind.SUBNETS}),
        (GATEWAY, "spec.virtualNetwork.addressSpace", WIDER, {Kind.ADDRESS_SPACE, Kind.PREFIXES}),
    ],
)  # fmt: skip
def test_the_kind_of_a_changed_field(document: Any, path: str, value: Any, expected: set[Kind]) -> None:
    assert kinds(document, path, value) == expected


def change(action: Action, kind: ArmKind, *paths: str) -> Change:
    ref = next(r for r in REFS if r.kind is kind)
    return Change(action, ref, {}, tuple(Difference(p, 1, 2) for p in paths))


@pytest.mark.parametrize(
    ("made", "runs", "expected"),
    [
        (change(Action.CREATE, ArmKind.CONNECTION), False, {Kind.NEW}),
        (change(Action.CREATE, ArmKind.CONNECTION), True, {Kind.MADE_AGAIN}),
        (change(Action.CREATE, ArmKind.GATEWAY), True, {Kind.GATEWAY_MADE_AGAIN}),
        (change(Action.DELETE, ArmKind.LOCAL_GATEWAY), True, {Kind.ENDS}),
        (change(Action.BLOCKED, ArmKind.CONNECTION, "tags.homelink-owner"), True, {Kind.BLOCKED}),
        (change(Action.UPDATE, ArmKind.CONNECTION, "tags.homelink-owner"), True, {Kind.TAGS}),
        (change(Action.ADOPT, ArmKind.CONNECTION, "tags.homelink-owner"), False, {Kind.ADOPTION}),
        (change(Action.ADOPT, ArmKind.GATEWAY, "tags.homelink-owner"), False, {Kind.TAGS}),
        (change(Action.RELEASE, ArmKind.CONNECTION), True, {Kind.TAGS}),
        (change(Action.UPDATE, ArmKind.CONNECTION), True, {Kind.OTHER}),
        (change(Action.UPDATE, ArmKind.CONNECTION, "properties.enableBgp"), True, {Kind.OTHER}),
        (change(Action.UPDATE, ArmKind.PUBLIC_IP, "zones"), True, {Kind.OTHER}),
        (change(Action.UPDATE, ArmKind.GATEWAY, "properties.activeActive"), True, {Kind.INSTANCES}),
        (change(Action.UPDATE, ArmKind.GATEWAY, APIPA), True, {Kind.GATEWAY_APIPA}),
    ],
)  # fmt: skip
def test_the_kind_of_a_write(made: Change, runs: bool, expected: set[Kind]) -> None:
    assert outage.of_azure(REFS, [made], runs=runs) == expected


def test_what_concerns_another_connection_counts_for_that_one_only() -> None:
    spec = OLD_GATEWAY
    theirs = ArmRef(spec.subscription_id, spec.resource_group, ArmKind.CONNECTION, "cabin")
    made = [Change(Action.DELETE, theirs, {})]
    assert outage.of_azure(REFS, made, runs=True) == set()


def test_the_home_half_by_itself() -> None:
    assert outage.of_home("none", (), runs=True) == set()
    assert outage.of_home("unknown", (), runs=False) == outage.of_home("apply", (), runs=False) == {Kind.NEW}
    assert outage.of_home("remove", (), runs=True) == {Kind.ENDS}
    assert outage.of_home("apply", (), runs=True) == {Kind.DRIFT}
    assert outage.of_home("apply", (Difference("peer_address", 1, 2),), runs=True) == {Kind.OTHER}


def test_the_slowest_kind_counts_and_says_why() -> None:
    found = outage.expect("home", {Kind.HOME_ASN, Kind.HOME_BGP_ADDRESS, Kind.MSS})
    both = SIMULATED[Kind.HOME_ASN], SIMULATED[Kind.HOME_BGP_ADDRESS]
    assert found.expected == Seconds(max(s.p50 for s in both), max(s.p95 for s in both)) and found.simulated
    assert found.reason == f"{REASONS[Kind.HOME_ASN]}; {REASONS[Kind.HOME_BGP_ADDRESS]}"


def test_what_interrupts_nothing_is_zero() -> None:
    found = outage.expect("home", {Kind.PROBE, Kind.TAGS})
    assert found.expected == Seconds(0.0, 0.0) and found.simulated and REASONS[Kind.PROBE] in found.reason
    for kinds_ in (set[Kind](), {Kind.NEW}):
        follows = outage.expect("home", kinds_)
        assert follows.expected == Seconds(0.0, 0.0) and not follows.simulated


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({Kind.SKU, Kind.TAGS}, REASONS[Kind.SKU]),
        ({Kind.ENDS}, REASONS[Kind.ENDS]),
        ({Kind.IPSEC_POLICY, Kind.OTHER}, REASONS[Kind.OTHER]),
        ({Kind.IPSEC_POLICY, Kind.HOME_ASN}, SEVERAL),
        ({Kind.GATEWAY_ASN, Kind.DPD_TIMEOUT}, SEVERAL),
    ],
)
def test_nothing_honest_can_be_said(given: set[Kind], reason: str) -> None:
    found = outage.expect("home", given)
    assert found.expected is None and not found.simulated and found.reason == reason


def test_the_documentation_has_every_figure() -> None:
    text = (ROOT / "docs" / "repair.md").read_text()
    told: dict[Kind, Seconds] = {}
    for names, p50, p95 in re.findall(r"^\| (`.+?) \| .+ \| (\d+) \| (\d+) \|$", text, re.MULTILINE):
        told |= {Kind(name): Seconds(float(p50), float(p95)) for name in re.findall(r"`([a-z-]+)`", names)}
    assert told == SIMULATED


def test_every_kind_has_a_reason_and_every_figure_is_a_kind() -> None:
    assert set(REASONS) == set(Kind)
    assert set(SIMULATED) <= set(Kind) and all(0 <= s.p50 <= s.p95 for s in SIMULATED.values())
