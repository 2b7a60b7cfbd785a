"""What the two ends negotiate, beyond the Conditions: which field differs at which side, and which end is wrong."""

from __future__ import annotations

from collections.abc import Iterator

from .both_ends import ESP_FIELDS, IKE_FIELDS, PFS_FIELD, Row
from .look_azure_bgp import azure_bgp
from .witnesses import Evidence, Seen, Witness, Witnesses

_DIFFERS = {
    **dict.fromkeys(IKE_FIELDS, "ike-policy-differs"),
    **dict.fromkeys(ESP_FIELDS, "esp-policy-differs"),
    PFS_FIELD: "pfs-differs",
    "psk.version": "psk-version-differs",
    "azure.ikeIdentity": "peer-id-differs",
    "azure.address": "peer-id-differs",
    "home.asn": "home-asn-differs",
    "azure.asn": "azure-asn-differs",
    "home.bgpAddress": "bgp-peer-address-wrong",
    "azure.bgpAddress": "bgp-peer-address-wrong",
    "bgp.keepaliveSeconds": "bgp-timers-differ",
    "bgp.holdSeconds": "bgp-timers-differ",
    "mss": "mss-differs",
}
"""A row of the both-ends table that differs -> its Finding."""
_REASONS = {
    "NO_SHARED_KEY": ("psk-missing-at-home", "charon found no shared key"),
    "PEER_IDENTITY_MISMATCH": ("peer-id-mismatch", "charon did not accept the identity that Azure presents"),
    "PEER_NOT_RESPONDING": ("peer-not-responding", "charon's packets were not answered"),
}
"""What charon said last -> its Finding; the others are reasons of the Condition TunnelUp."""
SHOWN = (("Azure", "azure"), ("the firewall", "firewall"), ("the running SA", "running_sa"), ("FRR", "frr"))


def between(s: Witnesses) -> Iterator[Seen]:
    yield from _fields(s)
    yield from _refusals(s)
    yield from _half_open(s)
    yield from _bgp(s)
    yield from azure_bgp(s)


def told(row: Row) -> str:
    """As in `ipsec.dhGroup: Azure has 'ECP256', specified 'ECP384': change azure`."""
    places = [f"{name} has {value!r}" for name, key in SHOWN if (value := getattr(row, key)) is not None]
    side = f": change {row.change}" if row.change else ""
    return f"{row.field}: {', '.join(places)}, specified {row.desired!r}{side}"


def _fields(s: Witnesses) -> Iterator[Seen]:
    transit = s.ends.desired.transit if s.ends.desired else None
    local = transit.local if transit is not None and transit.mode != "apipa" else None
    for row in s.differing(*_DIFFERS):
        witness: Witness = "azure" if row.change == "azure" else "diagnosis" if s.ends.evidence else "heartbeat"
        code = _DIFFERS[row.field]
        yield s.seen(code, witness, told(row))
        if row.field == "home.bgpAddress" and local is not None and local in (row.azure, row.firewall, row.frr):
            yield s.seen("bgp-peer-is-transit", witness, told(row))


def _refusals(s: Witnesses) -> Iterator[Seen]:
    """charon's own reason. NO_PROPOSAL_CHOSEN comes from phase 2 when the IKE SA stands, else from phase 1."""
    health, evidence = s.link.health, s.ends.evidence
    if health is None or health.child.installed or health.ike_error is None:
        return
    reason = health.ike_error
    said = list(evidence.said[-3:]) if evidence and evidence.reason == reason else []
    if reason in _REASONS:
        code, what = _REASONS[reason]
        yield _with_words(s, code, what, said)
    elif reason == "NO_PROPOSAL_CHOSEN":
        diagnosed = evidence.phase if evidence and evidence.reason == reason else None
        phase = diagnosed or (2 if health.ike.state == "ESTABLISHED" else 1)
        fields = IKE_FIELDS if phase == 1 else (*ESP_FIELDS, PFS_FIELD)
        which = [told(row) for row in s.differing(*fields)]
        code = "ike-proposal-mismatch" if phase == 1 else "esp-proposal-mismatch"
        yield _with_words(s, code, "; ".join(which) or f"refused in phase {phase}; no field is known to differ", said)
    elif reason == "AUTHENTICATION_FAILED" and said:
        yield _with_words(s, "psk-mismatch", "charon's own words", said)


def _with_words(s: Witnesses, code: str, what: str, said: list[str]) -> Seen:
    seen = s.seen(code, "heartbeat", what)
    words = (Evidence(witness="diagnosis", what=line, at=s.time_of("diagnosis")) for line in said)
    return Seen(code, (*seen.evidence, *words))


def _half_open(s: Witnesses) -> Iterator[Seen]:
    health = s.link.health
    if health is None or s.azure_status is None or s.operation:
        return
    if health.child.installed and s.azure_status == "NotConnected":
        what = f"the home has an SA of {health.child.installed_s or 0:.0f} s, and Azure says {s.azure_status}"
        yield s.seen("half-open", "azure", what)
    elif not health.child.installed and s.azure_status == "Connected":
        yield s.seen("half-open", "azure", f"Azure says {s.azure_status}, and the home has no SA")


def _bgp(s: Witnesses) -> Iterator[Seen]:
    health = s.link.health
    error = (health.bgp.last_error or "").lower() if health else ""
    if error.startswith("no policy"):
        yield s.seen("bgp-policy-missing", "heartbeat", error)
    elif "number of prefixes" in error:
        yield s.seen("prefix-limit", "heartbeat", error)
