"""Once a day: history that is old enough goes, and what is left of agents and Gateways that are gone."""

from __future__ import annotations

import logging

import azure.functions as func

from functions.entered import entered
from shared.telemetry import SpanKind
from shared.wiring import app

log = logging.getLogger("homelink.retention")
blueprint = func.Blueprint()


@blueprint.timer_trigger("timer", "0 17 3 * * *")
async def retention(timer: func.TimerRequest) -> None:
    """What could not be pruned is told, and tried again the next day."""
    with entered("timer retention", SpanKind.INTERNAL):
        pruned = await app().retention.run()
        log.info("retention removed %s", pruned)
        for trouble in pruned.troubles:
            log.warning("retention: %s", trouble)
