"""The rules of a document and of documents together; each yields Problems, so that a user sees all of them at once.

A rule says the path, the value, a stable code, what is wrong, and the remedy. Sources: DESIGN section 4 and the Azure
documents it cites. Types and simple bounds are already done by spec.py when these run.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network

from shared.domain.problem import Problem

from . import addressing, limits
from .spec import ConnectionSpec, GatewaySpec

AZ_SKUS = {f"VpnGw{n}AZ" for n in range(1, 6)}
GENERATION_1 = {"VpnGw1AZ"}
RETIRED_SKUS = {f"VpnGw{n}" for n in range(1, 6)} | {"Standard", "HighPerformance"}
AZURE_ASNS = {8074, 8075, 12076, 65515, 65517, 65518, 65519, 65520}
IANA_ASNS = {0, 23456, *range(64496, 64512), *range(65535, 65552), 4294967295}
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
OWN_ENTRIES = ("agent-", "psk-")
"""How the names of vault entries begin that Homelink keeps itself: a spec that could name them could read any key."""


def gateway_problems(spec: GatewaySpec) -> list[Problem]:
    return [*_sku(spec), *_gateway_asn(spec), *_virtual_network(spec)]


def connection_problems(
    name: str, spec: ConnectionSpec, gateway: GatewaySpec, others: Mapping[str, ConnectionSpec]
) -> list[Problem]:
    """`others` are the gateway's other Connections by name."""
    return [
        *_fqdn(spec, others),
        *_home_asn(spec, gateway, others),
        *_prefixes(name, spec, gateway, others),
        *_bgp_address(spec, gateway, others),
        *_ipsec(spec),
        *_transit(spec, gateway),
        *_psk_and_probe(spec, gateway),
        *_count(others),
    ]


def _sku(spec: GatewaySpec) -> Iterator[Problem]:
    if spec.sku == "Basic":
        yield Problem(
            "spec.sku",
            spec.sku,
            "sku-basic",
            "the Basic SKU has neither BGP nor custom IPsec policies",
            "Use VpnGw1AZ, the cheapest SKU that does.",
        )
    elif spec.sku in RETIRED_SKUS:
        yield Problem(
            "spec.sku",
            spec.sku,
            "sku-not-az",
            "Azure no longer creates gateways without availability zones",
            f"Use {spec.sku.removesuffix('AZ')}AZ." if spec.sku.startswith("VpnGw") else "Use VpnGw1AZ.",
        )
    elif spec.sku not in AZ_SKUS:
        yield Problem("spec.sku", spec.sku, "sku-unknown", "not a VPN gateway SKU", f"Use one of {sorted(AZ_SKUS)}.")


def _gateway_asn(spec: GatewaySpec) -> Iterator[Problem]:
    if spec.asn != 65515 and spec.asn in AZURE_ASNS | IANA_ASNS:
        yield Problem(
            "spec.asn",
            spec.asn,
            "asn-reserved",
            "reserved by Azure or IANA",
            "Leave it out (65515) or use 64512-65514.",
        )


def _virtual_network(spec: GatewaySpec) -> Iterator[Problem]:
    net = spec.virtual_network
    spaces: list[IPv4Network] = []
    for i, text in enumerate(net.address_space):
        prefix = addressing.network(text)
        if prefix is None:
            yield _not_a_prefix(f"spec.virtualNetwork.addressSpace[{i}]", text)
        else:
            spaces.append(prefix)
    named = [("spec.virtualNetwork.gatewaySubnet", net.gateway_subnet)]
    named += [(f"spec.virtualNetwork.subnets[{i}].prefix", s.prefix) for i, s in enumerate(net.subnets)]
    parsed: list[tuple[str, IPv4Network]] = []
    for path, text in named:
        prefix = addressing.network(text)
        if prefix is None:
            yield _not_a_prefix(path, text)
            continue
        parsed.append((path, prefix))
        if spaces and not any(prefix.subnet_of(s) for s in spaces):
            yield Problem(
                path,
                text,
                "subnet-outside",
                f"not inside the virtual network {', '.join(net.address_space)}",
                "Choose a prefix within spec.virtualNetwork.addressSpace.",
            )
        if path.endswith("gatewaySubnet") and prefix.prefixlen > limits.GATEWAY_SUBNET_BITS.most:
            yield Problem(
                path,
                text,
                "gateway-subnet-small",
                f"a /{prefix.prefixlen} is too small for a VPN gateway",
                "Use /27 or larger: it cannot grow later.",
            )
    for (path_a, a), (path_b, b) in itertools.combinations(parsed, 2):
        if a.overlaps(b):
            yield Problem(
                path_b, str(b), "subnet-overlap", f"overlaps {a} at {path_a}", "Give each subnet a range of its own."
            )
    for i, s in enumerate(net.subnets):
        if s.name.lower() == "gatewaysubnet":
            yield Problem(
                f"spec.virtualNetwork.subnets[{i}].name",
                s.name,
                "gateway-subnet-twice",
                "the GatewaySubnet has a field of its own",
                "Remove it here and set spec.virtualNetwork.gatewaySubnet.",
            )


