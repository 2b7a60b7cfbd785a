"""IPv4 arithmetic of the subject: prefixes, the transit of a tunnel, which addresses mean what.

The transit modes are described in docs/reference.md; Azure's BGP address is an argument because it is read from ARM.
"""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError

from shared.wire.commands import Transit

CGNAT = IPv4Network("100.64.0.0/10")
LINK_LOCAL = IPv4Network("169.254.0.0/16")
APIPA = (IPv4Address("169.254.21.0"), IPv4Address("169.254.22.255"))
"""First and last address that Azure takes for BGP over link-local addresses (Azure FAQ)."""
POINT_TO_POINT_DEFAULT = IPv4Address("172.31.255.253")
"""Stands on the tunnel interface only and is never announced; any unused address will do."""


def network(text: str) -> IPv4Network | None:
    """A prefix in its one canonical form (a length and no host bits), or None.

    `10.0.0.0/255.0.0.0` is one for Python, but neither for ARM nor for the firewall, which get the text as it is.
    """
    try:
        found = IPv4Network(text)
    except (AddressValueError, NetmaskValueError, ValueError):
        return None
    return found if str(found) == text else None


def address(text: str) -> IPv4Address | None:
    try:
        return IPv4Address(text)
    except AddressValueError:
        return None


def is_public(value: IPv4Address) -> bool:
    """Routable on the Internet; documentation ranges count as public, because labs and examples use them as such."""
    private = (IPv4Network("10.0.0.0/8"), IPv4Network("172.16.0.0/12"), IPv4Network("192.168.0.0/16"), CGNAT)
    return not (
        any(value in n for n in private)
        or value.is_loopback
        or value.is_multicast
        or value in LINK_LOCAL
        or value.is_unspecified
        or value in IPv4Network("240.0.0.0/4")
    )


def is_reserved(prefix: IPv4Network) -> bool:
    """Touches a range that Azure refuses in a virtual network, and nobody routes: this host, loopback, link-local,
    Azure's own 168.63.129.16, multicast and above."""
    ranges = ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "168.63.129.16/32", "224.0.0.0/3")
    return any(prefix.overlaps(IPv4Network(r)) for r in ranges)


def subnet_transit_possible(azure_bgp: IPv4Address) -> bool:
    """False where Azure's address is the network or broadcast address of its /30 (the .4 of active-active gateways)."""
    block = IPv4Network((azure_bgp, 30), strict=False)
    return azure_bgp not in (block.network_address, block.broadcast_address)


def is_apipa(value: IPv4Address) -> bool:
    """In the part of 169.254.0.0/16 that Azure's gateways use."""
    return APIPA[0] <= value <= APIPA[1]


def is_usable_private(value: IPv4Address) -> bool:
    """An address that an interface of a home may have without being seen from outside: RFC 1918 or 100.64.0.0/10."""
    return not (
        is_public(value)
        or value.is_loopback
        or value.is_multicast
        or value.is_unspecified
        or value in LINK_LOCAL
        or value in IPv4Network("240.0.0.0/4")
    )


def transit(mode: str, azure_bgp: IPv4Address, local: IPv4Address | None) -> Transit:
    """The transit of a tunnel. `mode` is a TransitSpec's; `azure_bgp` is Azure's BGP address, in mode apipa the chosen
    one. Raises ValueError where (a) cannot be, and for apipa without `local`.
    """
    if mode == "apipa":
        if local is None:
            raise ValueError("transit mode apipa needs spec.transit.local")
        block = IPv4Network((azure_bgp, 30), strict=False)
        together = {local, azure_bgp} == set(block.hosts())
        return Transit("apipa", str(local), str(azure_bgp), 30 if together else 32)
    possible = subnet_transit_possible(azure_bgp)
    if mode == "gatewaySubnet" and not possible:
        raise ValueError(
            f"Azure's BGP address {azure_bgp} is the end of its /30: set spec.transit.mode to auto or pointToPoint"
        )
    if mode == "gatewaySubnet" or (mode == "auto" and possible and local is None):
        block = IPv4Network((azure_bgp, 30), strict=False)
        mine = next(a for a in block.hosts() if a != azure_bgp)
        return Transit("gatewaySubnet", str(mine), str(azure_bgp), 30)
    return Transit("pointToPoint", str(local or POINT_TO_POINT_DEFAULT), str(azure_bgp), 32)
