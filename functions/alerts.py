"""Alerts of Azure Monitor: the webhook of an action group, and what it sent that nobody understood.

Answered at once, from the store alone: after five tries without a clear answer Azure does not call for 15 minutes. It
tries again on 408, 429, 503 and 504 only, so what is refused with 422 stays refused.
"""

from __future__ import annotations

import azure.functions as func

from functions.web import answer, guarded
from shared.wiring import app

blueprint = func.Blueprint()
KEY = func.AuthLevel.FUNCTION


@blueprint.route("alerts", methods=["POST"], auth_level=KEY)
@guarded
async def post_alert(req: func.HttpRequest) -> func.HttpResponse:
    """202 also where nothing of it is ours: an action group may serve others too."""
    taken = await app().alerts.take(req.get_body())
    return answer({"known": taken.known, "targets": taken.targets, "notOurs": taken.not_ours}, 202)


@blueprint.route("alerts", methods=["GET"], auth_level=KEY)
@guarded
async def get_alerts(req: func.HttpRequest) -> func.HttpResponse:
    return answer({"items": [vars(k) for k in await app().alerts.kept()]})
