"""What an agent's answer to a diagnose tells, in the words of the spec.

The answer is evidence for a person first, and each driver gives what it has: so nothing here is required, and what
cannot be read counts as not said. charon names algorithms as IANA does; they are translated to Azure's names, because
that is what both ends are compared in. A name that is not in the tables is shown as charon says it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.wire.commands import DesiredTunnel
from shared.wire.decode import from_plain
from shared.wire.errors import WireError

_CIPHERS = {"AES_CBC": "AES", "AES_GCM_16": "GCMAES"}
_DIGESTS = {"SHA2_384": "SHA384", "SHA2_256": "SHA256", "SHA1": "SHA1"}
_IKE_GROUPS = {
    "ECP_384": "ECP384",
    "ECP_256": "ECP256",
    "MODP_2048": "DHGroup14",
    "MODP_2048_256": "DHGroup24",
    "MODP_1024": "DHGroup2",
    "MODP_768": "DHGroup1",
}
_PFS_GROUPS = {"DHGroup14": "PFS2048", "DHGroup24": "PFS24", "DHGroup2": "PFS2", "DHGroup1": "PFS1"}
_NEGOTIATED = ("ESTABLISHED", "REKEYING", "REKEYED")
MAX_LINES = 40


@dataclass(frozen=True)
class RunningSa:
    """The IKE SA and its child as charon has them, in Azure's names. `pfs_group` is known from the first rekeying on:
    the child that is made with the IKE SA has no exchange of its own."""

    remote_address: str | None
    remote_id: str | None
    ike_encryption: str | None
    ike_integrity: str | None
    dh_group: str | None
    ipsec_encryption: str | None
    ipsec_integrity: str | None
    pfs_group: str | None


@dataclass(frozen=True)
class RunningBgp:
    """The neighbour as FRR has it; timers are the configured ones, in seconds."""

    local_asn: int | None
    peer_asn: int | None
    peer_address: str | None
    local_address: str | None
    keepalive_s: int | None
    hold_s: int | None


@dataclass(frozen=True)
class HomeEvidence:
    """`at`: when the control plane heard it. `applied`: the tunnel that the firewall was given. `reason` and `phase`
    (1 or 2) are of charon's last refusal, `said` its own words. `drift`: how the firewall differs from `applied`."""

    at: datetime
    applied: DesiredTunnel | None = None
    sa: RunningSa | None = None
    bgp: RunningBgp | None = None
    reason: str | None = None
    phase: int | None = None
    said: tuple[str, ...] = ()
    drift: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read(data: Mapping[str, Any], at: datetime) -> HomeEvidence:
    """Lenient: whatever is not as expected is left out."""
    refusal = _object(data.get("refusal"))
    phase = refusal.get("phase")
    return HomeEvidence(
        at=at,
        applied=_applied(data.get("applied")),
        sa=_sa(data.get("sa")),
        bgp=_bgp(data.get("neighbor")),
        reason=_text(refusal.get("reason")),
        phase=phase if phase in (1, 2) else None,
        said=_lines(refusal.get("said")),
        drift=_lines(data.get("drift")),
        notes=_lines(data.get("notes")),
    )


def _applied(raw: Any) -> DesiredTunnel | None:
    try:
        return from_plain(DesiredTunnel, raw)
    except (WireError, ValueError):
        return None


def _sa(raw: Any) -> RunningSa | None:
    if not isinstance(raw, dict) or raw.get("state") not in _NEGOTIATED:
        return None
    child = _object(raw.get("child"))
    group = _named(child.get("dh-group"), _IKE_GROUPS)
    return RunningSa(
        remote_address=_text(raw.get("remote-host")),
        remote_id=_text(raw.get("remote-id")),
        ike_encryption=_cipher(raw),
        ike_integrity=_digest(raw.get("integ-alg") or raw.get("prf-alg")),
        dh_group=_named(raw.get("dh-group"), _IKE_GROUPS),
        ipsec_encryption=_cipher(child),
        ipsec_integrity=_digest(child.get("integ-alg")) or _gcm(_cipher(child)),
        pfs_group=_PFS_GROUPS.get(group, group) if group else None,
    )


def _cipher(sa: Mapping[str, Any]) -> str | None:
    """As in AES_GCM_16 with key size 256: GCMAES256."""
    name, size = _text(sa.get("encr-alg")), _text(sa.get("encr-keysize")) or ""
    return f"{_CIPHERS[name]}{size}" if name in _CIPHERS else name


def _digest(value: Any) -> str | None:
    """As in HMAC_SHA2_384_192 or PRF_HMAC_SHA2_384: SHA384."""
    name = _text(value)
    return next((ours for theirs, ours in _DIGESTS.items() if name and f"HMAC_{theirs}" in name), name)


def _gcm(cipher: str | None) -> str | None:
    return cipher if cipher and cipher.startswith("GCM") else None


def _named(value: Any, table: Mapping[str, str]) -> str | None:
    name = _text(value)
    return table.get(name, name) if name else None


def _bgp(raw: Any) -> RunningBgp | None:
    if not isinstance(raw, dict):
        return None
    return RunningBgp(
        local_asn=_number(raw.get("localAs")),
        peer_asn=_number(raw.get("remoteAs")),
        peer_address=_text(raw.get("address")),
        local_address=_text(raw.get("updateSource")),
        keepalive_s=_seconds(raw.get("bgpTimerConfiguredKeepAliveIntervalMsecs")),
        hold_s=_seconds(raw.get("bgpTimerConfiguredHoldTimeMsecs")),
    )


def _seconds(milliseconds: Any) -> int | None:
    number = _number(milliseconds)
    return None if number is None else number // 1000


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _lines(value: Any) -> tuple[str, ...]:
    return tuple(str(x)[:300] for x in value[:MAX_LINES]) if isinstance(value, list) else ()


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
