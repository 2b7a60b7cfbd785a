"""Every rule with documents that break it and documents that just do not; all problems of a document at once."""

from __future__ import annotations

import ast
import copy
from pathlib import Path
from typing import Any

import pytest

from shared.domain import limits, parse, rules, rules_gateway, rules_home, rules_tunnel
from shared.domain.problem import Problem
from shared.domain.spec import ConnectionSpec
from tests.examples import CONNECTION, GATEWAY, changed

NET = "spec.virtualNetwork"


def of_gateway(document: dict[str, Any]) -> list[Problem]:
    return rules.gateway_problems(parse.gateway(document).spec)


def of_connection(
    document: dict[str, Any], gateway: dict[str, Any] = GATEWAY, elsewhere: Any = None, **others: dict[str, Any]
) -> list[Problem]:
    specs: dict[str, ConnectionSpec] = {n.replace("_", "-"): parse.connection(d).spec for n, d in others.items()}
    far = {n: parse.connection(d).spec for n, d in (elsewhere or {}).items()}
    spec, of_gateway_ = parse.connection(document).spec, parse.gateway(gateway).spec
    return rules.connection_problems("home", spec, of_gateway_, specs, far)


def apipa(local: str | None = "169.254.21.2", remote: str | None = "169.254.21.1", **more: Any) -> dict[str, Any]:
    """The home in transit mode apipa, speaking BGP from its end."""
    transit = {"mode": "apipa", "local": local, "remote": remote, **more}
    return changed(changed(CONNECTION, "spec.transit", transit), "spec.home.bgpAddress", local or "169.254.21.2")


TWO_INSTANCES = changed(GATEWAY, "spec.activeActive", True)


def other_home() -> dict[str, Any]:
    """A second home that gets along with the first."""
    spec = {
        **copy.deepcopy(CONNECTION["spec"]),
        "agent": "office-fw",
        "fqdn": "office.homelink.test",
        "home": {"asn": 65011, "bgpAddress": "192.168.2.1", "prefixes": ["192.168.2.0/24"]},
    }
    return {**copy.deepcopy(CONNECTION), "metadata": {"name": "office"}, "spec": spec}


def subnets(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"name": n, "prefix": p} for n, p in pairs]


GATEWAY_BAD = [
    ("sku-basic", "spec.sku", "spec.sku", "Basic"),
    ("sku-not-az", "spec.sku", "spec.sku", "VpnGw1"),
    ("sku-not-az", "spec.sku", "spec.sku", "HighPerformance"),
    ("sku-unknown", "spec.sku", "spec.sku", "VpnGw6AZ"),
    ("sku-unknown", "spec.sku", "spec.sku", ""),
    ("asn-reserved", "spec.asn", "spec.asn", 65517),
    ("asn-reserved", "spec.asn", "spec.asn", 23456),
    ("asn-reserved", "spec.asn", "spec.asn", 64511),
    ("asn-reserved", "spec.asn", "spec.asn", 65551),
    ("prefix-form", f"{NET}.addressSpace[0]", f"{NET}.addressSpace", ["10.0.0.1/16"]),
    ("prefix-form", f"{NET}.gatewaySubnet", f"{NET}.gatewaySubnet", "10.0.1.0/255.255.255.224"),
    ("prefix-form", f"{NET}.subnets[0].prefix", f"{NET}.subnets", subnets(("front", "10.0.0.0"))),
    ("subnet-outside", f"{NET}.gatewaySubnet", f"{NET}.gatewaySubnet", "10.1.0.0/27"),
    ("subnet-outside", f"{NET}.subnets[0].prefix", f"{NET}.subnets", subnets(("front", "10.1.0.0/24"))),
    ("gateway-subnet-small", f"{NET}.gatewaySubnet", f"{NET}.gatewaySubnet", "10.0.1.0/28"),
    ("subnet-overlap", f"{NET}.subnets[0].prefix", f"{NET}.subnets", subnets(("front", "10.0.1.16/28"))),
    (
        "subnet-overlap",
        f"{NET}.subnets[1].prefix",
        f"{NET}.subnets",
        subnets(("front", "10.0.0.0/24"), ("back", "10.0.0.0/25")),
    ),
    ("sku-generation", "spec.generation", "spec.generation", "Generation2"),
    ("prefix-unusable", f"{NET}.addressSpace[1]", f"{NET}.addressSpace", ["10.0.0.0/16", "169.254.0.0/16"]),
    ("subnet-overlap", f"{NET}.addressSpace[1]", f"{NET}.addressSpace", ["10.0.0.0/16", "10.0.8.0/24"]),
    (
        "subnet-name-twice",
        f"{NET}.subnets[1].name",
        f"{NET}.subnets",
        subnets(("front", "10.0.2.0/24"), ("Front", "10.0.3.0/24")),
    ),
    ("gateway-subnet-twice", f"{NET}.subnets[0].name", f"{NET}.subnets", subnets(("gatewaysubnet", "10.0.2.0/24"))),
]

