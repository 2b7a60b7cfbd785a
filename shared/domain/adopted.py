"""What a document says of resources that existed before Homelink: their names in Azure, and how they are taken over.

Adoption changes nothing but tags, so an adopted resource is compared in fewer fields than one that Homelink made: the
virtual network and the public addresses in none (they are their owner's, and only marked), the others in what a spec
can say. Whatever a spec cannot say stays as it is found, also when something else is changed later. Traded off: drift
in the rest of an adopted resource is not noticed.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from . import limits
from .arm import ArmKind
from .problem import Problem
from .spec import ConnectionSpec, GatewaySpec

Json = dict[str, Any]
FIRST, SECOND = "default", "activeActive"
"""The IP configurations of a gateway that Homelink makes, named as the portal does; an active-standby one has the first
only."""
MANAGED: Mapping[ArmKind, tuple[str, ...]] = {
    ArmKind.VIRTUAL_NETWORK: (),
    ArmKind.PUBLIC_IP: (),
    ArmKind.GATEWAY: ("sku", "enableBgp", "bgpSettings"),
    ArmKind.LOCAL_GATEWAY: ("fqdn", "gatewayIpAddress", "bgpSettings"),
    ArmKind.CONNECTION: (
        "connectionType",
        "connectionProtocol",
        "connectionMode",
        "virtualNetworkGateway1",
        "localNetworkGateway2",
        "enableBgp",
        "gatewayCustomBgpIpAddresses",
        "usePolicyBasedTrafficSelectors",
        "dpdTimeoutSeconds",
        "ipsecPolicies",
    ),
}
"""The properties of an adopted resource that are compared, and changed when the document is."""
_UNSET: Json = {
    "connectionMode": "Default",
    "dpdTimeoutSeconds": limits.DPD_TIMEOUT.default,
    "gatewayCustomBgpIpAddresses": [],
    "usePolicyBasedTrafficSelectors": False,
}
"""What a connection does whose field Azure leaves out, or has 0 in (recorded)."""
_OF_ARM = ("id", "name", "type", "etag")


def gateway_name(name: str, spec: GatewaySpec) -> str:
    return spec.adopt.virtual_network_gateway if spec.adopt else name


def public_ip_names(name: str, spec: GatewaySpec) -> tuple[str, ...]:
    """One for each instance, the first one's first."""
    if spec.adopt:
        return spec.adopt.public_ips
    return (f"{name}-pip", f"{name}-pip2") if spec.active_active else (f"{name}-pip",)


def ip_configuration_names(spec: GatewaySpec) -> tuple[str, ...]:
    """In the same order."""
    if spec.adopt:
        return spec.adopt.ip_configurations
    return (FIRST, SECOND) if spec.active_active else (FIRST,)


def connection_names(name: str, spec: ConnectionSpec | None) -> dict[ArmKind, str]:
    """In order of creation. `spec` None: of one that Homelink made."""
    if spec is not None and spec.adopt is not None:
        return {ArmKind.LOCAL_GATEWAY: spec.adopt.local_network_gateway, ArmKind.CONNECTION: spec.adopt.connection}
    return {ArmKind.LOCAL_GATEWAY: f"{name}-lng", ArmKind.CONNECTION: name}


def gateway_problems(spec: GatewaySpec) -> Iterator[Problem]:
    """Of `spec.adopt`; none without it."""
    if spec.adopt is None:
        return
    count = 2 if spec.active_active else 1
    for field, names in (("publicIps", spec.adopt.public_ips), ("ipConfigurations", spec.adopt.ip_configurations)):
        if len(names) != count:
            yield Problem(
                f"spec.adopt.{field}",
                len(names),
                "adopt-instances",
                f"a gateway with activeActive {str(spec.active_active).lower()} has {count}",
                "Take the document that POST /api/imports writes.",
            )
    if spec.virtual_network.subnets:
        yield Problem(
            "spec.virtualNetwork.subnets",
            len(spec.virtual_network.subnets),
            "adopt-subnets",
            "an adopted virtual network is its owner's: Homelink makes no subnets in it",
            "Leave the list out.",
        )


def connection_problems(name: str, spec: ConnectionSpec, others: Mapping[str, ConnectionSpec]) -> Iterator[Problem]:
    """One resource in Azure belongs to one Connection."""
    mine = connection_names(name, spec)
    for other, theirs in others.items():
        for kind, taken in connection_names(other, theirs).items():
            if mine[kind].lower() == taken.lower():
                yield Problem(
                    "spec.adopt" if spec.adopt else "metadata.name",
                    mine[kind],
                    "adopt-shared",
                    f"{kind.value}/{taken} belongs to Connection {other}",
                    "Leave it to that Connection, or choose another name.",
                )


def as_found(kind: ArmKind, body: Json, have: Json | None) -> Json:
    """A rendered body, cut down to what of an adopted resource is managed. What the spec cannot say is as in `have`:
    Azure writes a DPD timeout of 0 for its default, an old connection lacks newer fields, and a data lifetime and the
    link-local addresses of others stay."""
    found = (have or {}).get("properties") or {}
    properties = {k: copy.deepcopy(v) for k, v in body["properties"].items() if k in MANAGED[kind]}
    if kind is ArmKind.LOCAL_GATEWAY:
        properties["bgpSettings"].pop("peerWeight", None)
    if kind is ArmKind.GATEWAY:
        bgp = properties["bgpSettings"]
        wanted = {e["ipconfigurationId"].lower(): e for e in bgp.get("bgpPeeringAddresses", ())}
        for entry in (found.get("bgpSettings") or {}).get("bgpPeeringAddresses") or []:
            mine = wanted.get(str(entry.get("ipconfigurationId")).lower())
            if mine is not None:
                theirs = entry.get("customBgpIpAddresses") or []
                mine["customBgpIpAddresses"] = sorted({*mine["customBgpIpAddresses"], *theirs})
    if kind is ArmKind.CONNECTION:
        for field, unset in _UNSET.items():
            if properties[field] == unset and not found.get(field):
                del properties[field]
        for mine, theirs in zip(properties["ipsecPolicies"], found.get("ipsecPolicies") or [], strict=False):
            mine["saDataSizeKilobytes"] = theirs.get("saDataSizeKilobytes", mine["saDataSizeKilobytes"])
    return {"tags": body["tags"], "properties": properties}


def over(have: Json, want: Json) -> Json:
    """The body of a PUT that changes `want` in a resource and leaves everything else of it as it is."""
    body: Json = _over({k: v for k, v in have.items() if k not in _OF_ARM}, want)
    properties: Json = body["properties"]
    for one, other in (("fqdn", "gatewayIpAddress"), ("gatewayIpAddress", "fqdn")):
        if one in want["properties"]:  # a local gateway has one of the two
            properties.pop(other, None)
    return body


def _over(have: Any, want: Any) -> Any:
    if not (isinstance(have, dict) and isinstance(want, dict)):
        return want
    return {**have, **{k: _over(have.get(k), v) for k, v in want.items()}}
