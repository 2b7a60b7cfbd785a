"""What a spec becomes at both ends, and what is read back from ARM's answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.domain import parse, render
from shared.domain.arm import ArmKind
from shared.domain.render import AzureEnd
from shared.wire.commands import SecretRef
from tests.examples import CONNECTION, GATEWAY, changed

GW = parse.gateway(GATEWAY).spec
CONN = parse.connection(CONNECTION).spec
END = AzureEnd("203.0.113.10", "10.0.1.30")
PSK = SecretRef("psk-X", "v1")
BASE = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/rg-homelink/providers/Microsoft.Network"


def bodies(spec: Any = CONN, pin: str | None = None) -> dict[ArmKind, dict[str, Any]]:
    made = render.gateway_resources("hub", GW, "ctl")
    made += render.connection_resources("home", spec, "hub", GW, "ctl", pin)
    return {d.ref.kind: d.body for d in made}


def conn(path: str, value: Any) -> Any:
    return parse.connection(changed(CONNECTION, path, value)).spec


def test_everything_is_marked_and_placed_and_holds_no_key() -> None:
    found = bodies()
    assert list(found) == list(ArmKind), "in the order of creation"
    for body in found.values():
        assert body["location"] == "westeurope" and body["tags"][render.TAG_CONTROLLER] == "ctl"
    assert found[ArmKind.GATEWAY]["tags"][render.TAG_OWNER] == "gateway/hub"
    assert found[ArmKind.CONNECTION]["tags"][render.TAG_OWNER] == "connection/home"
    assert "sharedkey" not in json.dumps(found).lower()


def test_the_gateway() -> None:
    properties = bodies()[ArmKind.GATEWAY]["properties"]
    assert properties["sku"] == {"name": "VpnGw1AZ", "tier": "VpnGw1AZ"}
    assert properties["vpnGatewayGeneration"] == "Generation1" and properties["vpnType"] == "RouteBased"
    assert properties["enableBgp"] is True and properties["bgpSettings"] == {"asn": 65515}
    [configuration] = properties["ipConfigurations"]
    assert configuration["properties"]["subnet"]["id"] == f"{BASE}/virtualNetworks/vnet-hub/subnets/GatewaySubnet"
    assert configuration["properties"]["publicIPAddress"]["id"] == f"{BASE}/publicIPAddresses/hub-pip"


@pytest.mark.parametrize(
    ("sku", "generation"), [("VpnGw1AZ", "Generation1"), ("VpnGw2AZ", "Generation2"), ("VpnGw5AZ", "Generation2")]
)
def test_sku_and_generation_belong_together(sku: str, generation: str) -> None:
    spec = parse.gateway(changed(GATEWAY, "spec.sku", sku)).spec
    found = {d.ref.kind: d.body for d in render.gateway_resources("hub", spec, "ctl")}
    assert found[ArmKind.GATEWAY]["properties"]["vpnGatewayGeneration"] == generation


def test_the_public_address_is_standard_static_and_zone_redundant() -> None:
    body = bodies()[ArmKind.PUBLIC_IP]
    assert body["sku"] == {"name": "Standard"} and body["zones"] == ["1", "2", "3"]
    assert body["properties"]["publicIPAllocationMethod"] == "Static"


def test_the_network_has_the_gateway_subnet_and_the_others() -> None:
    subnets = bodies()[ArmKind.VIRTUAL_NETWORK]["properties"]["subnets"]
    assert {s["name"]: s["properties"]["addressPrefix"] for s in subnets} == {
        "GatewaySubnet": "10.0.1.0/27",
        "default": "10.0.0.0/24",
    }


def test_the_local_gateway_names_the_home_and_leaves_prefixes_to_bgp() -> None:
    properties = bodies(conn("spec.fqdn", "home.homelink.test."))[ArmKind.LOCAL_GATEWAY]["properties"]
    assert properties == {
        "fqdn": "home.homelink.test",
        "bgpSettings": {"asn": 65010, "bgpPeeringAddress": "192.168.1.1", "peerWeight": 0},
    }


def test_a_pin_replaces_the_name() -> None:
    properties = bodies(pin="198.51.100.77")[ArmKind.LOCAL_GATEWAY]["properties"]
    assert properties["gatewayIpAddress"] == "198.51.100.77" and "fqdn" not in properties


def test_the_connection() -> None:
    properties = bodies()[ArmKind.CONNECTION]["properties"]
    assert properties["connectionMode"] == "ResponderOnly" and properties["connectionProtocol"] == "IKEv2"
    assert properties["enableBgp"] is True and properties["usePolicyBasedTrafficSelectors"] is False
    assert properties["virtualNetworkGateway1"]["id"] == f"{BASE}/virtualNetworkGateways/hub"
    assert properties["localNetworkGateway2"]["id"] == f"{BASE}/localNetworkGateways/home-lng"
    assert properties["dpdTimeoutSeconds"] == 45 and properties["ipsecPolicies"] == [CONN.ipsec.to_arm()]


def test_both_ends_of_a_tunnel_agree() -> None:
    found = bodies()
    tunnel = render.tunnel("home", "ID", CONN, GW, END, PSK)
    policy = found[ArmKind.CONNECTION]["properties"]["ipsecPolicies"][0]
    peer = found[ArmKind.LOCAL_GATEWAY]["properties"]["bgpSettings"]
    assert (tunnel.ike.encryption, tunnel.ike.integrity, tunnel.ike.dh_group) == (
        policy["ikeEncryption"],
        policy["ikeIntegrity"],
        policy["dhGroup"],
    )
    assert (tunnel.esp.encryption, tunnel.esp.integrity, tunnel.esp.pfs_group, tunnel.esp.lifetime_s) == (
        policy["ipsecEncryption"],
        policy["ipsecIntegrity"],
        policy["pfsGroup"],
        policy["saLifeTimeSeconds"],
    )
    assert (tunnel.bgp.local_asn, tunnel.bgp.local_address) == (peer["asn"], peer["bgpPeeringAddress"])
    assert tunnel.bgp.peer_asn == found[ArmKind.GATEWAY]["properties"]["bgpSettings"]["asn"]
    assert (tunnel.peer_address, tunnel.peer_id, tunnel.bgp.peer_address) == (END.public_ip, END.public_ip, "10.0.1.30")
    assert tunnel.transit.local == "10.0.1.29" and tunnel.psk == PSK
    assert (tunnel.bgp.advertise, tunnel.bgp.accept) == (("192.168.1.0/24",), ("10.0.0.0/16",))


@pytest.mark.parametrize(("mode", "home"), [("ResponderOnly", True), ("Default", True), ("InitiatorOnly", False)])
def test_who_dials(mode: str, home: bool) -> None:
    spec = conn("spec.mode", mode)
    assert render.tunnel("home", "ID", spec, GW, END, PSK).initiates is home
    assert bodies(spec)[ArmKind.CONNECTION]["properties"]["connectionMode"] == mode


def test_what_changes_the_tunnel_changes_its_digest() -> None:
    def digest(spec: Any = CONN, end: AzureEnd = END, psk: SecretRef = PSK) -> str:
        return render.tunnel("home", "ID", spec, GW, end, psk).digest()

    others = [
        digest(conn("spec.mss", 1300)),
        digest(conn("spec.home.prefixes", ["192.168.1.0/25"])),
        digest(conn("spec.ipsec", {"saLifetimeSeconds": 3600})),
        digest(end=AzureEnd("203.0.113.11", "10.0.1.30")),
        digest(psk=SecretRef("psk-X", "v2")),
    ]
    assert len({digest(), *others}) == 6 and digest() == digest()
    assert digest(conn("spec.dpdTimeoutSeconds", 30)) == digest(), "Azure's alone: no reason to touch the firewall"


@pytest.mark.parametrize("bgp", ["", "fd00::1", "10.0.1", "10.0.1.30/32"])
def test_an_address_of_azure_that_is_none_is_told(bgp: str) -> None:
    with pytest.raises(ValueError, match="not an IPv4 address"):
        render.tunnel("home", "ID", CONN, GW, AzureEnd("203.0.113.10", bgp), PSK)


def gateway_says(**settings: Any) -> dict[str, Any]:
    return {"properties": {"bgpSettings": settings}}


PIP = {"properties": {"ipAddress": "203.0.113.10"}}


@pytest.mark.parametrize(
    ("gateway", "public", "bgp"),
    [
        (gateway_says(bgpPeeringAddress="10.0.1.30"), PIP, "10.0.1.30"),
        (gateway_says(bgpPeeringAddress="10.0.1.4,10.0.1.5"), PIP, "10.0.1.4"),
        (gateway_says(bgpPeeringAddresses=[{"defaultBgpIpAddresses": ["10.0.1.30"]}]), PIP, "10.0.1.30"),
        (gateway_says(bgpPeeringAddresses=[{}, {"defaultBgpIpAddresses": ["10.0.1.5"]}]), PIP, "10.0.1.5"),
        (gateway_says(bgpPeeringAddress="", bgpPeeringAddresses=None), PIP, None),
        (gateway_says(asn=0, bgpPeeringAddresses=[]), PIP, None),
        ({"properties": {"bgpSettings": None}}, PIP, None),
        ({"properties": None}, PIP, None),
        ({}, PIP, None),
        (None, PIP, None),
        (gateway_says(bgpPeeringAddress="10.0.1.30"), None, None),
        (gateway_says(bgpPeeringAddress="10.0.1.30"), {"properties": {}}, None),
    ],
)
def test_what_only_azure_knows(gateway: Any, public: Any, bgp: str | None) -> None:
    found = render.azure_end(gateway, public)
    assert found == (None if bgp is None else AzureEnd("203.0.113.10", bgp))
