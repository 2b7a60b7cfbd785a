"""Plans over HTTP: shown field by field, applied only while they hold; ETags; the audit."""

from __future__ import annotations

from typing import Any

from shared.domain import parse, render
from shared.domain.arm import ArmKind
from shared.domain.outage import Kind
from shared.domain.outage_figures import SIMULATED
from tests.examples import CONNECTION, GATEWAY, changed
from tests.functions.calls import call, world
from tests.shared.control.world import World

__all__ = ["world"]
HUB, HOME = {"name": "hub"}, {"name": "home"}
REFS = render.gateway_refs("hub", parse.gateway(GATEWAY).spec)


async def test_a_plan_of_something_new_lists_what_will_be_made_and_stores_nothing(world: World) -> None:
    plan = (await call("plan_gateway", GATEWAY, HUB)).json
    made = [(c["action"], c["resource"].rsplit("/", 2)[1]) for c in plan["azure"]]
    assert made == [("create", k.value) for k in (ArmKind.VIRTUAL_NETWORK, ArmKind.PUBLIC_IP, ArmKind.GATEWAY)]
    assert plan["refused"] == "" and len(plan["hash"]) == 64
    assert (await call("get_gateway", route=HUB)).status == 404
    assert world.arm.writes() == []


async def test_a_plan_of_a_change_shows_both_ends_field_by_field(world: World) -> None:
    await world.joined()
    moved = changed(CONNECTION, "spec.home.asn", 65011)
    plan = (await call("plan_connection", moved, HOME)).json
    azure = [(d["path"], d["observed"], d["desired"]) for c in plan["azure"] for d in c["differences"]]
    assert azure == [("properties.bgpSettings.asn", 65010, 65011)]
    (home,) = plan["home"]
    assert home["action"] == "apply"
    assert [(d["path"], d["observed"], d["desired"]) for d in home["differences"]] == [("bgp.local_asn", 65010, 65011)]


async def test_a_new_connection_beside_one_that_works_can_be_consented_to(world: World) -> None:
    """Its id is drawn when it is stored: it is no part of what one consents to."""
    await world.joined()
    office = changed(changed(CONNECTION, "metadata.name", "office"), "spec.fqdn", "office.homelink.test")
    office = changed(changed(office, "spec.agent", "office-fw"), "spec.home.prefixes", ["192.168.9.0/24"])
    office = changed(office, "spec.home.bgpAddress", "192.168.9.1")
    route = {"name": "office"}
    first, again = [(await call("plan_connection", office, route)).json["hash"] for _ in range(2)]
    assert first == again
    assert (await call("put_connection", office, route, params={"plan": first})).status == 201


async def test_a_plan_says_for_how_long_packets_will_not_pass(world: World) -> None:
    async def outage(document: dict[str, Any]) -> dict[str, Any]:
        (only,) = (await call("plan_connection", document, HOME)).json["outages"]
        assert isinstance(only, dict)
        return only

    await call("put_gateway", GATEWAY, HUB)
    new = await outage(CONNECTION)
    assert (new["connection"], new["kinds"], new["expectedOutageS"]["p95"]) == ("home", ["new"], 0.0)
    await world.joined()
    renumbered = await outage(changed(CONNECTION, "spec.home.asn", 65011))
    expected = SIMULATED[Kind.HOME_ASN]
    assert renumbered["kinds"] == ["home-asn"] and renumbered["simulated"] is True
    assert renumbered["expectedOutageS"] == {"p50": expected.p50, "p95": expected.p95}
    assert "until the agent has applied it" in renumbered["reason"]
    unchanged = await outage(CONNECTION)
    assert unchanged["kinds"] == [] and unchanged["expectedOutageS"] == {"p50": 0.0, "p95": 0.0}


async def test_a_key_of_another_name_in_the_vault_is_part_of_a_plan(world: World) -> None:
    await world.joined()
    document = changed(CONNECTION, "spec.psk", {"generate": False, "vaultRef": "mine"})
    plan = (await call("plan_connection", document, HOME)).json
    assert [d["desired"] for d in plan["home"][0]["differences"] if d["path"] == "psk.name"] == ["mine"]
    assert plan["outages"][0]["kinds"] == ["key"]


async def test_a_resize_has_no_figure_but_a_reason_for_every_connection(world: World) -> None:
    await world.joined()
    larger = changed(changed(GATEWAY, "spec.generation", "Generation1"), "spec.sku", "VpnGw2AZ")
    plan = (await call("plan_gateway", larger, HUB)).json
    assert [(o["connection"], o["expectedOutageS"]) for o in plan["outages"]] == [("home", None)]
    assert "gateway-sku-upgrade" in plan["outages"][0]["reason"]


async def test_a_deletion_ends_the_tunnel_for_good(world: World) -> None:
    await world.joined()
    plan = (await call("plan_connection", route=HOME, params={"delete": "true"})).json
    assert [(o["kinds"], o["expectedOutageS"]) for o in plan["outages"]] == [(["ends"], None)]


async def test_nothing_to_change_is_an_empty_plan(world: World) -> None:
    await world.joined()
    plan = (await call("plan_connection", CONNECTION, HOME)).json
    assert plan["azure"] == [] and [h["action"] for h in plan["home"]] == ["none"]


