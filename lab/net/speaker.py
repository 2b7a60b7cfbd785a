"""One instance of a gateway: the namespace with its BGP address, zebra and bgpd, configured by difference.

What an instance should have (addresses on `lo`, routes into links, BGP networks and neighbours) follows from the
gateway and the connections alone; `apply` brings it there touching only what differs, so that a session whose lines do
not change is never disturbed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lab.dataplane import BgpPeer, GatewayView, InstanceView, Route
from lab.net import tables
from lab.net.frr import Frr
from lab.net.link import Link
from lab.net.run import LabNetError, ip
from lab.net.topology import Topology

KEEPALIVE_S, HOLD_S = 60, 180
"""Azure's fixed BGP timers; real seconds, never scaled."""
CONNECT_RETRY_S = 5
"""How often bgpd tries to connect. Azure's value is not documented; FRR's 120 s would only make waiting longer."""


@dataclass(frozen=True)
class Neighbour:
    asn: int
    local: str
    passive: bool = False
    sibling: bool = False

    def lines(self, address: str) -> tuple[list[str], list[str]]:
        """FRR's lines, and those of the address family."""
        found = [f"remote-as {self.asn}", f"update-source {self.local}", f"timers {KEEPALIVE_S} {HOLD_S}"]
        found += [f"timers connect {CONNECT_RETRY_S}"]
        found += [] if self.sibling else ["ebgp-multihop 255"]
        found += ["passive"] if self.passive else []
        family = ["next-hop-self"] if self.sibling else []
        return [f"neighbor {address} {x}" for x in found], [f"neighbor {address} {x}" for x in family]


@dataclass(frozen=True)
class Wanted:
    """What an instance has, or should have."""

    asn: int = 0
    addresses: frozenset[str] = frozenset()
    routes: dict[str, str] = field(default_factory=dict)
    networks: tuple[str, ...] = ()
    neighbours: dict[str, Neighbour] = field(default_factory=dict)


class Speaker:
    """Not concurrent: the gateway's site calls it one at a time; the `show` commands may come at any time."""

    def __init__(self, topology: Topology, slot: int, ordinal: int, namespace: str) -> None:
        self.ordinal = ordinal
        self.namespace = namespace
        self._directory = topology.directory / "azure" / f"frr{slot}{'b' if ordinal else ''}"
        self._frr: Frr | None = None
        self._has = Wanted()

    async def start(self) -> None:
        """Start unconfigured; addresses and routes of the namespace stay as they are."""
        self._frr = await Frr.start(self.namespace, self._directory)
        self._has = replace(self._has, asn=0, networks=(), neighbours={})

    async def stop(self) -> None:
        """An orderly end: neighbours get a notification."""
        if self._frr is not None:
            await self._frr.stop()
            self._frr = None

    async def close(self) -> None:
        await self.stop()
        await ip(self.namespace, [f"addr del {a}/32 dev lo" for a in self._has.addresses])
        self._has = Wanted()

    async def apply(self, gateway: GatewayView, links: Sequence[Link]) -> None:
        """Have what the gateway and these links (of this instance) say. Only addresses and routes while it is down."""
        new, old = _wanted(gateway, self.ordinal, links), self._has
        lines = [f"addr replace {a}/32 dev lo" for a in new.addresses - old.addresses]
        lines += [f"route del {d} via {via}" for d, via in old.routes.items() if d not in new.routes]
        lines += [f"route replace {d} via {via}" for d, via in new.routes.items() if old.routes.get(d) != via]
        lines += [f"addr del {a}/32 dev lo" for a in old.addresses - new.addresses]
        if lines:
            await ip(self.namespace, lines)
        if self._frr is None:
            self._has = replace(old, addresses=new.addresses, routes=new.routes)
            return
        commands = _bgp(new, old, gateway.instances[self.ordinal])
        if commands:
            await self._frr.configure(commands)
        self._has = new

    # what really happened ----------------------------------------------------------------------------------------

    async def peers(self, me: InstanceView) -> list[BgpPeer]:
        towards = {address: n.local for address, n in self._has.neighbours.items()}
        return tables.peers(await self._show("show bgp ipv4 unicast summary json"), me.bgp_address, towards)

    async def learned(self, me: InstanceView) -> list[Route]:
        return tables.learned(await self._show("show bgp ipv4 unicast json"), me.bgp_address)

    async def advertised(self, me: InstanceView, peer: str) -> list[Route]:
        neighbour = self._has.neighbours.get(peer)
        if neighbour is None:
            return []
        table = await self._show(f"show bgp ipv4 unicast neighbors {peer} advertised-routes json")
        asn = None if neighbour.sibling else self._has.asn
        return tables.advertised(table, asn, me.bgp_address, neighbour.local)

    async def _show(self, command: str) -> dict[str, Any]:
        if self._frr is None:
            return {}
        try:
            shown = await self._frr.show(command)
        except LabNetError:  # it is being stopped at this moment
            return {}
        return shown if isinstance(shown, dict) else {}


def _wanted(gateway: GatewayView, ordinal: int, links: Sequence[Link]) -> Wanted:
    me = gateway.instances[ordinal]
    addresses, routes = {me.bgp_address}, dict[str, str]()
    neighbours: dict[str, Neighbour] = {}
    for other in gateway.instances:
        if other != me:
            neighbours[other.bgp_address] = Neighbour(gateway.asn, me.bgp_address, sibling=True)
    for link in links:
        view = link.view
        peer = view.peer_bgp_address if view.enable_bgp else None
        if link.routed:
            routes |= dict.fromkeys([*view.static_prefixes, *([f"{peer}/32"] if peer else [])], link.via)
        if not peer:
            continue
        local = view.apipa[ordinal] if len(view.apipa) > ordinal else me.bgp_address
        addresses.add(local)
        if view.peer_asn:
            neighbours[peer] = Neighbour(view.peer_asn, local, passive=local != me.bgp_address)
    return Wanted(gateway.asn, frozenset(addresses), routes, gateway.vnet_prefixes, neighbours)


def _bgp(new: Wanted, old: Wanted, me: InstanceView) -> list[str]:
    """FRR's commands from one state to the other; empty if it is the same."""
    lines, family = [], []
    had, networks = dict(old.neighbours), set(old.networks)
    if old.asn != new.asn:
        lines += [f"no router bgp {old.asn}"] if old.asn else []
        had, networks = {}, set()
    head = [f"router bgp {new.asn}"]
    if old.asn != new.asn:
        head += [f"bgp router-id {me.bgp_address}", "no bgp ebgp-requires-policy", "no bgp network import-check"]
    body = [f"no neighbor {a}" for a, n in had.items() if new.neighbours.get(a) != n]
    for address, neighbour in new.neighbours.items():
        if had.get(address) != neighbour:
            plain, inner = neighbour.lines(address)
            body += plain
            family += inner
    family += [f"no network {p}" for p in networks if p not in new.networks]
    family += [f"network {p}" for p in new.networks if p not in networks]
    if not lines and len(head) == 1 and not body and not family:
        return []
    return [*lines, *head, *body, "address-family ipv4 unicast", *family]
