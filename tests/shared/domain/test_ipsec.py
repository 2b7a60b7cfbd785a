"""Each combination that is allowed renders for both ends, as the recorded table of all combinations says."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from shared.domain import limits
from shared.domain.ipsec import IpsecPolicy
from shared.wire import algorithms

TABLE = Path(__file__).parents[4] / "shared/data/pfsense/azure-pfsense-strongswan-map.json"


@pytest.fixture(scope="module")
def table() -> dict[str, Any]:
    if not TABLE.exists():
        pytest.skip("the recorded table of algorithms is not here (../shared/data/pfsense)")
    return json.loads(TABLE.read_text())


def normal(keyword: str) -> str:
    """strongSwan's keyword in one spelling: aes256gcm128 is aes256gcm16 (bits and bytes), prf may be left out."""
    return keyword.replace("gcm128", "gcm16").replace("prfsha", "sha")


def policies() -> list[IpsecPolicy]:
    phase1 = itertools.product(algorithms.IKE_ENCRYPTION, algorithms.IKE_INTEGRITY, algorithms.DH_GROUP)
    phase2 = itertools.product(algorithms.ESP_ENCRYPTION, algorithms.ESP_INTEGRITY, algorithms.PFS_GROUP)
    one = [IpsecPolicy(ike_encryption=e, ike_integrity=i, dh_group=g) for e, i, g in phase1]
    two = [IpsecPolicy(ipsec_encryption=e, ipsec_integrity=i, pfs_group=g) for e, i, g in phase2]
    return one + [p for p in two if not p.faults()]


def test_what_is_allowed_renders_for_both_ends() -> None:
    found = policies()
    assert len(found) > 150
    for policy in found:
        assert policy.faults() == []
        arm = policy.to_arm()
        assert len(arm) == 8 and arm["ikeEncryption"] == policy.ike_encryption and arm["pfsGroup"] == policy.pfs_group
        ike, esp = policy.to_ike(), policy.to_esp()
        assert algorithms.ike_proposal(ike.encryption, ike.integrity, ike.dh_group)
        assert algorithms.esp_proposal(esp.encryption, esp.integrity, esp.pfs_group)
        assert (ike.lifetime_s, esp.lifetime_s) == (limits.IKE_LIFETIME_S, policy.sa_lifetime_seconds)


def test_phase_1_is_as_recorded(table: dict[str, Any]) -> None:
    recorded = {x["azure"]: normal(x["swanctl"]) for x in table["ike"]}
    mine = {
        "/".join(c): normal(algorithms.ike_proposal(*c))
        for c in itertools.product(algorithms.IKE_ENCRYPTION, algorithms.IKE_INTEGRITY, algorithms.DH_GROUP)
    }
    assert mine == recorded


def test_phase_2_is_as_recorded(table: dict[str, Any]) -> None:
    recorded = {x["azure"]: normal(x["swanctl"]) for x in table["esp"]}
    combinations = itertools.product(algorithms.ESP_ENCRYPTION, algorithms.ESP_INTEGRITY, algorithms.PFS_GROUP)
    names = "ipsec_encryption", "ipsec_integrity", "pfs_group"
    allowed = [c for c in combinations if not IpsecPolicy(**dict(zip(names, c, strict=True))).faults()]
    assert {"/".join(c): normal(algorithms.esp_proposal(*c)) for c in allowed} == recorded


def test_what_pfsense_has_not_cannot_be_asked_for(table: dict[str, Any]) -> None:
    fields = {
        "ike_encryption": "ike_encryption",
        "ike_integrity": "ike_integrity",
        "dh_group": "dh_group",
        "ipsec_encryption": "ipsec_encryption",
        "ipsec_integrity": "ipsec_integrity",
        "pfs_group": "pfs_group",
    }
    refused = [(f, v) for f in fields for v, there in table[f].items() if there is None]
    assert len(refused) >= 10
    for field, value in refused:
        faults = IpsecPolicy(**{field: value}).faults()
        assert any(v == value for _, v, _ in faults), (field, value)


PHASES = {
    "ike": (("ike_encryption", "ike_integrity", "dh_group"), ("ikeEncryption", "ikeIntegrity", "dhGroup")),
    "esp": (("ipsec_encryption", "ipsec_integrity", "pfs_group"), ("ipsecEncryption", "ipsecIntegrity", "pfsGroup")),
}


@pytest.mark.parametrize("phase", PHASES)
def test_the_whole_map_is_accepted_and_rendered_or_refused_by_field_and_end(table: dict[str, Any], phase: str) -> None:
    """Every combination of all values that Azure's API knows, those included that pfSense has not."""
    fields, paths = PHASES[phase]
    recorded = {x["azure"]: normal(x["swanctl"]) for x in table[phase]}
    counted = 0
    for values in itertools.product(*(table[f] for f in fields)):
        policy = IpsecPolicy(**dict(zip(fields, values, strict=True)))
        faults = policy.faults()
        name = "/".join(values)
        if name in recorded:
            ike, esp = policy.to_ike(), policy.to_esp()
            rendered = (
                algorithms.ike_proposal(ike.encryption, ike.integrity, ike.dh_group)
                if phase == "ike"
                else algorithms.esp_proposal(esp.encryption, esp.integrity, esp.pfs_group)
            )
            assert faults == [] and normal(rendered) == recorded[name]
            assert [policy.to_arm()[p] for p in paths] == list(values)
            counted += 1
            continue
        lacking = {p for f, p, v in zip(fields, paths, values, strict=True) if table[f][v] is None}
        assert faults and lacking <= {f for f, _, _ in faults} <= set(paths), name
        for field, value, message in faults:
            assert value == values[paths.index(field)]
            assert message.startswith(("Azure", "pfSense"))
        assert {f for f, _, message in faults if message.startswith("pfSense")} == lacking
    assert counted == len(recorded)


def test_a_value_that_nobody_has_is_azures_to_refuse() -> None:
    assert IpsecPolicy(dh_group="DHGroup99").faults() == [("dhGroup", "DHGroup99", "Azure knows no such value")]


@pytest.mark.parametrize(
    ("encryption", "integrity"),
    [("GCMAES256", "SHA256"), ("AES256", "GCMAES256"), ("GCMAES256", "GCMAES128"), ("GCMAES128", "SHA1")],
)
def test_gcm_goes_with_itself_only(encryption: str, integrity: str) -> None:
    faults = IpsecPolicy(ipsec_encryption=encryption, ipsec_integrity=integrity).faults()
    assert [f for f, _, _ in faults] == ["ipsecIntegrity"]


def test_every_fault_at_once() -> None:
    phase1 = {"ike_encryption": "DES", "ike_integrity": "MD5", "dh_group": "None"}
    phase2 = {"ipsec_encryption": "DES3", "ipsec_integrity": "MD5", "pfs_group": "PFSMM"}
    assert len(IpsecPolicy(**phase1, **phase2).faults()) == 6