GATEWAY_GOOD = [
    ("spec.generation", "Generation1"),
    ("spec.activeActive", True),
    (f"{NET}.addressSpace", ["10.0.0.0/16", "168.63.0.0/17"]),
    ("spec.sku", "VpnGw5AZ"),
    ("spec.asn", 65515),
    ("spec.asn", 64512),
    ("spec.asn", 64495),
    ("spec.asn", 65552),
    ("spec.asn", 4294967294),
    (f"{NET}.addressSpace", ["10.0.0.0/16", "10.8.0.0/16"]),
    (f"{NET}.gatewaySubnet", "10.0.1.0/26"),
    (f"{NET}.gatewaySubnet", "10.0.255.224/27"),
    (f"{NET}.subnets", subnets(("GatewaySubnet2", "10.0.1.32/27"))),
    (f"{NET}.subnets", []),
]


def at(bgp_address: str) -> dict[str, Any]:
    return {**CONNECTION["spec"]["home"], "bgpAddress": bgp_address}


POINT = {**CONNECTION["spec"], "transit": {"mode": "pointToPoint"}}

CONNECTION_BAD = [
    ("fqdn-form", "spec.fqdn", "spec.fqdn", "home"),
    ("fqdn-form", "spec.fqdn", "spec.fqdn", "198.51.100.23"),
    ("fqdn-form", "spec.fqdn", "spec.fqdn", "198.51.100.23."),
    ("fqdn-form", "spec.fqdn", "spec.fqdn", "-a.example.net"),
    ("fqdn-form", "spec.fqdn", "spec.fqdn", "a-.example.net"),
    ("fqdn-form", "spec.fqdn", "spec.fqdn", "a..example.net"),
    ("fqdn-form", "spec.fqdn", "spec.fqdn", "home.example.net\n"),
    ("fqdn-form", "spec.fqdn", "spec.fqdn", "hö.example.net"),
    ("fqdn-form", "spec.fqdn", "spec.fqdn", "a" * 64 + ".net"),
    ("asn-same", "spec.home.asn", "spec.home.asn", 65515),
    ("asn-reserved", "spec.home.asn", "spec.home.asn", 8075),
    ("asn-reserved", "spec.home.asn", "spec.home.asn", 65535),
    ("asn-reserved", "spec.home.asn", "spec.home.asn", 65520),
    ("prefix-unusable", "spec.home.prefixes[0]", "spec.home.prefixes", ["224.0.0.0/4"]),
    ("prefix-unusable", "spec.home.prefixes[1]", "spec.home.prefixes", ["192.168.1.0/24", "169.254.21.0/24"]),
    ("prefix-form", "spec.home.prefixes[0]", "spec.home.prefixes", ["192.168.1.1/24"]),
    ("prefix-default", "spec.home.prefixes[0]", "spec.home.prefixes", ["0.0.0.0/0"]),
    ("prefix-overlap", "spec.home.prefixes[0]", "spec.home.prefixes", ["10.0.5.0/24"]),
    ("prefix-overlap", "spec.home.prefixes[0]", "spec.home.prefixes", ["10.0.0.0/8"]),
    ("prefix-overlap", "spec.home.prefixes[1]", "spec.home.prefixes", ["192.168.1.0/24", "192.168.1.128/25"]),
    ("address-form", "spec.home.bgpAddress", "spec.home.bgpAddress", "192.168.1.1/24"),
    ("address-form", "spec.home.bgpAddress", "spec.home.bgpAddress", "192.168.01.1"),
    ("bgp-address-in-vnet", "spec.home.bgpAddress", "spec.home.bgpAddress", "10.0.1.29"),
    ("bgp-address-public", "spec.home.bgpAddress", "spec.home.bgpAddress", "198.51.100.23"),
    ("bgp-address-apipa", "spec.home.bgpAddress", "spec.home.bgpAddress", "169.254.21.2"),
    ("bgp-address-unusable", "spec.home.bgpAddress", "spec.home.bgpAddress", "127.0.0.1"),
    ("bgp-address-unusable", "spec.home.bgpAddress", "spec.home.bgpAddress", "224.0.0.5"),
    ("bgp-address-unusable", "spec.home.bgpAddress", "spec.home.bgpAddress", "0.0.0.0"),
    ("bgp-address-transit", "spec.home.bgpAddress", "spec.transit", {"local": "192.168.1.1"}),
    ("bgp-address-transit", "spec.home.bgpAddress", "spec", {**POINT, "home": at("172.31.255.253")}),
    ("bgp-address-not-transit", "spec.home.bgpAddress", "spec", {**apipa()["spec"], "home": at("192.168.1.1")}),
    ("bgp-address-not-transit", "spec.home.bgpAddress", "spec", {**apipa()["spec"], "home": at("169.254.21.1")}),
    ("transit-remote", "spec.transit.remote", "spec.transit", {"remote": "10.0.1.30"}),
    (
        "transit-remote",
        "spec.transit.remoteSecond",
        "spec.transit",
        {"mode": "pointToPoint", "remoteSecond": "10.0.1.5"},
    ),
    ("transit-unusable", "spec.transit.local", "spec.transit", {"local": "169.254.21.2"}),
    ("transit-unusable", "spec.transit.local", "spec.transit", {"local": "127.0.0.1"}),
    ("transit-unusable", "spec.transit.local", "spec.transit", {"mode": "pointToPoint", "local": "198.51.100.23"}),
    ("apipa-incomplete", "spec.transit.remote", "spec", apipa(remote=None)["spec"]),
    ("apipa-range", "spec.transit.local", "spec", apipa("169.254.20.255")["spec"]),
    ("apipa-range", "spec.transit.remote", "spec", apipa(remote="169.254.23.0")["spec"]),
    ("apipa-range", "spec.transit.remote", "spec", apipa(remote="10.0.1.30")["spec"]),
    ("apipa-range", "spec.transit.remote", "spec", apipa(remote="169.254.21")["spec"]),
    ("apipa-shared", "spec.transit.remote", "spec", apipa(remote="169.254.21.2")["spec"]),
    ("apipa-second", "spec.transit.remoteSecond", "spec", apipa(remoteSecond="169.254.22.1")["spec"]),
    ("apipa-home-initiates", "spec.mode", "spec", {**apipa()["spec"], "mode": "InitiatorOnly"}),
    ("ipsec-policy", "spec.ipsec.ikeEncryption", "spec.ipsec", {"ikeEncryption": "DES3"}),
    ("ipsec-policy", "spec.ipsec.ipsecIntegrity", "spec.ipsec", {"ipsecIntegrity": "SHA256"}),
    ("address-form", "spec.transit.local", "spec.transit", {"local": "x"}),
    ("transit-derived", "spec.transit.local", "spec.transit", {"mode": "gatewaySubnet", "local": "192.168.9.1"}),
    ("transit-in-vnet", "spec.transit.local", "spec.transit", {"mode": "pointToPoint", "local": "10.0.9.1"}),
    ("psk-two-ways", "spec.psk", "spec.psk", {"vaultRef": "mine"}),
    ("psk-no-way", "spec.psk", "spec.psk", {"generate": False}),
    ("psk-own-entry", "spec.psk.vaultRef", "spec.psk", {"generate": False, "vaultRef": "agent-X-command"}),
    ("psk-own-entry", "spec.psk.vaultRef", "spec.psk", {"generate": False, "vaultRef": "PSK-X"}),
    ("probe-outside", "spec.probe", "spec.probe", "192.168.1.50"),
    ("probe-outside", "spec.probe", "spec.probe", "vm.example.net"),
]

