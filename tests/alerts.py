"""Alerts of Azure Monitor for the tests, made from the one in the description of the API."""

from __future__ import annotations

import copy
import json
from typing import Any

from functions.examples import BODIES
from shared.domain.alert import AlertDocument

EXAMPLE: dict[str, Any] = BODIES[AlertDocument]
NETWORK = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/rg-homelink/providers/Microsoft.Network"
GATEWAY_ID, CONNECTION_ID = f"{NETWORK}/virtualNetworkGateways/hub", f"{NETWORK}/connections/home"


def alert(*targets: str, context: Any = None, **essentials: Any) -> dict[str, Any]:
    """The example with these targets, fields of `essentials` by their own names, and this context."""
    made = copy.deepcopy(EXAMPLE)
    made["data"]["essentials"] |= {"alertTargetIDs": list(targets), **essentials}
    made["data"]["alertContext"] = context
    return made


def raw(document: Any) -> bytes:
    return json.dumps(document).encode()


def dimension(name: str, value: Any) -> dict[str, Any]:
    return {"condition": {"allOf": [{"dimensions": [{"name": name, "value": value}]}]}}
