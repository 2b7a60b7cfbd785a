"""What to do about a tunnel: `decide` is pure, so that every decision can be replayed and argued about.

First the address, which is what changes at most homes. Two witnesses must agree before anything happens: the source of
a signed heartbeat and the authoritative servers of the DDNS name, or, while the home is not heard, all DNS servers
(caches too) and Azure, which says that it has lost the home. DNS alone, which nobody signs, never triggers more than a
look. A tunnel that is down at an unchanged address, or stays down at the new one, climbs the ladder (ladder.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.wire.commands import DesiredTunnel
from shared.wire.reports import TunnelHealth

from . import ladder, limits, refusals
from .dns import DnsView
from .ladder import Act, Attempt, Decision, GiveUp, Rung, Wait
from .reconnect import Hour
from .spec import RepairSpec

NOT_CONNECTED, CONNECTED = "NotConnected", "Connected"


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
    Incident `incident` was opened. `azure_status`: the connectionStatus that ARM last told. `mismatch`: what the ends
    disagree about. `down_since`: since when the home is heard and the tunnel is down, without a break. `blocked`: why
    ARM will not have what we want before a person did something, mostly empty. `dead`, `attempts`, `working`,
    `reconnect`: see ladder.Down.
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
    incident: str = ""
    azure_status: str | None = None
    mismatch: str = ""
    dead: bool = True
    attempts: tuple[Attempt, ...] = ()
    working: tuple[str, ...] = ()
    reconnect: Hour | None = None
    down_since: datetime | None = None
    blocked: str = ""

    def idle(self, now: datetime) -> bool:
        """The user wants nothing to be repaired (now)."""
        paused = self.spec.paused_until is not None and now < self.spec.paused_until
        return self.spec.policy == "observe" or paused


STEADY = Wait(limits.SWEEP_S, "nothing to repair")


def decide(s: Situation, now: datetime) -> Decision:
    """One decision; called at every step, never remembered: what was done shows in the situation itself."""
    if s.idle(now):
        if s.lacks and s.pin is not None and s.azure_settled and _misleads(s, s.pin, now):
            return Act(Rung.UNPIN, "nothing is to be repaired, and the pin keeps Azure from following the name")
        if s.lacks:
            paused = s.spec.policy != "observe"
            return GiveUp(("paused: " if paused else "repair policy is observe: ") + "; ".join(s.lacks))
        # A pin from before would go on keeping Azure from healing itself: what was done is undone, and no more.
        return STEADY if s.pin is None else _end_of_pin(s, s.pin, now)
    if (moved := _moved(s, _pace(s, now)) or _moved_unheard(s, _pace(s, now))) is not None:
        return moved
    if s.pin is not None:
        return _while_pinned(s, s.pin, now) if s.reported_address else _pinned_unheard(s, s.pin, now)
    if s.known_address is None or not s.lacks:
        return STEADY
    return _climb(s, s.down_since or s.open_since or now, now)


def _misleads(s: Situation, pin: Pin, now: datetime) -> bool:
    """The name leads elsewhere by now, or the pin has not helped for long."""
    return s.dns.agreed() not in (None, pin.address) or now - pin.since >= timedelta(seconds=limits.PIN_UNHEARD_S)


def _climb(s: Situation, since: datetime, now: datetime) -> Decision:
    if window := ladder.in_maintenance(s.spec, now):
        return Wait(limits.SWEEP_S, f"maintenance {window} UTC; down: " + "; ".join(s.lacks))
    return ladder.climb(_down(s, since), now)


def _down(s: Situation, since: datetime) -> ladder.Down:
    return ladder.Down(
        spec=s.spec,
        incident=s.incident,
        since=since,
        lacks=s.lacks,
        mismatch=s.mismatch,
        dead=s.dead,
        connected=s.azure_status == CONNECTED,
        heard=s.reported_address is not None,
        azure_settled=s.azure_settled,
        blocked=s.blocked,
        attempts=s.attempts,
        working=s.working,
        reconnect=s.reconnect,
    )


def mismatch(desired: DesiredTunnel, health: TunnelHealth) -> str:
    """What the ends disagree about, which no reset would change; empty when nothing of that kind shows."""
    if refusals.disagreement(health.ike_error):
        return f"the ends refuse each other ({health.ike_error})"
    if health.child.installed and "Bad Peer AS" in (health.bgp.last_error or ""):
        return "the ends disagree about an AS number (Bad Peer AS)"
    if health.digest != desired.digest():
        return "the firewall has not the desired configuration"
    if health.bgp.state == "Established" and set(desired.bgp.accept) - set(health.bgp.received):
        return "BGP is up, and Azure does not announce the virtual network's prefixes"
    return ""


def is_dead(health: TunnelHealth | None, azure_status: str | None) -> bool:
    """An end says itself that the tunnel is down."""
    at_home = health is not None and not (health.child.installed and health.bgp.state == "Established")
    return at_home or azure_status == NOT_CONNECTED


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


def _moved_unheard(s: Situation, pace: float) -> Decision | None:
    """The home is not heard, Azure has lost it, and every DNS server and cache gives it another address. Azure would
    follow its name too, minutes later; so nothing is believed that it would not believe."""
    accepted = s.pin.address if s.pin else s.known_address
    agreed = s.dns.agreed()
    if s.reported_address is not None or accepted is None or agreed in (None, accepted) or not s.spec.pin:
        return None
    if agreed in s.taken or s.dns.fault() is not None:
        return None
    if s.azure_status != NOT_CONNECTED or not s.dns.settled_on(str(agreed)):
        return Wait(pace, f"the home is silent, and its name says {agreed}: Azure and every cache are to agree first")
    return Act(Rung.PIN, f"Azure has lost the home, and all DNS servers agree on {agreed}, was {accepted}", agreed)


def _pinned_unheard(s: Situation, pin: Pin, now: datetime) -> Decision:
    """Only Azure tells whether it helped. A pin that did not help ends, because it keeps Azure from healing itself."""
    age = now - pin.since
    if s.azure_settled and s.azure_status == CONNECTED and s.agrees_since is not None:
        quiet = now - s.agrees_since >= timedelta(seconds=s.dns.ttl_s)
        if quiet and age >= timedelta(seconds=s.spec.unpin_after_seconds):
            return Act(Rung.UNPIN, f"Azure says Connected, and every resolver answers {pin.address}")
    elif s.azure_settled and age >= timedelta(seconds=limits.PIN_UNHEARD_S):
        return Act(Rung.UNPIN, f"pinned for {age.total_seconds():.0f} s without a word from the home")
    return Wait(limits.SWEEP_S, "pinned, and the home is silent")


def _azure_first(s: Situation, pace: float) -> Decision:
    if s.blocked:
        return GiveUp(s.blocked)
    return Wait(pace, "Azure is at work on the gateway, its connections or their addresses")


def _while_pinned(s: Situation, pin: Pin, now: datetime) -> Decision:
    pace = _pace(s, now)
    if not s.azure_settled:
        return _azure_first(s, pace)
    first = s.last_initiate is None or s.last_initiate < pin.since
    if first and not (s.probe_ok and not s.lacks):
        return Act(Rung.INITIATE, "Azure has the new address, and the old SA is dead")
    if not s.lacks:
        return _end_of_pin(s, pin, now)
    tried = sum(a.rung is Rung.INITIATE and a.at >= pin.since for a in s.attempts)
    if tried < limits.PINNED_INITIATES:
        if s.last_initiate and now >= s.last_initiate + timedelta(seconds=limits.INITIATE_AGAIN_S):
            return Act(Rung.INITIATE, "no proof since the last time: " + "; ".join(s.lacks))
        return Wait(pace, "waiting for proof: " + "; ".join(s.lacks))
    decision = _climb(s, max(pin.since, s.down_since or pin.since), now)  # Azure itself may hang at the new address
    return replace(decision, seconds=min(pace, decision.seconds)) if isinstance(decision, Wait) else decision


def _end_of_pin(s: Situation, pin: Pin, now: datetime) -> Decision:
    """Nothing lacks: when to go back to the name."""
    pace = _pace(s, now)
    if not s.azure_settled:
        return _azure_first(s, pace)
    settled = timedelta(seconds=s.spec.unpin_after_seconds)
    quiet = timedelta(seconds=s.dns.ttl_s)
    if s.healthy_since is None or (left := s.healthy_since + settled - now) > timedelta():
        left_s = settled.total_seconds() if s.healthy_since is None else left.total_seconds()
        return Wait(min(left_s, limits.SWEEP_S), "healthy, not for long enough to end the pin")
    if s.agrees_since is None or now - s.agrees_since < quiet:
        return Wait(pace, "resolvers do not all answer the new address yet")
    return Act(Rung.UNPIN, f"healthy for {s.spec.unpin_after_seconds} s and every resolver answers {pin.address}")