CONNECTION_GOOD = [
    ("spec", apipa()["spec"]),
    ("spec", apipa("169.254.21.0", "169.254.22.255")["spec"]),
    ("spec", {**apipa()["spec"], "mode": "Default"}),
    ("spec", {**CONNECTION["spec"], "home": at("172.31.255.253")}),
    ("spec.mode", "InitiatorOnly"),
    ("spec.transit", {"mode": "pointToPoint"}),
    ("spec.fqdn", "home.example.net."),
    ("spec.fqdn", "_x.a-b.net"),
    ("spec.fqdn", "a" * 63 + ".net"),
    ("spec.home.asn", 4200000000),
    ("spec.home.asn", 65514),
    ("spec.home.asn", 65521),
    ("spec.home.prefixes", ["192.168.1.0/25", "192.168.1.128/25", "10.1.0.0/16"]),
    ("spec.home.bgpAddress", "100.64.0.1"),
    ("spec.ipsec", {"ipsecEncryption": "AES256", "ipsecIntegrity": "SHA256", "pfsGroup": "None"}),
    ("spec.ipsec", {"ikeEncryption": "AES128", "ikeIntegrity": "SHA1", "dhGroup": "DHGroup2"}),
    ("spec.transit", {"mode": "pointToPoint", "local": "192.168.99.1"}),
    ("spec.transit", {"mode": "gatewaySubnet"}),
    ("spec.psk", {"generate": False, "vaultRef": "mine"}),
    ("spec.psk", {"generate": True}),
    ("spec.probe", None),
    ("spec.probe", "10.0.255.255"),
]


