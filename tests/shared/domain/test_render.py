"""What a spec becomes at both ends, and what is read back from ARM's answers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from shared.domain import parse, render
from shared.domain.arm import ArmKind
from shared.domain.render import AzureEnd
from shared.wire.commands import SecretRef, Transit
from tests.examples import CONNECTION, GATEWAY, changed

MODELS = Path(__file__).parents[4] / "shared/data/azure/models-api-2026-03-01.json"
GW = parse.gateway(GATEWAY).spec
CONN = parse.connection(CONNECTION).spec
END = AzureEnd("203.0.113.10", "10.0.1.30")
PSK = SecretRef("psk-X", "v1")
BASE = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/rg-homelink/providers/Microsoft.Network"


def bodies(spec: Any = CONN, pin: str | None = None) -> dict[ArmKind, dict[str, Any]]:
    made = render.gateway_resources("hub", GW, "ctl")
    made += render.connection_resources("home", spec, "hub", GW, "ctl", pin)
    return {d.ref.kind: d.body for d in made}


TWO = parse.gateway(changed(GATEWAY, "spec.activeActive", True)).spec
CONFIGURATIONS = f"{BASE}/virtualNetworkGateways/hub/ipConfigurations"


def apipa(**more: str) -> Any:
    transit = {"mode": "apipa", "local": "169.254.21.2", "remote": "169.254.21.1", **more}
    document = changed(CONNECTION, "spec.transit", transit)
    return parse.connection(changed(document, "spec.home.bgpAddress", "169.254.21.2")).spec


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


def test_one_instance_has_one_configuration_and_one_public_address() -> None:
    properties = bodies()[ArmKind.GATEWAY]["properties"]
    assert properties["activeActive"] is False
    assert [c["name"] for c in properties["ipConfigurations"]] == ["default"]
    assert [r.name for r in render.gateway_chain("hub", GW)] == ["vnet-hub", "hub-pip", "hub"]


def test_two_instances_have_two_of_each() -> None:
    made = render.gateway_resources("hub", TWO, "ctl")
    assert [d.ref for d in made] == render.gateway_chain("hub", TWO), "in the order of creation"
    assert [d.ref.name for d in made] == ["vnet-hub", "hub-pip", "hub-pip2", "hub"]
    first, second = made[1].body, made[2].body
    assert first == second and first["tags"][render.TAG_CONTROLLER] == "ctl"
    properties = made[-1].body["properties"]
    assert properties["activeActive"] is True and properties["bgpSettings"] == {"asn": 65515}
    found = {c["name"]: c["properties"] for c in properties["ipConfigurations"]}
    assert {n: p["publicIPAddress"]["id"] for n, p in found.items()} == {
        "default": f"{BASE}/publicIPAddresses/hub-pip",
        "activeActive": f"{BASE}/publicIPAddresses/hub-pip2",
    }
    assert {p["subnet"]["id"] for p in found.values()} == {f"{BASE}/virtualNetworks/vnet-hub/subnets/GatewaySubnet"}


def test_two_instances_and_the_home_has_a_tunnel_to_the_first() -> None:
    gateway = gateway_says(
        bgpPeeringAddress="10.0.1.4,10.0.1.5",
        bgpPeeringAddresses=[
            {"ipconfigurationId": f"{CONFIGURATIONS}/activeActive", "defaultBgpIpAddresses": ["10.0.1.4"]},
            {"ipconfigurationId": f"{CONFIGURATIONS}/DEFAULT", "defaultBgpIpAddresses": ["10.0.1.5"]},
        ],
    )
    end = render.azure_end(gateway, PIP)
    assert end == AzureEnd("203.0.113.10", "10.0.1.5"), "which instance has which address is told by ARM, not by order"
    found = render.tunnel("home", "ID", CONN, TWO, AzureEnd("203.0.113.10", "10.0.1.4"), PSK)
    assert (found.transit.mode, found.transit.local, found.transit.remote) == (
        "pointToPoint",
        "172.31.255.253",
        "10.0.1.4",
    )
    assert (found.peer_address, found.bgp.peer_address, found.bgp.local_address) == (
        "203.0.113.10",
        "10.0.1.4",
        "192.168.1.1",
    )


@pytest.mark.parametrize("bgp", ["10.0.1.4", "10.0.1.28", "10.0.1.31"])
def test_a_transit_that_cannot_be_is_told_with_the_remedy(bgp: str) -> None:
    with pytest.raises(ValueError, match=r"spec\.transit\.mode to auto or pointToPoint"):
        render.tunnel(
            "home", "ID", conn("spec.transit", {"mode": "gatewaySubnet"}), GW, AzureEnd("203.0.113.10", bgp), PSK
        )


def test_apipa_at_both_ends() -> None:
    spec = apipa()
    gateway = render.gateway_resources("hub", GW, "ctl", [CONN, spec])[-1].body["properties"]
    assert gateway["bgpSettings"]["bgpPeeringAddresses"] == [
        {"ipconfigurationId": f"{CONFIGURATIONS}/default", "customBgpIpAddresses": ["169.254.21.1"]}
    ]
    found = bodies(spec)
    assert found[ArmKind.CONNECTION]["properties"]["gatewayCustomBgpIpAddresses"] == [
        {"ipConfigurationId": f"{CONFIGURATIONS}/default", "customBgpIpAddress": "169.254.21.1"}
    ]
    peer = found[ArmKind.LOCAL_GATEWAY]["properties"]["bgpSettings"]["bgpPeeringAddress"]
    tunnel = render.tunnel("home", "ID", spec, GW, END, PSK)
    assert tunnel.transit == Transit("apipa", "169.254.21.2", "169.254.21.1", 30)
    assert (tunnel.bgp.local_address, tunnel.bgp.peer_address) == (peer, "169.254.21.1")
    assert tunnel.initiates and tunnel.peer_address == "203.0.113.10"


def test_apipa_with_two_instances() -> None:
    one, two = apipa(remoteSecond="169.254.22.1"), apipa(remote="169.254.21.9", remoteSecond="169.254.22.9")
    gateway = render.gateway_resources("hub", TWO, "ctl", [two, one])[-1].body["properties"]
    assert gateway["bgpSettings"]["bgpPeeringAddresses"] == [
        {"ipconfigurationId": f"{CONFIGURATIONS}/default", "customBgpIpAddresses": ["169.254.21.1", "169.254.21.9"]},
        {
            "ipconfigurationId": f"{CONFIGURATIONS}/activeActive",
            "customBgpIpAddresses": ["169.254.22.1", "169.254.22.9"],
        },
    ]
    made = render.connection_resources("home", one, "hub", TWO, "ctl", None)[-1].body["properties"]
    assert made["gatewayCustomBgpIpAddresses"] == [
        {"ipConfigurationId": f"{CONFIGURATIONS}/default", "customBgpIpAddress": "169.254.21.1"},
        {"ipConfigurationId": f"{CONFIGURATIONS}/activeActive", "customBgpIpAddress": "169.254.22.1"},
    ]


def test_without_apipa_nothing_is_said_of_it_but_that_none_is_chosen() -> None:
    assert render.gateway_resources("hub", GW, "ctl", [CONN])[-1].body["properties"]["bgpSettings"] == {"asn": 65515}
    assert bodies()[ArmKind.CONNECTION]["properties"]["gatewayCustomBgpIpAddresses"] == []


def test_every_field_that_is_sent_is_one_of_the_api() -> None:
    """Against the models of the API version that the SDK speaks, nested ones included."""
    if not MODELS.exists():
        pytest.skip("the recorded models of the API are not here (../shared/data/azure)")
    models = json.loads(MODELS.read_text())
    spec = apipa(remoteSecond="169.254.22.1")
    made = render.gateway_resources("hub", TWO, "ctl", [spec])
    made += render.connection_resources("home", spec, "hub", TWO, "ctl", None)
    roots = {
        ArmKind.PUBLIC_IP: "PublicIPAddress",
        ArmKind.GATEWAY: "VirtualNetworkGateway",
        ArmKind.LOCAL_GATEWAY: "LocalNetworkGateway",
        ArmKind.CONNECTION: "VirtualNetworkGatewayConnection",
    }
    checked = sum(known(models, roots[d.ref.kind], d.body) for d in made if d.ref.kind in roots)
    assert checked > 60


def known(models: Any, model: str, body: Any) -> int:
    """How many fields of `body` the model has; fails at the first that it has not, or that is read only."""
    count = 0
    fields = models[model]["fields"]
    for name, value in body.items():
        if name in ("tags", "location", "zones", "id"):
            continue
        assert name in fields and not fields[name]["readonly"], f"{model}.{name}"
        count += 1
        inner = next((m for m in re.findall(r"[A-Z]\w+", fields[name]["type"]) if m in models), None)
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict) and inner is not None:
                count += known(models, inner, item)
    return count


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
