"""Why charon refuses, read from its log.

charon says it in prose, and at the initiator often only as the notify that the peer sent. The words differ between
versions, so a line is recognised by what has not changed since 5.9; what is not recognised is no reason. The phase is
told by what went before: once the IKE SA stands, a refusal is about its child.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from agent.limits import shorten

MAX_LINES = 12
_REASONS = (
    (re.compile(r"received (\w+) (?:notify|error)"), "{0}"),
    (re.compile(r"no (?:shared key|private key) found"), "NO_SHARED_KEY"),
    (re.compile(r"MAC mismatched"), "AUTHENTICATION_FAILED"),
    (re.compile(r"constraint check failed|identity '(.+)' required"), "PEER_IDENTITY_MISMATCH"),
    (re.compile(r"no (?:acceptable|matching) (?:proposal|child)"), "NO_PROPOSAL_CHOSEN"),
    (re.compile(r"giving up after \d+ retransmits|peer not responding"), "PEER_NOT_RESPONDING"),
)
_INFORMATIVE = {"COOKIE", "INVALID_KE_PAYLOAD"}  # answers of a sound negotiation
_PHASE_2 = re.compile(r"IKE_SA \S+ established between|establish CHILD_SA|no CHILD_SA built|CREATE_CHILD_SA")
_AUTHENTICATION = ("AUTHENTICATION_FAILED", "NO_SHARED_KEY", "PEER_IDENTITY_MISMATCH")


@dataclass(frozen=True)
class Refusal:
    """`reason`: a stable name. `phase`: 1 (IKE) or 2 (its child). `said`: charon's own lines around it, shortened."""

    reason: str
    phase: int
    said: tuple[str, ...]


def why(messages: Sequence[str]) -> str | None:
    """The last reason in charon's own words, as a stable name where there is one."""
    return next((r for r in map(_reason, reversed(messages)) if r is not None), None)


def refusal(messages: Sequence[str]) -> Refusal | None:
    """The last refusal in a log; None where nothing was refused."""
    at = next((i for i in reversed(range(len(messages))) if _reason(messages[i]) is not None), None)
    if at is None:
        return None
    reason = str(_reason(messages[at]))
    attempt = _attempt(messages, at)
    second = reason not in _AUTHENTICATION and any(_PHASE_2.search(m) for m in attempt)
    return Refusal(reason, 2 if second else 1, tuple(shorten(m, 200) for m in attempt[-MAX_LINES:]))


def _attempt(messages: Sequence[str], at: int) -> Sequence[str]:
    """The lines of the same attempt: from the last `initiating IKE_SA` before the refusal to two lines after it, which
    say what charon made of it."""
    begins = [i for i in range(at) if "initiating IKE_SA" in messages[i] or "is initiating an IKE_SA" in messages[i]]
    return messages[begins[-1] if begins else 0 : at + 3]


def _reason(message: str) -> str | None:
    for pattern, name in _REASONS:
        match = pattern.search(message)
        if match and not (match.groups() and match.group(1) in _INFORMATIVE):
            return name.format(*match.groups())
    return None
