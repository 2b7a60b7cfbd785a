"""The API described by itself: OpenAPI 3.1, made from the models and one table of operations.

What agents call is not in it: that is a sealed format of its own (docs/wire.md), not an API to program against.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import azure.functions as func
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from functions import schemas
from functions.web import answer
from shared.domain.spec import ConnectionDocument, GatewayDocument

blueprint = func.Blueprint()


@dataclass(frozen=True)
class Operation:
    """`ok`: status -> model of the body, None for an empty one. `query`: name -> (required, meaning)."""

    method: str
    path: str
    summary: str
    ok: dict[int, type[BaseModel] | None]
    body: type[BaseModel] | None = None
    refusals: tuple[int, ...] = ()
    query: tuple[tuple[str, bool, str], ...] = ()
    if_match: bool = False


_PLAN = ("plan", False, "the hash of a Plan: only while it still holds")
_NEEDED = ("plan", True, "the hash of the deletion's Plan")
_DELETE = ("delete", False, "true: plan the deletion; the body is not read")
_ORPHAN = ("orphanHome", False, "true: do not wait for an agent that is gone for good")

OPERATIONS = (
    Operation("get", "/gateways", "Names of all Gateways", {200: schemas.Names}),
    Operation(
        "put",
        "/gateways/{name}",
        "Create or replace a Gateway",
        {200: schemas.StoredGateway, 201: schemas.StoredGateway},
        GatewayDocument,
        (409, 412, 422),
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
        (_DELETE,),
    ),
    Operation(
        "delete",
        "/gateways/{name}",
        "Delete a Gateway",
        {202: schemas.Accepted},
        None,
        (404, 409, 412, 422, 428),
        (_NEEDED,),
        True,
    ),
    Operation("get", "/connections", "Names of all Connections", {200: schemas.Names}),
    Operation(
        "put",
        "/connections/{name}",
        "Create or replace a Connection",
        {200: schemas.StoredConnection, 201: schemas.StoredConnection},
        ConnectionDocument,
        (404, 409, 412, 422),
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
        (_DELETE,),
    ),
    Operation(
        "delete",
        "/connections/{name}",
        "Delete a Connection at both ends",
        {202: schemas.Accepted},
        None,
        (404, 409, 412, 422, 428),
        (_NEEDED, _ORPHAN),
        True,
    ),
    Operation("post", "/agents/{name}/token", "A one-time enrolment token", {201: schemas.Token}, None, (422,)),
    Operation(
        "get", "/audit/{month}", "Every mutation of a month, newest first", {200: schemas.AuditEntries}, None, (422,)
    ),
)


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
    parameters += [_parameter(name, "query", needed, what) for name, needed, what in o.query]
    if o.if_match:
        parameters.append(_parameter("If-Match", "header", False, "an ETag that must still hold"))
    responses: dict[str, Any] = {str(s): _response("done", m, "application/json") for s, m in o.ok.items()}
    for status in (*o.refusals, 401, 503):
        model = None if status == 401 else schemas.ProblemDetails
        responses[str(status)] = _response("refused", model, "application/problem+json")
    made: dict[str, Any] = {
        "summary": o.summary,
        "operationId": _id(o),
        "parameters": parameters,
        "responses": responses,
    }
    if o.body is not None:
        made["requestBody"] = {
            "required": o.method == "put",
            "content": {k: _schema(o.body) for k in ("application/json", "application/yaml")},
        }
    return made


def _id(o: Operation) -> str:
    return o.method + "".join(p.strip("{}").capitalize() for p in o.path.split("/"))


def _parameter(name: str, where: str, required: bool, what: str) -> dict[str, Any]:
    return {"name": name, "in": where, "required": required, "description": what, "schema": {"type": "string"}}


def _response(what: str, model: type[BaseModel] | None, media: str) -> dict[str, Any]:
    return {"description": what} | ({"content": {media: _schema(model)}} if model is not None else {})


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}


@blueprint.route("openapi.json", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
async def openapi(req: func.HttpRequest) -> func.HttpResponse:
    return answer(describe())
