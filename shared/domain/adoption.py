"""Import: the documents that describe a gateway and its connections as somebody else made them.

Pure: the bodies come in as ARM returns them. What Azure does not know (the agent, the home's DDNS name, often its
prefixes) is left out of a draft and told as a problem, like everything that Homelink cannot manage; what it can live
with is a finding. A problem says where in Azure it lies and what to do there. Nothing is guessed: a draft without
problems, put back, changes nothing but tags.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from . import adoption_problems, limits, rules_gateway
from .arm import ArmKind, ArmRef
from .ipsec import IpsecPolicy
from .model import NAME_PATTERN, Model
from .problem import Problem
from .spec import API_VERSION, UUID, GatewaySpec

Json = dict[str, Any]
ID = (
    r"^/subscriptions/[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}/[rR]esource[gG]roups/[^/?#]{1,90}"
    r"/providers/[mM]icrosoft\.[nN]etwork/virtualNetworkGateways/[^/?#]{1,80}$"
)
"""Of a gateway, as ARM and `az` write it."""
_PARTS = re.compile(
    r"/subscriptions/([^/]+)/resourceGroups/([^/]+)/providers/Microsoft\.Network/([^/]+)/([^/]+)(?:/.*)?", re.IGNORECASE
)
_NAME_CHARS = 40


class ImportRequest(Model):
    """`gateway` is an ARM resource id. `tenantId` and `agent` are what Azure does not know; they go into the drafts."""

    gateway: str = Field(pattern=ID, max_length=512)
    tenant_id: str | None = Field(None, pattern=UUID)
    agent: str | None = Field(None, pattern=NAME_PATTERN, min_length=3, max_length=40)


@dataclass(frozen=True)
class Draft:
    """`problems` are in the way of a PUT, `findings` are not; `path` is that of the document, or in Azure."""

    document: Json
    problems: tuple[Problem, ...]
    findings: tuple[Problem, ...]


def ref_of(resource_id: object) -> ArmRef | None:
    """None for what is no id of a resource that Homelink knows; of a subnet it is the virtual network."""
    found = _PARTS.fullmatch(str(resource_id))
    kind = next((k for k in ArmKind if found and k.value.lower() == found[3].lower()), None)
    return ArmRef(found[1].lower(), found[2], kind, found[4]) if found and kind else None


def name_for(azure_name: str, taken: Collection[str]) -> str:
    """A name that Homelink takes: lower case, digits, single hyphens, 3 to 40 characters, and not one of `taken`."""
    name = re.sub(r"[^a-z0-9]+", "-", azure_name.lower()).strip("-")
    name = name if name[:1].isalpha() else f"n-{name}".rstrip("-")
    name = (name if len(name) >= 3 else f"{name}-vpn")[:_NAME_CHARS].rstrip("-")
    count, free = 2, name
    while free in taken:
        tail = f"-{count}"
        free, count = name[: _NAME_CHARS - len(tail)].rstrip("-") + tail, count + 1
    return free


def stands_on(gateway: Json) -> tuple[list[ArmRef], list[ArmRef]]:
    """The gateway's public addresses in the order of its instances, and its virtual network."""
    found: dict[ArmKind, list[ArmRef]] = {ArmKind.PUBLIC_IP: [], ArmKind.VIRTUAL_NETWORK: []}
    for configuration in _list(gateway, "ipConfigurations"):
        for field in ("publicIPAddress", "subnet"):
            ref = ref_of((_properties(configuration).get(field) or {}).get("id"))
            if ref is not None and ref not in found.setdefault(ref.kind, []):
                found[ref.kind].append(ref)
    return found[ArmKind.PUBLIC_IP], found[ArmKind.VIRTUAL_NETWORK]