async def test_a_put_with_a_hash_that_no_longer_holds_stores_nothing(world: World) -> None:
    await world.joined()
    moved = changed(CONNECTION, "spec.home.asn", 65011)
    given = (await call("plan_connection", moved, HOME)).json["hash"]

    def edit(vnet: dict[str, Any]) -> None:
        vnet["properties"]["addressSpace"]["addressPrefixes"].append("10.7.0.0/16")

    world.arm.edit(REFS[ArmKind.VIRTUAL_NETWORK], edit)
    refused = await call("put_connection", moved, HOME, params={"plan": given})
    assert refused.status == 409 and "look at it again" in refused.json["detail"]
    stored = (await call("get_connection", route=HOME)).json
    assert stored["spec"]["home"]["asn"] == 65010
    given = (await call("plan_connection", moved, HOME)).json["hash"]
    assert (await call("put_connection", moved, HOME, params={"plan": given})).status == 200


async def test_a_put_with_an_empty_hash_is_no_put_without_one(world: World) -> None:
    """A script whose variable was never set."""
    for name, document, route in (("put_gateway", GATEWAY, HUB), ("put_connection", CONNECTION, HOME)):
        assert (await call(name, document, route, params={"plan": ""})).status == 409
        assert (await call(name.replace("put", "get"), route=route)).status == 404
        assert (await call(name, document, route)).status == 201


async def test_what_a_plan_is_of_is_never_guessed(world: World) -> None:
    await world.joined()
    for name, document, route in (("plan_gateway", GATEWAY, HUB), ("plan_connection", CONNECTION, HOME)):
        both = await call(name, document, route, params={"delete": "true"})
        assert (both.status, both.problem()) == (422, ["deletion-body"])
        odd = await call(name, document, route, params={"delete": "yes"})
        assert (odd.status, odd.problem()) == (422, ["flag-form"])
    given = (await call("plan_connection", route=HOME, params={"delete": "true"})).json["hash"]
    odd = await call("delete_connection", route=HOME, params={"plan": given, "orphanHome": "1"})
    assert (odd.status, odd.problem()) == (422, ["flag-form"])
    assert (await call("get_connection", route=HOME)).json["metadata"]["deleting"] is False


async def test_what_is_not_ours_makes_a_plan_that_may_not_be_applied(world: World) -> None:
    foreign = {"location": "westeurope", "properties": {"addressSpace": {"addressPrefixes": ["10.9.0.0/16"]}}}
    world.arm.seed(REFS[ArmKind.VIRTUAL_NETWORK], foreign)
    plan = (await call("plan_gateway", GATEWAY, HUB)).json
    assert "read only" in plan["refused"]
    assert (await call("put_gateway", GATEWAY, HUB, params={"plan": plan["hash"]})).status == 409
    assert (await call("get_gateway", route=HUB)).status == 404


async def test_an_etag_that_no_longer_holds_is_a_412(world: World) -> None:
    first = await call("put_gateway", GATEWAY, HUB)
    etag = first.headers["ETag"]
    assert (await call("get_gateway", route=HUB)).headers["ETag"] == etag
    changed_once = changed(GATEWAY, "spec.asn", 64512)
    second = await call("put_gateway", changed_once, HUB, headers={"If-Match": etag})
    assert second.status == 200 and second.headers["ETag"] != etag
    stale = await call("put_gateway", changed(GATEWAY, "spec.asn", 64513), HUB, headers={"If-Match": etag})
    assert stale.status == 412
    assert (await call("get_gateway", route=HUB)).json["spec"]["asn"] == 64512


async def test_an_agent_that_is_gone_for_good_does_not_hold_a_deletion_up(world: World) -> None:
    await world.joined()
    world.agent.alive = False
    given = (await call("plan_connection", route=HOME, params={"delete": "true"})).json["hash"]
    answer = await call("delete_connection", route=HOME, params={"plan": given, "orphanHome": "true"})
    assert answer.status == 202

    async def gone() -> bool:
        return (await call("get_connection", route=HOME)).status == 404

    await world.until(gone, 600)


async def test_every_mutation_is_in_the_audit_and_no_secret_is(world: World) -> None:
    await call("put_gateway", GATEWAY, HUB)
    await call("put_connection", CONNECTION, HOME)
    await call("put_psk", {"value": "AKeyOfMyOwn0123456789"}, HOME)
    await world.agent.enrol()
    await world.until(world.ready)
    entries = (await call("get_audit", route={"month": f"{world.clock.now():%Y-%m}"})).json["items"]
    told = {(e["actor"].split(" from ")[0], e["action"]) for e in entries}
    assert {("function key", "put"), ("function key", "set-psk")} <= told
    assert {("reconciler", "arm-put"), ("reconciler", "command-apply")} <= told
    writes = [e for e in entries if e["action"].startswith("arm-")]
    assert len(writes) == len(world.arm.writes())
    assert "AKeyOfMyOwn" not in str(entries)
    assert (await call("get_audit", route={"month": "nonsense"})).status == 422
