"""The user's API over HTTP requests: documents, status, deletion, keys, tokens."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from shared.domain import parse
from tests.examples import CONNECTION, GATEWAY, changed
from tests.shared.control.world import World

from .calls import Answer, call

HUB, HOME = {"name": "hub"}, {"name": "home"}
SECRET = "Xq7vSECRETvalue31415926535"


async def put(document: Any = GATEWAY, name: str = "hub") -> Answer:
    return await call("put_gateway" if document["kind"] == "Gateway" else "put_connection", document, {"name": name})


async def both() -> None:
    await put()
    await put(CONNECTION, "home")


@pytest.mark.parametrize("write", [json.dumps, yaml.safe_dump], ids=["json", "yaml"])
async def test_put_and_get_in_either_form(world: World, write: Any) -> None:
    made = await call("put_gateway", write(GATEWAY), HUB)
    assert (made.status, made.mimetype) == (201, "application/json")
    assert made.wake["unit"] == "hub" and made.wake["reason"] == "put"
    got = (await call("get_gateway", route=HUB)).json
    assert got["metadata"] == {"name": "hub", "id": got["metadata"]["id"], "generation": 1, "deleting": False}
    assert parse.gateway({**GATEWAY, "spec": got["spec"]}) == parse.gateway(GATEWAY)
    linked = await call("put_connection", write(CONNECTION), HOME)
    assert linked.status == 201 and linked.wake["unit"] == "hub"
    link = (await call("get_connection", route=HOME)).json
    assert (link["kind"], link["spec"]["home"]["bgpAddress"]) == ("Connection", "192.168.1.1")
    assert parse.connection({**CONNECTION, "spec": link["spec"]}) == parse.connection(CONNECTION)


async def test_what_was_got_can_be_put_again_without_a_change(world: World) -> None:
    await both()
    got = (await call("get_connection", route=HOME)).json
    again = {k: v for k, v in got.items() if k != "status"} | {"metadata": HOME}
    assert (await put(again, "home")).json["metadata"]["generation"] == 1


async def test_a_changed_document_is_a_new_generation(world: World) -> None:
    await both()
    answer = await put(changed(CONNECTION, "spec.mss", 1300), "home")
    assert (answer.status, answer.json["metadata"]["generation"]) == (200, 2)


async def test_lists(world: World) -> None:
    assert (await call("list_gateways")).json == {"items": []}
    await both()
    assert (await call("list_gateways")).json == {"items": ["hub"]}
    assert (await call("list_connections")).json == {"items": ["home"]}


async def test_status_and_incidents(world: World) -> None:
    await both()
    assert (await call("get_connection_status", route=HOME)).json == {"conditions": []}
    await world.agent.enrol()
    await world.until(world.ready)
    conditions = (await call("get_connection_status", route=HOME)).json["conditions"]
    assert conditions[0]["type"] == "Ready" and conditions[0]["status"] == "True"
    assert set(conditions[0]) == {"type", "status", "reason", "message", "lastTransitionTime"}
    gateway = (await call("get_gateway_status", route=HUB)).json["conditions"]
    assert {c["type"] for c in gateway} >= {"Ready", "GatewayReady", "InSync"}
    assert (await call("get_incidents", route=HOME)).json == {"items": []}


@pytest.mark.parametrize(
    "name",
    [
        "get_gateway",
        "get_gateway_status",
        "delete_gateway",
        "get_connection",
        "get_connection_status",
        "get_incidents",
        "delete_connection",
    ],
)
async def test_what_does_not_exist_is_a_404(world: World, name: str) -> None:
    answer = await call(name, route={"name": "none"})
    assert answer.status == 404 and answer.problem() == [] and answer.wake is None


@pytest.mark.parametrize(
    "name",
    ["put_gateway", "get_gateway", "delete_gateway", "put_connection", "get_connection", "put_psk", "post_token"],
)
@pytest.mark.parametrize("bad", ["..", "Hub", "a", "a" * 41, "hub\n", "hub/x", "hüb"])
async def test_a_name_that_is_none(world: World, name: str, bad: str) -> None:
    body = {"put_gateway": GATEWAY, "put_connection": CONNECTION, "put_psk": {"value": "x" * 20}}.get(name, b"")
    answer = await call(name, body, {"name": bad})
    assert answer.status == 422 and answer.problem() == ["name-form"] and answer.wake is None


async def test_every_problem_of_a_document(world: World) -> None:
    bad = changed(changed(GATEWAY, "spec.sku", "Basic"), "spec.virtualNetwork.gatewaySubnet", "10.9.0.0/28")
    answer = await put(bad)
    assert answer.status == 422 and answer.wake is None
    assert answer.problem() == ["sku-basic", "subnet-outside", "gateway-subnet-small"]
    assert answer.json["detail"] == "3 problems" and answer.json["errors"][0]["path"] == "spec.sku"
    assert (await call("list_gateways")).json == {"items": []}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"a: [",
        b"\xff",
        b"{}",
        "spec: .nan",
        "spec: {sku: .nan}",
        "spec: {asn: 0x" + "f" * 9000 + "}",
        "spec: {sku: 2026-01-01}",
        "spec: &a [*a]",
        "kind: !!set {a, b}",
        "? [a]\n: 1",
        "1: 2",
        "null: 1",
        "spec: {sku: '" + "x" * 100_000 + "'}",
        '"\\ud800": 1',
        'spec: {"\\ud800": 1, sku: "\\ud800"}',
    ],
)
@pytest.mark.parametrize("kind", ["put_gateway", "put_connection"])
async def test_any_body_gets_a_readable_answer(world: World, kind: str, body: Any) -> None:
    answer = await call(kind, body, HUB)
    assert answer.status == 422 and answer.problem() and len(answer.text) < 10_000


async def test_refusals(world: World) -> None:
    assert (await put(CONNECTION, "home")).status == 404
    await both()
    answer = await call("delete_gateway", route=HUB)
    assert answer.status == 409 and "home" in answer.json["detail"] and answer.wake is None
    immutable = await put(changed(GATEWAY, "spec.location", "northeurope"))
    assert immutable.status == 422 and immutable.problem() == ["immutable"]


async def test_a_concurrent_change_is_a_409(world: World) -> None:
    await both()

    async def rival(*_: object) -> None:
        world.store.before_transact = None
        await put(changed(GATEWAY, "spec.asn", 64512))

    world.store.before_transact = rival
    answer = await put(changed(GATEWAY, "spec.asn", 64513))
    assert answer.status == 409 and "read it again" in answer.json["detail"] and answer.wake is None


async def test_deletion_is_accepted_and_shown(world: World) -> None:
    await both()
    assert (await call("delete_connection", route=HOME)).status == 428
    plan = (await call("plan_connection", route=HOME, params={"delete": "true"})).json
    assert plan["counts"]["delete"] == 0 and plan["home"][0]["connection"] == "home", "nothing was made yet"
    answer = await call("delete_connection", route=HOME, params={"plan": plan["hash"]})
    assert (answer.status, answer.json, answer.wake["unit"]) == (202, {"deleting": True}, "hub")
    assert (await call("get_connection", route=HOME)).json["metadata"]["deleting"] is True
    await world.run(120)
    assert (await call("get_connection", route=HOME)).status == 404
    plan = (await call("plan_gateway", route=HUB, params={"delete": "true"})).json
    assert {c["action"] for c in plan["azure"]} == {"delete"}
    assert (await call("delete_gateway", route=HUB, params={"plan": "0" * 64})).status == 409
    gone = await call("delete_gateway", route=HUB, params={"plan": plan["hash"]})
    assert gone.status == 202 and gone.wake["unit"] == "hub"


async def test_a_key_goes_in_and_never_comes_out(world: World) -> None:
    await both()
    answer = await call("put_psk", {"value": SECRET}, HOME)
    assert (answer.status, answer.text, answer.wake["unit"]) == (204, "", "hub")
    assert SECRET in world.vault.values() and SECRET not in world.store.everything()
    await world.agent.enrol()
    await world.until(world.ready)
    for name, route in [("get_connection", HOME), ("get_connection_status", HOME), ("get_gateway", HUB)]:
        assert SECRET not in (await call(name, route=route)).text


@pytest.mark.parametrize(
    "body",
    [
        {"value": SECRET + " x"},
        {"value": SECRET + "-"},
        {"value": [SECRET]},
        {"psk": SECRET},
        {"value": "AKeyOfMyOwn0123456789", "note": SECRET},
        {"value": {"value": SECRET}},
        [SECRET],
        f"value: *{SECRET}",
        f"value: !{SECRET} x",
        f"value: '{SECRET}",
        f"{SECRET}: : :",
        SECRET,
        b"value: " + SECRET.encode() + b"\xff",
    ],
)
async def test_a_key_that_is_refused_is_not_repeated(world: World, body: Any) -> None:
    await both()
    answer = await call("put_psk", body, HOME)
    assert answer.status == 422 and SECRET not in answer.text and answer.wake is None
    assert world.vault.values() == []


@pytest.mark.parametrize("path", ["spec.psk", "spec.psk.value", "spec.sharedKey", "spec.key", "spec.psk.vaultRef"])
async def test_a_key_in_a_document_is_not_repeated(world: World, path: str) -> None:
    await put()
    answer = await put(changed(CONNECTION, path, SECRET + "!"), "home")
    assert answer.status == 422 and SECRET not in answer.text


async def test_a_token_is_shown_once(world: World) -> None:
    answer = await call("post_token", route={"name": "home-fw"})
    assert answer.status == 201 and answer.json["controller"] == "ctl" and answer.json["token"].startswith("hle_")
    assert answer.json["token"] not in world.store.everything()
    assert (await call("post_token", route={"name": "home-fw"})).json["token"] != answer.json["token"]
