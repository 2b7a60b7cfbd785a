"""Findings of a Connection, and the question to both of its ends: what is wrong, and where do they differ?"""

from __future__ import annotations

from typing import Any

import azure.functions as func

from functions.web import actor, answer, guarded, name_of
from shared.control.diagnose import Diagnosis
from shared.wiring import app

blueprint = func.Blueprint()
KEY = func.AuthLevel.FUNCTION


@blueprint.route("connections/{name}/findings", methods=["GET"], auth_level=KEY)
@guarded
async def get_findings(req: func.HttpRequest) -> func.HttpResponse:
    """From what is stored, and DNS: Azure and the agent are not asked."""
    return answer(_body(await app().diagnose.known(name_of(req))))


@blueprint.route("connections/{name}/diagnose", methods=["POST"], auth_level=KEY)
@guarded
async def diagnose(req: func.HttpRequest) -> func.HttpResponse:
    """All that can be known at once. 202: the agent or Azure's gateway was asked, and POSTing again after `Retry-After`
    tells more."""
    found = await app().diagnose.ask(name_of(req), actor(req))
    if not found.pending:
        return answer(_body(found))
    return answer(_body(found), 202, **{"Retry-After": str(found.retry_after_s)})


def _body(found: Diagnosis) -> dict[str, Any]:
    return {
        "connection": found.connection,
        "at": found.at.isoformat(),
        "state": "pending" if found.pending else "complete",
        "findings": [f.model_dump(mode="json", by_alias=True) for f in found.findings],
        "bothEnds": [r.model_dump(mode="json", by_alias=True) for r in found.both_ends],
        "witnesses": [
            {
                "witness": w.witness,
                "at": w.at.isoformat() if w.at else None,
                "ageSeconds": max(0.0, (found.at - w.at).total_seconds()) if w.at else None,
                "note": w.note,
            }
            for w in found.witnesses
        ],
        "asked": found.asked,
    }