def test_the_examples_are_sound() -> None:
    assert of_gateway(GATEWAY) == []
    assert of_connection(CONNECTION, office=other_home()) == []


@pytest.mark.parametrize(("code", "path", "field", "value"), GATEWAY_BAD)
def test_a_gateway_that_breaks_one_rule(code: str, path: str, field: str, value: Any) -> None:
    found = of_gateway(changed(GATEWAY, field, value))
    assert [(p.rule, p.path) for p in found] == [(code, path)]
    assert found[0].message and found[0].remedy and path in str(found[0])


@pytest.mark.parametrize(("field", "value"), GATEWAY_GOOD)
def test_a_gateway_that_just_does_not(field: str, value: Any) -> None:
    assert of_gateway(changed(GATEWAY, field, value)) == []


@pytest.mark.parametrize(("code", "path", "field", "value"), CONNECTION_BAD)
def test_a_connection_that_breaks_one_rule(code: str, path: str, field: str, value: Any) -> None:
    found = of_connection(changed(CONNECTION, field, value))
    assert [(p.rule, p.path) for p in found] == [(code, path)]
    assert found[0].message and found[0].remedy and path in str(found[0])


@pytest.mark.parametrize(("field", "value"), CONNECTION_GOOD)
def test_a_connection_that_just_does_not(field: str, value: Any) -> None:
    assert of_connection(changed(CONNECTION, field, value)) == []


TWO_HOMES = [
    ("fqdn-shared", {"fqdn": "HOME.homelink.test."}),
    ("prefix-overlap", {"home": {"asn": 65011, "bgpAddress": "192.168.2.1", "prefixes": ["192.168.0.0/16"]}}),
    ("bgp-address-shared", {"home": {"asn": 65011, "bgpAddress": "192.168.1.1", "prefixes": ["192.168.2.0/24"]}}),
    ("asn-per-firewall", {"agent": "home-fw"}),
]


@pytest.mark.parametrize(("code", "change"), TWO_HOMES)
def test_two_homes_that_do_not_get_along(code: str, change: dict[str, Any]) -> None:
    office = other_home()
    office["spec"] |= change
    found = of_connection(CONNECTION, office=office)
    assert [p.rule for p in found] == [code]
    assert "office" in found[0].message


FOREIGN = [
    ("bgp-address-foreign", "192.168.2.7", ["192.168.1.0/24"], {}),
    ("prefix-holds-peer", "192.168.1.1", ["192.168.0.0/23"], {"bgpAddress": "192.168.0.1"}),
]


