"""The user's API: Gateways and Connections as documents, their status, Incidents, and enrolment tokens.

A PUT with `?plan=<hash>` is carried out only while the Plan is still that one; a DELETE always needs it (plans.py shows
Plans). `If-Match` is honoured on both.
"""

from __future__ import annotations

import azure.functions as func

from functions.web import actor, answer, document, flag, guarded, name_of, problem, query
from shared.control.reconciler import wake_message
from shared.control.specs import Stored
from shared.domain import parse
from shared.domain.problem import InvalidInput
from shared.errors import Precondition
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


def _answer(stored: Stored) -> func.HttpResponse:
    return answer(_body(stored), 201 if stored.created else 200, ETag=stored.etag)


def _expected(req: func.HttpRequest) -> str | None:
    return req.headers.get("If-Match")


def _plan_hash(req: func.HttpRequest) -> str:
    """The hash that a DELETE must bring along. Raises Precondition."""
    given = query(req, "plan")
    if not given:
        raise Precondition("a deletion needs ?plan=<hash>: POST .../plan?delete=true shows what it would do", 428)
    return given


@blueprint.route("gateways", methods=["GET"], auth_level=KEY)
@guarded
async def list_gateways(req: func.HttpRequest) -> func.HttpResponse:
    return answer({"items": await app().specs.list_gateways()})


@blueprint.route("gateways/{name}", methods=["PUT"], auth_level=KEY)
@blueprint.queue_output("wake", "reconcile", "AzureWebJobsStorage")
@guarded
async def put_gateway(req: func.HttpRequest, wake: func.Out[str]) -> func.HttpResponse:
    name, parsed = name_of(req), parse.gateway(document(req))
    if (given := query(req, "plan")) is not None:
        app().planning.consented(await app().planning.put_gateway(name, parsed), given)
    stored = await app().specs.put_gateway(
        name, parsed, actor=actor(req), expected=_expected(req), consent=given is not None
    )
    wake.set(wake_message(app().services, stored.name, "put"))
    return _answer(stored)


@blueprint.route("gateways/{name}", methods=["GET"], auth_level=KEY)
@guarded
async def get_gateway(req: func.HttpRequest) -> func.HttpResponse:
    stored = await app().specs.get_gateway(name_of(req))
    return answer(_body(stored), ETag=stored.etag)


@blueprint.route("gateways/{name}/status", methods=["GET"], auth_level=KEY)
@guarded
async def get_gateway_status(req: func.HttpRequest) -> func.HttpResponse:
    return answer(_status(await app().specs.get_gateway(name_of(req))))


@blueprint.route("gateways/{name}", methods=["DELETE"], auth_level=KEY)
@blueprint.queue_output("wake", "reconcile", "AzureWebJobsStorage")
@guarded
async def delete_gateway(req: func.HttpRequest, wake: func.Out[str]) -> func.HttpResponse:
    """`?release=true`: Azure's resources stay, without our tags."""
    name, release = name_of(req), flag(req, "release")
    preview = await app().planning.delete_gateway(name, release)
    app().planning.consented(preview, _plan_hash(req))
    await app().specs.delete_gateway(name, actor=actor(req), expected=_expected(req), release=release)
    wake.set(wake_message(app().services, name_of(req), "delete"))
    return answer({"deleting": True}, 202)


@blueprint.route("connections", methods=["GET"], auth_level=KEY)
@guarded
async def list_connections(req: func.HttpRequest) -> func.HttpResponse:
    return answer({"items": await app().specs.list_connections()})


@blueprint.route("connections/{name}", methods=["PUT"], auth_level=KEY)
@blueprint.queue_output("wake", "reconcile", "AzureWebJobsStorage")
@guarded
async def put_connection(req: func.HttpRequest, wake: func.Out[str]) -> func.HttpResponse:
    name, parsed = name_of(req), parse.connection(document(req))
    if (given := query(req, "plan")) is not None:
        app().planning.consented(await app().planning.put_connection(name, parsed), given)
    stored = await app().specs.put_connection(
        name, parsed, actor=actor(req), expected=_expected(req), consent=given is not None
    )
    wake.set(wake_message(app().services, parsed.spec.gateway, "put"))
    return _answer(stored)


