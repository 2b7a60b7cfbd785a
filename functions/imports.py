"""Import: what a gateway that exists already would look like as documents. Reads Azure, writes nothing.

Consent is given later, by the PUT of a document with its Plan's hash (specs.py).
"""

from __future__ import annotations

from typing import Any

import azure.functions as func

from functions.plans import plan_body
from functions.web import answer, document, guarded, problem, problem_entry
from shared.control.adoption import Import, Imported
from shared.domain import parse
from shared.wiring import app

blueprint = func.Blueprint()


@blueprint.route("imports", methods=["POST"], auth_level=func.AuthLevel.FUNCTION)
@guarded
async def post_import(req: func.HttpRequest) -> func.HttpResponse:
    data = document(req)
    if not isinstance(data, dict):
        return problem(422, "The document is not valid", 'Send {"gateway": "<resource id>"}.')
    return answer(_body(await app().adoption.read(parse.import_request(data))))


def _body(found: Import) -> dict[str, Any]:
    left_alone = [vars(alone) for alone in found.left_alone]
    connections = [_imported(c) for c in found.connections]
    return {"gateway": _imported(found.gateway), "connections": connections, "leftAlone": left_alone}


def _imported(one: Imported) -> dict[str, Any]:
    return {
        "document": one.draft.document,
        "problems": [problem_entry(p) for p in one.draft.problems],
        "findings": [problem_entry(p) for p in one.draft.findings],
        "plan": None if one.plan is None else plan_body(one.plan),
    }
