"""What the tests of the simulated Azure share: a data plane that remembers, a resolver that is told, and SDK clients
whose waiting moves the lab's virtual clock, so that the SDK polls as it would and an hour takes no time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

from azure.core.credentials import AccessToken, AccessTokenInfo
from azure.core.pipeline.transport import AioHttpTransport, RequestsTransport
from azure.mgmt.network import NetworkManagementClient
from azure.mgmt.network.aio import NetworkManagementClient as AsyncNetworkManagementClient

from lab.azure.clock import VirtualClock
from lab.azure.resolver import ResolveError
from lab.azure.server import LabAzure
from lab.dataplane import BgpPeer, ConnectionView, GatewayView, NullDataPlane, Route, TunnelStatus

GROUP = "rg-home"
LOCATION = "westeurope"
KEY = "Correct_horse1"
POLICY = {
    "saLifeTimeSeconds": 27000,
    "saDataSizeKilobytes": 102400000,
    "ipsecEncryption": "GCMAES256",
    "ipsecIntegrity": "GCMAES256",
    "ikeEncryption": "AES256",
    "ikeIntegrity": "SHA256",
    "dhGroup": "DHGroup14",
    "pfsGroup": "PFS2048",
}


class FakePlane(NullDataPlane):
    """The state that the data plane was put in; tests set which tunnels are up."""

    def __init__(self) -> None:
        self.gateways: dict[str, GatewayView] = {}
        self.connections: dict[str, ConnectionView] = {}
        self.up: dict[str, TunnelStatus] = {}
        self.resets: list[str] = []
        self.outages: list[float] = []
        self.peers: list[BgpPeer] = []
        self.routes: list[Route] = []

    async def set_gateway(self, gateway: GatewayView) -> None:
        self.gateways[gateway.name] = gateway

    async def drop_gateway(self, name: str) -> None:
        del self.gateways[name]

    async def set_connection(self, connection: ConnectionView) -> None:
        self.connections[connection.name] = connection

    async def set_peer(self, connection: str, address: str | None) -> None:
        self.connections[connection] = replace(self.connections[connection], peer_address=address)

    async def drop_connection(self, name: str) -> None:
        del self.connections[name]

    async def tunnel(self, connection: str) -> TunnelStatus:
        return self.up.get(connection, TunnelStatus(connected=False))

    async def bgp_peers(self, gateway: str) -> list[BgpPeer]:
        return self.peers

    async def learned_routes(self, gateway: str) -> list[Route]:
        return self.routes

    async def advertised_routes(self, gateway: str, peer: str) -> list[Route]:
        return [replace(route, next_hop=peer) for route in self.routes]

    async def ike_sas(self, connection: str) -> list[dict[str, object]]:
        return [{"localEndpoint": "203.0.113.10"}]

    async def reset_connection(self, name: str) -> None:
        self.resets.append(f"connection {name}")

    async def reset_gateway(self, name: str, public_ip: str | None = None, outage_s: float = 0.0) -> None:
        self.resets.append(f"gateway {name}" + (f" {public_ip}" if public_ip else ""))
        self.outages.append(outage_s)


class FakeResolver:
    """Names and what they mean; an exception is raised."""

    def __init__(self) -> None:
        self.names: dict[str, str | ResolveError | None] = {}
        self.asked = 0

    async def first_a(self, name: str) -> str | None:
        self.asked += 1
        value = self.names.get(name)
        if isinstance(value, ResolveError):
            raise value
        return value


class LabCredential:
    """A credential whose tokens come from the lab's issuer without HTTP; azure-identity has its own test."""

    def __init__(self, lab: LabAzure) -> None:
        self._lab = lab

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        return AccessToken(*self._lab.tokens.issue(scopes[0].removesuffix("/.default")))

    def get_token_info(self, *scopes: str, **_: Any) -> AccessTokenInfo:
        return AccessTokenInfo(*self._lab.tokens.issue(scopes[0].removesuffix("/.default")))

    def close(self) -> None: ...


class AsyncLabCredential:
    """As LabCredential, for aio clients."""

    def __init__(self, lab: LabAzure) -> None:
        self._plain = LabCredential(lab)

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        return self._plain.get_token(*scopes, **options)

    async def get_token_info(self, *scopes: str, **options: Any) -> AccessTokenInfo:
        return self._plain.get_token_info(*scopes, **options)

    async def close(self) -> None: ...

    async def __aenter__(self) -> AsyncLabCredential:
        return self

    async def __aexit__(self, *_: object) -> None: ...


class SteppingTransport(RequestsTransport):  # type: ignore[misc]
    """Sleeping moves the virtual clock (from another thread than the loop's)."""

    def __init__(self, clock: VirtualClock, loop: asyncio.AbstractEventLoop, **options: Any) -> None:
        super().__init__(**options)
        self._clock, self._loop, self.slept = clock, loop, [0.0]

    def sleep(self, duration: float) -> None:
        self.slept.append(duration)
        asyncio.run_coroutine_threadsafe(self._clock.advance(duration), self._loop).result(30)


