"""The user's API: Gateways and Connections as documents, their status, Incidents, and enrolment tokens."""

from __future__ import annotations

import azure.functions as func

from functions.web import answer, document, guarded, problem
from shared.control.reconciler import wake_message
from shared.control.specs import Stored
from shared.domain import parse
from shared.domain.problem import InvalidInput, Problem
from shared.domain.spec import NAME
from shared.wiring import app

blueprint = func.Blueprint()
KEY = func.AuthLevel.FUNCTION


def _body(stored: Stored) -> dict[str, object]:
    kind = "Gateway" if hasattr(stored.spec, "sku") else "Connection"
    return {
        "apiVersion": "homelink/v1",
        "kind": kind,
        "metadata": {
            "name": stored.name,
            "id": stored.id,
            "generation": stored.generation,
            "deleting": stored.deleting,
        },
        "spec": stored.spec.model_dump(mode="json", by_alias=True),
        "status": _status(stored),
    }


def _status(stored: Stored) -> dict[str, object]:
    return {"conditions": [c.model_dump(mode="json", by_alias=True) for c in stored.conditions]}


def _name(req: func.HttpRequest) -> str:
    name = req.route_params["name"]
    if not NAME.fullmatch(name):
        bad = Problem(
            "name", name, "name-form", "not a name", "Use 3 to 40 lower-case letters, digits, single hyphens."
        )
        raise InvalidInput([bad])
    return name


@blueprint.route("gateways", methods=["GET"], auth_level=KEY)
@guarded
async def list_gateways(req: func.HttpRequest) -> func.HttpResponse:
    return answer({"items": await app().specs.list_gateways()})


@blueprint.route("gateways/{name}", methods=["PUT"], auth_level=KEY)
@blueprint.queue_output("wake", "reconcile", "AzureWebJobsStorage")
@guarded
async def put_gateway(req: func.HttpRequest, wake: func.Out[str]) -> func.HttpResponse:
    stored = await app().specs.put_gateway(_name(req), parse.gateway(document(req)))
    wake.set(wake_message(app().services, stored.name, "put"))
    return answer(_body(stored), 201 if stored.generation == 1 else 200)


@blueprint.route("gateways/{name}", methods=["GET"], auth_level=KEY)
@guarded
async def get_gateway(req: func.HttpRequest) -> func.HttpResponse:
    return answer(_body(await app().specs.get_gateway(_name(req))))


@blueprint.route("gateways/{name}/status", methods=["GET"], auth_level=KEY)
@guarded
async def get_gateway_status(req: func.HttpRequest) -> func.HttpResponse:
    return answer(_status(await app().specs.get_gateway(_name(req))))


@blueprint.route("gateways/{name}", methods=["DELETE"], auth_level=KEY)
@blueprint.queue_output("wake", "reconcile", "AzureWebJobsStorage")
@guarded
async def delete_gateway(req: func.HttpRequest, wake: func.Out[str]) -> func.HttpResponse:
    await app().specs.delete_gateway(_name(req))
    wake.set(wake_message(app().services, _name(req), "delete"))
    return answer({"deleting": True}, 202)


@blueprint.route("connections", methods=["GET"], auth_level=KEY)
@guarded
async def list_connections(req: func.HttpRequest) -> func.HttpResponse:
    return answer({"items": await app().specs.list_connections()})


@blueprint.route("connections/{name}", methods=["PUT"], auth_level=KEY)
@blueprint.queue_output("wake", "reconcile", "AzureWebJobsStorage")
@guarded
async def put_connection(req: func.HttpRequest, wake: func.Out[str]) -> func.HttpResponse:
    parsed = parse.connection(document(req))
    stored = await app().specs.put_connection(_name(req), parsed)
    wake.set(wake_message(app().services, parsed.spec.gateway, "put"))
    return answer(_body(stored), 201 if stored.generation == 1 else 200)


@blueprint.route("connections/{name}", methods=["GET"], auth_level=KEY)
@guarded
async def get_connection(req: func.HttpRequest) -> func.HttpResponse:
    return answer(_body(await app().specs.get_connection(_name(req))))


@blueprint.route("connections/{name}/status", methods=["GET"], auth_level=KEY)
@guarded
async def get_connection_status(req: func.HttpRequest) -> func.HttpResponse:
    return answer(_status(await app().specs.get_connection(_name(req))))


@blueprint.route("connections/{name}/incidents", methods=["GET"], auth_level=KEY)
@guarded
async def get_incidents(req: func.HttpRequest) -> func.HttpResponse:
    found = await app().specs.incidents(_name(req))
    return answer({"items": [i.model_dump(mode="json", by_alias=True) for i in found]})


@blueprint.route("connections/{name}/psk", methods=["PUT"], auth_level=KEY)
@blueprint.queue_output("wake", "reconcile", "AzureWebJobsStorage")
@guarded
async def put_psk(req: func.HttpRequest, wake: func.Out[str]) -> func.HttpResponse:
    """Write-only: {"value": "..."}; nothing ever returns it."""
    try:
        data = document(req)
    except InvalidInput:
        data = None  # what the parser complains about may be a piece of the key
    if not isinstance(data, dict) or not isinstance(data.get("value"), str):
        return problem(422, "The document is not valid", 'Send {"value": "<the pre-shared key>"}.')
    await app().specs.set_psk(_name(req), data["value"])
    unit = await app().specs.unit_of(_name(req))
    wake.set(wake_message(app().services, unit.name, "psk"))
    return func.HttpResponse(status_code=204)


@blueprint.route("connections/{name}", methods=["DELETE"], auth_level=KEY)
@blueprint.queue_output("wake", "reconcile", "AzureWebJobsStorage")
@guarded
async def delete_connection(req: func.HttpRequest, wake: func.Out[str]) -> func.HttpResponse:
    unit = await app().specs.delete_connection(_name(req))
    wake.set(wake_message(app().services, unit, "delete"))
    return answer({"deleting": True}, 202)


@blueprint.route("agents/{name}/token", methods=["POST"], auth_level=KEY)
@guarded
async def post_token(req: func.HttpRequest) -> func.HttpResponse:
    """A one-time enrolment token for the agent of that name; it is shown here and nowhere else."""
    token, expires = await app().agents.new_token(_name(req))
    return answer({"token": token, "expires": expires.isoformat(), "controller": app().services.controller}, 201)
