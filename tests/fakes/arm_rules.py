"""What the fake ARM knows about networks: durations, references between resources, a gateway's BGP addresses."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any

from shared.seams import Json

# Seconds, from real recordings: a gateway takes 24 minutes in the median, a reset 13, the small ones 10-30 s.
TAKES_S: dict[str, float] = {
    "put virtualNetworks": 5,
    "put publicIPAddresses": 5,
    "put virtualNetworkGateways": 1440,
    "put localNetworkGateways": 20,
    "put connections": 30,
    "delete virtualNetworks": 10,
    "delete publicIPAddresses": 10,
    "delete virtualNetworkGateways": 600,
    "delete localNetworkGateways": 20,
    "delete connections": 30,
    "set_shared_key connections": 10,
    "reset_connection connections": 20,
    "reset_gateway virtualNetworkGateways": 800,
    "ask_bgp": 4,
}

_REFERS = ("publicipaddress", "subnet", "virtualnetworkgateway1", "localnetworkgateway2")


def masked(body: Any) -> Any:
    """A copy in which no shared key is left."""
    if isinstance(body, dict):
        return {k: "***" if k.lower() == "sharedkey" else masked(v) for k, v in body.items()}
    return [masked(v) for v in body] if isinstance(body, list) else copy.deepcopy(body)


def references(properties: Any) -> set[str]:
    """The ids, in lower case, of the resources that these properties stand on."""
    found: set[str] = set()
    if isinstance(properties, dict):
        for key, value in properties.items():
            if key.lower() in _REFERS and isinstance(value, dict) and isinstance(value.get("id"), str):
                found.add(re.sub(r"/subnets/[^/]+$", "", value["id"].lower()))
            else:
                found |= references(value)
    elif isinstance(properties, list):
        for value in properties:
            found |= references(value)
    return found


def bgp_settings(properties: Json, asn: int, resources: Mapping[str, Json]) -> Json:
    """What a completed gateway reports: the last usable address; active-active .4 and .5 (both recorded)."""
    peering, addresses = [], []
    for i, configuration in enumerate(properties.get("ipConfigurations", [])):
        wanted = configuration["properties"]
        subnet = wanted["subnet"]["id"].lower()
        network = resources[subnet.rpartition("/subnets/")[0]]
        prefix = next(
            ip_network(s["properties"]["addressPrefix"])
            for s in network["properties"]["subnets"]
            if s["id"].lower() == subnet
        )
        address = str(prefix[4 + i] if properties.get("activeActive") else prefix[-2])
        public = resources[wanted["publicIPAddress"]["id"].lower()]["properties"]["ipAddress"]
        peering.append(address)
        addresses.append(
            {
                "ipconfigurationId": configuration["id"],
                "defaultBgpIpAddresses": [address],
                "customBgpIpAddresses": [],
                "tunnelIpAddresses": [public],
            }
        )
    return {
        "asn": asn,
        "bgpPeeringAddress": ",".join(peering),
        "peerWeight": 0,
        "bgpPeeringAddresses": addresses,
    }
