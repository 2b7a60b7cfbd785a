"""Alerts of Azure Monitor, from the body of a webhook in the common alert schema to what Homelink needs of them.

An alert is hearsay: Azure's metrics are five minutes coarse and say neither what is broken nor whether it still is. So
nothing is read from it but what it is about and which alert it is; the reconciler then looks for itself. Fields that
Azure adds are ignored, a schema that is not this one is refused: guessing at it would hide that an action group is set
up wrongly.
Source: Azure Monitor documentation, "Common alert schema" and "Sample alert payloads".
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ConfigDict, Field, ValidationError

from . import limits
from .model import Model
from .problem import InvalidInput, Problem

_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})$"
_CHOOSE = "Enable the common alert schema in the action group."
_AS_DOCUMENTED = "Send it as Azure Monitor does: see docs/api.md."


@dataclass(frozen=True)
class Alert:
    """`targets` are ARM resource ids in lower case, `connections` the Connections that a metric's dimensions name, in
    lower case too. `digest` is the same for every delivery of one alert in one condition, and for nothing else."""

    id: str
    condition: Literal["Fired", "Resolved"]
    rule: str
    severity: str
    description: str
    targets: tuple[str, ...]
    connections: tuple[str, ...]
    digest: str


class _Azures(Model):
    model_config = ConfigDict(extra="ignore")


class AlertEssentials(_Azures):
    alert_id: str = Field(min_length=1)
    alert_rule: str | None = None
    severity: str | None = None
    monitor_condition: Literal["Fired", "Resolved"]
    alert_target_ids: tuple[str, ...] | None = Field(None, alias="alertTargetIDs")
    fired_date_time: str = Field(pattern=_TIME)
    description: str | None = None


class AlertData(_Azures):
    essentials: AlertEssentials
    alert_context: Any = None


class AlertDocument(_Azures):
    """What Homelink reads of the common alert schema."""

    schema_id: Literal["azureMonitorCommonAlertSchema"]
    data: AlertData


def decode(raw: bytes) -> Alert:
    """Raises InvalidInput with every problem, and for nothing else; no problem repeats a value that was sent."""
    if len(raw) > limits.ALERT_BYTES:
        raise InvalidInput([_problem("$", "too_long", f"larger than {limits.ALERT_BYTES} bytes")])
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError):
        raise InvalidInput([_problem("$", "json_invalid", "not JSON")]) from None
    try:
        sent = AlertDocument.model_validate(data)
    except ValidationError as e:
        errors = e.errors(include_url=False, include_context=False, include_input=False)
        found = [_problem(".".join(map(str, x["loc"])) or "$", x["type"], x["msg"]) for x in errors]
        raise InvalidInput([p for p in found if p.path == "schemaId"] or found) from None
    told = sent.data.essentials
    which = f"{told.alert_id.lower()}\n{told.monitor_condition}\n{told.fired_date_time}"
    return Alert(
        id=told.alert_id,
        condition=told.monitor_condition,
        rule=told.alert_rule or "(without a name)",
        severity=told.severity or "no severity",
        description=told.description or "",
        targets=_once(t.rstrip("/").lower() for t in told.alert_target_ids or ()),
        connections=_once(_connections(sent.data.alert_context)),
        digest=hashlib.sha256(which.encode()).hexdigest(),
    )


def _problem(path: str, rule: str, message: str) -> Problem:
    return Problem(path, None, rule, message, _CHOOSE if path == "schemaId" else _AS_DOCUMENTED)


def _once(texts: Iterator[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))


def _connections(context: Any) -> Iterator[str]:
    """Every kind of alert has a context of its own, so what does not look like a metric's is passed over."""
    condition = context.get("condition") if isinstance(context, dict) else None
    criteria = condition.get("allOf") if isinstance(condition, dict) else None
    for one in criteria if isinstance(criteria, list) else ():
        dimensions = one.get("dimensions") if isinstance(one, dict) else None
        for d in dimensions if isinstance(dimensions, list) else ():
            if isinstance(d, dict) and d.get("name") == "ConnectionName" and isinstance(d.get("value"), str):
                yield d["value"].lower()