def _fqdn(spec: ConnectionSpec, others: Mapping[str, ConnectionSpec]) -> Iterator[Problem]:
    name_ = spec.fqdn.rstrip(".")
    labels = name_.split(".")
    if len(labels) < 2 or not all(_LABEL.fullmatch(x) for x in labels) or addressing.address(name_) is not None:
        yield Problem(
            "spec.fqdn",
            spec.fqdn,
            "fqdn-form",
            "not a full DNS name",
            "Write the DDNS name that your router updates, such as home.example.net.",
        )
    for name, other in others.items():
        if other.fqdn.rstrip(".").lower() == spec.fqdn.rstrip(".").lower():
            yield Problem(
                "spec.fqdn",
                spec.fqdn,
                "fqdn-shared",
                f"Connection {name} uses the same name, and Azure refuses two with one address",
                "Each home needs an address and a name of its own.",
            )


def _home_asn(spec: ConnectionSpec, gateway: GatewaySpec, others: Mapping[str, ConnectionSpec]) -> Iterator[Problem]:
    asn = spec.home.asn
    if asn == gateway.asn:
        yield Problem(
            "spec.home.asn",
            asn,
            "asn-same",
            "the home and the Azure gateway need different ASNs",
            "Use 64512-65514 for the home.",
        )
    elif asn in AZURE_ASNS | IANA_ASNS:
        yield Problem(
            "spec.home.asn",
            asn,
            "asn-reserved",
            "reserved by Azure or IANA; Azure refuses it for a peer",
            "Use 64512-65514, 65521-65534, or your own 32-bit ASN.",
        )
    for name, other in others.items():
        if other.agent == spec.agent and other.home.asn != asn:
            yield Problem(
                "spec.home.asn",
                asn,
                "asn-per-firewall",
                f"Connection {name} on the same firewall says {other.home.asn}",
                "A firewall runs BGP under one ASN.",
            )


def _prefixes(
    name: str, spec: ConnectionSpec, gateway: GatewaySpec, others: Mapping[str, ConnectionSpec]
) -> Iterator[Problem]:
    taken = [
        (f"the virtual network {s}", n) for s in gateway.virtual_network.address_space if (n := addressing.network(s))
    ]
    for other_name, other in others.items():
        taken += [(f"Connection {other_name}", n) for p in other.home.prefixes if (n := addressing.network(p))]
    for i, text in enumerate(spec.home.prefixes):
        path = f"spec.home.prefixes[{i}]"
        prefix = addressing.network(text)
        if prefix is None:
            yield _not_a_prefix(path, text)
            continue
        if prefix.prefixlen == 0:
            yield Problem(
                path,
                text,
                "prefix-default",
                "a default route would draw all of Azure's traffic home",
                "List the home's own networks.",
            )
            continue
        for whose, n in taken:
            if prefix.overlaps(n):
                yield Problem(
                    path,
                    text,
                    "prefix-overlap",
                    f"overlaps {n} of {whose}",
                    f"Renumber one of them; {name} cannot be routed otherwise.",
                )
        taken.append((f"spec.home.prefixes[{i}]", prefix))


