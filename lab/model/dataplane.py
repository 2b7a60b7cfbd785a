"""The Azure half of the model's fabric, as the simulated ARM sees it: `lab.dataplane.DataPlane` without packets.

What ends what is the same as in `lab.net.site`: another peer, mode, policy or DPD ends the SA; another neighbour ends
the BGP session; another key ends nothing. A change takes effect at once, also while an instance is away.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from lab.dataplane import BgpPeer, ConnectionView, GatewayView, InstanceTunnel, Route, TunnelStatus
from lab.model import tunnel
from lab.model.fabric import Fabric
from lab.model.paths import Gateway
from lab.model.tunnel import AzureEnd


class ModelDataPlane:
    """`epoch` is when the fabric's time was 0, for the times of establishment that ARM shows."""

    def __init__(self, fabric: Fabric, epoch: datetime) -> None:
        self._fabric = fabric
        self._epoch = epoch

    # gateways --------------------------------------------------------------------------------------------------

    async def set_gateway(self, gateway: GatewayView) -> None:
        """Other instances or another network: everything is built anew. Another ASN ends the sessions."""
        fabric = self._fabric
        with fabric.change() as now:
            site = fabric.gateways.setdefault(gateway.name, Gateway(gateway, [None] * len(gateway.instances)))
            old, ends = site.view, fabric.ends_of(gateway.name)
            same = old.instances == gateway.instances and old.vnet_prefixes[:1] == gateway.vnet_prefixes[:1]
            for end in ends:
                if not same:
                    fabric.retire(end)
                elif old.asn != gateway.asn:
                    fabric.end_session(end, tunnel.SHUT_DOWN)
            site.view = gateway
            if not same:
                site.back_at = [None] * len(gateway.instances)
                for end in ends:
                    del fabric.azure[end.view.name, end.ordinal]
                for view in dict.fromkeys(end.view.name for end in ends):
                    self._carry(next(end.view for end in ends if end.view.name == view), now)

    async def drop_gateway(self, name: str) -> None:
        with self._fabric.change():
            for end in self._fabric.ends_of(name):
                self._drop(end)
            self._fabric.gateways.pop(name, None)

    async def reset_gateway(self, name: str, public_ip: str | None = None, outage_s: float = 0.0) -> None:
        site = self._fabric.gateways.get(name)
        if site is None:
            return
        ordinals = [n for n, i in enumerate(site.view.instances) if public_ip in (None, i.public_ip)]
        if not ordinals:
            raise LookupError(f"gateway `{name}` has no instance at {public_ip}")
        self._fabric.outage(name, ordinals[0], outage_s, tells=self._fabric.assumptions.reset_tells_peers)

    # connections -----------------------------------------------------------------------------------------------

    async def set_connection(self, connection: ConnectionView) -> None:
        with self._fabric.change() as now:
            ends = self._ends(connection.name)
            if not ends:
                self._carry(connection, now)
            elif ends[0].view.gateway != connection.gateway:
                raise LookupError(f"connection `{connection.name}` is carried by `{ends[0].view.gateway}`")
            for end in ends:
                self._change(end, connection)

    async def set_peer(self, connection: str, address: str | None) -> None:
        with self._fabric.change():
            for end in self._carried(connection):
                self._change(end, replace(end.view, peer_address=address))

    async def drop_connection(self, name: str) -> None:
        with self._fabric.change():
            for end in self._ends(name):
                self._drop(end)

    async def reset_connection(self, name: str) -> None:
        with self._fabric.change():
            self._fabric.wedged.discard(name)
            for end in self._carried(name):
                self._fabric.close(end)

    def _carry(self, view: ConnectionView, now: float) -> None:
        site = self._fabric.gateways.get(view.gateway)
        if site is None:
            raise LookupError(f"connection `{view.name}`: gateway `{view.gateway}` is not in the fabric")
        for ordinal, instance in enumerate(site.view.instances):
            self._fabric.azure[view.name, ordinal] = AzureEnd(view, ordinal, instance, now)

    def _change(self, end: AzureEnd, view: ConnectionView) -> None:
        old, neighbour = end.view, tunnel.neighbour_of(end)
        moved = old.peer_address != view.peer_address and end.sa is not None and end.sa.source != view.peer_address
        if moved or _shape(old) != _shape(view):
            self._fabric.close(end)
        if neighbour != tunnel.neighbour_of(replace(end, view=view)):
            self._fabric.end_session(end, tunnel.SHUT_DOWN)
        end.view = view

    def _drop(self, end: AzureEnd) -> None:
        self._fabric.retire(end)
        del self._fabric.azure[end.view.name, end.ordinal]

    def _ends(self, connection: str) -> list[AzureEnd]:
        return [end for (name, _), end in self._fabric.azure.items() if name == connection]

    def _carried(self, connection: str) -> list[AzureEnd]:
        ends = self._ends(connection)
        if not ends:
            raise LookupError(f"connection `{connection}` is not in the fabric")
        return ends

    # what really happened --------------------------------------------------------------------------------------

    async def tunnel(self, connection: str) -> TunnelStatus:
        now = self._fabric.clock()
        return TunnelStatus.of(tuple(self._instance(end, now) for end in self._carried(connection)))

    def _instance(self, end: AzureEnd, now: float) -> InstanceTunnel:
        sa = end.sa
        if sa is None or not sa.child:
            return InstanceTunnel(end.instance.public_ip, connected=False)
        carried = int(sa.seconds_carried(now) * self._fabric.assumptions.bytes_per_s)
        since = self._epoch + timedelta(seconds=sa.since)
        return InstanceTunnel(end.instance.public_ip, True, carried, carried, since)

    async def ike_sas(self, connection: str) -> list[dict[str, object]]:
        now = self._fabric.clock()
        return [
            {"name": "azure", "state": "ESTABLISHED", "remote-host": sa.source, "established": str(int(now - sa.since))}
            for sa in (end.sa for end in self._carried(connection))
            if sa is not None
        ]

    async def bgp_peers(self, gateway: str) -> list[BgpPeer]:
        now = self._fabric.clock()
        return [self._peer(end, now) for end in self._neighbours(gateway)]

    def _peer(self, end: AzureEnd, now: float) -> BgpPeer:
        view, session = end.view, end.session
        peer = BgpPeer(str(view.peer_bgp_address), view.peer_asn or 0, "Active", 0.0, 0, 0, 0, end.bgp_address)
        if session is None:
            return peer
        up = now - session.since
        count = 2 + int(up / session.keepalive_s)
        routes = len(self._fabric.learned(end))
        return replace(
            peer,
            state="Established",
            uptime_s=up,
            routes_received=routes,
            messages_sent=count,
            messages_received=count,
        )

    async def learned_routes(self, gateway: str) -> list[Route]:
        self._fabric.clock()
        site = self._fabric.gateways.get(gateway)
        if site is None:
            return []
        routes = []
        for ordinal, me in enumerate(site.view.instances):
            own = me.bgp_address
            routes += [Route(p, own, "", None, "Network", 32768, own) for p in site.view.vnet_prefixes]
            for end in self._neighbours(gateway):
                peer, asn = str(end.view.peer_bgp_address), str(end.view.peer_asn)
                if end.ordinal == ordinal:
                    routes += [Route(p, peer, asn, peer, "EBgp", 0, own) for p in self._fabric.learned(end)]
        return routes

    async def advertised_routes(self, gateway: str, peer: str) -> list[Route]:
        self._fabric.clock()
        site = self._fabric.gateways.get(gateway)
        routes = []
        for end in self._neighbours(gateway):
            if site is not None and end.view.peer_bgp_address == peer and end.session is not None:
                me = end.instance.bgp_address
                for prefix in self._fabric.announced(end):
                    routes.append(Route(prefix, end.bgp_address, str(site.view.asn), None, "Network", 0, me))
        return routes

    def _neighbours(self, gateway: str) -> list[AzureEnd]:
        """Those of instances that are there."""
        site = self._fabric.gateways.get(gateway)
        ends = self._fabric.ends_of(gateway)
        return [e for e in ends if site and site.back_at[e.ordinal] is None and e.view.enable_bgp and e.view.peer_asn]

    async def close(self) -> None:
        """Nothing runs."""


def _shape(view: ConnectionView) -> tuple[object, ...]:
    """What cannot change without the tunnel going down."""
    return view.mode, view.policy, view.dpd_timeout_s