@pytest.mark.parametrize(("code", "mine", "prefixes", "theirs"), FOREIGN)
def test_a_bgp_address_belongs_to_its_own_home(code: str, mine: str, prefixes: list[str], theirs: Any) -> None:
    office = other_home()
    office["spec"]["home"] |= theirs
    home = changed(CONNECTION, "spec.home", {"asn": 65010, "bgpAddress": mine, "prefixes": prefixes})
    found = of_connection(home, office=office)
    assert [p.rule for p in found] == [code] and "office" in found[0].message
    office["spec"]["agent"] = "home-fw"
    office["spec"]["home"]["asn"] = 65010
    assert of_connection(home, office=office) == [], "one firewall has one LAN address, whatever it serves"


def apipa_office(local: str, remote: str) -> dict[str, Any]:
    office = other_home()
    office["spec"]["transit"] = {"mode": "apipa", "local": local, "remote": remote}
    office["spec"]["home"]["bgpAddress"] = local
    return office


@pytest.mark.parametrize(
    ("local", "remote", "path"),
    [
        ("169.254.21.2", "169.254.22.1", "spec.transit.local"),
        ("169.254.22.2", "169.254.21.1", "spec.transit.remote"),
        ("169.254.21.1", "169.254.22.1", "spec.transit.remote"),
    ],
)
def test_apipa_addresses_are_unique_on_a_gateway(local: str, remote: str, path: str) -> None:
    found = of_connection(apipa(), office=apipa_office(local, remote))
    assert ("apipa-shared", path) in [(p.rule, p.path) for p in found]
    assert of_connection(apipa(), office=apipa_office("169.254.21.6", "169.254.21.5")) == []


def test_with_two_instances_azure_has_two_apipa_addresses() -> None:
    both = apipa(remoteSecond="169.254.22.1")
    assert of_connection(both, TWO_INSTANCES) == []
    found = of_connection(apipa(), TWO_INSTANCES)
    assert [(p.rule, p.path) for p in found] == [("apipa-incomplete", "spec.transit.remoteSecond")]
    found = of_connection(apipa(remoteSecond="169.254.21.1"), TWO_INSTANCES)
    assert [(p.rule, p.path) for p in found] == [("apipa-shared", "spec.transit.remoteSecond")]


def test_with_two_instances_the_transit_is_not_in_the_gateway_subnet() -> None:
    found = of_connection(changed(CONNECTION, "spec.transit", {"mode": "gatewaySubnet"}), TWO_INSTANCES)
    assert [(p.rule, p.path) for p in found] == [("transit-active-active", "spec.transit.mode")]
    for mode in ("auto", "pointToPoint"):
        assert of_connection(changed(CONNECTION, "spec.transit", {"mode": mode}), TWO_INSTANCES) == []
    crowded = changed(TWO_INSTANCES, f"{NET}.addressSpace", ["10.0.0.0/16", "172.31.0.0/16"])
    found = of_connection(CONNECTION, crowded)
    assert [(p.rule, p.value) for p in found] == [("transit-in-vnet", "172.31.255.253")], "the default counts as well"


def test_a_firewall_that_serves_two_gateways() -> None:
    far = other_home()
    far["spec"] |= {"gateway": "other-hub", "agent": "home-fw", "transit": {"local": "172.31.0.1"}}
    home = changed(CONNECTION, "spec.transit", {"local": "172.31.0.1"})
    assert [p.rule for p in of_connection(home, elsewhere={"far": far})] == ["asn-per-firewall", "transit-shared"]
    far["spec"]["home"]["asn"] = 65010
    far["spec"]["transit"]["local"] = "172.31.0.5"
    assert of_connection(home, elsewhere={"far": far}) == []
    far["spec"] |= {"agent": "far-fw", "transit": {"local": "172.31.0.1"}}
    far["spec"]["home"]["asn"] = 65011
    assert of_connection(home, elsewhere={"far": far}) == [], "another firewall's addresses do not matter"


