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
  NotConnected once it was up and is no more, or while the name has no address; otherwise Connecting. The connection of
  an active-active gateway is Connected when any of its tunnels is, its bytes are the sums of theirs (the sums are
  documented by an example), and each tunnel has its own words and bytes in tunnelConnectionStatus.
- A connection speaks from an APIPA address of the gateway where the home's BGP address is one, otherwise from the
  gateway's own (documented). Which one: what its gatewayCustomBgpIpAddresses say, else the IP configuration's first.
- A reset interrupts an instance for FAILOVER_S by Azure's clock: documented are 10 to 15 s for what is planned. What
  the second reset of an active-standby gateway does, restarting the other machine, looks the same from outside.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import datetime

from lab.azure import durations
from lab.azure.clock import Clock
from lab.azure.errors import bad_request
from lab.azure.resolver import ResolveError, Resolver
from lab.azure.statelog import StateLog
from lab.azure.store import Resource, Store, ref
from lab.dataplane import ConnectionView, DataPlane, GatewayView, InstanceTunnel, InstanceView, TunnelStatus

DEFAULT_DPD_S = 45
FAILOVER_S = 12.0
_APIPA = (ipaddress.IPv4Address("169.254.21.0"), ipaddress.IPv4Address("169.254.22.255"))


def is_apipa(address: str) -> bool:
    """Whether it is one that Azure takes for BGP: 169.254.21.0 to 169.254.22.255 (documented)."""
    try:
        return _APIPA[0] <= ipaddress.IPv4Address(address) <= _APIPA[1]
    except ValueError:
        return False


@dataclass(frozen=True)
class TunnelState:
    """One entry of tunnelConnectionStatus. `name` is `<connection>_<the gateway's public address>`, as documented."""

    name: str
    status: str
    ingress_bytes: int
    egress_bytes: int
    established_at: datetime | None


