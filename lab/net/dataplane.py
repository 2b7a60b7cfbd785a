"""The data plane of the simulated gateway: what ARM's resources mean, carried out by charon, bgpd and nftables.

Homes are told apart by the address that their local network gateway means: `edge` holds a map from that address to the
connection's namespace, and IKE from anywhere else is dropped; SAs with the old address end when the map changes. (That
Azure behaves so after an address change is the lab's one assumption without a source; RFC 7296 2.23 would let a peer
follow a NAT's change.) One gateway at a time.

Daemons are children of the process that owns this object but outlive its crash, as Azure's data plane outlives its
control plane; a new owner starts from nothing and clears away what it finds.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lab.dataplane import BgpPeer, ConnectionView, GatewayView, Route, TunnelStatus
from lab.net import tables
from lab.net.frr import Frr
from lab.net.link import PREFIX, Link
from lab.net.run import LabNetError, drop_namespace, inside, ip, ip_json, namespaces, nft, run
from lab.net.topology import DEFAULT_DIR, ROUTER, Topology

KEEPALIVE_S, HOLD_S = 60, 180
"""Azure's fixed BGP timers; real seconds, never scaled."""
CONNECT_RETRY_S = 5
"""How often bgpd tries to connect. Azure's value is not documented; FRR's 120 s would only make waiting longer."""
_MAX_LINKS = 64


def _utc_now() -> datetime:
    return datetime.now(UTC)