@pytest.mark.parametrize(
    ("sku", "generation", "fits"),
    [
        ("VpnGw1AZ", "Generation1", True),
        ("VpnGw1AZ", "Generation2", False),
        ("VpnGw2AZ", "Generation1", True),
        ("VpnGw2AZ", "Generation2", True),
        ("VpnGw3AZ", "Generation1", True),
        ("VpnGw3AZ", "Generation2", True),
        ("VpnGw4AZ", "Generation1", False),
        ("VpnGw4AZ", "Generation2", True),
        ("VpnGw5AZ", "Generation1", False),
        ("VpnGw5AZ", "Generation2", True),
    ],
)
def test_every_pair_of_sku_and_generation(sku: str, generation: str, fits: bool) -> None:
    found = of_gateway(changed(changed(GATEWAY, "spec.sku", sku), "spec.generation", generation))
    assert [p.rule for p in found] == ([] if fits else ["sku-generation"])
    assert of_gateway(changed(GATEWAY, "spec.sku", sku)) == []


def test_one_gateway_in_a_virtual_network() -> None:
    spec = parse.gateway(GATEWAY).spec
    same = parse.gateway(changed(GATEWAY, f"{NET}.name", "VNET-hub")).spec
    other = parse.gateway(changed(GATEWAY, f"{NET}.name", "vnet-2")).spec
    group = parse.gateway(changed(GATEWAY, "spec.resourceGroup", "rg-2")).spec
    found = rules.gateway_problems(spec, {"second": same})
    assert [(p.rule, p.path) for p in found] == [("network-shared", f"{NET}.name")] and "second" in found[0].message
    assert rules.gateway_problems(spec, {"second": other, "third": group}) == []


ADOPT = {"virtualNetworkGateway": "vgw", "publicIps": ["ip"], "ipConfigurations": ["cfg"]}
EXISTING = changed(changed(GATEWAY, f"{NET}.subnets", []), "spec.adopt", ADOPT)
ADOPTED = [("spec.sku", "VpnGw1"), (f"{NET}.gatewaySubnet", "10.0.1.0/28"), (f"{NET}.gatewaySubnet", "10.0.1.0/29")]


@pytest.mark.parametrize(("field", "value"), ADOPTED)
def test_what_exists_may_be_adopted_with_a_finding(field: str, value: str) -> None:
    new, spec = (parse.gateway(changed(d, field, value)).spec for d in (GATEWAY, EXISTING))
    assert rules.gateway_problems(spec) == []
    assert rules.gateway_problems(new) == rules.gateway_findings(spec) != []


@pytest.mark.parametrize(("field", "value"), [("spec.sku", "Basic"), (f"{NET}.gatewaySubnet", "10.0.1.0/30")])
def test_not_everything_that_exists_may_be_adopted(field: str, value: str) -> None:
    assert len(rules.gateway_problems(parse.gateway(changed(EXISTING, field, value)).spec)) == 1


NOT_ADOPTED = [
    ("spec.activeActive", True, ["adopt-instances", "adopt-instances"]),
    ("spec.adopt.publicIps", ["ip", "ip2"], ["adopt-instances"]),
    (f"{NET}.subnets", [{"name": "more", "prefix": "10.0.0.0/24"}], ["adopt-subnets"]),
]


@pytest.mark.parametrize(("field", "value", "told"), NOT_ADOPTED)
def test_an_adopted_gateway_has_names_for_each_instance_and_no_subnets(field: str, value: Any, told: list[str]) -> None:
    assert [p.rule for p in rules.gateway_problems(parse.gateway(changed(EXISTING, field, value)).spec)] == told


def test_a_resource_belongs_to_one_connection() -> None:
    gateway, home = parse.gateway(GATEWAY).spec, parse.connection(CONNECTION).spec
    adopt = {"localNetworkGateway": "lng-old", "connection": "HOME"}
    other = changed(changed(CONNECTION, "spec.adopt", adopt), "spec.fqdn", "other.homelink.test")
    other = changed(other, "spec.home.prefixes", ["192.168.9.0/24"])
    spec = parse.connection(other).spec
    found = rules.connection_problems("other", spec, gateway, {"home": home})
    assert [(p.rule, p.path) for p in found] == [("adopt-shared", "spec.adopt")] and "home" in found[0].message
    found = rules.connection_problems("home", home, gateway, {"other": spec})
    assert [(p.rule, p.path) for p in found] == [("adopt-shared", "metadata.name")]


