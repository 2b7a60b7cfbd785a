"""Import is the reverse of render: what Homelink or somebody else made comes back as the document that describes it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain import adopted, adoption, limits, parse, plan, render
from shared.domain.arm import ArmKind, ArmRef
from shared.domain.plan import Action
from shared.domain.rules_gateway import generation
from shared.domain.spec import ConnectionSpec, GatewaySpec
from shared.wire import algorithms
from tests import existing
from tests.examples import CONNECTION, changed
from tests.examples import GATEWAY as DOCUMENT
from tests.existing import GATEWAY, LINK, LOCAL, NETWORK, TENANT

RECORDED = Path(__file__).parents[4] / "shared/data/azure/key_exchanges.json"
World = dict[ArmRef, dict[str, Any] | None]

POLICY = st.fixed_dictionaries(
    {
        "ikeEncryption": st.sampled_from(list(algorithms.IKE_ENCRYPTION)),
        "ikeIntegrity": st.sampled_from(list(algorithms.IKE_INTEGRITY)),
        "dhGroup": st.sampled_from(list(algorithms.DH_GROUP)),
        "pfsGroup": st.sampled_from(list(algorithms.PFS_GROUP)),
        "ipsecEncryption": st.just("AES256"),
        "ipsecIntegrity": st.sampled_from(["SHA1", "SHA256"]),
        "saLifetimeSeconds": st.integers(limits.SA_LIFETIME.least, limits.SA_LIFETIME.most),
    }
)


@st.composite
def specs(draw: st.DrawFn) -> tuple[GatewaySpec, ConnectionSpec]:
    """Whatever Azure holds of a Gateway and a Connection; what it does not know has its default."""
    two, apipa = draw(st.booleans()), draw(st.booleans())
    gateway = changed(DOCUMENT, "spec.activeActive", two)
    sku, generation = draw(st.sampled_from([("VpnGw1AZ", None), ("VpnGw2AZ", None), ("VpnGw2AZ", "Generation1")]))
    asn = draw(st.sampled_from([65515, 65010, 4200000001]))
    for field, value in {"sku": sku, "generation": generation, "asn": asn}.items():
        gateway = changed(gateway, f"spec.{field}", value)
    del gateway["spec"]["virtualNetwork"]["subnets"]
    home = changed(CONNECTION, "spec.ipsec", draw(POLICY))
    home = changed(home, "spec.mode", draw(st.sampled_from(["ResponderOnly", "Default"])))
    home = changed(home, "spec.dpdTimeoutSeconds", draw(st.integers(9, 3600)))
    home = changed(home, "spec.home.asn", draw(st.sampled_from([65020, 4200000002])))
    if apipa:
        second = {"remoteSecond": "169.254.22.1"} if two else {}
        transit = {"mode": "apipa", "local": "169.254.21.2", "remote": "169.254.21.1", **second}
        home = changed(changed(home, "spec.transit", transit), "spec.home.bgpAddress", "169.254.21.2")
    del home["spec"]["probe"]
    return parse.gateway(gateway).spec, parse.connection(home).spec


def made(gateway: GatewaySpec, home: ConnectionSpec) -> World:
    """What ARM has when Homelink has made it, with the mark taken off."""
    wanted = render.gateway_resources("hub", gateway, "ctl", [home])
    wanted += render.connection_resources("home", home, "hub", gateway, "ctl", None)
    found: World = {}
    for want in wanted:
        body = copy.deepcopy(want.body)
        body["properties"]["provisioningState"] = "Succeeded"
        found[want.ref] = {**body, "id": want.ref.id(), "name": want.ref.name, "tags": {"owner": "ops"}}
    return found


def one(world: World, kind: ArmKind) -> tuple[ArmRef, dict[str, Any]]:
    return next((r, b) for r, b in world.items() if r.kind is kind and b is not None)


def imported(world: World) -> tuple[dict[str, Any], dict[str, Any]]:
    """The two documents, with what only the user knows."""
    (gateway, body), (_, network) = one(world, ArmKind.GATEWAY), one(world, ArmKind.VIRTUAL_NETWORK)
    (_, local), (_, link) = one(world, ArmKind.LOCAL_GATEWAY), one(world, ArmKind.CONNECTION)
    first = adoption.gateway("hub", gateway, body, network, TENANT)
    second = adoption.connection("home", "hub", "home-fw", link, local, gateway)
    assert first.problems == ()
    second.document["spec"]["home"].setdefault("prefixes", CONNECTION["spec"]["home"]["prefixes"])
    return first.document, second.document


def adopting(world: World, gateway: GatewaySpec, home: ConnectionSpec) -> plan.Plan:
    wanted = render.gateway_resources("hub", gateway, "ctl", [home])
    wanted += render.connection_resources("home", home, "hub", gateway, "ctl", None)
    return plan.make(wanted, [], world, "ctl")


@given(specs())
def test_import_of_what_render_made_is_the_identity(pair: tuple[GatewaySpec, ConnectionSpec]) -> None:
    world = made(*pair)
    gateway, home = imported(world)
    documents = parse.gateway(gateway).spec, parse.connection(home).spec
    again = documents[0].model_copy(update={"adopt": None, "generation": generation(documents[0])})
    assert again == pair[0].model_copy(update={"generation": generation(pair[0])})
    assert documents[1].model_copy(update={"adopt": None}) == pair[1]
    todo = adopting(world, *documents)
    assert [c.action for c in todo.changes] == [Action.ADOPT] * len(world)
    assert all(set(c.body) == {"tags"} and c.body["tags"]["owner"] == "ops" for c in todo.changes)
    for change in todo.changes:
        body = world[change.ref]
        assert body is not None
        body["tags"] = change.body["tags"]
    assert adopting(world, *documents).changes == ()


def ours() -> World:
    found: World = {}
    for ref, body in existing.bodies().items():
        body["properties"]["provisioningState"] = "Succeeded"
        found[ref] = {**body, "id": ref.id(), "name": ref.name}
    return found


def drafts(edit: dict[ArmRef, dict[str, Any]]) -> tuple[adoption.Draft, adoption.Draft]:
    """Of the existing ones, with properties changed; None takes one off."""
    world = ours()
    for ref, changes in edit.items():
        properties = (world[ref] or {})["properties"]
        properties |= changes
        for field in [k for k, v in changes.items() if v is None]:
            del properties[field]
    gateway = adoption.gateway("hub", GATEWAY, world[GATEWAY] or {}, world[NETWORK], TENANT)
    return gateway, adoption.connection("home", "hub", "home-fw", world[LINK] or {}, world[LOCAL], GATEWAY)


ELSEWHERE = {"id": LOCAL.id().replace("rg-homelink", "rg-other")}
NOT_DESCRIBED = [
    (GATEWAY, {"vpnType": "PolicyBased"}, "import-policy-based"),
    (GATEWAY, {"gatewayType": "ExpressRoute"}, "import-policy-based"),
    (GATEWAY, {"enableBgp": False}, "import-bgp-off"),
    (LINK, {"enableBgp": False}, "import-bgp-off"),
    (LINK, {"connectionProtocol": "IKEv1"}, "import-ike-version"),
    (LINK, {"ipsecPolicies": []}, "import-no-policy"),
    (LINK, {"usePolicyBasedTrafficSelectors": True}, "import-selectors"),
    (LINK, {"trafficSelectorPolicies": [{"localAddressRanges": ["10.0.0.0/8"]}]}, "import-selectors"),
    (LINK, {"localNetworkGateway2": ELSEWHERE}, "import-elsewhere"),
    (LOCAL, {"localNetworkAddressSpace": {"addressPrefixes": []}}, "import-unknown"),
]


@pytest.mark.parametrize(("ref", "changes", "rule"), NOT_DESCRIBED)
def test_what_cannot_be_described_is_told_with_what_to_do(ref: ArmRef, changes: dict[str, Any], rule: str) -> None:
    before = [p for draft in drafts({}) for p in draft.problems]
    after = [p for draft in drafts({ref: changes}) for p in draft.problems if p not in before]
    assert [p.rule for p in after] == [rule] and after[0].remedy


FOUND = [
    (GATEWAY, {"activeActive": True}, "import-active-active"),
    (GATEWAY, {"natRules": [{"id": "x"}]}, "import-nat"),
    (LINK, {"egressNatRules": [{"id": "x"}]}, "import-nat"),
]


@pytest.mark.parametrize(("ref", "changes", "rule"), FOUND)
def test_what_is_accepted_is_a_finding(ref: ArmRef, changes: dict[str, Any], rule: str) -> None:
    before = [p for draft in drafts({}) for p in (*draft.findings, *draft.problems)]
    after = [p for draft in drafts({ref: changes}) for p in (*draft.findings, *draft.problems) if p not in before]
    assert [p.rule for p in after] == [rule]


def test_without_a_local_gateway_to_be_seen_everything_of_the_home_is_unknown() -> None:
    link = ours()[LINK]
    assert link is not None
    draft = adoption.connection("home", "hub", None, link, None, GATEWAY)
    unknown = {p.path for p in draft.problems if p.rule == "import-unknown"}
    homes = {f"spec.home.{field}" for field in ("asn", "bgpAddress", "prefixes")}
    assert unknown == {"spec.agent", "spec.fqdn", *homes}


NAMES = [
    ("Office-Home", set(), "office-home"),
    ("VPN.Office_2", set(), "vpn-office-2"),
    ("9lives", set(), "n-9lives"),
    ("gw", set(), "gw-vpn"),
    ("_", set(), "n-vpn"),
    ("x" * 60, set(), "x" * 40),
    ("home", {"home", "home-2"}, "home-3"),
    ("x" * 60, {"x" * 40}, "x" * 38 + "-2"),
]


@pytest.mark.parametrize(("azure", "taken", "name"), NAMES)
def test_names_become_homelinks(azure: str, taken: set[str], name: str) -> None:
    assert adoption.name_for(azure, taken) == name


@given(st.text(max_size=90), st.sets(st.sampled_from(["n-vpn", "abc", "a" * 40])))
def test_every_name_becomes_one(azure: str, taken: set[str]) -> None:
    name = adoption.name_for(azure, taken)
    assert parse.gateway(changed(DOCUMENT, "metadata.name", name)) and name not in taken


def test_ids_are_read_as_arm_spells_them() -> None:
    assert adoption.ref_of(GATEWAY.id().replace("resourceGroups", "resourcegroups")) == GATEWAY
    assert adoption.ref_of(f"{NETWORK.id()}/subnets/GatewaySubnet") == NETWORK
    assert [adoption.ref_of(x) for x in (None, "", "/subscriptions/x", GATEWAY.id().replace("Network", "Compute"))] == [
        None
    ] * 4


def test_a_later_change_is_written_over_what_is_there() -> None:
    have = ours()[LOCAL] or {}
    want = {"tags": {"a": "b"}, "properties": {"fqdn": "home.example.net", "bgpSettings": {"asn": 65099}}}
    body = adopted.over(have, want)
    assert "gatewayIpAddress" not in body["properties"] and "name" not in body
    assert body["properties"]["bgpSettings"] == {"asn": 65099, "bgpPeeringAddress": "192.168.1.1", "peerWeight": 5}
    assert body["properties"]["localNetworkAddressSpace"] and body["location"] == "westeurope"


def test_a_gateway_with_radius_is_not_written() -> None:
    world = ours()
    body = world[GATEWAY]
    assert body is not None
    body["tags"] = render.tags("ctl", "gateway/hub")
    gateway, _ = drafts({})
    spec = parse.gateway(changed(gateway.document, "spec.asn", 65011)).spec
    wanted = render.gateway_resources("hub", spec, "ctl")
    [change] = [c for c in plan.make(wanted, [], world, "ctl").changes if c.ref == GATEWAY]
    assert change.action is Action.UPDATE
    assert change.body["properties"]["vpnClientConfiguration"] == body["properties"]["vpnClientConfiguration"]
    body["properties"]["vpnClientConfiguration"]["radiusServerAddress"] = "10.20.0.9"
    [change] = [c for c in plan.make(wanted, [], world, "ctl").changes if c.ref == GATEWAY]
    assert change.action is Action.BLOCKED and "RADIUS" in change.reason


def test_link_local_addresses_of_others_stay_on_the_gateway() -> None:
    world = ours()
    body, link, local = world[GATEWAY] or {}, world[LINK] or {}, world[LOCAL] or {}
    configuration = f"{GATEWAY.id()}/ipConfigurations/vnetGatewayConfig0"
    addresses = ["169.254.21.1", "169.254.21.9"]
    entry = {"ipconfigurationId": configuration, "customBgpIpAddresses": addresses}
    body["properties"]["bgpSettings"]["bgpPeeringAddresses"] = [entry]
    chosen = {"ipConfigurationId": configuration, "customBgpIpAddress": "169.254.21.1"}
    link["properties"]["gatewayCustomBgpIpAddresses"] = [chosen]
    local["properties"] |= {"bgpSettings": {"asn": 65020, "bgpPeeringAddress": "169.254.21.2"}}
    del local["properties"]["gatewayIpAddress"]
    local["properties"]["fqdn"] = "home.homelink.test"
    gateway, home = imported(world)
    documents = parse.gateway(gateway).spec, parse.connection(home).spec
    assert documents[1].transit.remote == "169.254.21.1"
    assert {c.action for c in adopting(world, *documents).changes} == {Action.ADOPT}
    body["tags"] = render.tags("ctl", "gateway/hub")
    moved = parse.connection(changed(home, "spec.transit.remote", "169.254.21.5")).spec
    [change] = [c for c in adopting(world, documents[0], moved).changes if c.ref == GATEWAY]
    [settings] = change.body["properties"]["bgpSettings"]["bgpPeeringAddresses"]
    assert set(settings["customBgpIpAddresses"]) >= {*addresses, "169.254.21.5"}


@pytest.mark.skipif(not RECORDED.exists(), reason="the recordings are not here")
def test_a_recorded_gateway_is_read() -> None:
    """Made by Azure's own SDK for Java in 2019: a Basic address, no BGP, no policy, an address for the home."""
    recorded = [x["body"] for x in json.loads(RECORDED.read_text())]
    network, body, local, link = recorded[13], recorded[18], recorded[19], recorded[21]
    ref = adoption.ref_of(body["id"])
    assert ref is not None
    draft = adoption.gateway("hub", ref, body, network, TENANT)
    assert [p.rule for p in draft.problems] == ["import-bgp-off"]
    spec = parse.gateway(draft.document).spec
    assert spec.adopt is not None and spec.adopt.public_ips == ("pip86384",)
    assert (spec.sku, spec.virtual_network.gateway_subnet) == ("VpnGw1", "10.11.255.0/27")
    home = adoption.connection("home", "hub", "home-fw", link, local, ref)
    assert {p.rule for p in home.problems} == {"import-bgp-off", "import-no-policy", "import-unknown"}
    assert "MySecretKey" not in repr(home)
