"""From ARM resources to the data plane and back.

Choices where Azure's behaviour is documented only in part:
- A connection is carried from the end of its creation on; a changed local network gateway, policy or key takes effect
  when its operation ends, resets when they begin.
- A name is resolved again by any PUT of the local network gateway or connection, by a reset of the connection or
  gateway, and every five minutes while the tunnel is down. A connected tunnel never looks. A name that no longer has
  an address counts as no peer; a server that does not answer leaves the last address in force.
- Two local network gateways of one gateway that mean one address: the connection that comes second is Failed and not
  carried. A refresh that would lead there keeps the old address.
- connectionStatus: Connected while the data plane says so; Unknown for the first seconds and while nothing is carried;
  NotConnected once it was up and is no more, or while the name has no address; otherwise Connecting.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime

from lab.azure import durations
from lab.azure.clock import Clock
from lab.azure.errors import bad_request
from lab.azure.resolver import ResolveError, Resolver
from lab.azure.statelog import StateLog
from lab.azure.store import Resource, Store, ref
from lab.dataplane import ConnectionView, DataPlane, GatewayView

DEFAULT_DPD_S = 45


@dataclass(frozen=True)
class Status:
    """What a GET of a connection shows of its tunnel."""

    status: str
    ingress_bytes: int = 0
    egress_bytes: int = 0
    established_at: datetime | None = None


class Plumbing:
    """Keeps the data plane in step with the resources."""

    def __init__(self, dataplane: DataPlane, resolver: Resolver, store: Store, clock: Clock, log: StateLog) -> None:
        self.dataplane = dataplane
        self._resolver = resolver
        self._store = store
        self._clock = clock
        self._log = log
        self._views: dict[str, ConnectionView] = {}
        self._addresses: dict[str, str | None] = {}
        self._was_up: set[str] = set()
        self._turn = asyncio.Lock()

    async def set_gateway(self, gateway: Resource, public_ip: str, network: Resource) -> None:
        bgp = gateway.properties["bgpSettings"]
        view = GatewayView(
            name=gateway.name,
            asn=bgp["asn"],
            public_ip=public_ip,
            bgp_address=bgp["bgpPeeringAddress"].split(",")[0],
            vnet_prefixes=tuple(network.properties["addressSpace"]["addressPrefixes"]),
        )
        async with self._turn:
            await self.dataplane.set_gateway(view)

    async def drop_gateway(self, gateway: Resource) -> None:
        async with self._turn:
            await self.dataplane.drop_gateway(gateway.name)

    async def connect(self, connection: Resource) -> None:
        """Carry the connection as its resources now say; ArmError if it cannot be carried."""
        local = self._store.get(ref(connection.properties, "localNetworkGateway2"))
        if local is None:
            raise bad_request("InvalidResourceReference", f"The local network gateway of {connection.id} is gone.")
        address = await self._peer_address(local)
        async with self._turn:
            twin = self._twin(connection, local, address)
            if twin is not None:
                await self._drop(connection)
                message = (
                    f"Connections {connection.id} and {twin.id} have local network gateways that mean one address, "
                    f"{address}. Local network gateways on one virtual network gateway must have different addresses."
                )
                raise bad_request("LocalNetworkGatewayAddressConflict", message)  # L
            view = self._view(connection, local, address)
            self._views[connection.key] = view
            await self.dataplane.set_connection(view)
        self._log.write("connection carried", connection.id, peer=address)

    async def disconnect(self, connection: Resource) -> None:
        async with self._turn:
            await self._drop(connection)

    async def _drop(self, connection: Resource) -> None:
        if self._views.pop(connection.key, None) is not None:
            await self.dataplane.drop_connection(connection.name)
        self._was_up.discard(connection.key)

    async def local_changed(self, local: Resource) -> None:
        """A PUT of the local network gateway succeeded: its connections follow."""
        for connection in self._store.connections_of_local(local):
            old = self._views.get(connection.key)
            if old is None and connection.state != "Failed":
                continue
            address = await self._peer_address(local)
            if self._twin(connection, local, address) is not None:
                await self.disconnect(connection)
                self._store.touch(connection, "Failed")
                self._log.write("connection failed", connection.id, reason="address of another connection")
                continue
            view = self._view(connection, local, address)
            async with self._turn:
                self._views[connection.key] = view
                if old is not None and replace(old, peer_address=address) == view:
                    await self.dataplane.set_peer(connection.name, address)
                else:
                    await self.dataplane.set_connection(view)
            if connection.state == "Failed":
                self._store.touch(connection, "Succeeded")
            self._log.write("peer set", connection.id, peer=address)

    async def reset_connection(self, connection: Resource) -> None:
        await self._resolve_again(connection)
        async with self._turn:
            if connection.key in self._views:
                await self.dataplane.reset_connection(connection.name)

    async def reset_gateway(self, gateway: Resource) -> None:
        for connection in self._store.connections_of_gateway(gateway):
            await self._resolve_again(connection)
        async with self._turn:
            await self.dataplane.reset_gateway(gateway.name)

    async def refresh(self) -> None:
        """What a gateway does every five minutes: look up the names of disconnected tunnels."""
        for connection in self._store.of_type("connections"):
            if connection.key in self._views and (await self.status(connection)).status != "Connected":
                await self._resolve_again(connection)

    async def run(self) -> None:
        """Refresh for ever, by Azure's clock."""
        while True:
            await self._clock.sleep(durations.DNS_CACHE)
            try:
                await self.refresh()
            except Exception as error:  # The loop must outlive a data plane that is being torn down.
                self._log.write("refresh failed", "resolver", error=f"{type(error).__name__}: {error}")

    async def _resolve_again(self, connection: Resource) -> None:
        local = self._store.get(ref(connection.properties, "localNetworkGateway2"))
        view = self._views.get(connection.key)
        if local is None or view is None or not local.properties.get("fqdn"):
            return
        address = await self._peer_address(local)
        if address == view.peer_address:
            return
        if self._twin(connection, local, address) is not None:
            self._log.write("peer kept", connection.id, reason="the name means another connection's address")
            return
        async with self._turn:
            self._views[connection.key] = replace(view, peer_address=address)
            await self.dataplane.set_peer(connection.name, address)
        self._log.write("peer set", connection.id, peer=address)

    async def _peer_address(self, local: Resource) -> str | None:
        fixed = local.properties.get("gatewayIpAddress")
        if fixed:
            return str(fixed)
        name = str(local.properties["fqdn"])
        try:
            self._addresses[name] = await self._resolver.first_a(name)
        except ResolveError as error:
            self._log.write("name not resolved", local.id, error=str(error))
        return self._addresses.get(name)

    def _twin(self, connection: Resource, local: Resource, address: str | None) -> Resource | None:
        """Another carried connection of the same gateway whose local network gateway means the same address."""
        if address is None:
            return None
        gateway = ref(connection.properties, "virtualNetworkGateway1")
        for other in self._store.of_type("connections"):
            view = self._views.get(other.key)
            if other.key == connection.key or view is None or view.peer_address != address:
                continue
            same_gateway = ref(other.properties, "virtualNetworkGateway1") == gateway
            if same_gateway and ref(other.properties, "localNetworkGateway2") != local.key:
                return other
        return None

    def _view(self, connection: Resource, local: Resource, address: str | None) -> ConnectionView:
        wanted = connection.properties
        gateway = self._store.get(ref(wanted, "virtualNetworkGateway1"))
        bgp = local.properties.get("bgpSettings") if wanted["enableBgp"] else None
        return ConnectionView(
            name=connection.name,
            gateway=gateway.name if gateway else "",
            peer_address=address,
            psk=connection.secret,
            mode=wanted["connectionMode"],
            enable_bgp=wanted["enableBgp"],
            peer_asn=bgp["asn"] if bgp else None,
            peer_bgp_address=bgp["bgpPeeringAddress"] if bgp else None,
            static_prefixes=tuple(local.properties["localNetworkAddressSpace"]["addressPrefixes"]),
            policy=dict(wanted["ipsecPolicies"][0]) if wanted["ipsecPolicies"] else None,
            dpd_timeout_s=wanted["dpdTimeoutSeconds"] or DEFAULT_DPD_S,
        )

    async def status(self, connection: Resource) -> Status:
        """The tunnel as the data plane sees it, in Azure's words."""
        view = self._views.get(connection.key)
        if view is None:
            return Status("Unknown")
        tunnel = await self.dataplane.tunnel(connection.name)
        counted = Status("Connected", tunnel.ingress_bytes, tunnel.egress_bytes, tunnel.established_at)
        if tunnel.connected:
            self._was_up.add(connection.key)
            return counted
        if connection.key in self._was_up or view.peer_address is None:
            return replace(counted, status="NotConnected")
        if self._clock.monotonic() - connection.succeeded_at < durations.STATUS_REFRESH:
            return replace(counted, status="Unknown")
        return replace(counted, status="Connecting")
