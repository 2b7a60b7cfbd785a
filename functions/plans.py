"""Plans: what a document, or a deletion, would change at both ends. And the audit of what was changed."""

from __future__ import annotations

import re
from typing import Any

import azure.functions as func

from functions.web import answer, document, flag, guarded, name_of, problem
from shared.control.planning import Preview
from shared.domain import parse
from shared.domain.outage import Outage
from shared.domain.plan import Difference
from shared.domain.problem import InvalidInput, Problem
from shared.wiring import app

blueprint = func.Blueprint()
KEY = func.AuthLevel.FUNCTION
MONTH = re.compile(r"^20\d\d-(0[1-9]|1[0-2])$")


def _deletes(req: func.HttpRequest) -> bool:
    """`?delete=true`. Raises InvalidInput for one that brings a document: it is not clear then what was meant."""
    deletes = flag(req, "delete")
    if deletes and req.get_body():
        raise InvalidInput(
            [Problem("$", "a body", "deletion-body", "a deletion has no document", "Leave one of both out.")]
        )
    return deletes


@blueprint.route("gateways/{name}/plan", methods=["POST"], auth_level=KEY)
@guarded
async def plan_gateway(req: func.HttpRequest) -> func.HttpResponse:
    """The body is the document, as for the PUT; none with `?delete=true`."""
    name, planning = name_of(req), app().planning
    if _deletes(req):
        return answer(plan_body(await planning.delete_gateway(name, flag(req, "release"))))
    return answer(plan_body(await planning.put_gateway(name, parse.gateway(document(req)))))


@blueprint.route("connections/{name}/plan", methods=["POST"], auth_level=KEY)
@guarded
async def plan_connection(req: func.HttpRequest) -> func.HttpResponse:
    name, planning = name_of(req), app().planning
    if _deletes(req):
        return answer(plan_body(await planning.delete_connection(name, flag(req, "release"))))
    return answer(plan_body(await planning.put_connection(name, parse.connection(document(req)))))


@blueprint.route("audit/{month}", methods=["GET"], auth_level=KEY)
@guarded
async def get_audit(req: func.HttpRequest) -> func.HttpResponse:
    """Every mutation of a month (as in 2026-11), newest first."""
    month = req.route_params["month"]
    if not MONTH.fullmatch(month):
        return problem(422, "Not a month", "Write it as in 2026-11.")
    found = await app().audit.month(month)
    return answer({"items": [vars(e) for e in found]})


def plan_body(preview: Preview) -> dict[str, Any]:
    """As schemas.Plan."""
    azure = [
        {
            "action": c.action.value,
            "resource": c.ref.id(),
            "differences": [_difference(d) for d in c.differences],
            "body": c.body if c.action.value == "create" else None,
            "reason": c.reason,
        }
        for c in preview.azure
    ]
    home = [
        {"connection": h.connection, "action": h.action, "differences": [_difference(d) for d in h.differences]}
        for h in preview.home
    ]
    body = {"hash": preview.hash, "refused": preview.refused, "counts": preview.counts()}
    return {**body, "azure": azure, "home": home, "outages": [_outage(o) for o in preview.outages]}


def _outage(o: Outage) -> dict[str, Any]:
    expected = None if o.expected is None else {"p50": o.expected.p50, "p95": o.expected.p95}
    head = {"connection": o.connection, "kinds": list(o.kinds), "expectedOutageS": expected}
    return {**head, "simulated": o.simulated, "reason": o.reason}


def _difference(d: Difference) -> dict[str, Any]:
    return {"path": d.path, "observed": d.observed, "desired": d.desired}
