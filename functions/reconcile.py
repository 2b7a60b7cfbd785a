"""What keeps units going: the reconcile queue, and the sweep that makes up for any message that was lost."""

from __future__ import annotations

import json
import logging
from datetime import datetime

import azure.functions as func

from functions.entered import entered
from shared import telemetry
from shared.control.reconciler import wake_message
from shared.control.services import RECONCILE
from shared.errors import LeaseHeld
from shared.telemetry import SpanKind
from shared.wiring import app

log = logging.getLogger("homelink.reconcile")
blueprint = func.Blueprint()


@blueprint.queue_trigger("message", "reconcile", "AzureWebJobsStorage")
async def reconcile(message: func.QueueMessage) -> None:
    """One step. A message that cannot be read raises, so that the host moves it to the poison queue for a person."""
    data = json.loads(message.get_body())
    unit, due, reason = str(data["unit"]), datetime.fromisoformat(data["due"]), str(data.get("reason", "again"))
    with entered("queue reconcile", SpanKind.CONSUMER, str(data.get("trace", "")), routine=True):
        age_s = (app().services.now() - due).total_seconds()
        known = reason if reason in telemetry.REASONS else "other"
        telemetry.record(telemetry.QUEUE_AGE, max(0.0, age_s), known)
        try:
            await app().reconciler.step(unit, due, reason)
        except LeaseHeld as e:
            log.info("unit is busy: again in %.0f s", e.delay_s, extra={"gateway": unit})
            # The same message again: a new one would be due later than the present step, and however many wait, each
            # would come back until it had a step of its own.
            await app().services.queue.send(RECONCILE, message.get_body().decode(), delay_s=e.delay_s)


@blueprint.timer_trigger("timer", "0 * * * * *")
@blueprint.queue_output("wakes", "reconcile", "AzureWebJobsStorage")
async def sweep(timer: func.TimerRequest, wakes: func.Out[list[str]]) -> None:
    """Every minute every unit is looked at, whatever was lost."""
    with entered("timer sweep", SpanKind.INTERNAL, routine=True):
        units = await app().specs.list_gateways()
        wakes.set([wake_message(app().services, unit, "sweep") for unit in units])
