"""The firewall's answer to `status` as the contract's State and Health. Pure, and lenient about what daemons say.

BGP is read by FRR's own JSON, as with the Linux driver; `/status/gateways` is never asked, because pfSense's gateway
monitoring hangs after a VTI was made anew (redmine 16824).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from agent.errors import FirewallError
from agent.firewall.contract import OwnedTunnel, Pending, State
from agent.firewall.linux import charon, frr
from agent.firewall.linux.charon import NO_SA, SaHealth, sa_health
from agent.firewall.linux.frr import read_health
from agent.firewall.linux.notified import Notified
from agent.firewall.linux.rekeys import Rekeys
from agent.limits import shorten
from shared.wire.commands import DesiredTunnel
from shared.wire.decode import from_plain, to_plain
from shared.wire.errors import WireError
from shared.wire.reports import BgpHealth, ProbeHealth, TunnelHealth

POLICY = "no policy: FRR exchanges nothing without a route map in each direction"


@dataclass(frozen=True)
class Tunnel:
    """One Connection as the firewall's registry has it; `seen` is the raw answer about it."""

    desired: DesiredTunnel
    generation: int
    wanted: dict[str, Any]
    drift: tuple[str, ...]
    seen: dict[str, Any]


@dataclass(frozen=True)
class Status:
    """`taken_at` is monotonic seconds."""

    taken_at: float
    tunnels: tuple[Tunnel, ...]
    pending: Pending | None
    unapplied: bool
    answer: dict[str, Any]

    def tunnel(self, connection: str) -> Tunnel | None:
        return next((t for t in self.tunnels if t.desired.connection == connection), None)

    def state(self) -> State:
        changed = self.pending.connections if self.pending else ()
        owned = (OwnedTunnel(t.desired, t.generation, t.desired.connection not in changed) for t in self.tunnels)
        return State(tuple(owned), self.pending)


def parse(answer: dict[str, Any], now: float) -> Status:
    """Raises FirewallError when the registry on the firewall cannot be read."""
    tunnels = []
    for name, one in sorted(_object(answer.get("connections")).items()):
        try:
            desired = from_plain(DesiredTunnel, one["desired"])
            tunnel = Tunnel(desired, int(one["generation"]), one["wanted"], tuple(map(str, one["drift"])), one)
        except (WireError, KeyError, TypeError, ValueError) as e:
            raise FirewallError(
                f"the firewall's record of Connection {name} is damaged ({shorten(str(e), 200)}): "
                "restore config.xml, or remove the section installedpackages/homelink and apply anew"
            ) from None
        tunnels.append(tunnel)
    return Status(now, tuple(tunnels), _pending(answer.get("pending"), now), bool(answer.get("unapplied")), answer)


def _pending(raw: Any, now: float) -> Pending | None:
    if not isinstance(raw, dict):
        return None
    left = raw.get("left_s")
    deadline = now + left if isinstance(left, int | float) else float("-inf")  # booted since: no timer is running
    names = [tuple(str(n) for n in raw.get(key) or ()) for key in ("connections", "up_before")]
    return Pending(tuple(sorted(names[0])), names[1], deadline)


def tunnel_health(t: Tunnel, status: Status, error: str | None, rekeys: Rekeys, notified: Notified) -> TunnelHealth:
    """`error` is the last reason of a refusal that the driver heard of; the others remember earlier looks."""
    peer = t.desired.bgp.peer_address
    confirmed = status.pending is None or t.desired.connection not in status.pending.connections
    best = max(map(sa_health, _sas(t, status)), key=SaHealth.rank, default=NO_SA)
    sa = rekeys.counted(t.desired.connection, best)
    bgp = bgp_health(peer, str(t.seen.get("bgp", "")), str(status.answer.get("summary", "")))
    probe = t.seen.get("probe")
    return TunnelHealth(
        connection=t.desired.connection,
        connection_id=t.desired.connection_id,
        generation=t.generation,
        digest=t.desired.digest(),
        psk_version=t.desired.psk.version,
        confirmed=confirmed,
        ike=sa.ike,
        child=sa.child,
        bgp=notified.told(peer, bgp),
        routes=tuple(sorted(str(r) for r in t.seen.get("routes") or ())),
        probes=_probes(probe) if sa.child.installed else (),
        ike_error=None if sa.child.installed else error,
    )


def evidence(t: Tunnel, status: Status) -> dict[str, Any]:
    """What the Linux driver tells by the same names: what was applied, what was negotiated, and bgpd's neighbour."""
    best = max(_sas(t, status), key=lambda raw: sa_health(raw).rank(), default=None)
    return {
        "applied": to_plain(t.desired),
        "sa": None if best is None else charon.evidence(best),
        "neighbor": frr.evidence(t.desired.bgp.peer_address, str(t.seen.get("bgp", ""))),
        "bgp_summary": shorten(str(status.answer.get("summary", "")), 4000),
    }


def _sas(t: Tunnel, status: Status) -> list[dict[str, Any]]:
    """The SAs of a Connection, as vici tells them."""
    raw = status.answer.get("sas") or ()
    return [_as_vici(sa) for sa in raw if isinstance(sa, dict) and sa.get("con-id") == t.seen.get("con")]


def _as_vici(sa: dict[str, Any]) -> dict[str, Any]:
    """pfSense lists children; vici names them."""
    children = sa.get("child-sas")
    if isinstance(children, list):
        return {**sa, "child-sas": {str(i): c for i, c in enumerate(children)}}
    return sa


def bgp_health(peer: str, text: str, summary: str) -> BgpHealth:
    """As read_health; a session without policy is said to be so, because it looks up and exchanges nothing."""
    health = read_health(peer, text)
    try:
        raw = _object(json.loads(summary or "{}"))
    except (ValueError, RecursionError):
        return health
    family = raw if "peers" in raw else _object(raw.get("ipv4Unicast"))
    without_policy = _object(_object(family.get("peers")).get(peer)).get("peerState") == "Policy"
    return replace(health, last_error=POLICY) if without_policy else health


def _probes(raw: Any) -> tuple[ProbeHealth, ...]:
    if not isinstance(raw, dict):
        return ()
    rtt = raw.get("rtt_ms")
    rtt_ms = float(rtt) if isinstance(rtt, int | float) else None
    return (ProbeHealth(str(raw.get("target")), raw.get("ok") is True, rtt_ms),)


def version(answer: Any, way: str) -> str:
    """One line: pfSense, its packages, and the way in."""
    raw = _object(answer)
    packages = [str(p).removeprefix("pfSense-pkg-") for p in raw.get("packages") or () if p]
    frr = [f"FRR {raw['frr']}"] if raw.get("frr") else []
    parts = [f"pfSense {raw.get('pfsense') or 'of unknown version'}", *frr, *packages, f"by {way}"]
    return shorten(", ".join(parts), 200)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
