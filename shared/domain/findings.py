"""Findings: what is wrong, how it is known, why, what to do, and which of them explains which.

Pure, and ordered so that the first line is the one to act upon: a Finding comes after those that explain it, and errors
before warnings. One that another explains is kept, because it may be the one that a person noticed, but says so.

Conditions stay the short answer ("is it so?"); a Finding is made from a Condition's reason wherever there is one, and
only what no Condition tells is looked for here (look_outside.py, look_home.py, look_between.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from . import conditions
from .finding_kind import Severity
from .findings_catalogue import CATALOGUE
from .look_between import between
from .look_home import at_home
from .look_outside import outside
from .model import Model
from .witnesses import Evidence, Seen, Witness, Witnesses

__all__ = ["CATALOGUE", "Evidence", "Finding", "Witnesses", "findings"]


class Finding(Model):
    """`depends_on`: codes of Findings beside this one that explain it. `time_to_visible_s`: how long after the cause it
    can be seen at the earliest, in seconds, and why."""

    code: str
    severity: Severity
    evidence: tuple[Evidence, ...]
    cause: str
    remedy: str
    depends_on: tuple[str, ...]
    time_to_visible_s: int
    time_to_visible_reason: str


FROM_CONDITION: dict[tuple[str, str], str] = {
    ("AzureReady", "Missing"): "azure-missing",
    ("AzureReady", "Failed"): "connection-failed",
    ("AgentConnected", "NotEnrolled"): "agent-not-enrolled",
    ("AgentConnected", "NeverSeen"): "agent-never-seen",
    ("AgentConnected", "Silent"): "agent-silent",
    ("FirewallReady", "Pending"): "firewall-pending",
    ("FirewallReady", "Unconfirmed"): "firewall-unconfirmed",
    ("FirewallReady", "Impossible"): "transit-impossible",
    ("TunnelUp", "AuthenticationFailed"): "psk-mismatch",
    ("TunnelUp", "SelectorMismatch"): "selector-mismatch",
    ("BgpEstablished", "AsnMismatch"): "asn-mismatch",
    ("RoutesExchanged", "Incomplete"): "routes-incomplete",
    ("TrafficFlows", "ProbeFails"): "probe-fails",
    ("AddressCurrent", "NotResolved"): "fqdn-not-resolved",
    ("AddressCurrent", "NoAddress"): "fqdn-no-address",
    ("AddressCurrent", "Ipv6Only"): "fqdn-ipv6-only",
    ("AddressCurrent", "SeveralAddresses"): "fqdn-several-addresses",
    ("AddressCurrent", "PrivateAddress"): "fqdn-private-address",
    ("AddressCurrent", "Cgnat"): "fqdn-cgnat",
    ("AddressCurrent", "Shared"): "address-shared",
    ("AddressCurrent", "Stale"): "ddns-not-updated",
    ("Recommended", "DoubleNat"): "double-nat",
    ("Recommended", "PortForwardNeeded"): "port-forward-needed",
    ("Recommended", "MssUnusual"): "mss-unusual",
}
"""Reason of a Condition that does not hold -> the Finding that it is. `tunnel-down` and `bgp-down` are their Conditions
whatever the reason; ProposalMismatch is told by phase; the rest is no fault (Waiting, NoReport), or told by others."""
SYMPTOMS = (
    "azure-failover",
    "agent-silent",
    "peer-not-responding",
    "half-open",
    "tunnel-down",
    "bgp-down",
    "routes-incomplete",
    "probe-fails",
)
"""Of an outage: what is seen whatever the cause. `azure-failover` is what remains when nothing else explains it."""
_WITNESS: dict[str, Witness] = {
    "AzureReady": "azure",
    "AgentConnected": "control-plane",
    "AddressCurrent": "dns",
    "Recommended": "document",
}


def findings(s: Witnesses) -> tuple[Finding, ...]:
    """Root causes first."""
    found: dict[str, list[Evidence]] = {}
    for seen in (*_from_conditions(s), *outside(s), *at_home(s), *between(s)):
        known = found.setdefault(seen.code, [])
        known += [e for e in seen.evidence if e not in known]
    return tuple(_finding(code, found) for code in _ordered(found))


def root(found: Sequence[Finding]) -> str | None:
    """The code from which an outage comes: the first of `findings` that nothing explains and that explains a symptom
    (or is a change of the home's address); a symptom itself only where there is no other. None: no outage shows."""
    reached = {*SYMPTOMS, "home-address-changed"}
    for one in reversed(found):
        if one.code in reached:
            reached.update(one.depends_on)
    roots = [one.code for one in found if one.code in reached and not one.depends_on]
    return min(roots, key=lambda code: code in SYMPTOMS, default=None)


def _from_conditions(s: Witnesses) -> Iterator[Seen]:
    verdicts = conditions.connection(s.link, s.operation or s.refusal)
    told = [(kind, reason, text) for kind, (status, reason, text) in verdicts.items() if status != "True"]
    told = [t for t in told if t[0] != "Recommended"]  # it names its first remark only
    told += [("Recommended", reason, text) for reason, text in conditions.remarks(s.link)]
    for kind, reason, text in told:
        code = FROM_CONDITION.get((kind, reason))
        if code is not None:
            yield s.seen(code, _WITNESS.get(kind, "heartbeat"), text)
    for kind, code in (("TunnelUp", "tunnel-down"), ("BgpEstablished", "bgp-down")):
        status, _, text = verdicts[kind]
        if status == "False":
            yield s.seen(code, "heartbeat", text)


def _ordered(codes: Collection[str]) -> list[str]:
    """A code after all that explain it; else what leads to errors first, then as in the catalogue."""
    weight = {"error": 0, "warning": 1, "info": 2}
    rank = {code: n for n, code in enumerate(CATALOGUE)}

    def gravity(code: str) -> int:
        of_this = weight[CATALOGUE[code].severity]
        return min([of_this, *(gravity(c) for c in codes if code in CATALOGUE[c].explained_by)])

    left, ordered = sorted(codes, key=lambda c: (gravity(c), rank[c])), []
    while left:
        first = next(c for c in left if not set(CATALOGUE[c].explained_by) & set(left))
        left.remove(first)
        ordered.append(first)
    return ordered


def _finding(code: str, found: dict[str, list[Evidence]]) -> Finding:
    kind = CATALOGUE[code]
    return Finding(
        code=code,
        severity=kind.severity,
        evidence=tuple(found[code]),
        cause=kind.cause,
        remedy=kind.remedy,
        depends_on=tuple(c for c in kind.explained_by if c in found),
        time_to_visible_s=kind.sight.seconds,
        time_to_visible_reason=kind.sight.reason,
    )
