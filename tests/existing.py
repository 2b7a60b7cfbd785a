"""A gateway as somebody made it with `az`, before Homelink: names of their own, an older SKU, tags, and an address
instead of a name for the home. The shapes are those of the recorded exchanges (a PUT's body, without what ARM adds)."""

from __future__ import annotations

import copy
from typing import Any

from shared.domain.arm import ArmKind, ArmRef

SUBSCRIPTION, TENANT, GROUP = (
    "22222222-2222-2222-2222-222222222222",
    "11111111-1111-1111-1111-111111111111",
    "rg-homelink",
)
KEY = "Old-key~7"
"""Shorter than Homelink would take, with characters that it refuses."""
HOME_ADDRESS = "198.51.100.23"
POLICY = {
    "saLifeTimeSeconds": 14400,
    "saDataSizeKilobytes": 819200,
    "ipsecEncryption": "AES256",
    "ipsecIntegrity": "SHA256",
    "ikeEncryption": "AES256",
    "ikeIntegrity": "SHA256",
    "dhGroup": "DHGroup14",
    "pfsGroup": "PFS2048",
}


def ref(kind: ArmKind, name: str) -> ArmRef:
    return ArmRef(SUBSCRIPTION, GROUP, kind, name)


NETWORK = ref(ArmKind.VIRTUAL_NETWORK, "Office_Net")
ADDRESS = ref(ArmKind.PUBLIC_IP, "officeIp")
GATEWAY = ref(ArmKind.GATEWAY, "VPN.Office")
LOCAL = ref(ArmKind.LOCAL_GATEWAY, "toHome")
LINK = ref(ArmKind.CONNECTION, "Office_Home")
REFS = (NETWORK, ADDRESS, GATEWAY, LOCAL, LINK)
REQUEST = {"gateway": GATEWAY.id(), "tenantId": TENANT, "agent": "home-fw"}


def bodies() -> dict[ArmRef, dict[str, Any]]:
    """In order of creation."""
    configuration = {
        "name": "vnetGatewayConfig0",
        "properties": {
            "privateIPAllocationMethod": "Dynamic",
            "subnet": {"id": f"{NETWORK.id()}/subnets/GatewaySubnet"},
            "publicIPAddress": {"id": ADDRESS.id()},
        },
    }
    found: dict[ArmRef, dict[str, Any]] = {
        NETWORK: {
            "tags": {"costCenter": "42"},
            "properties": {
                "addressSpace": {"addressPrefixes": ["10.20.0.0/16", "fd00:20::/48"]},
                "dhcpOptions": {"dnsServers": ["10.20.0.4"]},
                "subnets": [
                    {"name": "GatewaySubnet", "properties": {"addressPrefix": "10.20.255.0/28"}},
                    {"name": "servers", "properties": {"addressPrefix": "10.20.0.0/24"}},
                ],
            },
        },
        ADDRESS: {"sku": {"name": "Standard"}, "properties": {"publicIPAllocationMethod": "Static"}},
        GATEWAY: {
            "tags": {"owner": "ops"},
            "properties": {
                "gatewayType": "Vpn",
                "vpnType": "RouteBased",
                "vpnGatewayGeneration": "Generation1",
                "sku": {"name": "VpnGw1", "tier": "VpnGw1"},
                "enableBgp": True,
                "activeActive": False,
                "bgpSettings": {"asn": 65010},
                "ipConfigurations": [configuration],
                "vpnClientConfiguration": {"vpnClientAddressPool": {"addressPrefixes": ["172.16.201.0/24"]}},
            },
        },
        LOCAL: {
            "properties": {
                "gatewayIpAddress": HOME_ADDRESS,
                "localNetworkAddressSpace": {"addressPrefixes": ["192.168.1.0/24", "192.168.1.1/32"]},
                "bgpSettings": {"asn": 65020, "bgpPeeringAddress": "192.168.1.1", "peerWeight": 5},
            }
        },
        LINK: {
            "properties": {
                "connectionType": "IPsec",
                "virtualNetworkGateway1": {"id": GATEWAY.id()},
                "localNetworkGateway2": {"id": LOCAL.id()},
                "sharedKey": KEY,
                "routingWeight": 7,
                "enableBgp": True,
                "connectionProtocol": "IKEv2",
                "dpdTimeoutSeconds": 0,
                "ipsecPolicies": [dict(POLICY)],
            }
        },
    }
    return {r: {"location": "westeurope", **copy.deepcopy(body)} for r, body in found.items()}


def completed(document: dict[str, Any]) -> dict[str, Any]:
    """A draft of the connection, with what only its user knows."""
    copied = copy.deepcopy(document)
    copied["spec"]["fqdn"] = "home.homelink.test"
    return copied
