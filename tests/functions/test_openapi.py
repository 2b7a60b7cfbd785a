"""The description is true: it names every route of the user's API, and real answers have the shapes it gives."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

from functions import openapi, schemas
from tests.app import FUNCTIONS
from tests.examples import CONNECTION, GATEWAY, changed
from tests.functions.calls import Answer, call, world
from tests.shared.control.world import World

__all__ = ["world"]
HUB, HOME = {"name": "hub"}, {"name": "home"}


def routes() -> set[tuple[str, str]]:
    """(method, path) of everything but the description itself."""
    found = set()
    for function in FUNCTIONS.values():
        for binding in map(json.loads, function.get_raw_bindings()):
            if binding["type"] == "httpTrigger" and binding["route"] != "openapi.json":
                found |= {(m.lower(), f"/{binding['route']}") for m in binding["methods"]}
    return found


def test_it_names_every_route_and_no_other() -> None:
    assert {(o.method, o.path) for o in openapi.OPERATIONS} == routes()


def test_every_reference_resolves_and_ids_are_unique() -> None:
    described = openapi.describe()
    known = {f"#/components/schemas/{name}" for name in described["components"]["schemas"]}
    references = set(_references(described))
    assert references and references <= known
    ids = [o["operationId"] for path in described["paths"].values() for o in path.values()]
    assert len(ids) == len(set(ids)) == len(openapi.OPERATIONS)


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [r for v in value.values() for r in _references(v)]
    return [r for v in value for r in _references(v)] if isinstance(value, list) else []


def has_shape(answer: Answer, method: str, path: str) -> None:
    """The answer is one that the operation describes."""
    operation = next(o for o in openapi.OPERATIONS if (o.method, o.path) == (method, path))
    shapes: dict[int, type[BaseModel] | None] = {**operation.ok}
    shapes |= dict.fromkeys(operation.refusals, schemas.ProblemDetails)
    assert answer.status in shapes, answer.text
    model = shapes[answer.status]
    if model is None:
        assert answer.text == ""
    else:
        model.model_validate_json(answer.text)


async def test_real_answers_have_the_shapes_described(world: World) -> None:
    has_shape(await call("get_gateway", route=HUB), "get", "/gateways/{name}")
    has_shape(await call("put_gateway", changed(GATEWAY, "spec.sku", "Basic"), HUB), "put", "/gateways/{name}")
    has_shape(await call("plan_gateway", GATEWAY, HUB), "post", "/gateways/{name}/plan")
    has_shape(await call("put_gateway", GATEWAY, HUB), "put", "/gateways/{name}")
    has_shape(await call("put_connection", CONNECTION, HOME), "put", "/connections/{name}")
    await world.agent.enrol()
    await world.until(world.ready)
    has_shape(await call("list_gateways"), "get", "/gateways")
    has_shape(await call("list_connections"), "get", "/connections")
    for kind, route in (("gateway", HUB), ("connection", HOME)):
        has_shape(await call(f"get_{kind}", route=route), "get", f"/{kind}s/{{name}}")
        has_shape(await call(f"get_{kind}_status", route=route), "get", f"/{kind}s/{{name}}/status")
    has_shape(await call("put_psk", {"value": "AKeyOfMyOwn0123456789"}, HOME), "put", "/connections/{name}/psk")
    has_shape(await call("put_psk", {"value": "short"}, HOME), "put", "/connections/{name}/psk")
    world.agent.breaks()
    await world.run(70)
    has_shape(await call("get_findings", route=HOME), "get", "/connections/{name}/findings")
    has_shape(await call("diagnose", route=HOME), "post", "/connections/{name}/diagnose")
    incidents = await call("get_incidents", route=HOME)
    assert incidents.json["items"], "an Incident must be there for its shape to be seen"
    has_shape(incidents, "get", "/connections/{name}/incidents")
    one = await call("get_incident", route={**HOME, "incident": incidents.json["items"][0]["id"]})
    assert {line["what"] for line in one.json["record"]} == {"decision", "event", "act"}
    has_shape(one, "get", "/connections/{name}/incidents/{incident}")
    for kind, route in (("gateway", HUB), ("connection", HOME)):
        found = await call(f"get_{kind}_events", route=route, params={"limit": "2"})
        assert len(found.json["items"]) == 2 and found.json["next"]
        has_shape(found, "get", f"/{kind}s/{{name}}/events")
    moved = changed(CONNECTION, "spec.home.asn", 65011)
    has_shape(await call("plan_connection", moved, HOME), "post", "/connections/{name}/plan")
    has_shape(await call("delete_connection", route=HOME), "delete", "/connections/{name}")
    doomed = await call("plan_connection", route=HOME, params={"delete": "true"})
    has_shape(doomed, "post", "/connections/{name}/plan")
    accepted = await call("delete_connection", route=HOME, params={"plan": doomed.json["hash"]})
    has_shape(accepted, "delete", "/connections/{name}")
    has_shape(await call("delete_gateway", route=HUB), "delete", "/gateways/{name}")
    has_shape(await call("post_token", route={"name": "new-fw"}), "post", "/agents/{name}/token")
    has_shape(await call("get_audit", route={"month": f"{world.clock.now():%Y-%m}"}), "get", "/audit/{month}")


async def test_it_is_served(world: World) -> None:
    assert (await call("openapi")).json["openapi"] == "3.1.0"
