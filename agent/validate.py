"""What a well-sealed command may still get wrong: addresses, prefixes, names.

The seal says who wrote it, not that it is right. Whatever passes here may be put into a firewall's configuration as it
is: no value that passes can hold a space, a quote or a line end.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network

from shared.wire.commands import Apply, Command, DesiredTunnel
from shared.wire.ulid import is_ulid

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}", re.ASCII)


def command_problems(command: Command) -> tuple[str, ...]:
    """Everything wrong with a command at once, each as `path: what`."""
    found = [] if is_ulid(command.id) else [f"id: {command.id[:40]!r} is not a ULID"]
    found += _range("seq", command.seq, 1, 2**62) + _range("generation", command.generation, 0, 2**62)
    body = command.body
    if isinstance(body, Apply):
        found += _range("revert_in_s", body.revert_in_s, 0, 86_400)
        found += desired_problems(body.desired)
    else:
        found += _names(body.connection, body.connection_id)
    return tuple(found)


def desired_problems(d: DesiredTunnel) -> list[str]:
    found = _names(d.connection, d.connection_id)
    peers = {"peer_address": d.peer_address, "transit.local": d.transit.local, "transit.remote": d.transit.remote}
    peers |= {"bgp.local_address": d.bgp.local_address, "bgp.peer_address": d.bgp.peer_address}
    if d.probe is not None:
        peers["probe"] = d.probe
    for path, text in peers.items():
        found += _address(path, text)
    if not NAME.fullmatch(d.peer_id):
        found.append(f"peer_id: {d.peer_id[:60]!r} is neither an address nor a plain name")
    for path, prefixes in (("bgp.advertise", d.bgp.advertise), ("bgp.accept", d.bgp.accept)):
        for i, text in enumerate(prefixes):
            found += _prefix(f"{path}[{i}]", text)
    found += _range("transit.prefix_length", d.transit.prefix_length, 8, 32)
    found += _range("bgp.local_asn", d.bgp.local_asn, 1, 2**32 - 1) + _range(
        "bgp.peer_asn", d.bgp.peer_asn, 1, 2**32 - 1
    )
    found += _range("bgp.keepalive_s", d.bgp.keepalive_s, 1, 65_535) + _range("bgp.hold_s", d.bgp.hold_s, 3, 65_535)
    found += _range("mss", d.mss, 536, 9000) + _range("dpd_delay_s", d.dpd_delay_s, 1, 3600)
    found += _range("ike.lifetime_s", d.ike.lifetime_s, 120, 604_800)
    found += _range("esp.lifetime_s", d.esp.lifetime_s, 120, 604_800)
    return found


def _names(connection: str, connection_id: str) -> list[str]:
    pairs = (("connection", connection), ("connection_id", connection_id))
    return [f"{path}: {text[:40]!r} is not a plain name" for path, text in pairs if not NAME.fullmatch(text)]


def _range(path: str, value: int, low: int, high: int) -> list[str]:
    return [] if low <= value <= high else [f"{path}: {value} is not within {low}..{high}"]


def _address(path: str, text: str) -> list[str]:
    try:
        if str(IPv4Address(text)) == text:
            return []
    except ValueError:
        pass
    return [f"{path}: {text[:60]!r} is not an IPv4 address"]


def _prefix(path: str, text: str) -> list[str]:
    try:
        if str(IPv4Network(text)) == text:
            return []
    except ValueError:
        pass
    return [f"{path}: {text[:60]!r} is not an IPv4 prefix without host bits"]
