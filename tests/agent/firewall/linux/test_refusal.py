"""charon's log, read for the reason of a refusal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.firewall.linux.refusal import MAX_LINES, refusal

FIRST = ["initiating IKE_SA homelink-home[3] to 203.0.113.10", "generating IKE_SA_INIT request 0"]
STANDS = "IKE_SA homelink-home[3] established between 192.168.178.2[a]...203.0.113.10[b]"


@pytest.mark.parametrize(
    ("then", "reason", "phase"),
    [
        (["received NO_PROPOSAL_CHOSEN notify error"], "NO_PROPOSAL_CHOSEN", 1),
        ([STANDS, "received NO_PROPOSAL_CHOSEN notify, no CHILD_SA built"], "NO_PROPOSAL_CHOSEN", 2),
        (["received AUTHENTICATION_FAILED notify error"], "AUTHENTICATION_FAILED", 1),
        ([STANDS, "received TS_UNACCEPTABLE notify, no CHILD_SA built"], "TS_UNACCEPTABLE", 2),
        (["no shared key found for '192.168.178.2' - '203.0.113.10'"], "NO_SHARED_KEY", 1),
        (["constraint check failed: identity '203.0.113.99' required"], "PEER_IDENTITY_MISMATCH", 1),
        (["retransmit 5 of request with message ID 0", "giving up after 5 retransmits"], "PEER_NOT_RESPONDING", 1),
    ],
)
def test_reason_and_phase(then: list[str], reason: str, phase: int) -> None:
    found = refusal([*FIRST, *then])
    assert found is not None and (found.reason, found.phase) == (reason, phase)
    assert then[-1] in found.said


def test_an_attempt_that_went_well_before_is_not_its_phase() -> None:
    found = refusal([*FIRST, STANDS, *FIRST, "received NO_PROPOSAL_CHOSEN notify error"])
    assert found is not None and found.phase == 1
    assert STANDS not in found.said


def test_the_prefixes_of_a_log_file_do_not_matter() -> None:
    lines = [
        f"2026-11-22T21:20:24 05[IKE] <homelink-home|3> {x}"
        for x in [*FIRST, "received AUTHENTICATION_FAILED notify error"]
    ]
    found = refusal(lines)
    assert found is not None and found.reason == "AUTHENTICATION_FAILED"


def test_nothing_was_refused() -> None:
    assert refusal([*FIRST, "received INVALID_KE_PAYLOAD notify", STANDS]) is None
    assert refusal([]) is None


@given(st.lists(st.text(max_size=60), max_size=30))
def test_any_log_can_be_read(lines: list[str]) -> None:
    found = refusal(lines)
    assert found is None or len(found.said) <= MAX_LINES
