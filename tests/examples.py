"""Documents that the tests share: one gateway and one home, as a user would write them."""

from __future__ import annotations

import copy
from typing import Any

GATEWAY: dict[str, Any] = {
    "apiVersion": "homelink/v1",
    "kind": "Gateway",
    "metadata": {"name": "hub"},
    "spec": {
        "tenantId": "11111111-1111-1111-1111-111111111111",
        "subscriptionId": "22222222-2222-2222-2222-222222222222",
        "resourceGroup": "rg-homelink",
        "location": "westeurope",
        "virtualNetwork": {
            "name": "vnet-hub",
            "addressSpace": ["10.0.0.0/16"],
            "gatewaySubnet": "10.0.1.0/27",
            "subnets": [{"name": "default", "prefix": "10.0.0.0/24"}],
        },
    },
}

CONNECTION: dict[str, Any] = {
    "apiVersion": "homelink/v1",
    "kind": "Connection",
    "metadata": {"name": "home"},
    "spec": {
        "gateway": "hub",
        "agent": "home-fw",
        "fqdn": "home.homelink.test",
        "home": {"asn": 65010, "bgpAddress": "192.168.1.1", "prefixes": ["192.168.1.0/24"]},
        "probe": "10.0.0.4",
    },
}


def changed(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with one field set; `path` as in spec.home.asn."""
    copied = copy.deepcopy(document)
    target = copied
    *parents, last = path.split(".")
    for part in parents:
        target = target.setdefault(part, {})
    target[last] = value
    return copied
