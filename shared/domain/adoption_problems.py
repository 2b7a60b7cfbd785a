"""What an import has to tell of a gateway and its connections: why Homelink cannot manage them, and what is unusual.

A problem is in the way of a document, a finding is not; each says where, and what to do. Beside them stand the readers
of ARM's bodies that the drafts (adoption.py) need as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from . import addressing
from .arm import ArmRef
from .problem import Problem

Json = dict[str, Any]


def v4(prefixes: list[str]) -> list[str]:
    return [p for p in prefixes if ":" not in p]


def space(network: Json | None) -> list[str]:
    found: list[str] = (((network or {}).get("properties") or {}).get("addressSpace") or {}).get(
        "addressPrefixes"
    ) or []
    return found


def prefixes(home: Json) -> list[str]:
    """What the local gateway routes to the home, without the peer's own address, which Azure adds by itself."""
    found = (home.get("localNetworkAddressSpace") or {}).get("addressPrefixes") or []
    peer = (home.get("bgpSettings") or {}).get("bgpPeeringAddress")
    return [p for p in v4(found) if p != f"{peer}/32"]


def is_beside(gateway: ArmRef, ref: ArmRef) -> bool:
    """In the same resource group: a Gateway has one."""
    mine, its = ((r.subscription.lower(), r.resource_group.lower()) for r in (gateway, ref))
    return mine == its


def elsewhere(gateway: ArmRef, refs: list[ArmRef]) -> Iterator[Problem]:
    for ref in refs:
        if not is_beside(gateway, ref):
            yield Problem(
                f"{ref.kind.value}/{ref.name}",
                ref.resource_group,
                "import-elsewhere",
                "lies in another resource group or subscription than the gateway, and a Gateway has one",
                "Move it beside the gateway, or manage these by hand as before.",
            )


def gateway_problems(ref: ArmRef, properties: Json, tenant: str | None) -> Iterator[Problem]:
    where = f"{ref.kind.value}/{ref.name}"
    if tenant is None:
        yield Problem(
            "spec.tenantId",
            None,
            "import-unknown",
            "the gateway does not tell its tenant",
            "Add it: Azure does not know it, or does not say.",
        )
    kind, vpn = properties.get("gatewayType"), properties.get("vpnType")
    if (str(kind).lower(), str(vpn).lower()) != ("vpn", "routebased"):
        yield Problem(
            f"{where} properties.vpnType",
            f"{kind} {vpn}",
            "import-policy-based",
            "Homelink manages route-based VPN gateways only",
            "Make a new Gateway: Azure cannot turn this one into a route-based one.",
        )
    if not properties.get("enableBgp"):
        yield _bgp_off(f"{where} properties.enableBgp")


def _bgp_off(path: str) -> Problem:
    return Problem(
        path,
        False,
        "import-bgp-off",
        "BGP is off, and Homelink learns and announces prefixes by BGP alone",
        "Turn it on for gateway, local network gateway and connection (docs/adopt.md), then import again.",
    )


def gateway_findings(properties: Json, network: Json | None) -> Iterator[Problem]:
    if (properties.get("vpnClientConfiguration") or {}).get("vpnClientAddressPool"):
        yield Problem(
            "properties.vpnClientConfiguration",
            None,
            "import-point-to-site",
            "the gateway serves point-to-site clients too, which Homelink leaves alone",
            "Nothing; with RADIUS servers Homelink never writes the gateway.",
        )
    if properties.get("activeActive"):
        yield Problem(
            "spec.activeActive",
            True,
            "import-active-active",
            "Azure makes a tunnel from each instance, and the home gets one to the first",
            "Nothing, if a short outage is acceptable while Azure services that instance.",
        )
    if len(v4(space(network))) < len(space(network)):
        yield Problem(
            "spec.virtualNetwork.addressSpace",
            next(p for p in space(network) if ":" in p),
            "import-ipv6",
            "IPv6 does not go through the tunnel; the prefix stays in Azure and is not in the document",
            "Nothing.",
        )
    if properties.get("natRules"):
        yield _nat("properties.natRules")


def _nat(path: str) -> Problem:
    return Problem(
        path,
        None,
        "import-nat",
        "NAT rules stay as they are; Homelink compares prefixes as if there were none",
        "Write into spec.home.prefixes what the home announces, before NAT.",
    )


def connection_problems(properties: Json, home: Json) -> Iterator[Problem]:
    if properties.get("connectionProtocol", "IKEv2") != "IKEv2":
        yield Problem(
            "properties.connectionProtocol",
            properties.get("connectionProtocol"),
            "import-ike-version",
            "Homelink speaks IKEv2 only",
            "Delete the connection in Azure and create it with IKEv2: the protocol cannot be changed.",
        )
    for path, on in (("properties.enableBgp", properties.get("enableBgp")), ("bgpSettings", home.get("bgpSettings"))):
        if not on:
            yield _bgp_off(path)
    if not properties.get("ipsecPolicies"):
        yield Problem(
            "properties.ipsecPolicies",
            None,
            "import-no-policy",
            "the connection takes Azure's default proposals, and a tunnel of Homelink has one policy at both ends",
            "Give it the policy that the tunnel has now (docs/adopt.md), then import again.",
        )
    if properties.get("usePolicyBasedTrafficSelectors") or properties.get("trafficSelectorPolicies"):
        yield Problem(
            "properties.trafficSelectorPolicies",
            None,
            "import-selectors",
            "the connection has traffic selectors of its own, and a routed tunnel has none",
            "Remove them in Azure, then import again.",
        )


def unknown(spec: Json) -> Iterator[Problem]:
    home = spec["home"]
    asked = {
        "spec.agent": spec.get("agent"),
        "spec.fqdn": spec.get("fqdn"),
        **{f"spec.home.{field}": home.get(field) for field in ("asn", "bgpAddress", "prefixes")},
    }
    for path, value in asked.items():
        if value is None:
            message = "Azure does not know it"
            yield Problem(path, None, "import-unknown", message, "Add it: Azure does not know it, or does not say.")


def connection_findings(properties: Json, home: Json) -> Iterator[Problem]:
    if home.get("gatewayIpAddress"):
        yield Problem(
            "spec.fqdn",
            home["gatewayIpAddress"],
            "import-address",
            "Azure has an address and no name: it stays as a pin until the tunnel is proven, for an hour at most",
            "Check that the name leads to this address before you PUT the document.",
        )
    static = [p for p in prefixes(home) if addressing.network(p)]
    if static:
        yield Problem(
            "properties.localNetworkAddressSpace",
            ", ".join(static),
            "import-static-routes",
            "the local network gateway has static routes, which stay beside what BGP tells",
            "Remove them in Azure when BGP is up: a static route does not go away with the tunnel.",
        )
    if properties.get("egressNatRules") or properties.get("ingressNatRules"):
        yield _nat("properties.egressNatRules")