@dataclass(frozen=True)
class Status:
    """What a GET of a connection shows of its tunnels. `tunnels`: those that were up at least once."""

    status: str
    ingress_bytes: int = 0
    egress_bytes: int = 0
    established_at: datetime | None = None
    tunnels: tuple[TunnelState, ...] = ()


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
        self._labels: dict[str, str] = {}
        self._public: dict[str, str] = {}  # gateway -> its first public address
        self._was_up: dict[str, dict[str, datetime | None]] = {}  # connection -> tunnel's public address -> since
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def label(self, resource: Resource) -> str:
        """The data plane's name for a gateway or connection: its own, unless another resource group has one too."""
        if resource.key not in self._labels:
            used, n = {v for k, v in self._labels.items() if f"/{resource.type.lower()}/" in k}, 1
            while (name := resource.name if n == 1 else f"{resource.name}.{n}") in used:
                n += 1
            self._labels[resource.key] = name
        return self._labels[resource.key]

    def _turn(self, resource: Resource) -> asyncio.Lock:
        """One change at a time per gateway; `resource` is one or a connection."""
        return self._turns[ref(resource.properties, "virtualNetworkGateway1") or resource.key]

    async def set_gateway(self, gateway: Resource, public_ips: list[str], network: Resource) -> None:
        """Carry the gateway as it now is; `public_ips` in the order of its IP configurations."""
        bgp = gateway.properties["bgpSettings"]
        own = bgp["bgpPeeringAddress"].split(",")
        view = GatewayView(
            name=self.label(gateway),
            asn=bgp["asn"],
            public_ip=public_ips[0],
            bgp_address=own[0],
            vnet_prefixes=tuple(network.properties["addressSpace"]["addressPrefixes"]),
            second=InstanceView(public_ips[1], own[1]) if len(own) > 1 else None,
        )
        self._public[gateway.key] = public_ips[0]
        async with self._turn(gateway):
            await self.dataplane.set_gateway(view)
            for connection in self._store.connections_of_gateway(gateway):  # its APIPA addresses may have changed
                old = self._views.get(connection.key)
                local = self._store.get(ref(connection.properties, "localNetworkGateway2"))
                if old is not None and local is not None:
                    new = self._view(connection, local, old.peer_address)
                    if new.apipa != old.apipa:
                        self._views[connection.key] = replace(old, apipa=new.apipa)
                        await self.dataplane.set_connection(self._views[connection.key])

    async def drop_gateway(self, gateway: Resource) -> None:
        async with self._turn(gateway):
            await self.dataplane.drop_gateway(self.label(gateway))
        self._labels.pop(gateway.key, None)

    async def connect(self, connection: Resource) -> None:
        """Carry the connection as its resources now say; ArmError if it cannot be carried."""
        local = self._store.get(ref(connection.properties, "localNetworkGateway2"))
        if local is None:
            raise bad_request("InvalidResourceReference", f"The local network gateway of {connection.id} is gone.")
        address = await self._peer_address(local)
        async with self._turn(connection):
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
        async with self._turn(connection):
            await self._drop(connection)

    async def _drop(self, connection: Resource) -> None:
        if self._views.pop(connection.key, None) is not None:
            await self.dataplane.drop_connection(self.label(connection))
        self._was_up.pop(connection.key, None)
        self._labels.pop(connection.key, None)

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
            async with self._turn(connection):
                self._views[connection.key] = view
                if old is not None and replace(old, peer_address=address) == view:
                    await self.dataplane.set_peer(self.label(connection), address)
                else:
                    await self.dataplane.set_connection(view)
            if connection.state == "Failed":
                self._store.touch(connection, "Succeeded")
            self._log.write("peer set", connection.id, peer=address)

    async def reset_connection(self, connection: Resource) -> None:
        await self._resolve_again(connection)
        async with self._turn(connection):
            if connection.key in self._views:
                await self.dataplane.reset_connection(self.label(connection))

    async def reset_gateway(self, gateway: Resource, public_ip: str | None = None) -> None:
        """Reboot the instance with this public address (None: the primary one); returns while it is down."""
        for connection in self._store.connections_of_gateway(gateway):
            await self._resolve_again(connection)
        async with self._turn(gateway):
            await self.dataplane.reset_gateway(self.label(gateway), public_ip, FAILOVER_S / self._clock.factor)

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
        async with self._turn(connection):
            self._views[connection.key] = replace(view, peer_address=address)
            await self.dataplane.set_peer(self.label(connection), address)
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
            name=self.label(connection),
            gateway=self.label(gateway) if gateway else "",
            peer_address=address,
            psk=connection.secret,
            mode=wanted["connectionMode"],
            enable_bgp=wanted["enableBgp"],
            peer_asn=bgp["asn"] if bgp else None,
            peer_bgp_address=bgp["bgpPeeringAddress"] if bgp else None,
            static_prefixes=tuple(local.properties["localNetworkAddressSpace"]["addressPrefixes"]),
            policy=dict(wanted["ipsecPolicies"][0]) if wanted["ipsecPolicies"] else None,
            dpd_timeout_s=wanted["dpdTimeoutSeconds"] or DEFAULT_DPD_S,
            apipa=_apipa(connection, gateway) if gateway and bgp and is_apipa(bgp["bgpPeeringAddress"]) else (),
        )

    async def status(self, connection: Resource) -> Status:
        """The tunnel as the data plane sees it, in Azure's words."""
        view = self._views.get(connection.key)
        if view is None:
            return Status("Unknown")
        tunnel = await self.dataplane.tunnel(self.label(connection))
        seen = self._was_up.setdefault(connection.key, {})
        counted = Status("Connected", tunnel.ingress_bytes, tunnel.egress_bytes, tunnel.established_at)
        if not tunnel.connected:
            counted = replace(counted, status=self._word(connection, view, was_up=bool(seen)))
        states = []
        for each in tunnel.instances or (self._only(tunnel, connection),):
            if each.connected:
                seen[each.public_ip] = each.established_at
            elif each.public_ip not in seen:
                continue
            word = "Connected" if each.connected else "NotConnected"
            name = f"{connection.name}_{each.public_ip}"
            states.append(TunnelState(name, word, each.ingress_bytes, each.egress_bytes, seen[each.public_ip]))
        return replace(counted, tunnels=tuple(states))

    def _only(self, tunnel: TunnelStatus, connection: Resource) -> InstanceTunnel:
        """For a data plane that tells no instances apart."""
        public_ip = self._public.get(ref(connection.properties, "virtualNetworkGateway1") or "", "")
        return InstanceTunnel(
            public_ip, tunnel.connected, tunnel.ingress_bytes, tunnel.egress_bytes, tunnel.established_at
        )

    def _word(self, connection: Resource, view: ConnectionView, *, was_up: bool) -> str:
        if was_up or view.peer_address is None:
            return "NotConnected"
        if self._clock.monotonic() - connection.succeeded_at < durations.STATUS_REFRESH:
            return "Unknown"
        return "Connecting"


def _apipa(connection: Resource, gateway: Resource) -> tuple[str, ...]:
    """The gateway's BGP address for this connection per IP configuration; empty if one of them has none."""
    chosen = {
        str(item.get("ipConfigurationId")).rpartition("/")[2].lower(): str(item.get("customBgpIpAddress"))
        for item in connection.properties.get("gatewayCustomBgpIpAddresses") or []
    }
    custom = gateway.properties["bgpSettings"]["custom"]
    found = []
    for config in gateway.properties["ipConfigurations"]:
        name = config["name"].lower()
        address = chosen.get(name) or next(iter(custom.get(name, [])), None)
        if address is None:
            return ()
        found.append(address)
    return tuple(found)
