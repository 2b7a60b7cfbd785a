"""Rules of a Gateway document: SKU, ASN, the virtual network and its subnets, what may change, what may be adopted."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network

from . import addressing, adopted, limits
from .problem import Problem
from .spec import GatewaySpec

GENERATION_OF = {
    "VpnGw1AZ": ("Generation1",),
    "VpnGw2AZ": ("Generation2", "Generation1"),
    "VpnGw3AZ": ("Generation2", "Generation1"),
    "VpnGw4AZ": ("Generation2",),
    "VpnGw5AZ": ("Generation2",),
}
"""SKU -> the generations that it exists in, the one that we choose first (Azure, "about gateway SKUs")."""
AZ_SKUS = set(GENERATION_OF)
LARGE_SKUS = {"VpnGw4AZ", "VpnGw5AZ"}
RETIRED_SKUS = {f"VpnGw{n}" for n in range(1, 6)} | {"Standard", "HighPerformance"}
AZURE_ASNS = {8074, 8075, 12076, 65515, 65517, 65518, 65519, 65520}
IANA_ASNS = {0, 23456, *range(64496, 64512), *range(65535, 65552), 4294967295}
ADOPTABLE = {"sku-not-az", "gateway-subnet-small"}
"""What is refused in something new, and only a Finding in something that exists."""


def gateway_problems(spec: GatewaySpec, others: Mapping[str, GatewaySpec] | None = None) -> list[Problem]:
    """`others` are all other Gateways by name. An adopted gateway exists already and is taken as it is; what is
    tolerated then is what gateway_findings tells."""
    found = [*_sku(spec), *_gateway_asn(spec), *_virtual_network(spec), *_one_per_network(spec, others or {})]
    found += adopted.gateway_problems(spec)
    tolerated = gateway_findings(spec) if spec.adopt else []
    return [p for p in found if p not in tolerated]


def gateway_findings(spec: GatewaySpec) -> list[Problem]:
    """What an adopted gateway may have although it would not be made like that today: to be told, not refused."""
    subnet = addressing.network(spec.virtual_network.gateway_subnet)
    large = subnet is not None and subnet.prefixlen <= limits.ADOPTED_SUBNET_BITS.most
    found = [p for p in [*_sku(spec), *_virtual_network(spec)] if p.rule in ADOPTABLE]
    return [p for p in found if p.rule != "gateway-subnet-small" or large]


def change_problems(old: GatewaySpec, new: GatewaySpec) -> list[Problem]:
    """What cannot be changed in a gateway that exists: in Azure, or because Homelink would leave parts behind."""
    fixed = {
        "spec.tenantId": (old.tenant_id, new.tenant_id),
        "spec.subscriptionId": (old.subscription_id, new.subscription_id),
        "spec.resourceGroup": (old.resource_group, new.resource_group),
        "spec.location": (old.location, new.location),
        "spec.virtualNetwork.name": (old.virtual_network.name, new.virtual_network.name),
        "spec.virtualNetwork.gatewaySubnet": (old.virtual_network.gateway_subnet, new.virtual_network.gateway_subnet),
        "spec.activeActive": (old.active_active, new.active_active),
        "spec.adopt": (old.adopt, new.adopt),
    }
    problems = [
        Problem(path, b, "immutable", f"cannot be changed (it is {a!r})", "Delete the Gateway and PUT a new one.")
        for path, (a, b) in fixed.items()
        if a != b
    ]
    before, after = generation(old), generation(new)
    if before != after:
        problems.append(
            Problem(
                "spec.sku" if old.sku != new.sku else "spec.generation",
                new.sku,
                "generation-change",
                f"Azure resizes within a generation only, and this leads from {before} ({old.sku}) to {after}",
                "Stay within the generation, or delete the Gateway and PUT a new one.",
            )
        )
    return problems


def generation(spec: GatewaySpec) -> str:
    """The generation that the gateway has in Azure: the spec's, else the usual one of its SKU."""
    return spec.generation or GENERATION_OF.get(spec.sku, ("Generation1",))[0]


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
    elif spec.generation is not None and spec.generation not in GENERATION_OF[spec.sku]:
        yield Problem(
            "spec.generation",
            spec.generation,
            "sku-generation",
            f"{spec.sku} exists in {' and '.join(sorted(GENERATION_OF[spec.sku]))} only",
            "Leave it out: the SKU decides.",
        )


def _gateway_asn(spec: GatewaySpec) -> Iterator[Problem]:
    if spec.asn != 65515 and spec.asn in AZURE_ASNS | IANA_ASNS:
        yield Problem(
            "spec.asn",
            spec.asn,
            "asn-reserved",
            "reserved by Azure or IANA",
            "Leave it out (65515) or use 64512-65514.",
        )


def _one_per_network(spec: GatewaySpec, others: Mapping[str, GatewaySpec]) -> Iterator[Problem]:
    def place(s: GatewaySpec) -> tuple[str, str, str]:
        return s.subscription_id.lower(), s.resource_group.lower(), s.virtual_network.name.lower()

    for name, other in others.items():
        if place(other) == place(spec):
            yield Problem(
                "spec.virtualNetwork.name",
                spec.virtual_network.name,
                "network-shared",
                f"Gateway {name} stands in this virtual network, and Azure allows one VPN gateway in each",
                "Add the Connections to that Gateway, or choose another virtual network.",
            )


def _virtual_network(spec: GatewaySpec) -> Iterator[Problem]:
    net = spec.virtual_network
    spaces: list[tuple[str, IPv4Network]] = []
    for i, text in enumerate(net.address_space):
        path = f"spec.virtualNetwork.addressSpace[{i}]"
        prefix = addressing.network(text)
        if prefix is None:
            yield not_a_prefix(path, text)
        else:
            spaces.append((path, prefix))
            if addressing.is_reserved(prefix):
                yield unusable(path, text)
    named = [("spec.virtualNetwork.gatewaySubnet", net.gateway_subnet)]
    named += [(f"spec.virtualNetwork.subnets[{i}].prefix", s.prefix) for i, s in enumerate(net.subnets)]
    parsed: list[tuple[str, IPv4Network]] = []
    for path, text in named:
        prefix = addressing.network(text)
        if prefix is None:
            yield not_a_prefix(path, text)
            continue
        parsed.append((path, prefix))
        if spaces and not any(prefix.subnet_of(s) for _, s in spaces):
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
    for ranges in (spaces, parsed):
        for (path_a, a), (path_b, b) in itertools.combinations(ranges, 2):
            if a.overlaps(b):
                yield Problem(
                    path_b, str(b), "subnet-overlap", f"overlaps {a} at {path_a}", "Give each a range of its own."
                )
    names = [s.name.lower() for s in net.subnets]
    for i, s in enumerate(net.subnets):
        path = f"spec.virtualNetwork.subnets[{i}].name"
        if names[i] == "gatewaysubnet":
            yield Problem(
                path,
                s.name,
                "gateway-subnet-twice",
                "the GatewaySubnet has a field of its own",
                "Remove it here and set spec.virtualNetwork.gatewaySubnet.",
            )
        elif names[i] in names[:i]:
            yield Problem(path, s.name, "subnet-name-twice", "another subnet has this name", "Rename one of them.")


def not_a_prefix(path: str, text: str) -> Problem:
    return Problem(
        path, text, "prefix-form", "not an IPv4 prefix in CIDR form without host bits", "Write it as in 192.168.1.0/24."
    )


def unusable(path: str, text: str) -> Problem:
    message = "holds addresses that no host can have (loopback, link-local, multicast, reserved)"
    return Problem(path, text, "prefix-unusable", message, "Use a private range.")