IMMUTABLE = [
    ("spec.tenantId", "33333333-3333-3333-3333-333333333333"),
    ("spec.subscriptionId", "33333333-3333-3333-3333-333333333333"),
    ("spec.resourceGroup", "rg-2"),
    ("spec.location", "northeurope"),
    (f"{NET}.name", "vnet-2"),
    (f"{NET}.gatewaySubnet", "10.0.2.0/27"),
    ("spec.activeActive", True),
]


@pytest.mark.parametrize(("field", "value"), IMMUTABLE)
def test_what_cannot_be_changed(field: str, value: Any) -> None:
    old, new = parse.gateway(GATEWAY).spec, parse.gateway(changed(GATEWAY, field, value)).spec
    assert [(p.rule, p.path) for p in rules.change_problems(old, new)] == [("immutable", field)]
    assert rules.change_problems(old, old) == []


def test_a_sku_is_changed_within_its_generation() -> None:
    def changing(before: tuple[str, str | None], after: tuple[str, str | None]) -> list[str]:
        specs = [changed(changed(GATEWAY, "spec.sku", s), "spec.generation", g) for s, g in (before, after)]
        return [p.rule for p in rules.change_problems(*(parse.gateway(s).spec for s in specs))]

    assert changing(("VpnGw1AZ", None), ("VpnGw2AZ", None)) == ["generation-change"]
    assert changing(("VpnGw1AZ", None), ("VpnGw2AZ", "Generation1")) == []
    assert changing(("VpnGw2AZ", None), ("VpnGw2AZ", "Generation1")) == ["generation-change"]
    assert changing(("VpnGw2AZ", None), ("VpnGw5AZ", "Generation2")) == []


@pytest.mark.parametrize("value", ["a" * 16, "!" * 128, "Az09}|{_.,:;=+*&%$#@", "0123456789abcdef"])
def test_a_key_that_both_ends_take(value: str) -> None:
    assert rules.psk_problems(value) == []


@pytest.mark.parametrize("bad", ["", "a" * 15, "a" * 129, *(f"0123456789abcdef{c}" for c in " -~\n\té\x7f\0")])
def test_a_key_that_one_end_does_not_take_is_refused_without_showing_it(bad: str) -> None:
    found = rules.psk_problems(bad)
    assert [p.rule for p in found] == ["psk-form"] and (not bad or bad not in str(found[0]))


SEED_TRAPS = [
    ("the transit address as BGP peer", "spec.home.bgpAddress", "10.0.1.29", "bgp-address-in-vnet"),
    ("Azure's own BGP address", "spec.home.bgpAddress", "10.0.1.30", "bgp-address-in-vnet"),
    ("the public address as BGP peer", "spec.home.bgpAddress", "198.51.100.23", "bgp-address-public"),
    ("Azure's ASN at home", "spec.home.asn", 65515, "asn-same"),
]


def test_the_seed_works() -> None:
    """pfSense at 192.168.178.2 behind a FRITZ!Box, LAN 192.168.1.0/24, Azure 10.0.0.0/16, transit in the subnet."""
    home = changed(CONNECTION, "spec.transit", {"mode": "gatewaySubnet"})
    assert of_gateway(GATEWAY) == [] and of_connection(home) == []


@pytest.mark.parametrize(("trap", "field", "value", "code"), SEED_TRAPS, ids=[t[0] for t in SEED_TRAPS])
def test_the_traps_of_the_seed(trap: str, field: str, value: Any, code: str) -> None:
    home = changed(CONNECTION, "spec.transit", {"mode": "gatewaySubnet"})
    assert [p.rule for p in of_connection(changed(home, field, value))] == [code], trap


def test_one_firewall_with_one_asn_may_have_two_tunnels() -> None:
    office = other_home()
    office["spec"]["agent"] = "home-fw"
    office["spec"]["home"] |= {"asn": 65010, "bgpAddress": "192.168.1.1"}
    assert of_connection(CONNECTION, office=office) == []