class NetDataPlane:
    """`lab.dataplane.DataPlane` on the network that `topology_dir` describes (see lab.net.topology)."""

    def __init__(self, topology_dir: Path = DEFAULT_DIR, *, now: Callable[[], datetime] = _utc_now) -> None:
        self.topology = Topology.load(topology_dir)
        self._now = now
        self._gateway: GatewayView | None = None
        self._frr: Frr | None = None
        self._links: dict[str, Link] = {}
        self._admitted: dict[str, str] = {}  # connection -> address, as in the edge's map
        self._writing = asyncio.Lock()

    # -- gateway ------------------------------------------------------------------------------------------------

    async def set_gateway(self, gateway: GatewayView) -> None:
        async with self._writing:
            old = self._gateway
            if old == gateway:
                return
            if old is not None and old.name != gateway.name:
                raise LabNetError(
                    f"the lab carries one gateway, and that is `{old.name}`; delete it before `{gateway.name}`"
                )
            if old is None:
                await self._sweep()
                self._frr = await Frr.start(self.topology.az_ns, self.topology.directory / "azure" / "frr")
            await self._set_public_address(gateway.public_ip)
            if old is None or old.bgp_address != gateway.bgp_address:
                await ip(self.topology.az_ns, [f"addr replace {gateway.bgp_address}/32 dev lo"])
            if old is not None and old.bgp_address != gateway.bgp_address:
                await ip(self.topology.az_ns, [f"addr del {old.bgp_address}/32 dev lo"])
            self._gateway = gateway
            await self._configure_bgp(old)
            for link in self._links.values():
                link.gateway = gateway
                await link.load()

    async def drop_gateway(self, name: str) -> None:
        async with self._writing:
            if self._gateway is None or self._gateway.name != name:
                return
            for connection in list(self._links):
                await self._drop(connection)
            if self._frr is not None:
                await self._frr.stop()
                self._frr = None
            await ip(self.topology.az_ns, [f"addr del {self._gateway.bgp_address}/32 dev lo"])
            self._gateway = None

    async def reset_gateway(self, name: str) -> None:
        """What a reset does to packets: every tunnel and BGP session of the gateway starts from nothing."""
        async with self._writing:
            if self._gateway is None or self._gateway.name != name or self._frr is None:
                return
            await self._frr.stop()
            await asyncio.gather(*(link.start() for link in self._links.values()))
            self._frr = await Frr.start(self.topology.az_ns, self._frr.directory)
            await self._configure_bgp(None)
            for link in self._links.values():
                await self._configure_neighbour(link.view, None)

    async def _set_public_address(self, address: str) -> None:
        t = self.topology
        links = await ip_json(t.edge_ns, "addr", "show", "dev", "pub0")
        held = [a["local"] for link in links for a in link.get("addr_info", []) if a["family"] == "inet"]
        if held == [address]:
            return
        edge = [*(f"addr del {old}/32 dev pub0" for old in held), f"addr add {address}/32 dev pub0"]
        edge += [f"route replace {ROUTER} dev pub0", f"route replace default via {ROUTER} src {address}"]
        await ip(t.edge_ns, edge)
        inet = [f"route del {old}/32 dev to-edge" for old in held]
        await ip(t.inet_ns, [*inet, f"route replace {address}/32 dev to-edge"])

    async def _sweep(self) -> None:
        """Clear away what an earlier owner of this network left behind."""
        await asyncio.gather(*(drop_namespace(n) for n in await namespaces() if n.startswith(PREFIX)))
        for pid in (await run("ip", "netns", "pids", self.topology.az_ns)).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        await run("ip", "-n", self.topology.az_ns, "addr", "flush", "dev", "lo", "scope", "global")
        await nft(self.topology.edge_ns, "flush map ip gw peers")
        for namespace in (self.topology.edge_ns, self.topology.az_ns):
            for link in await ip_json(namespace, "link", "show", "type", "veth"):
                if str(link["ifname"])[:1] == "c" and str(link["ifname"])[1:].isdigit():
                    await run("ip", "-n", namespace, "link", "del", str(link["ifname"]), check=False)

    # -- connections --------------------------------------------------------------------------------------------

    async def set_connection(self, connection: ConnectionView) -> None:
        async with self._writing:
            if self._gateway is None or self._gateway.name != connection.gateway:
                raise LabNetError(
                    f"connection `{connection.name}`: gateway `{connection.gateway}` is not in the lab's network"
                )
            link = self._links.get(connection.name)
            if link is None:
                await self._add(connection)
                return
            old = link.view
            if old == connection:
                return
            link.view = connection
            if old.peer_address != connection.peer_address or old.mode != connection.mode:
                await link.change_peer(lambda: self._admit(connection))
            if _shape(old) != _shape(connection):
                await link.start()
            elif old.psk != connection.psk:
                await link.load()  # a live SA proves nothing about a new key, and keeps running, as it does in Azure
            await self._configure_routes(link, old)
            await self._configure_neighbour(connection, old)

    async def _add(self, connection: ConnectionView) -> None:
        assert self._gateway is not None
        used = {link.index for link in self._links.values()}
        index = next((n for n in range(_MAX_LINKS) if n not in used), None)
        if index is None:
            raise LabNetError(f"connection `{connection.name}`: the lab's gateway has {_MAX_LINKS} already")
        link = Link(self.topology, index, connection, self._gateway)
        self._links[connection.name] = link
        try:
            await link.build()
            await self._admit(connection)
            await self._configure_routes(link, None)
            await self._configure_neighbour(connection, None)
        except BaseException:
            await self._drop(connection.name)
            raise

    async def set_peer(self, connection: str, address: str | None) -> None:
        async with self._writing:
            link = self._link(connection)
            if link.view.peer_address == address:
                return
            link.view = replace(link.view, peer_address=address)
            await link.change_peer(lambda: self._admit(link.view))

    async def drop_connection(self, name: str) -> None:
        async with self._writing:
            await self._drop(name)

    async def reset_connection(self, name: str) -> None:
        async with self._writing:
            await self._link(name).reset()

    async def _drop(self, name: str) -> None:
        link = self._links.pop(name, None)
        if link is None:
            return
        await self._admit(replace(link.view, peer_address=None))
        if self._frr is not None and self._gateway is not None and link.view.enable_bgp and link.view.peer_bgp_address:
            await self._bgp([f"no neighbor {link.view.peer_bgp_address}"])
        await link.demolish()

    def _link(self, name: str) -> Link:
        if name not in self._links:
            raise LabNetError(f"connection `{name}` is not in the lab's network; there are: {sorted(self._links)}")
        return self._links[name]

    async def _admit(self, view: ConnectionView) -> None:
        """Make the edge's map say what the local network gateway means, and forget flows of what it meant before.

        InitiatorOnly refuses what comes in, so its peer is never in the map: answers pass by connection tracking."""
        link = self._links.get(view.name)
        wanted = view.peer_address if view.mode != "InitiatorOnly" else None
        held = self._admitted.get(view.name)
        if wanted == held:
            return
        if wanted is not None and (others := [n for n, a in self._admitted.items() if a == wanted]):
            raise LabNetError(
                f"connections `{others[0]}` and `{view.name}` mean one address, {wanted}; Azure refuses that"
            )
        lines = []
        if held is not None:
            lines.append(f"delete element ip gw peers {{ {held} }}")
        if wanted is not None and link is not None:
            lines.append(f"add element ip gw peers {{ {wanted} : {link.inner} }}")
        await nft(self.topology.edge_ns, "\n".join(lines) + "\n")
        self._admitted.pop(view.name, None)
        if wanted is not None:
            self._admitted[view.name] = wanted
        if held is not None:
            for side in ("-s", "-d"):
                await run(*inside(self.topology.edge_ns), "conntrack", "-D", side, held, check=False)

    # -- routing ------------------------------------------------------------------------------------------------

    async def _configure_routes(self, link: Link, old: ConnectionView | None) -> None:
        before, after = _destinations(old), _destinations(link.view)
        lines = [f"route del {d} via {link.via}" for d in before if d not in after]
        lines += [f"route replace {d} via {link.via}" for d in after if d not in before]
        if lines:
            await ip(self.topology.az_ns, lines)

    async def _configure_bgp(self, old: GatewayView | None) -> None:
        gateway = self._gateway
        assert gateway is not None and self._frr is not None
        lines = []
        if old is not None and old.asn != gateway.asn:
            lines.append(f"no router bgp {old.asn}")
        lines += [
            f"router bgp {gateway.asn}",
            f"bgp router-id {gateway.bgp_address}",
            "no bgp ebgp-requires-policy",
            "no bgp network import-check",
            "address-family ipv4 unicast",
        ]
        gone = old.vnet_prefixes if old is not None and old.asn == gateway.asn else ()
        lines += [f"no network {p}" for p in gone if p not in gateway.vnet_prefixes]
        lines += [f"network {p}" for p in gateway.vnet_prefixes]
        await self._frr.configure(lines)
        if old is not None and (old.asn, old.bgp_address) != (gateway.asn, gateway.bgp_address):
            for link in self._links.values():
                await self._configure_neighbour(link.view, None)

    async def _configure_neighbour(self, view: ConnectionView, old: ConnectionView | None) -> None:
        assert self._gateway is not None
        before = old.peer_bgp_address if old is not None and old.enable_bgp and old.peer_asn else None
        after = view.peer_bgp_address if view.enable_bgp and view.peer_asn else None
        lines = [f"no neighbor {before}"] if before is not None and before != after else []
        if after is not None and (old is None or before != after or old.peer_asn != view.peer_asn):
            lines += [
                f"neighbor {after} remote-as {view.peer_asn}",
                f"neighbor {after} ebgp-multihop 255",
                f"neighbor {after} update-source {self._gateway.bgp_address}",
                f"neighbor {after} timers {KEEPALIVE_S} {HOLD_S}",
                f"neighbor {after} timers connect {CONNECT_RETRY_S}",
            ]
        if lines:
            await self._bgp(lines)

    async def _bgp(self, lines: list[str]) -> None:
        assert self._gateway is not None and self._frr is not None
        await self._frr.configure([f"router bgp {self._gateway.asn}", *lines])

    # -- what really happened -----------------------------------------------------------------------------------

    async def tunnel(self, connection: str) -> TunnelStatus:
        return await self._link(connection).tunnel(self._now())

    async def ike_sas(self, connection: str) -> list[dict[str, object]]:
        return list(await self._link(connection).sas())

    async def bgp_peers(self, gateway: str) -> list[BgpPeer]:
        return tables.peers(await self._show(gateway, "show bgp ipv4 unicast summary json"))

    async def learned_routes(self, gateway: str) -> list[Route]:
        table = await self._show(gateway, "show bgp ipv4 unicast json")
        return [] if self._gateway is None else tables.learned(table, self._gateway)

    async def advertised_routes(self, gateway: str, peer: str) -> list[Route]:
        table = await self._show(gateway, f"show bgp ipv4 unicast neighbors {peer} advertised-routes json")
        return [] if self._gateway is None else tables.advertised(table, self._gateway)

    async def _show(self, gateway: str, command: str) -> dict[str, Any]:
        frr = self._frr
        if self._gateway is None or self._gateway.name != gateway or frr is None:
            return {}
        try:
            shown = await frr.show(command)
        except LabNetError:  # it is being restarted at this moment
            return {}
        return shown if isinstance(shown, dict) else {}

    async def close(self) -> None:
        if self._gateway is not None:
            await self.drop_gateway(self._gateway.name)


def _shape(view: ConnectionView) -> tuple[object, ...]:
    """What cannot change without the tunnel going down."""
    return (view.mode, view.policy, view.dpd_timeout_s)


def _destinations(view: ConnectionView | None) -> list[str]:
    if view is None:
        return []
    peer = [f"{view.peer_bgp_address}/32"] if view.enable_bgp and view.peer_bgp_address else []
    return [*peer, *view.static_prefixes]
