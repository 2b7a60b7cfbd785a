"""An agent's answer to a diagnose, read: in Azure's names, leniently, and never with an exception."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.domain.home_evidence import HomeEvidence, RunningBgp, RunningSa, read
from shared.wire.decode import to_plain
from tests.shared.domain.situations import WANTED

NOW = datetime(2026, 11, 1, tzinfo=UTC)
SA = {
    "state": "ESTABLISHED",
    "remote-host": "203.0.113.10", "remote-id": "203.0.113.10", "encr-alg": "AES_GCM_16", "encr-keysize": "256",
    "prf-alg": "PRF_HMAC_SHA2_384", "dh-group": "ECP_384",
    "child": {"encr-alg": "AES_GCM_16", "encr-keysize": "256", "dh-group": "MODP_2048"},
}  # fmt: skip


def test_what_charon_calls_it_in_azures_names() -> None:
    assert read({"sa": SA}, NOW).sa == RunningSa(
        "203.0.113.10", "203.0.113.10", "GCMAES256", "SHA384", "ECP384", "GCMAES256", "GCMAES256", "PFS2048"
    )


def test_cbc_has_an_integrity_of_its_own() -> None:
    cbc = {"encr-alg": "AES_CBC", "encr-keysize": "128", "integ-alg": "HMAC_SHA2_256_128", "prf-alg": "PRF_HMAC_SHA1"}
    found = read({"sa": {"state": "ESTABLISHED", **cbc, "child": cbc}}, NOW).sa
    assert found is not None
    assert (found.ike_encryption, found.ike_integrity) == ("AES128", "SHA256")
    assert (found.ipsec_encryption, found.ipsec_integrity, found.pfs_group) == ("AES128", "SHA256", None)


def test_a_name_that_is_not_azures_is_shown_as_it_is() -> None:
    found = read({"sa": {**SA, "encr-alg": "CHACHA20_POLY1305", "dh-group": "CURVE_25519"}}, NOW).sa
    assert found is not None and (found.ike_encryption, found.dh_group) == ("CHACHA20_POLY1305", "CURVE_25519")


def test_an_sa_that_is_being_negotiated_proves_nothing() -> None:
    assert read({"sa": {**SA, "state": "CONNECTING", "remote-id": "%any"}}, NOW).sa is None


def test_a_whole_answer() -> None:
    answer = {
        "applied": to_plain(WANTED),
        "neighbor": {
            "address": "10.0.1.30", "localAs": 65010, "remoteAs": 65515, "updateSource": "192.168.1.1",
            "bgpTimerConfiguredHoldTimeMsecs": 180000, "bgpTimerConfiguredKeepAliveIntervalMsecs": 60000,
        },
        "refusal": {"reason": "NO_PROPOSAL_CHOSEN", "phase": 2, "said": ["no CHILD_SA built"]},
        "drift": ["frr: x"],
        "notes": ["a note"],
    }  # fmt: skip
    assert read(answer, NOW) == HomeEvidence(
        at=NOW,
        applied=WANTED,
        bgp=RunningBgp(65010, 65515, "10.0.1.30", "192.168.1.1", 60, 180),
        reason="NO_PROPOSAL_CHOSEN",
        phase=2,
        said=("no CHILD_SA built",),
        drift=("frr: x",),
        notes=("a note",),
    )


def test_parts_that_could_not_be_read_are_left_out() -> None:
    said = "cannot be read: charon at /run/charon.vici: no answer"
    answer: dict[str, Any] = dict.fromkeys(("applied", "sa", "neighbor", "refusal", "drift", "notes"), said)
    assert read(answer, NOW) == HomeEvidence(at=NOW)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "applied": ANYTHING,
            "sa": ANYTHING
            | st.fixed_dictionaries(
                {"state": st.just("ESTABLISHED"), "encr-alg": ANYTHING, "dh-group": ANYTHING, "child": ANYTHING}
            ),
            "neighbor": ANYTHING | st.fixed_dictionaries({"localAs": ANYTHING, "updateSource": ANYTHING}),
            "refusal": ANYTHING | st.fixed_dictionaries({"reason": ANYTHING, "phase": ANYTHING, "said": ANYTHING}),
            "drift": ANYTHING,
        },
    )
)
def test_whatever_an_agent_sends_can_be_read(answer: dict[str, Any]) -> None:
    assert read(answer, NOW).at == NOW