def test_a_gateway_carries_thirty_or_a_hundred() -> None:
    def homes(count: int) -> dict[str, Any]:
        made = {}
        for n in range(count):
            one = other_home()
            one["spec"] |= {"agent": f"fw-{n}", "fqdn": f"h{n}.homelink.test"}
            one["spec"]["home"] = {
                "asn": 65010,
                "bgpAddress": f"192.168.{n + 10}.1",
                "prefixes": [f"192.168.{n + 10}.0/24"],
            }
            made[f"h{n}"] = one
        return made

    for sku, most in (("VpnGw3AZ", limits.CONNECTIONS.most), ("VpnGw4AZ", limits.CONNECTIONS_LARGE.most)):
        gateway = changed(GATEWAY, "spec.sku", sku)
        assert of_connection(CONNECTION, gateway, **homes(most - 1)) == []
        assert [p.rule for p in of_connection(CONNECTION, gateway, **homes(most))] == ["too-many"]


def test_all_homes_of_a_gateway_announce_four_thousand_prefixes() -> None:
    others = {}
    for n in range(20):
        one = other_home()
        one["spec"] |= {"agent": f"fw-{n}", "fqdn": f"h{n}.homelink.test"}
        prefixes = [f"192.168.{n + 10}.{i}/32" for i in range(200)]
        one["spec"]["home"] = {"asn": 65010, "bgpAddress": f"192.168.{n + 10}.1", "prefixes": prefixes}
        others[f"h{n}"] = one
    assert [(p.rule, p.path) for p in of_connection(CONNECTION, **others)] == [
        ("too-many-prefixes", "spec.home.prefixes")
    ]
    others["h0"]["spec"]["home"]["prefixes"].pop()
    assert of_connection(CONNECTION, **others) == []


ELSEWHERE = {
    *("too-many", "too-many-prefixes", "network-shared", "immutable", "generation-change", "psk-form"),
    *("transit-active-active", "transit-shared"),
}
"""Rules that need more than one document or field, with a test of their own above."""


def test_every_rule_is_tested() -> None:
    """A code that stands in a module of rules and in no table above fails here."""
    calls = []
    for module in (rules_gateway, rules_home, rules_tunnel):
        tree = ast.parse(Path(str(module.__file__)).read_text())
        calls += [n for n in ast.walk(tree) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "Problem"]
    codes = {c.args[2].value for c in calls if isinstance(c.args[2], ast.Constant)}
    tested = {row[0] for row in [*GATEWAY_BAD, *CONNECTION_BAD, *TWO_HOMES, *FOREIGN]} | ELSEWHERE
    assert len(calls) > 40 and codes == tested


def test_all_problems_of_a_document_at_once() -> None:
    bad = changed(CONNECTION, "spec.fqdn", "home")
    bad = changed(bad, "spec.home", {"asn": 65515, "bgpAddress": "10.0.0.1", "prefixes": ["0.0.0.0/0", "10.0.0.0/24"]})
    bad = changed(bad, "spec.ipsec", {"ikeEncryption": "DES3", "pfsGroup": "PFSMM"})
    bad = changed(changed(bad, "spec.psk", {"generate": False}), "spec.probe", "8.8.8.8")
    assert [p.rule for p in of_connection(bad)] == [
        "fqdn-form",
        "asn-same",
        "prefix-default",
        "prefix-overlap",
        "bgp-address-in-vnet",
        "ipsec-policy",
        "ipsec-policy",
        "psk-no-way",
        "probe-outside",
    ]
    worse = changed(changed(GATEWAY, "spec.sku", "Basic"), "spec.asn", 65520)
    worse = changed(worse, f"{NET}.gatewaySubnet", "10.9.0.0/29")
    assert {p.rule for p in of_gateway(worse)} == {
        "sku-basic",
        "asn-reserved",
        "subnet-outside",
        "gateway-subnet-small",
    }


def test_addresses_that_cannot_be_read_do_not_hide_the_rest() -> None:
    bad = changed(GATEWAY, f"{NET}.addressSpace", ["nonsense"])
    assert {p.rule for p in of_gateway(changed(bad, "spec.sku", "Basic"))} == {"prefix-form", "sku-basic"}