def gateway(name: str, ref: ArmRef, body: Json, network: Json | None, tenant: str | None) -> Draft:
    """`network`: the virtual network, None where it cannot be read. `tenant`: what the user says; ARM does not."""
    properties = _properties(body)
    addresses, networks = stands_on(body)
    spec: Json = {
        "subscriptionId": ref.subscription,
        "resourceGroup": ref.resource_group,
        "location": str(body.get("location", "")).replace(" ", "").lower(),
        "virtualNetwork": _network(networks, network),
        "sku": (properties.get("sku") or {}).get("name"),
        "adopt": {
            "virtualNetworkGateway": ref.name,
            "publicIps": [a.name for a in addresses],
            "ipConfigurations": [c.get("name") for c in _list(body, "ipConfigurations")],
        },
    }
    asn = (properties.get("bgpSettings") or {}).get("asn")
    generation = properties.get("vpnGatewayGeneration")
    usual = rules_gateway.GENERATION_OF.get(str(spec["sku"]), ("Generation1",))[0]
    optional = {
        "tenantId": tenant,
        "activeActive": properties.get("activeActive") or None,
        "asn": asn if asn != GatewaySpec.model_fields["asn"].default else None,
        "generation": generation if generation in ("Generation1", "Generation2") and generation != usual else None,
    }
    spec |= {k: v for k, v in optional.items() if v is not None}
    problems = [
        *adoption_problems.gateway_problems(ref, properties, tenant),
        *adoption_problems.elsewhere(ref, [*addresses, *networks]),
    ]
    return Draft(
        _document("Gateway", name, spec),
        tuple(problems),
        tuple(adoption_problems.gateway_findings(properties, network)),
    )


def connection(
    name: str, gateway_name: str, agent: str | None, body: Json, local: Json | None, gateway: ArmRef
) -> Draft:
    """`local`: the local network gateway, None where it cannot be read; `gateway`: the virtual network gateway."""
    properties, home = _properties(body), _properties(local or {})
    peer = ref_of((properties.get("localNetworkGateway2") or {}).get("id"))
    bgp = home.get("bgpSettings") or {}
    prefixes = adoption_problems.prefixes(home)
    policies = properties.get("ipsecPolicies") or []
    dpd, mode = properties.get("dpdTimeoutSeconds") or 0, properties.get("connectionMode") or "Default"
    known = {"asn": bgp.get("asn"), "bgpAddress": bgp.get("bgpPeeringAddress"), "prefixes": prefixes or None}
    optional = {
        "agent": agent,
        "fqdn": home.get("fqdn"),
        "transit": _transit(properties, bgp),
        "ipsec": _policy(policies[0]) if policies else None,
        "mode": mode if mode != "ResponderOnly" else None,
        "dpdTimeoutSeconds": dpd if dpd not in (0, limits.DPD_TIMEOUT.default) else None,
    }
    spec: Json = {
        "gateway": gateway_name,
        "home": {k: v for k, v in known.items() if v is not None},
        **{k: v for k, v in optional.items() if v is not None},
        "adopt": {"localNetworkGateway": peer.name if peer else "", "connection": str(body.get("name"))},
    }
    problems = [
        *adoption_problems.elsewhere(gateway, [peer] if peer else []),
        *adoption_problems.connection_problems(properties, home),
    ]
    problems += adoption_problems.unknown(spec)
    return Draft(
        _document("Connection", name, spec),
        tuple(problems),
        tuple(adoption_problems.connection_findings(properties, home)),
    )


def _document(kind: str, name: str, spec: Json) -> Json:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


def _properties(resource: Json) -> Json:
    found: Json = resource.get("properties") or {}
    return found


def _list(resource: Json, field: str) -> list[Json]:
    found: list[Json] = _properties(resource).get(field) or []
    return found


def _network(refs: list[ArmRef], network: Json | None) -> Json:
    subnets = {str(s.get("name")).lower(): _properties(s) for s in _list(network or {}, "subnets")}
    mine = subnets.get("gatewaysubnet", {})
    prefix = mine.get("addressPrefix") or next(iter(adoption_problems.v4(mine.get("addressPrefixes") or [])), None)
    return {
        "name": refs[0].name if refs else "",
        "addressSpace": adoption_problems.v4(adoption_problems.space(network)),
        "gatewaySubnet": prefix,
    }


def _policy(policy: Json) -> Json:
    fields = [str(field.alias) for field in IpsecPolicy.model_fields.values()]
    lifetime = {"saLifetimeSeconds": policy.get("saLifeTimeSeconds")}
    return {**{f: policy[f] for f in fields if f in policy}, **lifetime}


def _transit(properties: Json, bgp: Json) -> Json | None:
    """APIPA where the connection chooses among the gateway's link-local addresses; else nothing is said of it."""
    chosen = [c.get("customBgpIpAddress") for c in properties.get("gatewayCustomBgpIpAddresses") or []]
    if not chosen:
        return None
    second = {"remoteSecond": chosen[1]} if len(chosen) > 1 else {}
    return {"mode": "apipa", "local": bgp.get("bgpPeeringAddress"), "remote": chosen[0], **second}