@blueprint.route("connections/{name}", methods=["GET"], auth_level=KEY)
@guarded
async def get_connection(req: func.HttpRequest) -> func.HttpResponse:
    stored = await app().specs.get_connection(name_of(req))
    return answer(_body(stored), ETag=stored.etag)


@blueprint.route("connections/{name}/status", methods=["GET"], auth_level=KEY)
@guarded
async def get_connection_status(req: func.HttpRequest) -> func.HttpResponse:
    return answer(_status(await app().specs.get_connection(name_of(req))))


@blueprint.route("connections/{name}/incidents", methods=["GET"], auth_level=KEY)
@guarded
async def get_incidents(req: func.HttpRequest) -> func.HttpResponse:
    found = await app().specs.incidents(name_of(req))
    return answer({"items": [i.model_dump(mode="json", by_alias=True) for i in found]})


@blueprint.route("connections/{name}/incidents/{incident}", methods=["GET"], auth_level=KEY)
@guarded
async def get_incident(req: func.HttpRequest) -> func.HttpResponse:
    """The whole story as one document: every witness, decision, ARM call and command."""
    row, record = await app().specs.incident(name_of(req), req.route_params["incident"])
    return answer({**row.model_dump(mode="json", by_alias=True), "record": record})


@blueprint.route("connections/{name}/psk", methods=["PUT"], auth_level=KEY)
@blueprint.queue_output("wake", "reconcile", "AzureWebJobsStorage")
@guarded
async def put_psk(req: func.HttpRequest, wake: func.Out[str]) -> func.HttpResponse:
    """Write-only: {"value": "..."}; nothing ever returns it."""
    try:
        data = document(req)
    except InvalidInput:
        data = None  # what the parser complains about may be a piece of the key
    if not isinstance(data, dict) or set(data) != {"value"} or not isinstance(data["value"], str):
        return problem(422, "The document is not valid", 'Send {"value": "<the pre-shared key>"}.')
    await app().specs.set_psk(name_of(req), data["value"], actor=actor(req))
    unit = await app().specs.unit_of(name_of(req))
    wake.set(wake_message(app().services, unit.name, "psk"))
    return func.HttpResponse(status_code=204)


@blueprint.route("connections/{name}", methods=["DELETE"], auth_level=KEY)
@blueprint.queue_output("wake", "reconcile", "AzureWebJobsStorage")
@guarded
async def delete_connection(req: func.HttpRequest, wake: func.Out[str]) -> func.HttpResponse:
    """`?orphanHome=true`: the agent is gone for good, so what it left at home is not waited for. `?release=true`: as
    for a Gateway."""
    name, release = name_of(req), flag(req, "release")
    orphan = flag(req, "orphanHome")
    preview = await app().planning.delete_connection(name, release)
    app().planning.consented(preview, _plan_hash(req))
    unit = await app().specs.delete_connection(
        name, actor=actor(req), expected=_expected(req), orphan_home=orphan, release=release
    )
    wake.set(wake_message(app().services, unit, "delete"))
    return answer({"deleting": True}, 202)


@blueprint.route("agents/{name}/token", methods=["POST"], auth_level=KEY)
@guarded
async def post_token(req: func.HttpRequest) -> func.HttpResponse:
    """A one-time enrolment token for the agent of that name; it is shown here and nowhere else."""
    await app().audit.record(actor(req), "new-token", f"agent/{name_of(req)}")
    token, expires = await app().agents.new_token(name_of(req))
    return answer({"token": token, "expires": expires.isoformat(), "controller": app().services.controller}, 201)
