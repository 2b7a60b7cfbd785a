"""The table of both ends: what differs, and which side is to change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shared.domain.arm import ArmKind
from shared.domain.both_ends import FIELDS, Ends, Row, table
from shared.domain.home_evidence import RunningBgp
from tests.shared.domain import situations as at

FINE = at.FINE.ends


def row(field: str, ends: Ends) -> Row:
    return next(r for r in table(ends) if r.field == field)


def test_ends_that_agree_have_every_field_and_no_difference() -> None:
    rows = table(FINE)
    assert [r.field for r in rows] == list(FIELDS)
    assert not [r for r in rows if r.differs or r.change]
    assert row("ipsec.dhGroup", FINE).model_dump(by_alias=True) == {
        "field": "ipsec.dhGroup", "azure": "ECP384", "firewall": "ECP384", "runningSa": "ECP384", "frr": None,
        "desired": "ECP384", "differs": False, "change": None,
    }  # fmt: skip


def test_what_nobody_told_is_no_difference() -> None:
    alone = Ends(spec=at.SPEC, gateway=at.GW)
    assert alone.applied() is None
    assert not [r for r in table(alone) if r.differs]
    assert {r.azure for r in table(alone)} == {r.firewall for r in table(alone)} == {None}


@pytest.mark.parametrize(
    ("ends", "field", "change"),
    [
        (at.with_policy(dhGroup="ECP256").ends, "ipsec.dhGroup", "azure"),
        (at.with_applied(mss=1400).ends, "mss", "firewall"),
        (at.with_ends(azure_psk_version="v0").ends, "psk.version", "azure"),
        (at.with_arm(ArmKind.CONNECTION, dpdTimeoutSeconds=9).ends, "dpdTimeoutSeconds", "azure"),
        (at.with_arm(ArmKind.CONNECTION, enableBgp=False).ends, "bgp.enabled", "azure"),
        (at.with_ends(reported_address=at.OTHER).ends, "home.address", "firewall"),
        (at.with_arm(ArmKind.LOCAL_GATEWAY, fqdn="else.homelink.test").ends, "home.address", "azure"),
    ],
)
def test_the_side_to_change(ends: Ends, field: str, change: str) -> None:
    found = row(field, ends)
    assert found.differs and found.change == change
    assert [r.field for r in table(ends) if r.differs] == [field]


def test_ends_that_agree_against_the_document() -> None:
    """Somebody changed both by hand: putting one back alone would break the tunnel."""
    other = replace(at.WANTED, ike=replace(at.WANTED.ike, dh_group="ECP256"))
    sa = replace(at.EVIDENCE.sa, dh_group="ECP256")  # type: ignore[type-var]
    evidence = replace(at.EVIDENCE, applied=other, sa=sa)
    azure = at.with_policy(dhGroup="ECP256").ends.resources
    ends = replace(FINE, health=replace(at.HEALTH, digest=other.digest()), evidence=evidence, resources=azure)
    assert row("ipsec.dhGroup", ends).change == "spec"
    half = replace(ends, evidence=replace(evidence, sa=at.EVIDENCE.sa))
    assert row("ipsec.dhGroup", half).change == "azure", "the running SA is as specified: they do not all agree"


@pytest.mark.parametrize(
    ("field", "azure", "differs"),
    [
        ("dhGroup", "ecp384", False),
        ("dhGroup", "DHGroup14", True),
        ("pfsGroup", "PFS14", True),
    ],
)
def test_case_does_not_matter_and_groups_do(field: str, azure: str, differs: bool) -> None:
    assert row(f"ipsec.{field}", at.with_policy(**{field: azure}).ends).differs is differs


def test_two_names_of_one_group_are_the_same() -> None:
    spec = at.SPEC.model_copy(
        update={"ipsec": at.SPEC.ipsec.model_copy(update={"dh_group": "DHGroup14", "pfs_group": "PFS2048"})}
    )
    resources: dict[ArmKind, Any] = at.arm(
        {
            ArmKind.CONNECTION: {
                "ipsecPolicies": [{**spec.ipsec.to_arm(), "dhGroup": "DHGroup2048", "pfsGroup": "PFS14"}]
            }
        }
    )
    rows = table(Ends(spec=spec, gateway=at.GW, resources=resources))
    assert not [r for r in rows if r.differs]


def test_more_routes_than_wished_are_no_difference_and_fewer_are() -> None:
    peered = replace(at.HEALTH, bgp=replace(at.HEALTH.bgp, received=("10.0.0.0/16", "10.9.0.0/16")))
    assert not row("azure.prefixes", replace(FINE, health=peered)).differs
    none = replace(at.HEALTH, bgp=replace(at.HEALTH.bgp, received=()))
    assert row("azure.prefixes", replace(FINE, health=none)).change == "firewall"


def test_routes_of_a_session_that_is_down_are_not_told() -> None:
    down = replace(at.HEALTH, bgp=replace(at.HEALTH.bgp, state="Active", received=(), sent=()))
    assert row("home.prefixes", replace(FINE, health=down)).frr is None


def test_the_digest_says_what_the_firewall_has() -> None:
    """An answer to a diagnose may be older than the heartbeat."""
    older = replace(at.WANTED, mss=1300)
    behind = replace(FINE, evidence=replace(at.EVIDENCE, applied=older))
    assert behind.applied() == at.WANTED
    sent = replace(behind, health=replace(at.HEALTH, digest=older.digest()))
    assert sent.applied() == older
    unknown = replace(sent, evidence=None)
    assert unknown.applied() is None
    assert replace(unknown, last_sent=older).applied() == older


def test_the_heartbeat_says_which_key_the_firewall_has() -> None:
    older = replace(at.HEALTH, psk_version="v0", digest="of a tunnel that nobody knows")
    found = row("psk.version", replace(FINE, health=older, evidence=None))
    assert (found.firewall, found.change) == ("v0", "firewall")


def test_frr_is_compared_too() -> None:
    bgp = RunningBgp(65010, 65016, "10.0.1.30", "192.168.1.1", 60, 9)
    ends = replace(FINE, evidence=replace(at.EVIDENCE, bgp=bgp))
    assert (row("azure.asn", ends).frr, row("azure.asn", ends).change) == (65016, "firewall")
    assert row("bgp.holdSeconds", ends).differs


def test_no_value_of_a_key_is_in_the_table() -> None:
    shown = {r.field: r for r in table(FINE)}
    assert {f for f in shown if "psk" in f.lower() or "key" in f.lower()} == {"psk.version"}
