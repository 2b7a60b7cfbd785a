"""What a spec means, rendered for both ends: ARM bodies in REST shape, and the tunnel that the agent is to have.

Pure and total: a spec that passed rules.py renders. What Azure alone knows (its BGP address, its public address) comes
in as an argument, read from ARM. No body holds the pre-shared key; the reconciler adds it at the moment of writing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shared.wire.commands import Bgp, DesiredTunnel, SecretRef

from . import addressing, limits
from .arm import ArmKind, ArmRef
from .rules import GENERATION_1
from .spec import ConnectionSpec, GatewaySpec

Json = dict[str, Any]
TAG_CONTROLLER, TAG_OWNER = "homelink-controller", "homelink-owner"


@dataclass(frozen=True)
class Desired:
    """One ARM resource as it should be; `body` has neither id nor read-only fields."""

    ref: ArmRef
    body: Json


@dataclass(frozen=True)
class AzureEnd:
    """What only ARM can tell once the gateway exists. Dotted quads."""

    public_ip: str
    bgp_address: str


def tags(controller: str, owner: str) -> dict[str, str]:
    """The mark of ownership: which controller made it, for which Gateway or Connection."""
    return {TAG_CONTROLLER: controller, TAG_OWNER: owner}


def gateway_refs(name: str, spec: GatewaySpec) -> dict[ArmKind, ArmRef]:
    """In order of creation."""
    names = {
        ArmKind.VIRTUAL_NETWORK: spec.virtual_network.name,
        ArmKind.PUBLIC_IP: f"{name}-pip",
        ArmKind.GATEWAY: name,
    }
    return {kind: ArmRef(spec.subscription_id, spec.resource_group, kind, n) for kind, n in names.items()}


def connection_refs(name: str, spec: GatewaySpec) -> dict[ArmKind, ArmRef]:
    """In order of creation."""
    names = {ArmKind.LOCAL_GATEWAY: f"{name}-lng", ArmKind.CONNECTION: name}
    return {kind: ArmRef(spec.subscription_id, spec.resource_group, kind, n) for kind, n in names.items()}


def gateway_resources(name: str, spec: GatewaySpec, controller: str) -> list[Desired]:
    """Virtual network, public address, gateway: in the order in which they must exist."""
    refs = gateway_refs(name, spec)
    mark = tags(controller, f"gateway/{name}")
    net = spec.virtual_network
    vnet_id, pip_id = refs[ArmKind.VIRTUAL_NETWORK].id(), refs[ArmKind.PUBLIC_IP].id()
    subnets = [{"name": "GatewaySubnet", "properties": {"addressPrefix": net.gateway_subnet}}]
    subnets += [{"name": s.name, "properties": {"addressPrefix": s.prefix}} for s in net.subnets]
    bodies: dict[ArmKind, Json] = {
        ArmKind.VIRTUAL_NETWORK: {
            "properties": {"addressSpace": {"addressPrefixes": list(net.address_space)}, "subnets": subnets},
        },
        ArmKind.PUBLIC_IP: {
            "sku": {"name": "Standard"},
            "zones": ["1", "2", "3"],
            "properties": {"publicIPAllocationMethod": "Static", "publicIPAddressVersion": "IPv4"},
        },
        ArmKind.GATEWAY: {
            "properties": {
                "gatewayType": "Vpn",
                "vpnType": "RouteBased",
                "vpnGatewayGeneration": "Generation1" if spec.sku in GENERATION_1 else "Generation2",
                "sku": {"name": spec.sku, "tier": spec.sku},
                "enableBgp": True,
                "activeActive": False,
                "bgpSettings": {"asn": spec.asn},
                "ipConfigurations": [
                    {
                        "name": "default",
                        "properties": {
                            "privateIPAllocationMethod": "Dynamic",
                            "subnet": {"id": f"{vnet_id}/subnets/GatewaySubnet"},
                            "publicIPAddress": {"id": pip_id},
                        },
                    }
                ],
            },
        },
    }
    return [Desired(refs[k], {"location": spec.location, "tags": mark, **body}) for k, body in bodies.items()]


def connection_resources(
    name: str, spec: ConnectionSpec, gateway_name: str, gateway: GatewaySpec, controller: str, pin: str | None
) -> list[Desired]:
    """Local network gateway and IPsec connection. `pin`: the address to name instead of the FQDN, during a repair.

    The address space stays empty: the home's prefixes arrive by BGP, and Azure adds the peer's /32 itself (FAQ).
    """
    refs = connection_refs(name, gateway)
    mark = tags(controller, f"connection/{name}")
    where = {"gatewayIpAddress": pin} if pin else {"fqdn": spec.fqdn.rstrip(".")}
    lng: Json = {
        "properties": {
            **where,
            "bgpSettings": {"asn": spec.home.asn, "bgpPeeringAddress": spec.home.bgp_address, "peerWeight": 0},
        },
    }
    connection: Json = {
        "properties": {
            "connectionType": "IPsec",
            "connectionProtocol": "IKEv2",
            "connectionMode": spec.mode,
            "virtualNetworkGateway1": {"id": gateway_refs(gateway_name, gateway)[ArmKind.GATEWAY].id()},
            "localNetworkGateway2": {"id": refs[ArmKind.LOCAL_GATEWAY].id()},
            "enableBgp": True,
            "usePolicyBasedTrafficSelectors": False,
            "dpdTimeoutSeconds": spec.dpd_timeout_seconds,
            "ipsecPolicies": [spec.ipsec.to_arm()],
        },
    }
    pairs = [(ArmKind.LOCAL_GATEWAY, lng), (ArmKind.CONNECTION, connection)]
    return [Desired(refs[k], {"location": gateway.location, "tags": mark, **body}) for k, body in pairs]


def azure_end(gateway: Json | None, public_ip: Json | None) -> AzureEnd | None:
    """Read from the gateway and its public address as ARM returns them; None until both are known."""
    settings = ((gateway or {}).get("properties") or {}).get("bgpSettings") or {}
    bgp = settings.get("bgpPeeringAddress")
    if not bgp:
        for entry in settings.get("bgpPeeringAddresses") or []:
            bgp = bgp or next(iter(entry.get("defaultBgpIpAddresses") or []), None)
    public = ((public_ip or {}).get("properties") or {}).get("ipAddress")
    return AzureEnd(public, bgp.split(",")[0]) if bgp and public else None


def tunnel(
    name: str, connection_id: str, spec: ConnectionSpec, gateway: GatewaySpec, end: AzureEnd, psk: SecretRef
) -> DesiredTunnel:
    """The home half. Raises ValueError where the transit mode asked for cannot be (addressing.transit)."""
    azure_bgp = addressing.address(end.bgp_address)
    if azure_bgp is None:
        raise ValueError(
            f"ARM says that the gateway's BGP address is {end.bgp_address!r}, which is not an IPv4 address"
        )
    local = addressing.address(spec.transit.local) if spec.transit.local else None
    return DesiredTunnel(
        connection=name,
        connection_id=connection_id,
        peer_address=end.public_ip,
        peer_id=end.public_ip,
        psk=psk,
        ike=spec.ipsec.to_ike(),
        esp=spec.ipsec.to_esp(),
        dpd_delay_s=10,
        initiates=spec.mode != "InitiatorOnly",
        transit=addressing.transit(spec.transit.mode, azure_bgp, local),
        bgp=Bgp(
            local_asn=spec.home.asn,
            local_address=spec.home.bgp_address,
            peer_asn=gateway.asn,
            peer_address=end.bgp_address,
            keepalive_s=limits.BGP_KEEPALIVE_S,
            hold_s=limits.BGP_HOLD_S,
            advertise=spec.home.prefixes,
            accept=gateway.virtual_network.address_space,
        ),
        mss=spec.mss,
        probe=spec.probe,
    )
