"""Findings: each can be found, none is where nothing is wrong, roots come first, and one truth with the Conditions."""

from __future__ import annotations

import graphlib
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain import conditions
from shared.domain.arm import ArmKind
from shared.domain.findings import CATALOGUE, FROM_CONDITION, SYMPTOMS, Finding, findings, root
from shared.domain.plan import Action
from shared.domain.witnesses import Witnesses
from tests.shared.domain import situations as at


def codes(s: Witnesses) -> list[str]:
    return [f.code for f in findings(s)]


def of(code: str, s: Witnesses) -> Finding:
    return next(f for f in findings(s) if f.code == code)


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    assert findings(at.FINE) == ()


def test_there_is_a_case_for_every_finding() -> None:
    assert set(at.CASES) == set(CATALOGUE)
    assert len(CATALOGUE) >= 30


@pytest.mark.parametrize("code", at.CASES)
def test_each_is_found_with_its_evidence(code: str) -> None:
    found = of(code, at.CASES[code]())
    assert found.evidence and all(e.what.strip() for e in found.evidence)
    assert found.cause.endswith(".") and found.remedy.endswith(".") and found.time_to_visible_reason


@pytest.mark.parametrize("code", at.CASES)
def test_every_step_to_a_root_stands_above(code: str) -> None:
    found = findings(at.CASES[code]())
    seen: set[str] = set()
    for one in found:
        assert set(one.depends_on) <= seen, f"{one.code} stands above what explains it"
        seen.add(one.code)


def test_no_finding_explains_itself() -> None:
    graph = {code: kind.explained_by for code, kind in CATALOGUE.items()}
    assert set(graphlib.TopologicalSorter(graph).static_order()) == set(CATALOGUE)


@given(st.sets(st.sampled_from(sorted(at.CASES)), max_size=6), st.randoms())
def test_the_order_does_not_depend_on_who_tells_first(some: set[str], random) -> None:  # type: ignore[no-untyped-def]
    from shared.domain.findings import _ordered

    shuffled = sorted(some)
    random.shuffle(shuffled)
    assert _ordered(shuffled) == _ordered(sorted(some))


# one truth with the Conditions --------------------------------------------------------------------------------------


def test_what_a_condition_tells_is_found() -> None:
    """Every case of a mapped reason, and only those: a Condition and its Finding never disagree."""
    reached = set()
    for case in at.CASES.values():
        s = case()
        found = set(codes(s))
        for kind, (status, reason, _) in conditions.connection(s.link, s.operation or s.refusal).items():
            code = FROM_CONDITION.get((kind, reason))
            if status != "True" and code is not None:
                reached.add((kind, reason))
                assert code in found, f"{kind} is {reason}, and there is no {code}"
    assert reached == set(FROM_CONDITION)


def test_ready_and_findings_agree() -> None:
    """Not Ready means that an error, or something under way, is found; all is well means Ready."""
    for code, case in at.CASES.items():
        s = case()
        ready = conditions.connection(s.link, s.operation)["Ready"][0] == "True"
        assert ready or findings(s), code


# roots --------------------------------------------------------------------------------------------------------------


def test_a_home_that_is_offline_comes_before_its_silence() -> None:
    found = codes(at.CASES["home-offline"]())
    assert found.index("home-offline") < found.index("agent-silent")
    assert of("agent-silent", at.CASES["home-offline"]()).depends_on == ("home-offline",)


def test_an_agent_that_is_silent_while_azure_is_connected_is_no_home_offline() -> None:
    assert codes(at.without_agent("Connected")) == ["agent-silent"]


def test_a_dead_tunnel_explains_bgp_routes_and_probe() -> None:
    found = findings(at.down("AUTHENTICATION_FAILED"))
    order = [f.code for f in found]
    assert order[0] == "psk-mismatch"
    assert of("bgp-down", at.down("AUTHENTICATION_FAILED")).depends_on == ("tunnel-down", "half-open")
    assert "tunnel-down" in of("probe-fails", at.down("AUTHENTICATION_FAILED")).depends_on


def test_a_key_that_one_end_lacks_explains_the_refusal() -> None:
    s = at.with_ends(at.down("AUTHENTICATION_FAILED"), azure_psk_version="v0")
    assert of("psk-mismatch", s).depends_on == ("psk-version-differs",)
    [evidence] = of("psk-version-differs", s).evidence
    assert "Azure has 'v0'" in evidence.what and evidence.what.endswith("change azure")


def test_a_proposal_names_field_and_side() -> None:
    edited = at.with_policy(dhGroup="ECP256")
    s = replace(at.down("NO_PROPOSAL_CHOSEN"), ends=replace(edited.ends, health=at.down("x").ends.health))
    what = of("ike-proposal-mismatch", s).evidence[0].what
    assert what.startswith("ipsec.dhGroup: Azure has 'ECP256', ") and what.endswith("specified 'ECP384': change azure")


def test_phase_2_is_told_by_the_ike_sa_or_by_charons_words() -> None:
    assert "esp-proposal-mismatch" in codes(at.down("NO_PROPOSAL_CHOSEN", ike="ESTABLISHED"))
    words = at.with_evidence(at.down("NO_PROPOSAL_CHOSEN"), reason="NO_PROPOSAL_CHOSEN", phase=2, said=("no CHILD_SA",))
    assert "esp-proposal-mismatch" in codes(words) and "ike-proposal-mismatch" not in codes(words)
    assert [e.what for e in of("esp-proposal-mismatch", words).evidence][1:] == ["no CHILD_SA"]