def _bgp_address(spec: ConnectionSpec, gateway: GatewaySpec, others: Mapping[str, ConnectionSpec]) -> Iterator[Problem]:
    path, text = "spec.home.bgpAddress", spec.home.bgp_address
    value = addressing.address(text)
    remedy = "Use the firewall's LAN address."
    if value is None:
        yield Problem(path, text, "address-form", "not an IPv4 address", remedy)
        return
    if any(value in n for p in gateway.virtual_network.address_space if (n := addressing.network(p))):
        yield Problem(
            path, text, "bgp-address-in-vnet", "lies inside the virtual network (a transit address, perhaps)", remedy
        )
    elif addressing.is_public(value):
        yield Problem(
            path, text, "bgp-address-public", "is a public address, and Azure refuses the device's own", remedy
        )
    elif value in addressing.LINK_LOCAL:
        yield Problem(path, text, "bgp-address-apipa", "APIPA addresses are for transit mode apipa", remedy)
    elif value.is_loopback or value.is_multicast or value.is_unspecified or value.is_reserved:
        yield Problem(path, text, "bgp-address-unusable", "is no address that a host can have", remedy)
    elif spec.transit.local == text:
        yield Problem(path, text, "bgp-address-transit", "is the transit address of the tunnel", remedy)
    for name, other in others.items():
        if other.agent != spec.agent and other.home.bgp_address == text:
            yield Problem(
                path,
                text,
                "bgp-address-shared",
                f"Connection {name} of another firewall uses it too",
                "Azure tells homes apart by it.",
            )


def _ipsec(spec: ConnectionSpec) -> Iterator[Problem]:
    for field, value, message in spec.ipsec.faults():
        yield Problem(
            f"spec.ipsec.{field}",
            value,
            "ipsec-policy",
            message,
            "docs/reference.md lists what both ends have; GCMAES256 is the best choice.",
        )


def _transit(spec: ConnectionSpec, gateway: GatewaySpec) -> Iterator[Problem]:
    if spec.transit.local is None:
        return
    path, value = "spec.transit.local", addressing.address(spec.transit.local)
    if value is None:
        yield Problem(path, spec.transit.local, "address-form", "not an IPv4 address", "Leave it out.")
    elif spec.transit.mode == "gatewaySubnet":
        yield Problem(
            path,
            spec.transit.local,
            "transit-derived",
            "mode gatewaySubnet derives it from Azure's BGP address",
            "Leave it out, or use mode pointToPoint.",
        )
    elif any(value in n for p in gateway.virtual_network.address_space if (n := addressing.network(p))):
        yield Problem(
            path,
            spec.transit.local,
            "transit-in-vnet",
            "lies inside the virtual network",
            "Use any unused private address.",
        )


def _psk_and_probe(spec: ConnectionSpec, gateway: GatewaySpec) -> Iterator[Problem]:
    if spec.psk.generate and spec.psk.vault_ref is not None:
        yield Problem(
            "spec.psk",
            spec.psk.vault_ref,
            "psk-two-ways",
            "both generate and vaultRef are set",
            "Write generate: false with a vaultRef.",
        )
    if not spec.psk.generate and spec.psk.vault_ref is None:
        yield Problem(
            "spec.psk",
            None,
            "psk-no-way",
            "neither generate nor vaultRef is set",
            "Leave spec.psk out to have one generated.",
        )
    if (spec.psk.vault_ref or "").lower().startswith(OWN_ENTRIES):
        yield Problem(
            "spec.psk.vaultRef",
            spec.psk.vault_ref,
            "psk-own-entry",
            f"entries that begin with {' or '.join(OWN_ENTRIES)} are Homelink's own",
            "Put the key under another name.",
        )
    if spec.probe is not None:
        value = addressing.address(spec.probe)
        spaces = [n for p in gateway.virtual_network.address_space if (n := addressing.network(p))]
        if value is None or not any(value in n for n in spaces):
            yield Problem(
                "spec.probe",
                spec.probe,
                "probe-outside",
                "not an address in the virtual network",
                "Name a machine there that answers a ping, or leave it out.",
            )


def _count(others: Mapping[str, ConnectionSpec]) -> Iterator[Problem]:
    if len(others) >= limits.CONNECTIONS.most:
        yield Problem(
            "spec.gateway",
            len(others) + 1,
            "too-many",
            f"a gateway carries {limits.CONNECTIONS.most} tunnels",
            "Use another gateway.",
        )


def _not_a_prefix(path: str, text: str) -> Problem:
    return Problem(
        path, text, "prefix-form", "not an IPv4 prefix in CIDR form without host bits", "Write it as in 192.168.1.0/24."
    )
