"""What a spec means, rendered for both ends: ARM bodies in REST shape, and the tunnel that the agent is to have.

Pure and total: a spec that passed rules.py renders. What Azure alone knows (its BGP address, its public address) comes
in as an argument, read from ARM. No body holds the pre-shared key; the reconciler adds it at the moment of writing.

An active-active gateway has two instances, two public and two BGP addresses, and Azure makes a tunnel from each. The
home half is, for now, one tunnel, to the first instance (IP configuration `default`): the wire format knows one peer.
While that instance is being serviced the home is without its tunnel, as with an active-standby gateway.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from shared.wire.commands import Bgp, DesiredTunnel, SecretRef

from . import addressing, limits
from .adopted import FIRST, connection_names, gateway_name, ip_configuration_names, public_ip_names
from .arm import ArmKind, ArmRef
from .rules_gateway import generation
from .spec import ConnectionSpec, GatewaySpec

Json = dict[str, Any]
TAG_CONTROLLER, TAG_OWNER = "homelink-controller", "homelink-owner"


@dataclass(frozen=True)
class Desired:
    """One ARM resource as it should be; `body` has neither id nor read-only fields. `adopted`: it existed before, so
    the Plan takes it as it is found (adopted.py)."""

    ref: ArmRef
    body: Json
    adopted: bool = False


@dataclass(frozen=True)
class AzureEnd:
    """What only ARM can tell once the gateway exists, of its first instance. Dotted quads."""

    public_ip: str
    bgp_address: str


def tags(controller: str, owner: str) -> dict[str, str]:
    """The mark of ownership: which controller made it, for which Gateway or Connection."""
    return {TAG_CONTROLLER: controller, TAG_OWNER: owner}


def gateway_refs(name: str, spec: GatewaySpec) -> dict[ArmKind, ArmRef]:
    """The one resource of each kind, in order of creation; the second public address is gateway_chain's."""
    names = {
        ArmKind.VIRTUAL_NETWORK: spec.virtual_network.name,
        ArmKind.PUBLIC_IP: public_ip_names(name, spec)[0],
        ArmKind.GATEWAY: gateway_name(name, spec),
    }
    return {kind: ArmRef(spec.subscription_id, spec.resource_group, kind, n) for kind, n in names.items()}


def gateway_chain(name: str, spec: GatewaySpec) -> list[ArmRef]:
    """Everything that a Gateway stands on, in order of creation: with two instances there are two public addresses."""
    refs = gateway_refs(name, spec)
    names = public_ip_names(name, spec)
    public = [ArmRef(spec.subscription_id, spec.resource_group, ArmKind.PUBLIC_IP, n) for n in names]
    return [refs[ArmKind.VIRTUAL_NETWORK], *public, refs[ArmKind.GATEWAY]]


def connection_refs(name: str, gateway: GatewaySpec, spec: ConnectionSpec | None = None) -> dict[ArmKind, ArmRef]:
    """In order of creation. `spec` tells whether it was adopted; None: Homelink made it."""
    names = connection_names(name, spec)
    return {kind: ArmRef(gateway.subscription_id, gateway.resource_group, kind, n) for kind, n in names.items()}


def gateway_resources(
    name: str, spec: GatewaySpec, controller: str, homes: Iterable[ConnectionSpec] = ()
) -> list[Desired]:
    """Virtual network, public addresses, gateway: in the order in which they must exist. `homes` are the gateway's
    Connections: those in transit mode apipa choose among link-local addresses that the gateway must have."""
    mark = tags(controller, f"gateway/{name}")
    net = spec.virtual_network
    chain = gateway_chain(name, spec)
    vnet, gateway, public = chain[0], chain[-1], chain[1:-1]
    configurations = dict(zip(ip_configuration_names(spec), public, strict=True))
    subnets = [{"name": "GatewaySubnet", "properties": {"addressPrefix": net.gateway_subnet}}]
    subnets += [{"name": s.name, "properties": {"addressPrefix": s.prefix}} for s in net.subnets]
    bgp: Json = {"asn": spec.asn}
    apipa = [home.transit for home in homes if home.transit.mode == "apipa"]
    if apipa:
        chosen = ({t.remote for t in apipa}, {t.remote_second for t in apipa})
        bgp["bgpPeeringAddresses"] = [
            {
                "ipconfigurationId": _configuration(gateway, instance),
                "customBgpIpAddresses": sorted(a for a in addresses if a),
            }
            for instance, addresses in zip(configurations, chosen, strict=False)
        ]
    vnet_body: Json = {
        "properties": {"addressSpace": {"addressPrefixes": list(net.address_space)}, "subnets": subnets},
    }
    public_body: Json = {
        "sku": {"name": "Standard"},
        "zones": ["1", "2", "3"],
        "properties": {"publicIPAllocationMethod": "Static", "publicIPAddressVersion": "IPv4"},
    }
    gateway_body: Json = {
        "properties": {
            "gatewayType": "Vpn",
            "vpnType": "RouteBased",
            "vpnGatewayGeneration": generation(spec),
            "sku": {"name": spec.sku, "tier": spec.sku},
            "enableBgp": True,
            "activeActive": spec.active_active,
            "bgpSettings": bgp,
            "ipConfigurations": [
                {
                    "name": instance,
                    "properties": {
                        "privateIPAllocationMethod": "Dynamic",
                        "subnet": {"id": f"{vnet.id()}/subnets/GatewaySubnet"},
                        "publicIPAddress": {"id": ref.id()},
                    },
                }
                for instance, ref in configurations.items()
            ],
        },
    }
    pairs = [(vnet, vnet_body), *((ref, public_body) for ref in public), (gateway, gateway_body)]
    adopted = spec.adopt is not None
    return [Desired(ref, {"location": spec.location, "tags": mark, **body}, adopted) for ref, body in pairs]


