"""Virtual network gateways: creation rules of today, BGP settings before and after provisioning, resets and routes.

An active-active gateway has two IP configurations; the first one's instance is the primary, which a reset without
`gatewayVip` hits. APIPA addresses are set per IP configuration; which of them a connection uses is lab.azure.plumbing.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from lab.azure import durations
from lab.azure.checks import last_usable, properties
from lab.azure.errors import Json, bad_request, invalid_reference
from lab.azure.plumbing import is_apipa
from lab.azure.provider import Desired, Provider, Reply
from lab.azure.store import Resource, Target, ref
from lab.azure.virtual_network import GATEWAY_SUBNET, subnet_prefix
from lab.dataplane import BgpPeer, Route

DEFAULT_ASN = 65515
AZ_SKUS = {"VpnGw1AZ": 1, "VpnGw2AZ": 2, "VpnGw3AZ": 2, "VpnGw4AZ": 2, "VpnGw5AZ": 2}  # newest generation of each
OLD_SKUS = ("VpnGw1", "VpnGw2", "VpnGw3", "VpnGw4", "VpnGw5")
BGP_STATES = {"Established": "Connected", "Idle": "Idle", "Active": "Connecting", "Connect": "Connecting"}


class VirtualNetworkGateways(Provider):
    type = "virtualNetworkGateways"
    create_seconds = durations.GATEWAY_CREATE
    update_seconds = durations.GATEWAY_UPDATE
    delete_seconds = durations.GATEWAY_DELETE
    tag_seconds = durations.GATEWAY_TAGS

    def desired(self, body: Json, resource_id: str, existing: Resource | None) -> Desired:
        given = properties(body)
        sku = str((given.get("sku") or {}).get("name"))
        generation = _check_sku(sku, given.get("vpnGatewayGeneration"), resource_id, existing)
        if given.get("gatewayType", "Vpn") != "Vpn" or given.get("vpnType", "RouteBased") != "RouteBased":
            message = f"The lab simulates gatewayType Vpn with vpnType RouteBased only; {resource_id} asks for another."
            raise bad_request("NotSimulated", message)
        active_active = bool(given.get("activeActive"))
        configs = [_config(item) for item in given.get("ipConfigurations") or []]
        if len(configs) != (2 if active_active else 1):
            message = f"Gateway {resource_id} needs one IP configuration, or two when activeActive is true."
            raise bad_request("InvalidGatewayIpConfigurations", message)  # L
        for config in configs:
            self._check_config(config, resource_id, zoned=sku in AZ_SKUS)
        for name in ("name", "publicIPAddress"):
            values = {str(config.get(name) or ref(config["properties"], name)).lower() for config in configs}
            if len(values) < len(configs):
                message = f"The IP configurations of gateway {resource_id} must differ in {name}."
                raise bad_request("InvalidGatewayIpConfigurations", message)  # L
        bgp = given.get("bgpSettings") or {}
        shown = (existing.properties["bgpSettings"] if existing else {}).get("bgpPeeringAddress")
        result: Json = {
            "packetCaptureDiagnosticState": "None",
            "enablePrivateIpAddress": bool(given.get("enablePrivateIpAddress")),
            "ipConfigurations": configs,
            "sku": {"name": sku, "tier": sku, "capacity": 2},
            "gatewayType": "Vpn",
            "vpnType": "RouteBased",
            "enableBgp": bool(given.get("enableBgp")),
            "activeActive": active_active,
            "bgpSettings": {
                "asn": int(bgp.get("asn") or DEFAULT_ASN),
                **({"bgpPeeringAddress": shown} if shown else {}),
                "peerWeight": int(bgp.get("peerWeight") or 0),
                "custom": _custom_addresses(bgp, configs, resource_id),
            },
            "vpnGatewayGeneration": generation,
        }
        return Desired(result)

    def _check_config(self, config: Json, resource_id: str, *, zoned: bool) -> None:
        inner = config["properties"]
        subnet_key = ref(inner, "subnet") or ""
        network = self.store.get(subnet_key.rpartition("/subnets/")[0])
        if network is None or subnet_prefix(network, subnet_key) is None:
            raise invalid_reference((inner.get("subnet") or {}).get("id") or "(no subnet)", resource_id)
        if subnet_key.rpartition("/")[2] != GATEWAY_SUBNET.lower():
            message = f"Gateway {resource_id} must be placed in a subnet named {GATEWAY_SUBNET}."
            raise bad_request("InvalidGatewaySubnet", message)  # L
        address = self.store.get(ref(inner, "publicIPAddress"))
        if address is None:
            given = (inner.get("publicIPAddress") or {}).get("id")
            raise invalid_reference(given or "(no public IP address)", resource_id)
        self.require_ready(network)
        self.require_ready(address)
        if zoned and (address.top["sku"]["name"] != "Standard" or not address.top.get("zones")):
            message = (
                "Standard Public IPs associated with VPN Gateways with AZ VPN skus must have zones configured. "
                f"Gateway: {resource_id}, public IP: {address.id}."
            )
            raise bad_request("VmssVpnGatewayPublicIpsMustHaveZonesConfigured", message)
        for gateway, user in self.store.gateways_on(address.id):
            if gateway.key != resource_id.lower():
                message = f"Resource {resource_id} is referencing public IP address {address.id} that is already "
                raise bad_request("PublicIPAddressInUse", f"{message}allocated to resource {user}.")
        for gateway, _ in self.store.gateways_on(subnet_key):
            if gateway.key != resource_id.lower():
                message = f"Virtual network {network.id} already has the VPN gateway {gateway.id}; it can have one."
                raise bad_request("VirtualNetworkAlreadyHasGateway", message)  # L

    def keys(self, resource: Resource) -> set[str]:
        return {resource.key}

    async def provision(self, resource: Resource) -> None:
        bgp = resource.properties["bgpSettings"]
        inner = resource.properties["ipConfigurations"][0]["properties"]
        subnet_key = ref(inner, "subnet") or ""
        network = self.store.get(subnet_key.rpartition("/subnets/")[0])
        prefix = subnet_prefix(network, subnet_key) if network else None
        if network is None or prefix is None:
            raise invalid_reference(inner["subnet"]["id"], resource.id)
        bgp["bgpPeeringAddress"] = ",".join(_bgp_addresses(prefix, active_active=resource.properties["activeActive"]))
        await self.world.plumbing.set_gateway(resource, self._public_ips(resource), network)

    def _public_ips(self, gateway: Resource) -> list[str]:
        return [self._public_ip(config["properties"]) for config in gateway.properties["ipConfigurations"]]

    def _public_ip(self, config: Json) -> str:
        address = self.store.get(ref(config, "publicIPAddress"))
        return str(address.properties.get("ipAddress", "")) if address else ""

    def require_unused(self, resource: Resource) -> None:
        for connection in self.store.connections_of_gateway(resource):
            message = f"Virtual network gateway {resource.id} is used by {connection.id} and cannot be deleted."
            raise bad_request("VirtualNetworkGatewayInUse", message)  # L

    async def remove(self, resource: Resource) -> None:
        await self.world.plumbing.drop_gateway(resource)

    def render(self, resource: Resource) -> Json:
        shown = dict(resource.properties)
        configs, bgp = resource.properties["ipConfigurations"], resource.properties["bgpSettings"]
        shown["ipConfigurations"] = [
            {
                "name": config["name"],
                "id": f"{resource.id}/ipConfigurations/{config['name']}",
                "etag": resource.etag,
                "type": "Microsoft.Network/virtualNetworkGateways/ipConfigurations",
                "properties": {"provisioningState": resource.state, **config["properties"]},
            }
            for config in configs
        ]
        ready = "bgpPeeringAddress" in bgp
        addresses = bgp["bgpPeeringAddress"].split(",") if ready else []
        shown["bgpSettings"] = {
            "asn": bgp["asn"] if ready else 0,  # recorded: zero until it is provisioned
            **({"bgpPeeringAddress": bgp["bgpPeeringAddress"]} if ready else {}),
            "peerWeight": bgp["peerWeight"],
            "bgpPeeringAddresses": [
                {
                    "ipconfigurationId": f"{resource.id}/ipConfigurations/{config['name']}",
                    "defaultBgpIpAddresses": addresses[index : index + 1],  # a new configuration has none yet
                    "customBgpIpAddresses": bgp["custom"].get(config["name"].lower(), []),
                    **({"tunnelIpAddresses": [self._public_ip(config["properties"])]} if ready else {}),
                }
                for index, config in enumerate(configs)
            ],
        }
        return shown

    async def render_write(self, resource: Resource) -> Json:
        # Recorded: answers to PUT and PATCH show an empty point-to-site configuration, a GET of the same gateway none.
        clients: Json = {
            "vpnClientProtocols": ["OpenVPN", "IkeV2"],
            "vpnClientRootCertificates": [],
            "vpnClientRevokedCertificates": [],
            "radiusServers": [],
            "vpnClientIpsecPolicies": [],
        }
        return {**self.render(resource), "vpnClientConfiguration": clients}

    async def act(self, resource: Resource, verb: str, target: Target, query: Json, body: Json) -> Reply | None:
        name = (target.child or "").lower()
        if target.child_name is not None:
            return None
        if verb == "POST" and name == "reset":
            return self._reset(resource, str(query.get("gatewayVip") or ""))
        if verb == "POST" and name in ("getbgppeerstatus", "getlearnedroutes", "getadvertisedroutes"):
            return self._query(resource, name, str(query.get("peer") or ""))
        return None

    def _reset(self, gateway: Resource, vip: str) -> Reply:
        keys = self.keys(gateway)
        self.world.operations.require_free(keys)
        chosen = None if vip in ("", "None") else vip  # az CLI sends the word None
        if chosen is not None and chosen not in self._public_ips(gateway):
            raise bad_request("InvalidGatewayVip", f"{vip} is not a public IP address of gateway {gateway.id}.")  # L

        async def begin() -> None:
            await self.world.plumbing.reset_gateway(gateway, chosen)

        operation = self.world.operations.start(
            "POST",
            gateway.id,
            gateway.location,
            keys,
            durations.GATEWAY_RESET,
            begin=begin,
            retry_after=durations.RETRY_AFTER,
        )
        return Reply(202, operation=operation, asynchronous=True, location=True)

    def _query(self, gateway: Resource, name: str, peer: str) -> Reply:
        async def finish() -> Any:
            plane = self.world.plumbing.dataplane
            local = gateway.properties["bgpSettings"].get("bgpPeeringAddress", "").split(",")[0]
            if not local:
                return {"value": []}
            label = self.world.plumbing.label(gateway)
            if name == "getbgppeerstatus":
                peers = await plane.bgp_peers(label)
                return {"value": [shown_peer(p, local) for p in peers if peer in ("", "None", p.neighbor)]}
            if name == "getlearnedroutes":
                return {"value": [shown_route(r, local) for r in await plane.learned_routes(label)]}
            return {"value": [shown_route(r, local) for r in await plane.advertised_routes(label, peer)]}

        if name == "getadvertisedroutes" and not peer:
            raise bad_request("MissingPeer", "getAdvertisedRoutes needs the query parameter 'peer'.")  # L
        operation = self.world.operations.start(
            "POST", gateway.id, gateway.location, (), durations.QUERY, finish, retry_after=durations.RETRY_AFTER
        )
        # As generatevpnprofile was recorded and getikesas is documented: Location only.
        return Reply(202, operation=operation, location=True)


def _check_sku(sku: str, generation: Any, resource_id: str, existing: Resource | None) -> str:
    kept = existing is not None and existing.properties["sku"]["name"] == sku
    if sku in OLD_SKUS and not kept:
        message = (
            "VpnGw1-5 non-AZ SKUs are no longer supported for VPN gateways. Only VpnGw1-5AZ SKUs can be created "
            "going forward."
        )
        raise bad_request("NonAzSkusNotAllowedForVPNGateway", message)
    if sku not in AZ_SKUS and not kept:
        message = f"SKU {sku} of {resource_id} is not simulated: use one of {', '.join(AZ_SKUS)}."
        raise bad_request("NotSimulated", message)
    wanted = str(generation or "None")
    if wanted in ("", "None"):
        return "Generation1"
    if wanted == "Generation2" and AZ_SKUS.get(sku, 1) == 1:
        message = f"VPN gateway generation {wanted} of {resource_id} is not supported by SKU {sku}."
        raise bad_request("VpnGatewayGenerationNotSupported", message)  # L
    return wanted


def _config(item: Json) -> Json:
    inner = properties(item)
    return {
        "name": str(item.get("name") or "default"),
        "properties": {
            "privateIPAllocationMethod": str(inner.get("privateIPAllocationMethod") or "Dynamic"),
            **({"publicIPAddress": {"id": _id(inner, "publicIPAddress")}} if _id(inner, "publicIPAddress") else {}),
            **({"subnet": {"id": _id(inner, "subnet")}} if _id(inner, "subnet") else {}),
        },
    }


def _id(inner: Json, name: str) -> str | None:
    value = inner.get(name)
    return value.get("id") if isinstance(value, dict) else None


def _custom_addresses(bgp: Json, configs: list[Json], resource_id: str) -> dict[str, list[str]]:
    """The APIPA addresses by the lower-case name of the IP configuration."""
    known = {config["name"].lower() for config in configs}
    found: dict[str, list[str]] = {}
    for item in bgp.get("bgpPeeringAddresses") or []:
        config = str(item.get("ipconfigurationId") or "").rpartition("/")[2].lower()
        addresses = [str(address) for address in item.get("customBgpIpAddresses") or []]
        if addresses and config not in known:
            message = f"bgpPeeringAddresses of {resource_id} names an IP configuration that it does not have: {config}."
            raise bad_request("InvalidIpConfigurationId", message)  # L
        for address in addresses:
            if not is_apipa(address):
                message = (
                    f"Custom BGP IP address {address} of {resource_id} must be in the range 169.254.21.0 to "
                    "169.254.22.255."
                )
                raise bad_request("InvalidCustomBgpIpAddress", message)  # L: the code; the range is documented
            if any(address in taken for taken in found.values()) or addresses.count(address) > 1:
                message = f"Custom BGP IP address {address} of {resource_id} is given more than once."
                raise bad_request("DuplicateCustomBgpIpAddress", message)  # L
        found[config] = addresses
    return found


def _bgp_addresses(subnet: ipaddress.IPv4Network, *, active_active: bool) -> list[str]:
    """Recorded: the last usable address, or the fourth and fifth when active-active."""
    if active_active:
        return [str(subnet.network_address + 4), str(subnet.network_address + 5)]
    return [last_usable(subnet)]


def shown_peer(peer: BgpPeer, local: str) -> Json:
    """As getBgpPeerStatus shows it; `local`: the address of an instance that does not tell its own."""
    return {
        "localAddress": peer.local_address or local,
        "neighbor": peer.neighbor,
        "asn": peer.asn,
        "state": BGP_STATES.get(peer.state, "Connecting" if peer.state.startswith("Open") else "Unknown"),
        "connectedDuration": timespan(peer.uptime_s) if peer.state == "Established" else None,
        "routesReceived": peer.routes_received,
        "messagesSent": peer.messages_sent,
        "messagesReceived": peer.messages_received,
    }


def timespan(seconds: float) -> str:
    """.NET's TimeSpan as recorded: `3.03:14:13.1796961`, the days only when there are any."""
    ticks = round(seconds * 10_000_000)
    days, rest = divmod(ticks, 864_000_000_000)
    hours, rest = divmod(rest, 36_000_000_000)
    minutes, rest = divmod(rest, 600_000_000)
    whole, fraction = divmod(rest, 10_000_000)
    return (f"{days}." if days else "") + f"{hours:02}:{minutes:02}:{whole:02}.{fraction:07}"


def shown_route(route: Route, local: str) -> Json:
    """As getLearnedRoutes and getAdvertisedRoutes show it."""
    return {
        "localAddress": route.local_address or local,
        "network": route.network,
        "nextHop": route.next_hop,
        "sourcePeer": route.source_peer,
        "origin": route.origin,
        "asPath": route.as_path,
        "weight": route.weight,
    }
