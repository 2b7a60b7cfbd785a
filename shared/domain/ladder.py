"""The rungs of the repair ladder: what is tried when a tunnel is down at an unchanged address, in which order, how
often, and what it costs whom. Pure; repair.py decides about addresses first and climbs only then.

A rung is tried when the one below it was, as often as it may be, and did not help. What no rung can help is not tried:
a mismatch between the ends, a home that is silent, an Azure that is at work. Microsoft's advice is the order (reset the
connection, then the gateway, then the gateway once more, for the other instance); the waits are ours (limits.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from enum import StrEnum

from . import limits
from .reconnect import Hour
from .spec import RepairSpec

DAY = timedelta(days=1)
CONTRADICTED = timedelta(seconds=limits.CONTRADICTED_S)
REDIAL = timedelta(seconds=limits.RECONNECT_WAIT_S)


class Rung(StrEnum):
    PIN = "pin"  # point the local network gateway at the new address
    INITIATE = "initiate"  # the agent closes the dead SA by force and dials again
    UNPIN = "unpin"  # back to the FQDN, so that Azure heals itself again
    RESET_CONNECTION = "reset-connection"
    RESET_GATEWAY = "reset-gateway"  # hits every Connection on it


@dataclass(frozen=True)
class Attempt:
    """A rung that was tried, or that was about to be: an unknown outcome counts as tried. `incident`: its id."""

    rung: Rung
    at: datetime
    incident: str


@dataclass(frozen=True)
class Step:
    """`after_s` since the Incident was opened, `cool_s` after each try, at most `tries` in one Incident and `a_day`."""

    rung: Rung
    after_s: float
    cool_s: float
    tries: int
    a_day: int


LADDER = (
    Step(Rung.INITIATE, limits.INITIATE_AFTER_S, limits.INITIATE_COOL_S, 2, limits.INITIATES_A_DAY),
    Step(
        Rung.RESET_CONNECTION,
        limits.RESET_CONNECTION_AFTER_S,
        limits.RESET_CONNECTION_COOL_S,
        1,
        limits.CONNECTION_RESETS_A_DAY,
    ),
    Step(Rung.RESET_GATEWAY, limits.RESET_GATEWAY_AFTER_S, limits.RESET_GATEWAY_COOL_S, 2, limits.GATEWAY_RESETS_A_DAY),
)
"""From the least harm to the most."""


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


@dataclass(frozen=True)
class Down:
    """A tunnel that is down at an unchanged address. `since`: when it was noticed, or the home was heard again after a
    silence. `blocked`: why ARM does not get what the spec says. `attempts`: of this Connection, and the gateway resets
    of all, of the last day. `working`: other Connections of the gateway that carry
    packets. `dead`: an end says so itself (no SA, no BGP session, or Azure's NotConnected), not the probe alone;
    `connected`: Azure says at this moment that it is not: the tunnel may have come up since the home was heard.
    `reconnect`: the hour at which the provider cuts the line; what begins then is waited out by REDIAL longer."""

    spec: RepairSpec
    incident: str
    since: datetime
    lacks: tuple[str, ...]
    mismatch: str
    dead: bool
    connected: bool
    heard: bool
    azure_settled: bool
    attempts: tuple[Attempt, ...]
    working: tuple[str, ...]
    reconnect: Hour | None = None
    blocked: str = ""


def climb(d: Down, now: datetime) -> Decision:
    """The next rung, or why not yet, or why not at all."""
    lacks = "; ".join(d.lacks)
    if not d.heard:
        return Wait(limits.SWEEP_S, "the home is silent (power, Internet or agent): nothing can be done from Azure")
    if d.mismatch:
        return GiveUp(f"{d.mismatch}: no reset would help")
    if not d.dead:
        return Wait(limits.SWEEP_S, f"both ends call the tunnel up ({lacks}): it is left alone")
    if d.blocked:
        return GiveUp(d.blocked)
    if not d.azure_settled:
        return Wait(limits.WATCH_S, "Azure is at work, or has not what the spec says: that comes first")
    redialling = d.reconnect is not None and d.reconnect.holds(d.since)
    begun = d.since + REDIAL if redialling else d.since
    for step in LADDER:
        mine = [a for a in d.attempts if a.rung is step.rung and _counts(a, d)]
        cooled = max((a.at for a in mine), default=d.since) + timedelta(seconds=step.cool_s)
        if len(mine) >= step.tries:
            if now < cooled:
                return _until(cooled, now, f"{step.rung} was done: does it help? Down: {lacks}")
            continue
        if (why := _forbidden(d, step)) is not None:
            return GiveUp(f"{why}; down: {lacks}")
        today = [a for a in d.attempts if a.rung is step.rung and a.at > now - DAY]
        if len(today) >= step.a_day:
            return GiveUp(f"{step.rung} was tried {len(today)} times in a day, which is all it may be; down: {lacks}")
        due = max(begun + timedelta(seconds=step.after_s), cooled if mine else begun)
        if d.connected and step.rung is not Rung.INITIATE and now - d.since < CONTRADICTED:
            return Wait(limits.SWEEP_S, f"Azure says Connected, the home does not: no reset yet; down: {lacks}")
        if now < due:
            why = f" (the provider cuts the line at about {d.reconnect}: it may dial first)" if redialling else ""
            return _until(due, now, f"{step.rung} comes next, at {due:%H:%M:%S} UTC{why}; down: {lacks}")
        return Act(step.rung, f"down for {(now - d.since).total_seconds():.0f} s at an unchanged address: {lacks}")
    return GiveUp(f"everything that Homelink may do was tried, and the tunnel is down: {lacks}. Ask Microsoft.")


def _until(due: datetime, now: datetime, reason: str) -> Wait:
    """No longer than to the next sweep, which looks again anyway."""
    return Wait(min((due - now).total_seconds(), limits.SWEEP_S), reason)


def _counts(attempt: Attempt, d: Down) -> bool:
    """A reset of the gateway was everybody's, whoever asked for it. A home that was silent since must dial again."""
    if attempt.rung is Rung.INITIATE and attempt.at < d.since:
        return False
    return attempt.incident == d.incident or (attempt.rung is Rung.RESET_GATEWAY and attempt.at >= d.since)


def _forbidden(d: Down, step: Step) -> str | None:
    if step.rung is Rung.INITIATE:
        return None
    if d.spec.policy != "full":
        return f"{step.rung} would come next, and policy {d.spec.policy} does not allow it"
    if step.rung is Rung.RESET_GATEWAY and d.spec.gateway_reset == "never":
        return "a reset of the gateway would come next, and gatewayReset is never"
    if step.rung is Rung.RESET_GATEWAY and d.working and d.spec.gateway_reset != "always":
        return f"a reset of the gateway would come next, and would cut off {', '.join(d.working)}"
    return None


def in_maintenance(spec: RepairSpec, now: datetime) -> str:
    """The window in which nothing but a changed address is acted upon, empty outside of all."""
    return next((w for w in spec.maintenance if _within(w, now.time())), "")


def _within(window: str, at: time) -> bool:
    begin, end = (time.fromisoformat(text) for text in window.split("-"))
    at = at.replace(tzinfo=None)
    return begin <= at < end if begin <= end else at >= begin or at < end