class AsyncSteppingTransport(AioHttpTransport):  # type: ignore[misc]
    """Sleeping moves the virtual clock."""

    def __init__(self, clock: VirtualClock, **options: Any) -> None:
        super().__init__(**options)
        self._clock = clock

    async def sleep(self, duration: float) -> None:
        await self._clock.advance(duration)


class World:
    """A started lab with its seams and clients."""

    def __init__(self, lab: LabAzure, clock: VirtualClock, plane: FakePlane, resolver: FakeResolver, ca: Path) -> None:
        self.lab, self.clock, self.plane, self.resolver, self.ca = lab, clock, plane, resolver, ca
        self.subscription = lab.config.subscription

    def client(self, loop: asyncio.AbstractEventLoop) -> NetworkManagementClient:
        transport = SteppingTransport(self.clock, loop, connection_verify=str(self.ca))
        return NetworkManagementClient(
            LabCredential(self.lab), self.subscription, base_url=self.lab.base_url, transport=transport,
            credential_scopes=[f"{self.lab.base_url}/.default"],
        )  # fmt: skip

    def aio_client(self, **options: Any) -> AsyncNetworkManagementClient:
        transport = AsyncSteppingTransport(self.clock, connection_verify=str(self.ca))
        return AsyncNetworkManagementClient(
            AsyncLabCredential(self.lab), self.subscription, base_url=self.lab.base_url, transport=transport,
            credential_scopes=[f"{self.lab.base_url}/.default"], **options,
        )  # fmt: skip

    def id(self, type_: str, name: str) -> str:
        base = f"/subscriptions/{self.subscription}/resourceGroups/{GROUP}/providers/Microsoft.Network"
        return f"{base}/{type_}/{name}"

    def token(self, resource: str = "https://management.azure.com") -> str:
        return self.lab.tokens.issue(resource)[0]

    # REST-shaped bodies of the demo's resources.

    def network(self, subnet: str = "10.0.1.0/27") -> dict[str, Any]:
        subnets = [{"name": "GatewaySubnet", "properties": {"addressPrefix": subnet}}]
        space = {"addressPrefixes": ["10.0.0.0/16"]}
        return {"location": LOCATION, "tags": {"a": "b"}, "properties": {"addressSpace": space, "subnets": subnets}}

    def address(self) -> dict[str, Any]:
        properties = {"publicIPAllocationMethod": "Static", "publicIPAddressVersion": "IPv4"}
        return {"location": LOCATION, "sku": {"name": "Standard"}, "zones": ["1", "2", "3"], "properties": properties}

    def gateway(self, sku: str = "VpnGw1AZ", *, network: str = "net", address: str = "pip") -> dict[str, Any]:
        config = {
            "name": "default",
            "properties": {
                "privateIPAllocationMethod": "Dynamic",
                "publicIPAddress": {"id": self.id("publicIPAddresses", address)},
                "subnet": {"id": self.id("virtualNetworks", network) + "/subnets/GatewaySubnet"},
            },
        }
        properties = {
            "gatewayType": "Vpn",
            "vpnType": "RouteBased",
            "vpnGatewayGeneration": "Generation1",
            "sku": {"name": sku, "tier": sku},
            "enableBgp": True,
            "activeActive": False,
            "bgpSettings": {"asn": 65010},
            "ipConfigurations": [config],
        }
        return {"location": LOCATION, "properties": properties}

    def local(self, **where: str) -> dict[str, Any]:
        bgp = {"asn": 65020, "bgpPeeringAddress": "192.168.1.1"}
        properties = {**(where or {"fqdn": "home.example"}), "bgpSettings": bgp}
        return {"location": LOCATION, "properties": properties}

    def connection(self, key: str | None = KEY, *, local: str = "lng") -> dict[str, Any]:
        properties: dict[str, Any] = {
            "connectionType": "IPsec",
            "connectionProtocol": "IKEv2",
            "virtualNetworkGateway1": {"id": self.id("virtualNetworkGateways", "gw")},
            "localNetworkGateway2": {"id": self.id("localNetworkGateways", local)},
            "enableBgp": True,
            "connectionMode": "ResponderOnly",
            "dpdTimeoutSeconds": 45,
            "ipsecPolicies": [dict(POLICY)],
        }
        if key is not None:
            properties["sharedKey"] = key
        return {"location": LOCATION, "properties": properties}


async def build(world: World, client: AsyncNetworkManagementClient, *, connection: bool = True) -> None:
    """The demo's chain, created and Succeeded."""
    world.resolver.names.setdefault("home.example", "198.51.100.23")
    await (await client.virtual_networks.begin_create_or_update(GROUP, "net", world.network())).result()
    await (await client.public_ip_addresses.begin_create_or_update(GROUP, "pip", world.address())).result()
    await (await client.virtual_network_gateways.begin_create_or_update(GROUP, "gw", world.gateway())).result()
    await (await client.local_network_gateways.begin_create_or_update(GROUP, "lng", world.local())).result()
    if connection:
        connections = client.virtual_network_gateway_connections
        await (await connections.begin_create_or_update(GROUP, "home", world.connection())).result()
