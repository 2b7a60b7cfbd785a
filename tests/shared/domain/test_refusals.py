"""One opinion of each refusal: the Condition, the Finding and the ladder say the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.domain import conditions, repair
from shared.domain.findings import CATALOGUE, findings
from shared.domain.refusals import FINDINGS, NOT_RESPONDING, REFUSALS
from tests.shared.domain import situations as at

KNOWN = [(word, ike) for word in REFUSALS for ike in ("CONNECTING", "ESTABLISHED")]


@pytest.mark.parametrize(("word", "ike"), KNOWN)
def test_a_word_is_found_told_and_judged(word: str, ike: str) -> None:
    s = at.down(word, ike=ike)
    assert {f.code for f in findings(s)} & set(FINDINGS) <= set(REFUSALS[word].findings)
    assert {f.code for f in findings(s)} & set(REFUSALS[word].findings), "and it is found"
    assert conditions.connection(s.link, "")["TunnelUp"][1] == (REFUSALS[word].reason or "Down")
    assert s.link.health is not None
    assert bool(repair.mismatch(at.WANTED, s.link.health)) is (word != NOT_RESPONDING)


def test_every_code_of_a_refusal_is_a_finding() -> None:
    assert set(FINDINGS) <= set(CATALOGUE)


def test_a_word_that_nobody_knows_proves_nothing() -> None:
    health = at.down("SOMETHING_NEW").link.health
    assert health is not None and repair.mismatch(at.WANTED, health) == ""


@pytest.mark.parametrize("installed", [True, False])
def test_what_bgpd_once_said_counts_only_over_a_tunnel(installed: bool) -> None:
    """It is remembered until a session stands, and without an SA none can."""
    health = at.FINE.link.health
    assert health is not None
    bgp = replace(health.bgp, state="Active", last_error="OPEN Message Error/Bad Peer AS")
    told = replace(health, bgp=bgp, child=replace(health.child, installed=installed))
    assert ("AS number" in repair.mismatch(at.WANTED, told)) is installed
