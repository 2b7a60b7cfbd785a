"""The seam between the simulated ARM and what carries packets.

The simulated ARM turns its resources into the views below and hands them over; it never learns how they are carried
out, and reads status, routes and bytes back from what really happened. `lab.net.dataplane` implements it with charon
and bgpd; a test that is only about ARM uses `NullDataPlane`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True)
class InstanceView:
    """One of the machines that a gateway is made of, as far as it can be told apart from outside."""

    public_ip: str
    bgp_address: str


@dataclass(frozen=True)
class GatewayView:
    """A virtual network gateway as its data plane needs it. Addresses are dotted quads, prefixes CIDR.

    `public_ip` and `bgp_address` are the only ones of an active-standby gateway (whose standby has no address of its
    own) and the first instance's of an active-active one; `second` is the other instance of an active-active gateway.
    """

    name: str
    asn: int
    public_ip: str
    bgp_address: str
    vnet_prefixes: tuple[str, ...]
    second: InstanceView | None = None

    @property
    def instances(self) -> tuple[InstanceView, ...]:
        first = InstanceView(self.public_ip, self.bgp_address)
        return (first,) if self.second is None else (first, self.second)


@dataclass(frozen=True)
class ConnectionView:
    """An IPsec connection; a gateway has a tunnel of it per instance. `policy` is the ARM `ipsecPolicies[0]` object or
    None for Azure's defaults.

    `peer_address` is what the local network gateway means at this moment (its fixed address, or what its FQDN resolved
    to), None while the name does not resolve. `mode` is ResponderOnly, InitiatorOnly or Default. `apipa` is the
    gateway's BGP address for this peer, one per instance in their order; empty means the instance's own address. With
    an APIPA address the gateway never opens the BGP session (documented), the home must.
    """

    name: str
    gateway: str
    peer_address: str | None
    psk: str = field(repr=False)
    mode: str
    enable_bgp: bool
    peer_asn: int | None
    peer_bgp_address: str | None
    static_prefixes: tuple[str, ...]
    policy: dict[str, object] | None
    dpd_timeout_s: int
    apipa: tuple[str, ...] = ()


@dataclass(frozen=True)
class InstanceTunnel:
    """One connection's tunnel to one instance; `public_ip` is the gateway's end."""

    public_ip: str
    connected: bool
    ingress_bytes: int = 0
    egress_bytes: int = 0
    established_at: datetime | None = None


@dataclass(frozen=True)
class TunnelStatus:
    """What charon says of one connection; bytes count since the child SA was installed.

    Over several instances: connected if any tunnel is, bytes are sums, and the time is that of the newest tunnel.
    """

    connected: bool
    ingress_bytes: int = 0
    egress_bytes: int = 0
    established_at: datetime | None = None
    instances: tuple[InstanceTunnel, ...] = ()

    @classmethod
    def of(cls, tunnels: tuple[InstanceTunnel, ...]) -> TunnelStatus:
        times = [t.established_at for t in tunnels if t.established_at is not None]
        return cls(
            connected=any(t.connected for t in tunnels),
            ingress_bytes=sum(t.ingress_bytes for t in tunnels),
            egress_bytes=sum(t.egress_bytes for t in tunnels),
            established_at=max(times, default=None),
            instances=tunnels,
        )


@dataclass(frozen=True)
class BgpPeer:
    """One neighbour of one instance as bgpd reports it. `state` is FRR's word (Established, Active, Idle, ...).

    `local_address` is the instance's address towards it. The instances of an active-active gateway are neighbours too.
    """

    neighbor: str
    asn: int
    state: str
    uptime_s: float
    routes_received: int
    messages_sent: int
    messages_received: int
    local_address: str = ""


@dataclass(frozen=True)
class Route:
    """A route in an instance's BGP table; `as_path` is dash-joined as ARM shows it, `source_peer` None for its own.

    `local_address` is the BGP address of the instance.
    """

    network: str
    next_hop: str
    as_path: str
    source_peer: str | None
    origin: str
    weight: int
    local_address: str = ""


class DataPlane(Protocol):
    """Every call is idempotent and returns once the change is in force (not once a tunnel is up)."""

    async def set_gateway(self, gateway: GatewayView) -> None: ...
    async def drop_gateway(self, name: str) -> None: ...
    async def set_connection(self, connection: ConnectionView) -> None: ...
    async def set_peer(self, connection: str, address: str | None) -> None:
        """The local network gateway means another address now: packets from elsewhere are dropped from here on."""
        ...

    async def drop_connection(self, name: str) -> None: ...
    async def tunnel(self, connection: str) -> TunnelStatus: ...
    async def bgp_peers(self, gateway: str) -> list[BgpPeer]: ...
    async def learned_routes(self, gateway: str) -> list[Route]: ...
    async def advertised_routes(self, gateway: str, peer: str) -> list[Route]: ...
    async def ike_sas(self, connection: str) -> list[dict[str, object]]: ...
    async def reset_connection(self, name: str) -> None: ...
    async def reset_gateway(self, name: str, public_ip: str | None = None, outage_s: float = 0.0) -> None:
        """The instance with this public address (None: the first) is down, and back after so many real seconds.

        Returns once it is down (with no outage: once it is back). Changes of the same gateway wait for its return."""
        ...

    async def close(self) -> None: ...


class NullDataPlane:
    """Carries nothing: tunnels are never connected. For tests whose subject is ARM alone."""

    async def set_gateway(self, gateway: GatewayView) -> None: ...
    async def drop_gateway(self, name: str) -> None: ...
    async def set_connection(self, connection: ConnectionView) -> None: ...
    async def set_peer(self, connection: str, address: str | None) -> None: ...
    async def drop_connection(self, name: str) -> None: ...
    async def tunnel(self, connection: str) -> TunnelStatus:
        return TunnelStatus(connected=False)

    async def bgp_peers(self, gateway: str) -> list[BgpPeer]:
        return []

    async def learned_routes(self, gateway: str) -> list[Route]:
        return []

    async def advertised_routes(self, gateway: str, peer: str) -> list[Route]:
        return []

    async def ike_sas(self, connection: str) -> list[dict[str, object]]:
        return []

    async def reset_connection(self, name: str) -> None: ...
    async def reset_gateway(self, name: str, public_ip: str | None = None, outage_s: float = 0.0) -> None: ...
    async def close(self) -> None: ...
