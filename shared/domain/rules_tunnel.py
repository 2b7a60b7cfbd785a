"""Rules of a Connection's tunnel: IPsec policy, transit addresses, pre-shared key, probe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address

from . import addressing
from .problem import Problem
from .rules_home import default_transit
from .spec import ConnectionSpec, GatewaySpec

OWN_ENTRIES = ("agent-", "psk-")
"""How the names of vault entries begin that Homelink keeps itself: a spec that could name them could read any key."""
PSK_LENGTH = range(16, 129)
Specs = Mapping[str, ConnectionSpec]


def tunnel_problems(spec: ConnectionSpec, gateway: GatewaySpec, others: Specs, elsewhere: Specs) -> Iterator[Problem]:
    yield from _ipsec(spec)
    yield from _apipa(spec, gateway, others) if spec.transit.mode == "apipa" else _transit(spec, gateway)
    yield from _transit_shared(spec, {**elsewhere, **others})
    yield from _psk(spec)
    yield from _probe(spec, gateway)


def psk_problems(value: str) -> list[Problem]:
    """Of a pre-shared key itself; the value is never part of what is told. Azure FAQ: printable ASCII without space,
    '-' and '~'; both ends take 128 characters; fewer than 16 can be guessed from a recorded handshake."""
    if len(value) in PSK_LENGTH and all("!" <= c < "~" and c != "-" for c in value):
        return []
    message = "not a pre-shared key that both ends take"
    remedy = "Use 16 to 128 printable ASCII characters without space, '-' and '~'."
    return [Problem("value", "(not shown)", "psk-form", message, remedy)]


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
    """Modes auto, gatewaySubnet and pointToPoint: Azure's end is its BGP address, so only `local` can be chosen."""
    transit = spec.transit
    for field, text in (("remote", transit.remote), ("remoteSecond", transit.remote_second)):
        if text is not None:
            yield Problem(
                f"spec.transit.{field}",
                text,
                "transit-remote",
                "Azure's end is its BGP address, which is read from Azure",
                "Leave it out, or use mode apipa.",
            )
    if transit.mode == "gatewaySubnet" and gateway.active_active:
        yield Problem(
            "spec.transit.mode",
            transit.mode,
            "transit-active-active",
            "the first BGP address of an active-active gateway is the start of its /30, so no other is left in it",
            "Use auto, pointToPoint or apipa.",
        )
    default = default_transit(spec, gateway)
    if transit.local is None and default is None:
        return
    path, value = "spec.transit.local", default or addressing.address(transit.local or "")
    if value is None:
        yield Problem(path, transit.local, "address-form", "not an IPv4 address", "Leave it out.")
    elif transit.mode == "gatewaySubnet":
        yield Problem(
            path,
            transit.local,
            "transit-derived",
            "mode gatewaySubnet derives it from Azure's BGP address",
            "Leave it out, or use mode pointToPoint.",
        )
    elif any(value in n for p in gateway.virtual_network.address_space if (n := addressing.network(p))):
        yield Problem(
            path,
            str(value),
            "transit-in-vnet",
            "lies inside the virtual network" + (" (it is the default)" if default else ""),
            "Use any unused private address.",
        )
    elif not addressing.is_usable_private(value):
        yield Problem(
            path,
            transit.local,
            "transit-unusable",
            "is public, link-local, or no address that a host can have",
            "Use any unused private address; APIPA addresses need mode apipa.",
        )


def _apipa(spec: ConnectionSpec, gateway: GatewaySpec, others: Specs) -> Iterator[Problem]:
    wanted = {"local": spec.transit.local, "remote": spec.transit.remote}
    if gateway.active_active or spec.transit.remote_second is not None:
        wanted["remoteSecond"] = spec.transit.remote_second
    if not gateway.active_active and spec.transit.remote_second is not None:
        yield Problem(
            "spec.transit.remoteSecond",
            spec.transit.remote_second,
            "apipa-second",
            "the gateway has one instance",
            "Leave it out, or make a Gateway with activeActive.",
        )
    taken = {a: f"Connection {name}" for name, other in others.items() for a in apipa_addresses(other)}
    for field, text in wanted.items():
        path = f"spec.transit.{field}"
        value = addressing.address(text) if text is not None else None
        if text is None:
            yield Problem(
                path,
                text,
                "apipa-incomplete",
                "mode apipa needs an address for each end",
                "Set local, remote and, with an active-active gateway, remoteSecond.",
            )
        elif value is None or not addressing.is_apipa(value):
            yield Problem(
                path,
                text,
                "apipa-range",
                f"not within {addressing.APIPA[0]} to {addressing.APIPA[1]}",
                "Azure takes no other link-local addresses.",
            )
        elif value in taken:
            yield Problem(
                path,
                text,
                "apipa-shared",
                f"{taken[value]} uses it too",
                "Every end of every tunnel of a gateway needs an address of its own.",
            )
        else:
            taken[value] = path
    if spec.mode == "InitiatorOnly":
        yield Problem(
            "spec.mode",
            spec.mode,
            "apipa-home-initiates",
            "with APIPA addresses Azure does not begin: the home has to",
            "Use ResponderOnly or Default.",
        )


def apipa_addresses(spec: ConnectionSpec) -> list[IPv4Address]:
    """Both ends' addresses of a Connection in transit mode apipa, else none."""
    if spec.transit.mode != "apipa":
        return []
    texts = (spec.transit.local, spec.transit.remote, spec.transit.remote_second)
    return [a for t in texts if t is not None and (a := addressing.address(t)) is not None]


def _transit_shared(spec: ConnectionSpec, others: Specs) -> Iterator[Problem]:
    """One firewall cannot have one address on two tunnel interfaces, whichever gateways they lead to."""
    for name, other in others.items():
        mine, theirs = spec.transit, other.transit
        told_already = mine.mode == theirs.mode == "apipa" and other.gateway == spec.gateway
        if other.agent == spec.agent and mine.local and mine.local == theirs.local and not told_already:
            yield Problem(
                "spec.transit.local",
                mine.local,
                "transit-shared",
                f"Connection {name} has it on the same firewall",
                "Give each tunnel of a firewall an address of its own.",
            )


def _psk(spec: ConnectionSpec) -> Iterator[Problem]:
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


def _probe(spec: ConnectionSpec, gateway: GatewaySpec) -> Iterator[Problem]:
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
