"""Rules of a Connection's home: its name in DNS, ASN, prefixes and BGP address, and how many homes a gateway takes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address

from . import addressing, limits
from .problem import Problem
from .rules_gateway import AZURE_ASNS, IANA_ASNS, LARGE_SKUS, not_a_prefix, unusable
from .spec import ConnectionSpec, GatewaySpec

_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
Specs = Mapping[str, ConnectionSpec]


def home_problems(
    name: str, spec: ConnectionSpec, gateway: GatewaySpec, others: Specs, elsewhere: Specs
) -> Iterator[Problem]:
    yield from _fqdn(spec, others)
    yield from _home_asn(spec, gateway, {**elsewhere, **others})
    yield from _prefixes(name, spec, gateway, others)
    yield from _bgp_address(spec, gateway, others)
    yield from _count(spec, gateway, others)


def _fqdn(spec: ConnectionSpec, others: Specs) -> Iterator[Problem]:
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


def _home_asn(spec: ConnectionSpec, gateway: GatewaySpec, others: Specs) -> Iterator[Problem]:
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


def _prefixes(name: str, spec: ConnectionSpec, gateway: GatewaySpec, others: Specs) -> Iterator[Problem]:
    taken = [
        (f"the virtual network {s}", n) for s in gateway.virtual_network.address_space if (n := addressing.network(s))
    ]
    for other_name, other in others.items():
        taken += [(f"Connection {other_name}", n) for p in other.home.prefixes if (n := addressing.network(p))]
    for i, text in enumerate(spec.home.prefixes):
        path = f"spec.home.prefixes[{i}]"
        prefix = addressing.network(text)
        if prefix is None:
            yield not_a_prefix(path, text)
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
        if addressing.is_reserved(prefix):
            yield unusable(path, text)
        for whose, n in taken:
            if prefix.overlaps(n):
                yield Problem(
                    path,
                    text,
                    "prefix-overlap",
                    f"overlaps {n} of {whose}",
                    f"Renumber one of them; {name} cannot be routed otherwise.",
                )
        for other_name, other in others.items():
            peer = addressing.address(other.home.bgp_address)
            if peer is None or other.agent == spec.agent or peer not in prefix:
                continue
            told = other.home.bgp_address == spec.home.bgp_address or _within(peer, other.home.prefixes)
            if not told:  # of equal addresses and of overlapping prefixes there are rules
                yield Problem(
                    path,
                    text,
                    "prefix-holds-peer",
                    f"holds {peer}, the BGP address of Connection {other_name}",
                    "A BGP address belongs to its own home: renumber one of them.",
                )
        taken.append((path, prefix))


def _within(value: IPv4Address | None, prefixes: tuple[str, ...]) -> bool:
    return value is not None and any(value in n for p in prefixes if (n := addressing.network(p)))


def _bgp_address(spec: ConnectionSpec, gateway: GatewaySpec, others: Specs) -> Iterator[Problem]:
    path, text = "spec.home.bgpAddress", spec.home.bgp_address
    value = addressing.address(text)
    remedy = "Use the firewall's LAN address."
    if spec.transit.mode == "apipa":
        if text != spec.transit.local:
            yield Problem(
                path,
                text,
                "bgp-address-not-transit",
                "in transit mode apipa the home speaks BGP from its transit address",
                "Write the same address here and in spec.transit.local.",
            )
        return
    if value is None:
        yield Problem(path, text, "address-form", "not an IPv4 address", remedy)
        return
    if _within(value, gateway.virtual_network.address_space):
        yield Problem(
            path, text, "bgp-address-in-vnet", "lies inside the virtual network (a transit address, perhaps)", remedy
        )
    elif addressing.is_public(value):
        yield Problem(
            path, text, "bgp-address-public", "is a public address, and Azure refuses the device's own", remedy
        )
    elif value in addressing.LINK_LOCAL:
        yield Problem(path, text, "bgp-address-apipa", "APIPA addresses are for transit mode apipa", remedy)
    elif not addressing.is_usable_private(value):
        yield Problem(path, text, "bgp-address-unusable", "is no address that a host can have", remedy)
    elif text == spec.transit.local or value == default_transit(spec, gateway):
        yield Problem(path, text, "bgp-address-transit", "is the transit address of the tunnel", remedy)
    for name, other in others.items():
        if other.agent == spec.agent:
            continue
        if other.home.bgp_address == text:
            yield Problem(
                path,
                text,
                "bgp-address-shared",
                f"Connection {name} of another firewall uses it too",
                "Azure tells homes apart by it.",
            )
        elif _within(value, other.home.prefixes) and not _within(value, spec.home.prefixes):
            yield Problem(
                path, text, "bgp-address-foreign", f"lies in a prefix of Connection {name}, another home", remedy
            )


def default_transit(spec: ConnectionSpec, gateway: GatewaySpec) -> IPv4Address | None:
    """The address that the tunnel interface gets because the spec names none, where that is certain to be used."""
    certain = spec.transit.mode == "pointToPoint" or (spec.transit.mode == "auto" and gateway.active_active)
    return addressing.POINT_TO_POINT_DEFAULT if certain and spec.transit.local is None else None


def _count(spec: ConnectionSpec, gateway: GatewaySpec, others: Specs) -> Iterator[Problem]:
    most = (limits.CONNECTIONS_LARGE if gateway.sku in LARGE_SKUS else limits.CONNECTIONS).most
    if len(others) >= most:
        yield Problem(
            "spec.gateway",
            len(others) + 1,
            "too-many",
            f"a gateway of this SKU carries {most} tunnels",
            "Use another gateway.",
        )
    prefixes = sum(len(s.home.prefixes) for s in [spec, *others.values()])
    if prefixes > limits.PREFIXES.most:
        yield Problem(
            "spec.home.prefixes",
            prefixes,
            "too-many-prefixes",
            f"all homes of the gateway together would announce more than {limits.PREFIXES.most} prefixes",
            "Sum them up in shorter prefixes: Azure drops the BGP session otherwise.",
        )
