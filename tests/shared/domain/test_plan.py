"""The Plan: field by field, what is not ours left alone, its hash, and real answers of ARM."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain import parse, plan, render
from shared.domain.arm import ArmKind, ArmRef
from shared.domain.plan import Action
from tests.examples import CONNECTION, GATEWAY, changed

RECORDED = Path(__file__).parents[4] / "shared/data/azure/key_exchanges.json"
GW = parse.gateway(GATEWAY).spec
CONN = parse.connection(CONNECTION).spec
WANTED = [
    *render.gateway_resources("hub", GW, "ctl"),
    *render.connection_resources("home", CONN, "hub", GW, "ctl", None),
]
REFS = {d.ref.kind: d.ref for d in WANTED}


def as_arm_has_it() -> dict[ArmRef, dict[str, Any] | None]:
    """Everything as desired, with what ARM adds of its own."""
    found: dict[ArmRef, dict[str, Any] | None] = {}
    for want in WANTED:
        body = copy.deepcopy(want.body)
        body |= {"id": want.ref.id(), "name": want.ref.name, "etag": "W/1", "type": "x"}
        body["properties"] |= {"provisioningState": "Succeeded", "resourceGuid": "g"}
        found[want.ref] = body
    return found


def make(observed: plan.Observed, unwanted: list[ArmRef] | None = None) -> plan.Plan:
    return plan.make(WANTED, unwanted or [], observed, "ctl")


def edited(kind: ArmKind, edit: Callable[[dict[str, Any]], Any]) -> dict[ArmRef, dict[str, Any] | None]:
    observed = as_arm_has_it()
    body = observed[REFS[kind]]
    assert body is not None
    edit(body)
    return observed


def test_from_nothing_everything_is_created_in_order() -> None:
    found = make({})
    assert [(c.action, c.ref.kind) for c in found.changes] == [(Action.CREATE, k) for k in ArmKind]
    first = found.next()
    assert first is not None and first.ref.kind is ArmKind.VIRTUAL_NETWORK


def test_what_is_as_desired_needs_nothing() -> None:
    found = make(as_arm_has_it())
    assert found.changes == () and found.next() is None


def shout(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            k: shout(v) if k not in ("provisioningState", "tags", "id", "name") or k == "id" else v
            for k, v in value.items()
        }
    if isinstance(value, list):
        return [shout(v) for v in value]
    return value.upper() if isinstance(value, str) else value


def test_case_is_arms_own_business() -> None:
    def edit(body: dict[str, Any]) -> None:
        body["properties"] = shout(body["properties"])
        body["location"] = "West Europe"

    for kind in ArmKind:
        assert make(edited(kind, edit)).changes == (), kind


def test_the_order_of_a_set_is_arms_own_business() -> None:
    def zones(body: dict[str, Any]) -> None:
        body["zones"] = ["3", "1", "2"]

    assert make(edited(ArmKind.PUBLIC_IP, zones)).changes == ()


def test_a_list_that_differs_is_a_difference() -> None:
    for other in (["1", "2"], ["1", "2", "4"], [], None, "1"):
        observed = edited(ArmKind.PUBLIC_IP, lambda b, o=other: b.update(zones=o))
        [change] = make(observed).changes
        assert [d.path for d in change.differences] == ["zones"]


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        (ArmKind.VIRTUAL_NETWORK, "properties.addressSpace.addressPrefixes", ["10.0.0.0/15"]),
        (ArmKind.PUBLIC_IP, "properties.publicIPAllocationMethod", "Dynamic"),
        (ArmKind.GATEWAY, "properties.sku.name", "VpnGw2AZ"),
        (ArmKind.GATEWAY, "properties.bgpSettings.asn", 65001),
        (ArmKind.GATEWAY, "properties.enableBgp", False),
        (ArmKind.LOCAL_GATEWAY, "properties.fqdn", "elsewhere.example.net"),
        (ArmKind.LOCAL_GATEWAY, "properties.bgpSettings.bgpPeeringAddress", "192.168.1.2"),
        (ArmKind.CONNECTION, "properties.connectionMode", "Default"),
        (ArmKind.CONNECTION, "properties.dpdTimeoutSeconds", 30),
        (ArmKind.CONNECTION, "properties.ipsecPolicies", []),
        (ArmKind.CONNECTION, "properties.localNetworkGateway2.id", "/other"),
    ],
)
def test_one_field_that_drifted_is_one_difference(kind: ArmKind, path: str, value: Any) -> None:
    def edit(body: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        for part in parents:
            body = body[part]
        body[last] = value

    [change] = make(edited(kind, edit)).changes
    assert (change.action, change.ref.kind) == (Action.UPDATE, kind)
    [difference] = change.differences
    assert difference.path == path and difference.observed == value
    want = next(d for d in WANTED if d.ref.kind is kind)
    assert change.body == want.body, "the whole desired state is sent"


def test_a_field_inside_a_policy_and_a_named_child_have_paths() -> None:
    def policy(body: dict[str, Any]) -> None:
        body["properties"]["ipsecPolicies"][0]["dhGroup"] = "DHGroup2"

    def subnet(body: dict[str, Any]) -> None:
        body["properties"]["subnets"][0]["properties"]["addressPrefix"] = "10.0.1.0/26"

    [one] = make(edited(ArmKind.CONNECTION, policy)).changes
    assert [d.path for d in one.differences] == ["properties.ipsecPolicies[0].dhGroup"]
    [two] = make(edited(ArmKind.VIRTUAL_NETWORK, subnet)).changes
    assert [d.path for d in two.differences] == ["properties.subnets[GatewaySubnet].properties.addressPrefix"]


def test_what_others_added_is_kept() -> None:
    theirs = {"name": "theirs", "properties": {"addressPrefix": "10.0.7.0/24"}}

    def edit(body: dict[str, Any]) -> None:
        body["tags"]["costs"] = "42"
        body["properties"]["subnets"].insert(0, theirs)
        body["properties"]["subnets"].append({"name": "DEFAULT", "properties": {"addressPrefix": "10.0.0.0/25"}})
        del body["properties"]["subnets"][2]

    observed = edited(ArmKind.VIRTUAL_NETWORK, edit)
    [change] = make(observed).changes
    assert change.body["tags"] == {"costs": "42", **WANTED[0].body["tags"]}
    names = [s["name"] for s in change.body["properties"]["subnets"]]
    assert sorted(names) == ["GatewaySubnet", "default", "theirs"], "ours replaces the one in another case"
    assert theirs in change.body["properties"]["subnets"]


def test_added_things_alone_are_no_difference() -> None:
    def edit(body: dict[str, Any]) -> None:
        body["tags"]["costs"] = "42"
        body["properties"]["subnets"].append({"name": "theirs", "properties": {"addressPrefix": "10.0.7.0/24"}})

    assert make(edited(ArmKind.VIRTUAL_NETWORK, edit)).changes == ()


@pytest.mark.parametrize(
    "tags", [None, {}, {"costs": "42"}, {render.TAG_CONTROLLER: "other", render.TAG_OWNER: "gateway/x"}]
)
@pytest.mark.parametrize("kind", list(ArmKind))
def test_what_is_not_ours_blocks(kind: ArmKind, tags: dict[str, str] | None) -> None:
    observed = edited(kind, lambda b: b.update(tags=tags))
    found = make(observed)
    [change] = found.changes
    assert change.action is Action.BLOCKED and change.body == {} and "Adopt it" in change.reason
    assert ("another controller" in change.reason) is bool(tags and render.TAG_OWNER in tags)
    assert found.next() is None


@pytest.mark.parametrize("kind", list(ArmKind))
def test_what_is_not_ours_is_not_deleted(kind: ArmKind) -> None:
    observed = edited(kind, lambda b: b.update(tags={}))
    found = plan.make([], [REFS[kind]], observed, "ctl")
    assert [c.action for c in found.changes] == [Action.BLOCKED] and found.next() is None


def test_nothing_overtakes_what_is_blocked() -> None:
    observed = edited(ArmKind.VIRTUAL_NETWORK, lambda b: b.update(tags={}))
    observed[REFS[ArmKind.GATEWAY]] = None
    found = make(observed)
    assert [c.action for c in found.changes] == [Action.BLOCKED, Action.CREATE] and found.next() is None


def test_deletions_keep_their_order_and_forget_what_is_gone() -> None:
    observed = as_arm_has_it()
    order = [REFS[ArmKind.CONNECTION], REFS[ArmKind.LOCAL_GATEWAY], REFS[ArmKind.GATEWAY]]
    observed[REFS[ArmKind.LOCAL_GATEWAY]] = None
    found = plan.make([], order, observed, "ctl")
    assert [(c.action, c.ref.kind) for c in found.changes] == [
        (Action.DELETE, ArmKind.CONNECTION),
        (Action.DELETE, ArmKind.GATEWAY),
    ]


@pytest.mark.parametrize(("has", "wants"), [("fqdn", "gatewayIpAddress"), ("gatewayIpAddress", "fqdn")])
def test_a_name_and_an_address_exclude_each_other(has: str, wants: str) -> None:
    desired = {"properties": {wants: "x"}}
    both = list(plan.differences(desired, {"properties": {wants: "x", has: "y"}}))
    assert [(d.path, d.observed, d.desired) for d in both] == [(f"properties.{has}", "y", None)]
    for empty in ({}, {has: ""}, {has: None}):
        assert list(plan.differences(desired, {"properties": {wants: "x", **empty}})) == []
    swapped = {d.path for d in plan.differences(desired, {"properties": {has: "y"}})}
    assert swapped == {"properties.fqdn", "properties.gatewayIpAddress"}


@pytest.mark.parametrize("state", ["Updating", "Deleting"])
def test_while_arm_works_on_exactly_this_nothing_is_sent(state: str) -> None:
    observed = edited(ArmKind.GATEWAY, lambda b: b["properties"].update(provisioningState=state))
    assert make(observed).changes == ()


def test_what_failed_is_sent_again_if_ours() -> None:
    observed = edited(ArmKind.GATEWAY, lambda b: b["properties"].update(provisioningState="Failed"))
    [change] = make(observed).changes
    assert change.action is Action.UPDATE and change.differences == ()
    body = observed[REFS[ArmKind.GATEWAY]]
    assert body is not None
    body["tags"] = {}
    assert make(observed).changes[0].action is Action.BLOCKED


def test_the_hash_names_what_would_be_done() -> None:
    def drift(mode: str) -> dict[ArmRef, dict[str, Any] | None]:
        return edited(ArmKind.CONNECTION, lambda b: b["properties"].update(connectionMode=mode))

    empty = make(as_arm_has_it()).hash
    assert make({}).hash == make({}).hash != empty
    assert make(drift("Default")).hash == make(drift("InitiatorOnly")).hash, "the same write mends both"
    assert make(drift("Default")).hash != empty
    pinned = render.connection_resources("home", CONN, "hub", GW, "ctl", "198.51.100.77")
    other = plan.make([*WANTED[:3], *pinned], [], {}, "ctl")
    assert other.hash != make({}).hash
    a = plan.make([], [REFS[ArmKind.CONNECTION], REFS[ArmKind.LOCAL_GATEWAY]], as_arm_has_it(), "ctl")
    b = plan.make([], [REFS[ArmKind.LOCAL_GATEWAY], REFS[ArmKind.CONNECTION]], as_arm_has_it(), "ctl")
    assert a.hash != b.hash


def recorded_bodies() -> list[dict[str, Any]]:
    if not RECORDED.exists():
        pytest.skip("the recorded exchanges are not here (../shared/data/azure)")
    found = [e["body"] for e in json.loads(RECORDED.read_text()) if isinstance(e["body"], dict)]
    return [b for b in found if isinstance(b.get("properties"), dict)]


def test_real_answers_are_compared_and_judged() -> None:
    bodies = recorded_bodies()
    assert len(bodies) > 10
    for body in bodies:
        for want in WANTED:
            found = plan.make([want], [], {want.ref: body}, "ctl").changes
            assert [c.action for c in found] == [Action.BLOCKED], "nobody's tags are on them"
        assert plan.is_settled(body) is (body["properties"].get("provisioningState") == "Succeeded")
        render.azure_end(body, body)
        assert list(plan.differences(body, copy.deepcopy(body))) == []


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda x: (
        st.lists(x, max_size=3) | st.dictionaries(st.sampled_from(["name", "properties", "a", "fqdn"]), x, max_size=3)
    ),
    max_leaves=8,
)


@given(JSONISH)
@settings(derandomize=True, database=None, deadline=None, max_examples=100)
def test_any_answer_can_be_compared(observed: Any) -> None:
    for want in WANTED:
        assert list(plan.differences(want.body, observed)), "nothing made at random is what we want"


def apipa(remote: str) -> list[render.Desired]:
    """The same gateway with its home in transit mode apipa."""
    document = changed(CONNECTION, "spec.transit", {"mode": "apipa", "local": "169.254.21.2", "remote": remote})
    spec = parse.connection(changed(document, "spec.home.bgpAddress", "169.254.21.2")).spec
    made = render.gateway_resources("hub", GW, "ctl", [spec])
    return [*made, *render.connection_resources("home", spec, "hub", GW, "ctl", None)]


DEFAULT = f"{REFS[ArmKind.GATEWAY].id()}/ipConfigurations/default"


def with_addresses(*gateway: str, connection: str | None) -> dict[ArmRef, dict[str, Any] | None]:
    """What ARM has: the gateway's link-local addresses, and the one that the connection uses. Ids in ARM's own case."""
    observed = as_arm_has_it()
    for kind, edit in (
        (
            ArmKind.GATEWAY,
            {
                "bgpSettings": {
                    "asn": 65515,
                    "bgpPeeringAddress": "10.0.1.30",
                    "bgpPeeringAddresses": [
                        {
                            "ipconfigurationId": DEFAULT.upper(),
                            "defaultBgpIpAddresses": ["10.0.1.30"],
                            "customBgpIpAddresses": list(gateway),
                        }
                    ],
                }
            },
        ),
        (
            ArmKind.CONNECTION,
            {
                "gatewayCustomBgpIpAddresses": [
                    {"ipConfigurationId": DEFAULT.upper(), "customBgpIpAddress": connection}
                ]
                if connection
                else []
            },
        ),
    ):
        body = observed[REFS[kind]]
        assert body is not None
        body["properties"] |= edit
    lng = observed[REFS[ArmKind.LOCAL_GATEWAY]]
    assert lng is not None
    if connection:
        lng["properties"]["bgpSettings"]["bgpPeeringAddress"] = "169.254.21.2"
    return observed


def custom(found: plan.Plan) -> list[str]:
    [change] = [c for c in found.changes if c.ref.kind is ArmKind.GATEWAY]
    assert change.action is Action.UPDATE
    [entry] = change.body["properties"]["bgpSettings"]["bgpPeeringAddresses"]
    assert [d.path for d in change.differences] == [
        "properties.bgpSettings.bgpPeeringAddresses["
        + entry["ipconfigurationId"].rpartition("/")[2]
        + "].customBgpIpAddresses"
    ]
    return list(entry["customBgpIpAddresses"])


def test_the_gateway_gets_a_link_local_address_before_a_connection_uses_it() -> None:
    found = plan.make(apipa("169.254.21.1"), [], as_arm_has_it(), "ctl")
    assert [c.ref.kind for c in found.changes] == [ArmKind.GATEWAY, ArmKind.LOCAL_GATEWAY, ArmKind.CONNECTION]
    assert custom(found) == ["169.254.21.1"]
    done = with_addresses("169.254.21.1", connection="169.254.21.1")
    assert plan.make(apipa("169.254.21.1"), [], done, "ctl").changes == ()


def test_an_address_in_use_is_kept_until_the_connection_has_another() -> None:
    want = apipa("169.254.21.5")
    observed = with_addresses("169.254.21.1", connection="169.254.21.1")
    assert custom(plan.make(want, [], observed, "ctl")) == ["169.254.21.1", "169.254.21.5"]
    observed = with_addresses("169.254.21.1", "169.254.21.5", connection="169.254.21.1")
    assert [c.ref.kind for c in plan.make(want, [], observed, "ctl").changes] == [ArmKind.CONNECTION]
    observed = with_addresses("169.254.21.1", "169.254.21.5", connection="169.254.21.5")
    assert custom(plan.make(want, [], observed, "ctl")) == ["169.254.21.5"]


def test_addresses_that_nobody_wants_any_more_go_after_the_connection_let_go() -> None:
    observed = with_addresses("169.254.21.1", connection="169.254.21.1")
    found = plan.make(WANTED, [], observed, "ctl")
    assert [c.ref.kind for c in found.changes] == [ArmKind.LOCAL_GATEWAY, ArmKind.CONNECTION]
    observed = with_addresses("169.254.21.1", connection=None)
    assert custom(plan.make(WANTED, [], observed, "ctl")) == []
    assert plan.make(WANTED, [], with_addresses(connection=None), "ctl").changes == ()


def test_a_second_instance_needs_its_address_first() -> None:
    two = render.gateway_resources("hub", parse.gateway(changed(GATEWAY, "spec.activeActive", True)).spec, "ctl")
    found = plan.make(two, [], {}, "ctl")
    assert [(c.action, c.ref.name) for c in found.changes] == [
        (Action.CREATE, n) for n in ("vnet-hub", "hub-pip", "hub-pip2", "hub")
    ]
