"""The data plane of the simulated gateways: what ARM's resources mean, carried out by charon, bgpd and nftables.

Every gateway is a site of its own (lab.net.site) with a charon per tunnel and a bgpd per instance; they share the edge
(lab.net.edge), which tells homes apart by the address that their local network gateway means. SAs with the old address
end when that changes. (That Azure behaves so after an address change is the lab's one assumption without a source;
RFC 7296 2.23 would let a peer follow a NAT's change.)

Daemons are children of the process that owns this object but outlive its crash, as Azure's data plane outlives its
control plane; a new owner starts from nothing and clears away what it finds.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from lab.dataplane import BgpPeer, ConnectionView, GatewayView, Route, TunnelStatus
from lab.net.edge import Edge
from lab.net.run import LabNetError, drop_namespace, ip_json, namespaces, run
from lab.net.site import Site
from lab.net.topology import DEFAULT_DIR, OWN_PREFIXES, Topology

_MAX_LINKS = 250


def _utc_now() -> datetime:
    return datetime.now(UTC)


class NetDataPlane:
    """`lab.dataplane.DataPlane` on the network that `topology_dir` describes (see lab.net.topology)."""

    def __init__(self, topology_dir: Path = DEFAULT_DIR, *, now: Callable[[], datetime] = _utc_now) -> None:
        self.topology = Topology.load(topology_dir)
        self._now = now
        self._edge = Edge(self.topology)
        self._sites: dict[str, Site] = {}
        self._swept = False
        self._founding = asyncio.Lock()

    # -- gateways -----------------------------------------------------------------------------------------------

    async def set_gateway(self, gateway: GatewayView) -> None:
        site = self._sites.get(gateway.name)
        if site is not None:
            await site.change(gateway)
            return
        async with self._founding:
            if not self._swept:
                await self._sweep()
                self._swept = True
            used = {site.slot for site in self._sites.values()}
            slot = next(n for n in range(len(used) + 1) if n not in used)
            site = Site(self.topology, self._edge, slot, gateway, self._free_index)
            self._sites[gateway.name] = site
        try:
            await site.open()
        except BaseException:
            del self._sites[gateway.name]
            await site.close()
            raise

    async def drop_gateway(self, name: str) -> None:
        site = self._sites.get(name)
        if site is not None:
            await site.close()
            self._sites.pop(name, None)

    async def reset_gateway(self, name: str, public_ip: str | None = None, outage_s: float = 0.0) -> None:
        site = self._sites.get(name)
        if site is not None:
            await site.reset(public_ip, outage_s)

    def _free_index(self) -> int:
        used = {link.index for site in self._sites.values() for links in site.links.values() for link in links}
        index = next((n for n in range(_MAX_LINKS) if n not in used), None)
        if index is None:
            raise LabNetError(f"the lab's network carries {_MAX_LINKS} tunnels already; drop a connection first")
        return index

    async def _sweep(self) -> None:
        """Clear away what an earlier owner of this network left behind."""
        az = self.topology.az_ns
        await asyncio.gather(*(drop_namespace(n) for n in await namespaces() if n.startswith(OWN_PREFIXES)))
        for pid in (await run("ip", "netns", "pids", az)).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        await run("ip", "-n", az, "addr", "flush", "dev", "lo", "scope", "global")
        await self._edge.clear()
        for namespace in (self.topology.edge_ns, az, self.topology.vm_ns):
            for link in await ip_json(namespace, "link", "show", "type", "veth"):
                name = str(link["ifname"])
                if (name[:1] == "c" and name[1:].isdigit()) or name in ("ib0", "eth1"):
                    await run("ip", "-n", namespace, "link", "del", name, check=False)
        shutil.rmtree(self.topology.directory / "machines", ignore_errors=True)

    # -- connections --------------------------------------------------------------------------------------------

    async def set_connection(self, connection: ConnectionView) -> None:
        site = self._sites.get(connection.gateway)
        if site is None:
            raise LabNetError(
                f"connection `{connection.name}`: gateway `{connection.gateway}` is not in the lab's network"
            )
        other = self._of(connection.name)
        if other is not None and other is not site:
            raise LabNetError(f"connection `{connection.name}` is carried by another gateway, `{other.view.name}`")
        await site.set_connection(connection)

    async def set_peer(self, connection: str, address: str | None) -> None:
        await self._site(connection).set_peer(connection, address)

    async def drop_connection(self, name: str) -> None:
        site = self._of(name)
        if site is not None:
            await site.drop_connection(name)

    async def reset_connection(self, name: str) -> None:
        await self._site(name).reset_connection(name)

    def _of(self, connection: str) -> Site | None:
        return next((site for site in self._sites.values() if connection in site.links), None)

    def _site(self, connection: str) -> Site:
        site = self._of(connection)
        if site is None:
            there = sorted(name for found in self._sites.values() for name in found.links)
            raise LabNetError(f"connection `{connection}` is not in the lab's network; there are: {there}")
        return site

    # -- what really happened -----------------------------------------------------------------------------------

    async def tunnel(self, connection: str) -> TunnelStatus:
        return TunnelStatus.of(await self._site(connection).tunnels(connection, self._now()))

    async def ike_sas(self, connection: str) -> list[dict[str, object]]:
        return await self._site(connection).sas(connection)

    async def bgp_peers(self, gateway: str) -> list[BgpPeer]:
        site = self._sites.get(gateway)
        return await site.peers() if site is not None else []

    async def learned_routes(self, gateway: str) -> list[Route]:
        site = self._sites.get(gateway)
        return await site.learned() if site is not None else []

    async def advertised_routes(self, gateway: str, peer: str) -> list[Route]:
        site = self._sites.get(gateway)
        return await site.advertised(peer) if site is not None else []

    async def close(self) -> None:
        await asyncio.gather(*(self.drop_gateway(name) for name in list(self._sites)))
