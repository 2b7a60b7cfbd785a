"""What Azure's network provider refuses about addresses and prefixes, shared by the resource types."""

from __future__ import annotations

import ipaddress
from typing import Any

from lab.azure.errors import ArmError, Json, bad_request, invalid_ip, invalid_prefix


def properties(body: Json) -> Json:
    """The `properties` object of a PUT; absent counts as empty, anything else is refused."""
    value = body.get("properties") or {}
    if not isinstance(value, dict):
        raise ArmError(400, "InvalidRequestFormat", "Cannot parse the request: 'properties' must be an object.")
    return value


def ipv4(address: Any) -> ipaddress.IPv4Address:
    try:
        return ipaddress.IPv4Address(str(address))
    except ValueError:
        raise invalid_ip(address) from None


def prefix(value: Any, resource_id: str) -> ipaddress.IPv4Network:
    """A CIDR prefix without host bits."""
    if not isinstance(value, str) or "/" not in value:
        raise invalid_prefix(value, resource_id)
    try:
        network = ipaddress.IPv4Network(value, strict=False)
    except ValueError:
        raise invalid_prefix(value, resource_id) from None
    if str(network.network_address) != value.split("/")[0]:
        message = (
            f"The address prefix {value} in resource {resource_id} has an invalid CIDR notation. For the given prefix "
            f"length, the address prefix should be {network}."
        )
        raise bad_request("InvalidCIDRNotation", message)
    return network


def prefixes(values: Any, resource_id: str) -> list[ipaddress.IPv4Network]:
    if values is None:
        return []
    if not isinstance(values, list):
        raise invalid_prefix(values, resource_id)
    return [prefix(value, resource_id) for value in values]


def last_usable(network: ipaddress.IPv4Network) -> str:
    """Where the gateway's BGP speaker sits in active-standby mode, in every recording: the last usable address."""
    return str(network.broadcast_address - 1)
