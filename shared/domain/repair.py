"""What to do about a tunnel: `decide` is pure, so that every decision can be replayed and argued about.

This is the first Rung of the ladder, the one that most homes need: the address changed. Two witnesses must agree before
anything happens: the source of a signed heartbeat, and the authoritative servers of the DDNS name. DNS alone, which
nobody signs, never triggers more than a look. An address that did not change is left to DPD and to Azure.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from . import limits
from .dns import DnsView
from .spec import RepairSpec


class Rung(StrEnum):
    PIN = "pin"  # point the local network gateway at the new address
    INITIATE = "initiate"  # the agent closes the dead SA by force and dials again
    UNPIN = "unpin"  # back to the FQDN, so that Azure heals itself again


@dataclass(frozen=True)
class Pin:
    """`since`: when it was decided; `address`: a dotted quad."""

    address: str
    since: datetime


@dataclass(frozen=True)
class Situation:
    """Every witness at one moment.

    `reported_address`: where the fresh signed heartbeat came from, None without one. `known_address`: where the tunnel
    was last proven. `lacks`: missing evidence (conditions.missing_evidence). `probe_ok`: a ping went through; an SA and
    a BGP session can look alive for minutes after they died, so without a probe a changed address is acted upon
    whatever they say. `azure_settled`: ARM has what we want and no operation runs. `taken`: addresses of the gateway's
    other Connections. `agrees_since`: since when all resolvers, caches included, answer the pin. `open_since`: when the
    Incident was opened.
    """

    spec: RepairSpec
    dns: DnsView
    reported_address: str | None
    known_address: str | None
    lacks: tuple[str, ...]
    probe_ok: bool
    azure_settled: bool
    pin: Pin | None
    healthy_since: datetime | None
    agrees_since: datetime | None
    last_initiate: datetime | None
    taken: frozenset[str]
    open_since: datetime | None


@dataclass(frozen=True)
class Act:
    rung: Rung
    reason: str
    address: str | None = None


@dataclass(frozen=True)
class Wait:
    """Look again in `seconds`."""

    seconds: float
    reason: str


@dataclass(frozen=True)
class GiveUp:
    """Nothing that Homelink may do would help; `reason` says what a person can."""

    reason: str


Decision = Act | Wait | GiveUp
STEADY = Wait(limits.SWEEP_S, "nothing to repair")


def decide(s: Situation, now: datetime) -> Decision:
    """One decision; called at every step, never remembered: what was done shows in the situation itself."""
    if s.spec.policy == "observe":
        if s.lacks:
            return GiveUp("repair policy is observe: " + "; ".join(s.lacks))
        # A pin from before would go on keeping Azure from healing itself: what was done is undone, and no more.
        return STEADY if s.pin is None else _end_of_pin(s, s.pin, now)
    if (moved := _moved(s, _pace(s, now))) is not None:
        return moved
    if s.pin is not None:
        return _while_pinned(s, s.pin, now)
    if s.known_address is not None and s.lacks:
        # News from home wakes the unit by itself; nothing else would be seen by looking more often.
        return Wait(limits.SWEEP_S, "down at an unchanged address: " + "; ".join(s.lacks))
    return STEADY


def _pace(s: Situation, now: datetime) -> float:
    """Seconds until the next look for what nobody reports: DNS, and Azure."""
    young = s.open_since is None or now - s.open_since < timedelta(seconds=limits.WATCH_FOR_S)
    return limits.WATCH_S if young else limits.SWEEP_S


def _moved(s: Situation, pace: float) -> Decision | None:
    """The home speaks from another address than the one Azure is known to accept."""
    accepted = s.pin.address if s.pin else s.known_address
    if s.reported_address is None or accepted is None or s.reported_address == accepted:
        return None
    if s.probe_ok and not s.lacks:
        return None
    if not s.spec.pin:
        return Wait(pace, "the address changed; pinning is switched off, Azure's own DNS cache decides")
    if s.reported_address in s.taken:
        return GiveUp(f"the home now speaks from {s.reported_address}, which is another Connection's address")
    agreed = s.dns.agreed()
    if agreed != s.reported_address:
        return Wait(pace, f"the home speaks from {s.reported_address}, its name says {agreed or 'nothing'}")
    return Act(Rung.PIN, f"signed heartbeat and authoritative DNS agree on {agreed}, was {accepted}", agreed)


def _while_pinned(s: Situation, pin: Pin, now: datetime) -> Decision:
    pace = _pace(s, now)
    if not s.azure_settled:
        return Wait(pace, "Azure is taking the new address")
    first = s.last_initiate is None or s.last_initiate < pin.since
    if first and not (s.probe_ok and not s.lacks):
        return Act(Rung.INITIATE, "Azure has the new address, and the old SA is dead")
    if s.lacks:
        if s.last_initiate and now >= s.last_initiate + timedelta(seconds=limits.INITIATE_AGAIN_S):
            return Act(Rung.INITIATE, "no proof since the last time: " + "; ".join(s.lacks))
        return Wait(pace, "waiting for proof: " + "; ".join(s.lacks))
    return _end_of_pin(s, pin, now)


def _end_of_pin(s: Situation, pin: Pin, now: datetime) -> Decision:
    """Nothing lacks: when to go back to the name."""
    pace = _pace(s, now)
    if not s.azure_settled:
        return Wait(pace, "Azure is taking the new address")
    settled = timedelta(seconds=s.spec.unpin_after_seconds)
    quiet = timedelta(seconds=s.dns.ttl_s)
    if s.healthy_since is None or (left := s.healthy_since + settled - now) > timedelta():
        left_s = settled.total_seconds() if s.healthy_since is None else left.total_seconds()
        return Wait(min(left_s, limits.SWEEP_S), "healthy, not for long enough to end the pin")
    if s.agrees_since is None or now - s.agrees_since < quiet:
        return Wait(pace, "resolvers do not all answer the new address yet")
    return Act(Rung.UNPIN, f"healthy for {s.spec.unpin_after_seconds} s and every resolver answers {pin.address}")
