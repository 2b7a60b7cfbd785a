"""What is asked of pfSense, against the record of what pfSense's own generators made of it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.errors import FirewallError
from agent.firewall.pfsense import algorithms
from agent.firewall.pfsense.wanted import interface_name, wanted
from shared.wire import algorithms as azure
from shared.wire.commands import Esp, Ike, Transit
from tests.agent import fakes

DATA = Path(__file__).parents[5] / "shared" / "data" / "pfsense"


def record(name: str) -> Any:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"the recorded data are not here: {name}")
    return json.loads(path.read_text())


def test_every_policy_that_crosses_the_wire_is_what_pfsense_makes_of_it() -> None:
    table = record("azure-pfsense-strongswan-map.json")
    known = {e["azure"]: e for e in table["ike"]}
    for encryption in azure.IKE_ENCRYPTION:
        for integrity in azure.IKE_INTEGRITY:
            for group in azure.DH_GROUP:
                ike = Ike(encryption, integrity, group, 28_800)
                name = f"{encryption}/{integrity}/{'DHGroup14' if group == 'DHGroup2048' else group}"
                expected = known.get(name) or known[f"{encryption}/{integrity}/{group}"]
                item = algorithms.ike_item(ike)
                assert _texts({k: item[k] for k in expected["pfsense"]}) == _texts(expected["pfsense"])
                assert algorithms.ike_proposal(ike) == expected["swanctl"]
    for entry in table["esp"]:
        encryption, integrity, group = entry["azure"].split("/")
        if group == "PFSMM":
            continue
        esp = Esp(encryption, integrity, group, 27_000)
        assert _texts(algorithms.encryption(encryption)) == _texts(entry["pfsense"]["encryption-algorithm-option"])
        assert algorithms.pfs_group(esp) == str(entry["pfsense"]["pfsgroup"])
        assert algorithms.esp_hash(esp) in (*entry["pfsense"]["hash-algorithm-option"], "hmac_sha256")
        assert algorithms.esp_proposal(esp) == entry["swanctl"]


def _texts(value: Any) -> Any:
    return {k: _texts(v) for k, v in value.items()} if isinstance(value, dict) else str(value)


def test_only_fields_that_frrs_package_knows_are_written() -> None:
    sections = record("frr-config-xml-fields.json")["sections"]
    objects = wanted(fakes.desired(), "wan")["objects"]
    for kind, section in (
        ("neighbour", "frrbgpneighbors"),
        ("prefix_list", "frrglobalprefixes"),
        ("route_map", "frrglobalroutemaps"),
    ):
        known = {re.split(r"\(", f)[0] for f in sections[section]["fields"]} | {"row"}
        for entry in objects[kind]:
            assert set(entry) <= known
    for path in wanted(fakes.desired(), "wan")["scalars"]:
        if path.startswith("installedpackages/"):
            _, section, _, _, field = path.split("/")
            assert field in {re.split(r"[( ]", f)[0] for f in sections[section]["fields"]}


def test_selects_are_never_left_out() -> None:
    objects = wanted(fakes.desired(), "wan")["objects"]
    for entry in objects["route_map"]:
        for select in ("acl_match", "call", "nexthop_action", "origin_value", "source_proto", "exitaction"):
            assert entry[select] == "none"
    for select in (
        "distribute_in",
        "prefixfilter_out",
        "aspathfilter_in",
        "unsuppressmap",
        "peergroup",
        "password_type",
    ):
        assert objects["neighbour"][0][select] == "none"


def test_no_key_is_in_the_document() -> None:
    assert "pre-shared-key" not in json.dumps(wanted(fakes.desired(), "wan"))


def test_a_responder_neither_starts_nor_restarts() -> None:
    phase1 = wanted(fakes.desired(initiates=False), "wan")["objects"]["phase1"][0]
    assert (phase1["startaction"], phase1["closeaction"]) == ("none", "none")


def test_a_peer_with_another_identity_is_named() -> None:
    phase1 = wanted(fakes.desired(peer_id="203.0.113.99"), "wan")["objects"]["phase1"][0]
    assert (phase1["peerid_type"], phase1["peerid_data"]) == ("address", "203.0.113.99")


def test_each_pair_of_prefixes_has_its_rule() -> None:
    d = fakes.desired()
    d = replace(
        d, bgp=replace(d.bgp, advertise=("192.168.1.0/24", "192.168.2.0/24"), accept=("10.0.0.0/16", "10.9.0.1/32"))
    )
    document = wanted(d, "wan")
    assert len(document["objects"]["rule"]) == 5
    assert document["objects"]["prefix_list"][0]["row"] == [
        {"seq": "10", "action": "permit", "source": "10.0.0.0/16", "le": "32"},
        {"seq": "20", "action": "permit", "source": "10.9.0.1/32"},
    ]


def test_names_fit_and_differ() -> None:
    names = [interface_name(n) for n in ("home", "a" * 40, "a" * 39 + "b", "a-b-c")]
    assert names[0] == "HL_HOME"
    assert len(set(names)) == 4
    assert all(re.fullmatch(r"[A-Z0-9_]+", n) and len(n) + len("_VTIV4") <= 31 for n in names)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"transit": Transit("pointToPoint", "10.9.9.9", "10.9.9.10", 32)}, "not the far end"),
        ({"bgp": replace(fakes.desired().bgp, local_address="10.0.1.29")}, "LAN address"),
        ({"bgp": replace(fakes.desired().bgp, accept=())}, "at least one prefix"),
        ({"bgp": replace(fakes.desired().bgp, accept=tuple(f"10.{i}.0.0/16" for i in range(64)))}, "65 firewall rules"),
    ],
)
def test_what_pfsense_cannot_do_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(FirewallError, match=reason):
        wanted(fakes.desired(**changes), "wan")
