"""Adoption over HTTP: from an import through consent to letting go again."""

from __future__ import annotations

from typing import Any

import pytest

from tests import existing
from tests.existing import GATEWAY, KEY, REQUEST
from tests.functions.calls import Answer, call, world
from tests.functions.test_openapi import has_shape
from tests.shared.control.world import World

__all__ = ["world"]
HUB, HOME = {"name": "vpn-office"}, {"name": "office-home"}


@pytest.fixture
def office(world: World) -> World:
    for ref, body in existing.bodies().items():
        world.arm.seed(ref, body)
    return world


async def post(**request: Any) -> Answer:
    found = await call("post_import", {**REQUEST, **request})
    has_shape(found, "post", "/imports")
    return found


async def test_an_import_leads_to_an_adoption_by_the_hash_of_its_plan(office: World) -> None:
    found = (await post()).json
    document, plan = found["gateway"]["document"], found["gateway"]["plan"]
    assert {c["action"] for c in plan["azure"]} == {"adopt"} and plan["counts"]["adopt"] == 3
    assert found["connections"][0]["plan"] is None, "its Gateway is not there yet"
    without = await call("put_gateway", document, HUB)
    assert without.status == 428 and "?plan=" in without.json["detail"]
    assert (await call("put_gateway", document, HUB, params={"plan": "0" * 64})).status == 409
    put = await call("put_gateway", document, HUB, params={"plan": plan["hash"]})
    assert put.status == 201 and put.wake is not None and put.wake["unit"] == "vpn-office"
    assert (await call("put_gateway", document, HUB)).status == 200, "consent was given"
    home = existing.completed((await post()).json["connections"][0]["document"])
    plan = (await call("plan_connection", home, HOME)).json
    assert (await call("put_connection", home, HOME)).status == 428
    assert (await call("put_connection", home, HOME, params={"plan": plan["hash"]})).status == 201
    await office.run(300)
    again = (await call("plan_connection", home, HOME)).json
    assert (again["azure"], again["refused"]) == ([], "")
    texts = [(await call("get_connection", route=HOME)).text, (await post()).text, str(again)]
    assert not [t for t in texts if KEY in t]


async def test_what_was_adopted_is_let_go_by_the_hash_of_its_plan(office: World) -> None:
    found = (await post()).json["gateway"]
    await call("put_gateway", found["document"], HUB, params={"plan": found["plan"]["hash"]})
    await office.run(300)
    release = {"delete": "true", "release": "true"}
    plan = (await call("plan_gateway", route=HUB, params=release)).json
    assert {c["action"] for c in plan["azure"]} == {"release"}
    other = (await call("plan_gateway", route=HUB, params={"delete": "true"})).json
    assert {c["action"] for c in other["azure"]} == {"delete", "release"} and other["hash"] != plan["hash"]
    refused = await call("delete_gateway", route=HUB, params={"plan": plan["hash"]})
    assert refused.status == 409, "the hash of a release is no consent to a deletion"
    assert (await call("delete_gateway", route=HUB, params={"plan": plan["hash"], "release": "true"})).status == 202
    await office.run(300)
    assert (await call("get_gateway", route=HUB)).status == 404
    assert (office.arm.resource(GATEWAY) or {})["tags"] == {"owner": "ops"}
    audit = (await call("get_audit", route={"month": f"{office.clock.now():%Y-%m}"})).json["items"]
    assert {"release", "arm-tag"} <= {entry["action"] for entry in audit}


@pytest.mark.parametrize("gateway", ["vgw", GATEWAY.id().replace("Gateways/", "Gateway/"), GATEWAY.id() + "/x"])
async def test_what_is_no_gateway_is_refused(office: World, gateway: str) -> None:
    assert (await post(gateway=gateway)).problem() == ["string_pattern_mismatch"]


async def test_what_azure_does_not_know_is_not_found(office: World) -> None:
    assert (await post(gateway=GATEWAY.id() + "x")).status == 404
    assert (await call("post_import", [])).status == 422


async def test_without_a_tenant_and_an_agent_the_drafts_say_what_lacks(office: World) -> None:
    found = (await call("post_import", {"gateway": GATEWAY.id()})).json
    assert [p["path"] for p in found["gateway"]["problems"]] == ["spec.tenantId"]
    assert [p["path"] for p in found["connections"][0]["problems"]] == ["spec.agent", "spec.fqdn"]
    assert found["gateway"]["plan"] is None