def _configuration(gateway: ArmRef, instance: str) -> str:
    return f"{gateway.id()}/ipConfigurations/{instance}"


def connection_resources(
    name: str, spec: ConnectionSpec, gateway_name: str, gateway: GatewaySpec, controller: str, pin: str | None
) -> list[Desired]:
    """Local network gateway and IPsec connection. `pin`: the address to name instead of the FQDN, during a repair.

    The address space stays empty: the home's prefixes arrive by BGP, and Azure adds the peer's /32 itself (FAQ). In
    transit mode apipa the connection says which of the gateway's link-local addresses it uses.
    """
    refs = connection_refs(name, gateway, spec)
    azure = gateway_refs(gateway_name, gateway)[ArmKind.GATEWAY]
    chosen = (spec.transit.remote, spec.transit.remote_second) if spec.transit.mode == "apipa" else ()
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
            "virtualNetworkGateway1": {"id": azure.id()},
            "localNetworkGateway2": {"id": refs[ArmKind.LOCAL_GATEWAY].id()},
            "enableBgp": True,
            "gatewayCustomBgpIpAddresses": [
                {"ipConfigurationId": _configuration(azure, instance), "customBgpIpAddress": address}
                for instance, address in zip(ip_configuration_names(gateway), chosen, strict=False)
                if address
            ],
            "usePolicyBasedTrafficSelectors": False,
            "dpdTimeoutSeconds": spec.dpd_timeout_seconds,
            "ipsecPolicies": [spec.ipsec.to_arm()],
        },
    }
    pairs = [(ArmKind.LOCAL_GATEWAY, lng), (ArmKind.CONNECTION, connection)]
    where_and_whose = {"location": gateway.location, "tags": mark}
    return [Desired(refs[k], {**where_and_whose, **body}, spec.adopt is not None) for k, body in pairs]


def azure_end(gateway: Json | None, public_ip: Json | None) -> AzureEnd | None:
    """Read from the gateway and its first public address as ARM returns them; None until both are known."""
    settings = ((gateway or {}).get("properties") or {}).get("bgpSettings") or {}
    entries = settings.get("bgpPeeringAddresses") or []
    first = [e for e in entries if str(e.get("ipconfigurationId", "")).lower().endswith(f"/{FIRST}")]
    listed = [a for e in [*first, *entries] for a in e.get("defaultBgpIpAddresses") or []]
    joined = str(settings.get("bgpPeeringAddress") or "").split(",")[0]
    bgp = next(iter(listed), joined) if first else joined or next(iter(listed), "")
    public = ((public_ip or {}).get("properties") or {}).get("ipAddress")
    return AzureEnd(public, bgp) if bgp and public else None


def tunnel(
    name: str, connection_id: str, spec: ConnectionSpec, gateway: GatewaySpec, end: AzureEnd, psk: SecretRef
) -> DesiredTunnel:
    """The home half: one tunnel, to the gateway's first instance. Raises ValueError where the transit mode asked for
    cannot be (addressing.transit); what it says is for the user."""
    azure_bgp = addressing.address(end.bgp_address)
    if azure_bgp is None:
        raise ValueError(
            f"ARM says that the gateway's BGP address is {end.bgp_address!r}, which is not an IPv4 address"
        )
    if spec.transit.mode == "apipa":
        azure_bgp = addressing.address(spec.transit.remote or "")
        if azure_bgp is None:
            raise ValueError("transit mode apipa needs spec.transit.remote")
    local = addressing.address(spec.transit.local) if spec.transit.local else None
    transit = addressing.transit(spec.transit.mode, azure_bgp, local)
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
        transit=transit,
        bgp=Bgp(
            local_asn=spec.home.asn,
            local_address=transit.local if transit.mode == "apipa" else spec.home.bgp_address,
            peer_asn=gateway.asn,
            peer_address=str(azure_bgp),
            keepalive_s=limits.BGP_KEEPALIVE_S,
            hold_s=limits.BGP_HOLD_S,
            advertise=spec.home.prefixes,
            accept=gateway.virtual_network.address_space,
        ),
        mss=spec.mss,
        probe=spec.probe,
    )