def test_words_about_another_refusal_are_not_quoted() -> None:
    s = at.with_evidence(at.down("AUTHENTICATION_FAILED"), reason="NO_PROPOSAL_CHOSEN", said=("an older one",))
    assert "an older one" not in str(findings(s))


def test_a_name_that_lags_is_explained_by_the_move() -> None:
    found = findings(at.moved(at.HOME))
    assert [f.code for f in found][:2] == ["home-address-changed", "ddns-not-updated"]
    assert found[1].depends_on == ("home-address-changed",)


PAUSED = replace(at.REPORT, paused=True)
REFUSED = at.command("apply", "failed", "no").commands
"""A root and what it explains, beside the outage."""
MOVED_AND_DOWN = replace(at.with_link(at.moved(at.OTHER), health=at.down().link.health), azure_status="NotConnected")
PINNED_AND_DOWN = at.with_link(MOVED_AND_DOWN, pin=at.OTHER)
"""Azure has the new address, and no SA has come yet."""


@pytest.mark.parametrize(
    ("s", "code"),
    [
        (at.FINE, None),
        (at.with_link(reconnect=at.CASES["isp-reconnect"]().link.reconnect), None),
        (at.said("spec.mss", 1440), None),
        (at.down(), "half-open"),
        (replace(at.down(), azure_status="NotConnected"), "tunnel-down"),
        (replace(at.down(), down_since=at.NOW, others=0), "azure-failover"),
        (replace(at.down("AUTHENTICATION_FAILED"), azure_status="NotConnected"), "psk-mismatch"),
        (at.with_ends(at.down("AUTHENTICATION_FAILED"), azure_psk_version="v0"), "psk-version-differs"),
        (at.without_agent("NotConnected"), "home-offline"),
        (at.without_agent("Connected"), "agent-silent"),
        (at.moved(at.HOME), "home-address-changed"),
        (at.moved(at.OTHER), "home-address-changed"),
        (PINNED_AND_DOWN, "home-address-changed"),
        (at.bgp(error="OPEN Message Error/Bad Peer AS"), "asn-mismatch"),
        (at.CASES["probe-fails"](), "probe-fails"),
        (replace(at.CASES["probe-fails"](), report=PAUSED, commands=REFUSED), "probe-fails"),
    ],
)
def test_the_root_of_an_outage(s: Witnesses, code: str | None) -> None:
    assert root(findings(s)) == code


def test_a_symptom_is_a_finding() -> None:
    assert set(SYMPTOMS) <= set(CATALOGUE)


@pytest.mark.parametrize("code", at.CASES)
def test_a_root_is_found_and_explained_by_nothing(code: str) -> None:
    found = findings(at.CASES[code]())
    named = root(found)
    assert named is None or next(f for f in found if f.code == named).depends_on == ()


# what is not found --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("s", "absent"),
    [
        (at.with_report(clock_skew_s=-59.0), "clock-skew"),
        (at.pinned(5.9), "pin-forgotten"),
        (replace(at.down(), down_since=at.NOW - timedelta(seconds=181), others=0), "azure-failover"),
        (replace(at.down(), down_since=at.NOW - timedelta(seconds=8)), "azure-failover"),
        (replace(at.down("AUTHENTICATION_FAILED"), down_since=at.NOW, others=0), "azure-failover"),
        (replace(at.FINE, azure_status="NotConnected", operation="put runs"), "half-open"),
        (at.command("apply", "superseded"), "command-refused"),
        (at.command("apply", None), "command-expired"),
        (at.with_ends(azure_psk_version=None), "psk-version-differs"),
        (at.planned(Action.CREATE), "connection-edited"),
        (at.with_policy(dhGroup="ecp384"), "ike-policy-differs"),
    ],
)
def test_what_is_within_bounds_is_not_found(s: Witnesses, absent: str) -> None:
    assert absent not in codes(s)


def test_an_older_command_is_made_good_by_a_newer() -> None:
    failed = at.command("apply", "failed", "no").commands
    done = at.command("apply", "done").commands
    assert "command-refused" not in codes(replace(at.FINE, commands=failed + done))
    assert "command-refused" in codes(replace(at.FINE, commands=done + failed))


def test_a_refusal_by_the_owner_is_the_owners() -> None:
    assert codes(at.command("apply", "refused", "paused by the home owner")) == ["agent-paused"]


def test_the_only_connection_of_a_gateway_may_well_be_in_a_failover() -> None:
    s = replace(at.down(), down_since=at.NOW - timedelta(seconds=8), others=0)
    assert "azure-failover" in codes(s)


def test_an_address_by_hand_in_azure_is_found_without_a_pin() -> None:
    lng = {"fqdn": None, "gatewayIpAddress": at.OTHER}
    found = codes(at.with_arm(ArmKind.LOCAL_GATEWAY, **lng))
    assert "pin-forgotten" in found and "azure-address-outdated" in found


def test_a_name_that_leads_nowhere_is_found_with_the_reason() -> None:
    """A CNAME that loops, or whose target nobody serves."""
    for note in ("CNAME loop", "CNAME to gone.example.net.: no delegation found"):
        found = of("fqdn-no-address", at.dns(note=note))
        assert note in found.evidence[0].what


def test_a_cache_is_told_with_the_time_it_may_keep_the_old_answer() -> None:
    assert "TTL is 60 s" in of("resolver-differs", at.dns(at.HOME, recursive=(at.OTHER,))).evidence[0].what
