"""Why IKE does not come up, by charon's own word as the agent reports it (`ike_error`), and what follows from each.

One table, so that Conditions, Findings and the repair ladder never hold different opinions of one refusal. The words
are IKE's notifications (RFC 7296 3.10.1) where there is one, and else the agent's (agent/firewall/linux/refusal.py).
"""

from __future__ import annotations

from dataclasses import dataclass

AUTHENTICATION_FAILED, NOT_RESPONDING = "AUTHENTICATION_FAILED", "PEER_NOT_RESPONDING"


@dataclass(frozen=True)
class Refusal:
    """`findings`: the codes of what it may be. `disagreement`: the ends are set up differently, which no reset of
    Azure's changes. `reason` and `message` of the Condition TunnelUp; without, that says Down, and the word."""

    findings: tuple[str, ...]
    disagreement: bool = True
    reason: str = ""
    message: str = ""


REFUSALS = {
    AUTHENTICATION_FAILED: Refusal(
        ("psk-mismatch",),
        reason="AuthenticationFailed",
        message="The ends refuse each other: the pre-shared key or the IKE identity differs. "
        "Rotate the key to set both anew.",
    ),
    "NO_SHARED_KEY": Refusal(("psk-missing-at-home",)),
    "PEER_IDENTITY_MISMATCH": Refusal(("peer-id-mismatch",)),
    "NO_PROPOSAL_CHOSEN": Refusal(
        ("ike-proposal-mismatch", "esp-proposal-mismatch"),
        reason="ProposalMismatch",
        message="The ends share no algorithms: somebody changed the IPsec policy of one of them. "
        "Compare both with the spec.",
    ),
    "TS_UNACCEPTABLE": Refusal(
        ("selector-mismatch",),
        reason="SelectorMismatch",
        message="The ends do not agree on traffic selectors: one of them is policy-based.",
    ),
    NOT_RESPONDING: Refusal(("peer-not-responding",), disagreement=False),
}
FINDINGS = tuple(code for refusal in REFUSALS.values() for code in refusal.findings)


def disagreement(ike_error: str | None) -> bool:
    """Whether the ends are set up differently. A word that is not known here proves nothing."""
    refusal = REFUSALS.get(ike_error or "")
    return refusal is not None and refusal.disagreement
