"""The API described by itself: OpenAPI 3.1, made from the models and one table of operations.

Of what agents call it tells the outside only: what is sealed is a format of its own (docs/wire.md), not an API to
program against.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import azure.functions as func
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from functions import examples, schemas
from functions.web import answer
from shared.domain.adoption import ImportRequest
from shared.domain.alert import AlertDocument
from shared.domain.spec import ConnectionDocument, GatewayDocument
from shared.telemetry import HEADER

blueprint = func.Blueprint()


@dataclass(frozen=True)
class Operation:
    """`ok`: status -> model of the body, None for an empty one. `query`: (name, required, meaning). `key`: without the
    function key it is 401; what agents call proves itself by its body."""

    method: str
    path: str
    summary: str
    ok: dict[int, type[BaseModel] | None]
    body: type[BaseModel] | None = None
    refusals: tuple[int, ...] = ()
    query: tuple[tuple[str, bool, str], ...] = ()
    if_match: bool = False
    key: bool = True


_PLAN = ("plan", False, "the hash of a Plan: only while it still holds")
_NEEDED = ("plan", True, "the hash of the deletion's Plan")
_DELETE = ("delete", False, "true: plan the deletion; without a body")
_EVENTS = (
    ("since", False, "no Events before this time"),
    ("limit", False, "so many at most"),
    ("next", False, "go on where an answer ended: what its `next` says"),
)
_RELEASE = ("release", False, "true, of a deletion: let Azure's resources go, and delete none")
_ORPHAN = ("orphanHome", False, "true: do not wait for an agent that is gone for good")

OPERATIONS = (
    Operation("get", "/gateways", "Names of all Gateways", {200: schemas.Names}),
    Operation(
        "put",
        "/gateways/{name}",
        "Create or replace a Gateway",
        {200: schemas.StoredGateway, 201: schemas.StoredGateway},
        GatewayDocument,
        (409, 412, 422, 428),
        (_PLAN,),
        True,
    ),
    Operation("get", "/gateways/{name}", "A Gateway with its status", {200: schemas.StoredGateway}, None, (404, 422)),
    Operation("get", "/gateways/{name}/status", "Its Conditions", {200: schemas.Status}, None, (404, 422)),
    Operation(
        "post",
        "/gateways/{name}/plan",
        "What a PUT or a deletion would change",
        {200: schemas.Plan},
        GatewayDocument,
        (404, 409, 422),
        (_DELETE, _RELEASE),
    ),
    Operation(
        "delete",
        "/gateways/{name}",
        "Delete a Gateway",
        {202: schemas.Accepted},
        None,
        (404, 409, 412, 422, 428),
        (_NEEDED, _RELEASE),
        True,
    ),
    Operation("get", "/connections", "Names of all Connections", {200: schemas.Names}),
    Operation(
        "put",
        "/connections/{name}",
        "Create or replace a Connection",
        {200: schemas.StoredConnection, 201: schemas.StoredConnection},
        ConnectionDocument,
        (404, 409, 412, 422, 428),
        (_PLAN,),
        True,
    ),
    Operation(
        "get", "/connections/{name}", "A Connection with its status", {200: schemas.StoredConnection}, None, (404, 422)
    ),
    Operation("get", "/connections/{name}/status", "Its Conditions", {200: schemas.Status}, None, (404, 422)),
    Operation(
        "get",
        "/connections/{name}/incidents",
        "Its Incidents, newest first",
        {200: schemas.Incidents},
        None,
        (404, 422),
    ),
    Operation(
        "get",
        "/connections/{name}/incidents/{incident}",
        "One of its Incidents, with everything that was known and done",
        {200: schemas.IncidentRecord},
        None,
        (404, 422),
    ),
    Operation("get", "/gateways/{name}/events", "Its Events", {200: schemas.Events}, None, (404, 422), _EVENTS),
    Operation("get", "/connections/{name}/events", "Its Events", {200: schemas.Events}, None, (404, 422), _EVENTS),
    Operation(
        "get",
        "/connections/{name}/findings",
        "What is wrong, from what is stored",
        {200: schemas.Diagnosis},
        None,
        (404, 422),
    ),
    Operation(
        "post",
        "/connections/{name}/diagnose",
        "What is wrong and where the ends differ, read now; 202: somebody was asked, POST again",
        {200: schemas.Diagnosis, 202: schemas.Diagnosis},
        None,
        (404, 422),
    ),
    Operation(
        "put",
        "/connections/{name}/psk",
        "Set its pre-shared key (write-only)",
        {204: None},
        schemas.Key,
        (404, 409, 422),
    ),
    Operation(
        "post",
        "/connections/{name}/plan",
        "What a PUT or a deletion would change, at both ends",
        {200: schemas.Plan},
        ConnectionDocument,
        (404, 409, 422),
        (_DELETE, _RELEASE),
    ),
    Operation(
        "delete",
        "/connections/{name}",
        "Delete a Connection at both ends",
        {202: schemas.Accepted},
        None,
        (404, 409, 412, 422, 428),
        (_NEEDED, _ORPHAN, _RELEASE),
        True,
    ),
    Operation(
        "post",
        "/imports",
        "The documents that describe a gateway which exists already; nothing is written",
        {200: schemas.Import},
        ImportRequest,
        (404, 409, 422),
    ),
    Operation("post", "/agents/{name}/token", "A one-time enrolment token", {201: schemas.Token}, None, (422,)),
    Operation(
        "get", "/audit/{month}", "Every mutation of a month, newest first", {200: schemas.AuditEntries}, None, (422,)
    ),
    Operation(
        "post",
        "/alerts",
        "Azure Monitor's webhook, in the common alert schema",
        {202: schemas.AlertTaken},
        AlertDocument,
        (422,),
    ),
    Operation("get", "/alerts", "Alerts that were refused or not ours, newest first", {200: schemas.KeptAlerts}),
    Operation(
        "post",
        "/agents/enrol",
        "An agent redeems its token",
        {201: schemas.Enrolled},
        schemas.Enrolment,
        (400, 409),
        key=False,
    ),
    Operation(
        "post",
        "/agents/{agent}/heartbeat",
        "Health and results of an agent; 409: a beat that is not newer than the last",
        {200: schemas.Sealed, 409: schemas.Sealed},
        schemas.Sealed,
        (400, 401, 404, 409),
        key=False,
    ),
    Operation(
        "post",
        "/agents/{agent}/queue",
        "A SAS for the agent's own queue",
        {200: schemas.Sealed},
        schemas.Sealed,
        (400, 401, 404),
        key=False,
    ),
    Operation(
        "post",
        "/agents/{agent}/secret",
        "A pre-shared key that the agent applies",
        {200: schemas.Sealed},
        schemas.Sealed,
        (400, 401, 404),
        key=False,
    ),
)
_JSON = ("application/json",)
_MEDIA: dict[type[BaseModel], tuple[str, ...]] = {
    schemas.Sealed: ("text/plain",),
    schemas.Enrolment: _JSON,
    AlertDocument: _JSON,
}
_PROBLEM = "application/problem+json"
_TRACE = "^[0-9a-f]{32}$"
_HEADERS = {
    "ETag": {"description": "names this state of the document", "schema": {"type": "string", "pattern": '^".+"$'}},
    "Retry-After": {"description": "seconds", "schema": {"type": "integer", "minimum": 1}},
    HEADER: {"description": "the correlation id (docs/telemetry.md)", "schema": {"type": "string", "pattern": _TRACE}},
}


def describe() -> dict[str, Any]:
    """The whole description."""
    models = {m for o in OPERATIONS for m in [*o.ok.values(), o.body] if m is not None} | {schemas.ProblemDetails}
    ordered = sorted(models, key=lambda m: m.__name__)
    _, found = models_json_schema([(m, "validation") for m in ordered], ref_template="#/components/schemas/{model}")
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Homelink", "version": "1", "description": "Documents are JSON or YAML; camelCase."},
        "servers": [{"url": "/api"}],
        "security": [{"functionKey": []}],
        "paths": paths,
        "components": {
            "schemas": found["$defs"],
            "securitySchemes": {"functionKey": {"type": "apiKey", "in": "header", "name": "x-functions-key"}},
        },
    }


def _operation(o: Operation) -> dict[str, Any]:
    parameters = [_parameter(part[1:-1], "path", True, "") for part in o.path.split("/") if part.startswith("{")]
    if "{name}" in o.path:
        parameters[0]["example"] = examples.NAMES[o.path.split("/")[1]]
    parameters += [_parameter(name, "query", needed, what) for name, needed, what in o.query]
    if o.if_match:
        parameters.append(_parameter("If-Match", "header", False, "an ETag that must still hold"))
    made: dict[str, Any] = {
        "summary": o.summary,
        "operationId": _id(o),
        "parameters": parameters,
        "responses": _responses(o),
    }
    if not o.key:
        made["security"] = []
    if o.body is not None:
        media = _MEDIA.get(o.body, ("application/json", "application/yaml"))
        made["requestBody"] = {
            "required": not o.path.endswith("/plan"),
            "content": {m: _schema(o.body) | _example(o.body) for m in media},
        }
    return made


def _responses(o: Operation) -> dict[str, Any]:
    """A status may be an answer and a refusal: then it has a content of each."""
    found: dict[int, dict[str, Any]] = {}
    for status, model in o.ok.items():
        found[status] = {"description": "done"}
        if model is not None:
            media = "text/plain" if model is schemas.Sealed else "application/json"
            found[status]["content"] = {media: _schema(model)}
        if model in (schemas.StoredGateway, schemas.StoredConnection):
            found[status]["headers"] = {"ETag": _HEADERS["ETag"]}
    for status in (*o.refusals, 502, 503):
        refused = found.setdefault(status, {"description": "refused", "content": {}})
        refused["content"][_PROBLEM] = _schema(schemas.ProblemDetails)
    if 202 in found and o.path.endswith("/diagnose"):
        found[202]["headers"] = {"Retry-After": _HEADERS["Retry-After"]}
    if o.path.endswith("/plan"):
        found[200]["links"] = {"deletion": _deletion(o.path.removesuffix("/plan"))}
    found[503]["headers"] = {"Retry-After": _HEADERS["Retry-After"]}
    for each in found.values():
        each["headers"] = {**each.get("headers", {}), HEADER: _HEADERS[HEADER]}
    if o.key:
        found[401] = {"description": "no function key"}
    if o.if_match:
        found[400] = {"description": "a header that is not HTTP: the server says so before Homelink"}
    return {str(status): found[status] for status in sorted(found)}


def _deletion(path: str) -> dict[str, Any]:
    """Where the hash of a deletion's Plan goes."""
    operation = next(o for o in OPERATIONS if (o.method, o.path) == ("delete", path))
    given = {"path.name": "$request.path.name", "query.plan": "$response.body#/hash"}
    return {"operationId": _id(operation), "parameters": given, "description": "if it is the Plan of a deletion"}


def _id(o: Operation) -> str:
    return o.method + "".join(p.strip("{}").capitalize() for p in o.path.split("/"))


def _parameter(name: str, where: str, required: bool, what: str) -> dict[str, Any]:
    schema = schemas.PARAMETERS.get(name, {"type": "string"})
    return {"name": name, "in": where, "required": required, "description": what, "schema": schema}


def _example(model: type[BaseModel]) -> dict[str, Any]:
    return {"example": examples.BODIES[model]} if model in examples.BODIES else {}


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}


@blueprint.route("openapi.json", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
async def openapi(req: func.HttpRequest) -> func.HttpResponse:
    return answer(describe())
