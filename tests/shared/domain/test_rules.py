"""Every rule with documents that break it and documents that just do not; all problems of a document at once."""

from __future__ import annotations

import ast
import copy
from pathlib import Path
from typing import Any

import pytest

from shared.domain import limits, parse, rules
from shared.domain.problem import Problem
from shared.domain.spec import ConnectionSpec
from tests.examples import CONNECTION, GATEWAY, changed

NET = "spec.virtualNetwork"


def of_gateway(document: dict[str, Any]) -> list[Problem]:
    return rules.gateway_problems(parse.gateway(document).spec)


def of_connection(document: dict[str, Any], **others: dict[str, Any]) -> list[Problem]:
    specs: dict[str, ConnectionSpec] = {n.replace("_", "-"): parse.connection(d).spec for n, d in others.items()}
    return rules.connection_problems("home", parse.connection(document).spec, parse.gateway(GATEWAY).spec, specs)


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
    ("gateway-subnet-twice", f"{NET}.subnets[0].name", f"{NET}.subnets", subnets(("gatewaysubnet", "10.0.2.0/24"))),
]

GATEWAY_GOOD = [
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


def test_one_firewall_with_one_asn_may_have_two_tunnels() -> None:
    office = other_home()
    office["spec"]["agent"] = "home-fw"
    office["spec"]["home"] |= {"asn": 65010, "bgpAddress": "192.168.1.1"}
    assert of_connection(CONNECTION, office=office) == []


def test_a_gateway_carries_thirty() -> None:
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

    most = limits.CONNECTIONS.most
    assert of_connection(CONNECTION, **homes(most - 1)) == []
    assert [p.rule for p in of_connection(CONNECTION, **homes(most))] == ["too-many"]


def test_every_rule_of_the_module_is_tested() -> None:
    """A code that stands in rules.py and in no table above fails here."""
    tree = ast.parse(Path(rules.__file__).read_text())
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "Problem"]
    codes = {c.args[2].value for c in calls if isinstance(c.args[2], ast.Constant)}
    tested = {row[0] for row in [*GATEWAY_BAD, *CONNECTION_BAD, *TWO_HOMES]} | {"too-many"}
    assert len(calls) > 20 and codes == tested


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
