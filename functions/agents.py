"""What agents call. Anonymous to the platform: every message proves itself by its seal, enrolment by its token.

A heartbeat from a new address is urgent, so its first reconcile step is taken here and not after a queue poll.
"""

from __future__ import annotations

import logging

import azure.functions as func

from functions.web import guarded, source_address
from shared import telemetry
from shared.control.reconciler import wake_unit
from shared.errors import HomelinkError, NotFound
from shared.telemetry import Attr
from shared.wire.decode import from_plain, to_plain
from shared.wire.errors import Malformed
from shared.wire.keys import Purpose
from shared.wire.reports import EnrolRequest, RenewRequest
from shared.wire.seal import seal, unseal
from shared.wire.ulid import is_ulid
from shared.wiring import app

log = logging.getLogger("homelink.agents")
blueprint = func.Blueprint()
ANYONE = func.AuthLevel.ANONYMOUS


@blueprint.route("agents/enrol", methods=["POST"], auth_level=ANYONE)
@guarded
async def enrol(req: func.HttpRequest) -> func.HttpResponse:
    import json

    try:
        request = from_plain(EnrolRequest, req.get_json())
    except (ValueError, RecursionError) as e:
        raise e if isinstance(e, Malformed) else Malformed("the body of an enrolment is a JSON object") from e
    given = await app().agents.enrol(request)
    return func.HttpResponse(json.dumps(to_plain(given)), status_code=201, mimetype="application/json")


@blueprint.route("agents/{agent}/heartbeat", methods=["POST"], auth_level=ANYONE)
@guarded
async def heartbeat(req: func.HttpRequest) -> func.HttpResponse:
    telemetry.mark(Attr.ROUTINE, True)
    received = await app().heartbeats.receive(_agent(req), _text(req), source_address(req))
    if received.units:
        telemetry.news()
    for unit in received.units:
        if received.moved:
            try:
                await app().reconciler.step(unit)
                continue
            except HomelinkError as e:
                log.info("urgent step put off: %s", e, extra={"gateway": unit})
        await wake_unit(app().services, unit, "heartbeat")
    return func.HttpResponse(received.answer, status_code=200 if received.accepted else 409, mimetype="text/plain")


@blueprint.route("agents/{agent}/queue", methods=["POST"], auth_level=ANYONE)
@guarded
async def queue_grant(req: func.HttpRequest) -> func.HttpResponse:
    telemetry.mark(Attr.ROUTINE, True)
    agent_id = _agent(req)
    request = await _renewal(agent_id, _text(req))
    await app().agents.load(agent_id)
    return await _sealed(agent_id, to_plain(await app().agents.grant_queue(agent_id, request)))


@blueprint.route("agents/{agent}/secret", methods=["POST"], auth_level=ANYONE)
@guarded
async def secret_grant(req: func.HttpRequest) -> func.HttpResponse:
    agent_id = _agent(req)
    request = await _renewal(agent_id, _text(req))
    agent, _ = await app().agents.load(agent_id)
    return await _sealed(agent_id, to_plain(await app().agents.grant_secret(agent, request)))


def _agent(req: func.HttpRequest) -> str:
    agent_id = req.route_params["agent"]
    if not is_ulid(agent_id):
        raise NotFound("no such agent has enrolled with this controller")
    return agent_id


def _text(req: func.HttpRequest) -> str:
    try:
        return req.get_body().decode("ascii")
    except UnicodeDecodeError as e:
        raise Malformed("a sealed message is ASCII") from e


async def _renewal(agent_id: str, text: str) -> RenewRequest:
    key = await app().agents.key(agent_id, Purpose.RENEW)
    request = from_plain(RenewRequest, unseal(key, Purpose.RENEW, text))
    if request.agent != agent_id or request.controller != app().services.controller:
        raise Malformed("this request was meant for another controller or sent for another agent")
    return request


async def _sealed(agent_id: str, payload: dict[str, object]) -> func.HttpResponse:
    key = await app().agents.key(agent_id, Purpose.ANSWER)
    return func.HttpResponse(seal(key, Purpose.ANSWER, payload), mimetype="text/plain")
