"""ARM's long-running operations as single answers: what a start says, and what one poll says.

Three shapes exist (recorded): an Azure-AsyncOperation URL answers 200 with a status, a Location URL answers 202 until
it answers 200 or 204, and a write without either header is followed on the resource's own provisioningState.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from shared.azure.arm_errors import error_in, failure
from shared.azure.calls import retry_after
from shared.domain import bgp
from shared.errors import ArmRejected
from shared.seams import Asked, BgpQuestion, Operation, OperationState, Started

# Recorded on every start and poll of gateways, LNGs and connections.
POLL_S = 10.0


def started(response: Any) -> Started:
    """`response` is the first answer to a PUT, POST or DELETE. ARM means Azure-AsyncOperation when it sends both."""
    headers = response.headers
    url = headers.get("Azure-AsyncOperation") or headers.get("Location")
    state = _provisioning_state(_body(response))
    if url is None and response.request.method == "PUT" and state not in ("", "Succeeded"):
        url = response.request.url
    return Started(url, retry_after(headers, POLL_S) if url else 0.0)


def operation_of(url: str, response: Any) -> Operation:
    """One poll's answer. Raises ArmBusy or ArmRejected when it speaks of the poll and not of the operation."""
    wait = retry_after(response.headers, POLL_S)
    status, body = response.status_code, _body(response)
    if status == 404:
        return Operation(OperationState.GONE, 0)
    if status == 202:
        return Operation(OperationState.RUNNING, wait)
    if status in (200, 201, 204):
        return _by_state(_state(url, body), body, wait)
    if status in (400, 409, 412, 422):
        code, message = error_in(body)
        if code:
            return Operation(OperationState.FAILED, 0, code, message)
    raise failure("operation", response)


def asked(question: BgpQuestion, response: Any, url: str | None = None) -> Asked:
    """The first answer to a question, or a later one from `url`. A question is followed on its Location, for that alone
    holds the result in the end. Raises ArmBusy and ArmRejected."""
    if response.status_code == 202:
        return Asked(_location(question, response, url), retry_after(response.headers, POLL_S))
    if response.status_code not in (200, 204):
        raise failure(question.value, response)
    try:
        return Asked(None, 0.0, bgp.read(question, _body(response)))
    except ValueError as e:
        raise ArmRejected(f"ARM's answer cannot be read: {e}", response.status_code, "UnreadableAnswer") from None


def _location(question: BgpQuestion, response: Any, url: str | None) -> str:
    location = response.headers.get("Location") or url
    if location is None:
        raise ArmRejected(f"{question.value}: ARM named no Location to ask for the answer at.", 202, "NoLocation")
    return str(location)


def _by_state(state: str, body: Any, wait: float) -> Operation:
    if state == "Succeeded":
        return Operation(OperationState.SUCCEEDED, 0)
    if state in ("Failed", "Canceled"):
        code, message = error_in(body) if isinstance(body, dict) and "error" in body else ("", "")
        return Operation(OperationState.FAILED, 0, code or state, message)
    return Operation(OperationState.RUNNING, wait)


def _state(url: str, body: Any) -> str:
    if "/locations/" in urlsplit(url).path.lower():
        # A Location's final 200 holds the result, which may be a resource that is still Updating: it is done.
        return str(body["status"]) if isinstance(body, dict) and "status" in body else "Succeeded"
    return _provisioning_state(body) or "Succeeded"


def _provisioning_state(body: Any) -> str:
    properties = body.get("properties") if isinstance(body, dict) else None
    return str(properties.get("provisioningState") or "") if isinstance(properties, dict) else ""


def _body(response: Any) -> Any:
    try:
        return json.loads(response.text())
    except (ValueError, UnicodeDecodeError):
        return None
