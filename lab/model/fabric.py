"""The physics: what happens between gateways and homes while nobody does anything, exactly and without waiting.

Everything that will happen by itself (DPD, hold timers, dials, a gateway's return, a home's new address, a dead-man)
has a time that follows from the state. `settle` goes through those times in order, so many small steps end where one
big step does. Whoever changes something does it inside `change()`: the world is settled before, and what follows from
the change is found after. The price is a scan over all tunnels per event, cheap for the few that a model has.
The Azure half is changed by `lab.model.dataplane`, the home half by `lab.model.firewall` and `lab.model.home`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from lab.model import tunnel
from lab.model.assumptions import Assumptions
from lab.model.home import Home
from lab.model.paths import Paths
from lab.model.tunnel import AzureEnd, HomeEnd, Sa, Session
from shared.wire.commands import DesiredTunnel


class Timed(Protocol):
    """Something that changes by itself at `due()` (None: never), when the fabric calls `fire`."""

    def due(self) -> float | None: ...
    def fire(self, now: float) -> None: ...


class Fabric(Paths):
    """All gateways, homes and tunnels of a world. `now` gives monotonic seconds that never go back."""

    def __init__(self, now: Callable[[], float], assumptions: Assumptions | None = None) -> None:
        super().__init__(assumptions or Assumptions())
        self._now = now
        self._timed: list[Timed] = []
        self._time = now()
        self._next: float | None = None
        self._inside = False

    # time ------------------------------------------------------------------------------------------------------

    def clock(self) -> float:
        """Now, with everything settled. For whatever reads what devices write by themselves, as Names."""
        if not self._inside:
            self.settle(self._now())
        return self._time

    def next_event(self) -> float | None:
        """When something changes by itself; None: never."""
        return self._next

    def settle(self, now: float) -> None:
        """Let everything happen that happens until then."""
        while self._next is not None and self._next <= now:
            self._time = max(self._time, self._next)
            self._inside = True
            try:
                self._fire(self._time)
            finally:
                self._inside = False
            self._next = self._foresee()
        self._time = max(self._time, now)

    @contextmanager
    def change(self) -> Iterator[float]:
        """Around any change of the world; gives the time. Changes nest."""
        if self._inside:
            yield self._time
            return
        self.settle(self._now())
        self._inside = True
        try:
            yield self._time
        finally:
            self._inside = False
            self._next = self._foresee()
            self.settle(self._time)

    def watch(self, device: Timed) -> None:
        self._timed.append(device)

    # the home half ---------------------------------------------------------------------------------------------

    def install(self, home: Home, desired: DesiredTunnel, psk: str) -> HomeEnd:
        """Carry it as said, and start it. What a live SA or session depends on ends it; a new key alone does not."""
        with self.change():
            key = (home.name, desired.connection)
            end = self.ends.setdefault(key, HomeEnd(home, desired, psk))
            old, end.desired, end.psk = end.desired, desired, psk
            if tunnel.session_of(old.bgp) != tunnel.session_of(desired.bgp):
                self.end_session(end)
                end.bgp_error = None
            if tunnel.negotiated(old) != tunnel.negotiated(desired):
                self.hang_up(end)
            if desired.initiates and end.sa is None and end.connecting_since is None:
                self.dial(end)
            return end

    def uninstall(self, home: Home, connection: str) -> None:
        with self.change():
            end = self.ends.pop((home.name, connection), None)
            if end is not None:
                self.end_session(end)
                self.hang_up(end)

    def dial(self, end: HomeEnd) -> str | None:
        """Initiate; None when the child is there, else the refusal. Without an answer charon goes on dialling."""
        with self.change() as now:
            end.connecting_since = now
            end.error = self._try(end, now)
            return end.error

    def hang_up(self, end: HomeEnd) -> None:
        """Close by force: Azure hears of it only if it can be reached."""
        with self.change() as now:
            sa, end.connecting_since = end.sa, None
            if sa is not None:
                if self.whole(sa):
                    sa.azure.sa, sa.azure.dialling_since = None, now
                end.sa = None

    # how things begin and end ----------------------------------------------------------------------------------

    def outage(self, gateway: str, ordinal: int, seconds: float, *, tells: bool = False, keeps: bool = False) -> None:
        """An instance is away. `tells`: it says goodbye first (a reset); `keeps`: another machine goes on with the same
        sessions afterwards (planned failover, maintenance); neither: they are lost (unplanned failover)."""
        with self.change() as now:
            site = self.gateways[gateway]
            if tells:
                self.wedged -= {gateway, *(end.view.name for end in self.ends_of(gateway))}
            for end in self.ends_of(gateway):
                if end.ordinal == ordinal and not keeps:
                    if tells:
                        self.retire(end)
                    end.sa = end.session = None
                    end.dialling_since = now
            site.back_at[ordinal] = max(site.back_at[ordinal] or now, now + seconds)

    def wedge(self, name: str) -> None:
        """This connection or gateway answers nobody any more."""
        with self.change():
            self.wedged.add(name)

    def retire(self, end: AzureEnd) -> None:
        """It ends its session and its SA, saying so."""
        self.end_session(end, tunnel.SHUT_DOWN)
        self.close(end)

    def close(self, end: AzureEnd) -> None:
        """Azure closes by force: a home that can be reached hears of it, and dials again (`close_action = start`)."""
        with self.change() as now:
            sa = end.sa
            if sa is not None:
                told = self.whole(sa)
                end.sa, end.dialling_since = None, now
                if told:
                    self._lose_at_home(sa, now)

    def end_session(self, end: HomeEnd | AzureEnd, why: str | None = None) -> None:
        """This end ends its session, heard at the other if it can be reached; `why` is what bgpd at home keeps."""
        session = end.session
        if session is None:
            return
        if self.carries(session):
            session.home.bgp_error = why
            self._let_go(session.home, session)
            self._let_go(session.azure, session)
        end.session = None

    def _try(self, end: HomeEnd, now: float) -> str | None:
        """One IKE negotiation begun by the home, which takes no time."""
        azure = self.reach(end)
        if azure is None or azure.view.mode == "InitiatorOnly":
            return tunnel.NOT_RESPONDING
        end.connecting_since = None
        return tunnel.refusal(end, azure) or self._establish(end, azure, now)

    def _establish(self, end: HomeEnd, azure: AzureEnd, now: float) -> str | None:
        child = tunnel.child_fits(end.desired.esp, azure.view.policy)
        end.sa = azure.sa = Sa(end, azure, str(end.home.address), now, child)
        end.connecting_since = None
        if child:
            end.error = None
        return None if child else tunnel.NO_PROPOSAL_CHOSEN

    def _lose_at_home(self, sa: Sa, now: float) -> None:
        sa.home.sa = None
        if sa.child and sa.home.desired.initiates:
            sa.home.connecting_since = now

    @staticmethod
    def _let_go(end: HomeEnd | AzureEnd, session: Session) -> None:
        if end.session is session:
            end.session = None

    # what comes by itself --------------------------------------------------------------------------------------

    def _foresee(self) -> float | None:
        """Start and stop the timers of SAs and sessions as things are now; the earliest time of all."""
        now = self._time
        times = [d.due() for d in self._timed]
        times += [gateway.due() for gateway in self.gateways.values()]
        for sa in self.sas():
            times += self._foresee_sa(sa, now)
        for session in self.sessions():
            self._foresee_session(session, now)
            times += [session.home_dies, session.azure_dies]
        times += [self._dial_due(end, now) for end in self.ends.values() if end.connecting_since is not None]
        times += [self._call_due(end, now) for end in self.azure.values() if end.sa is None]
        return min((t for t in times if t is not None), default=None)

    def _foresee_sa(self, sa: Sa, now: float) -> tuple[float | None, ...]:
        address = sa.home.home.address
        if self.assumptions.unknown_source == "answered" and address is not None and self.reach(sa.home) is sa.azure:
            sa.source = address
        if self.whole(sa):
            sa.home_dies = sa.azure_dies = None
            if sa.whole_since is None:
                sa.whole_since = now
        else:
            if sa.whole_since is not None:
                sa.carried_s, sa.whole_since = sa.seconds_carried(now), None
            if sa.home.sa is not sa:
                sa.home_dies = None
            elif sa.home_dies is None:
                sa.home_dies = now + sa.home.desired.dpd_delay_s + self.assumptions.retransmits_s[-1]
            if sa.azure.sa is not sa:
                sa.azure_dies = None
            elif sa.azure_dies is None:
                sa.azure_dies = now + (sa.azure.view.dpd_timeout_s or self.assumptions.azure_dpd_s)
        if not self._opening(sa):
            sa.bgp_due = None
        else:
            due = now + self._attempt_s(sa)
            sa.bgp_due = due if sa.bgp_due is None else min(sa.bgp_due, due)
        return sa.home_dies, sa.azure_dies, sa.bgp_due

    def _attempt_s(self, sa: Sa) -> float:
        """How long it takes until an attempt at a session has shown the home what comes of it."""
        if sa.home.desired.bgp.local_asn != sa.azure.view.peer_asn:
            return self.assumptions.bgp_refusal_s
        return self.assumptions.bgp_home_connect_s if sa.azure.view.apipa else self.assumptions.bgp_connect_s

    def _opening(self, sa: Sa) -> bool:
        """Whether an attempt at a session through this SA would change anything."""
        home, azure = sa.home, sa.azure
        if not sa.child or home.session is not None or azure.session is not None or not self.whole(sa):
            return False
        outcome = tunnel.open_outcome(home, azure, self.gateways[azure.view.gateway].view)
        return outcome is not None and outcome != home.bgp_error

    def _foresee_session(self, session: Session, now: float) -> None:
        carried = self.carries(session)
        half = carried and not session.held
        for side, end in (("home_dies", session.home), ("azure_dies", session.azure)):
            dies: float | None = getattr(session, side)
            if end.session is not session or (carried and not half):
                dies = None
            elif half and not session.half:
                dies = min(session.next_keepalive(now), math.inf if dies is None else dies)
            elif not carried and (dies is None or session.half):
                dies = session.expires(now)
            setattr(session, side, dies)
        session.half = half

    def _dial_due(self, end: HomeEnd, now: float) -> float | None:
        """When charon's next packet would get an answer; None: never, as things are."""
        azure, since = self.reach(end), end.connecting_since
        if since is None or azure is None or azure.view.mode == "InitiatorOnly":
            return None
        *tries, cycle = self.assumptions.retransmits_s
        start = since + math.floor((now - since) / cycle) * cycle
        return next(t for t in (*(start + offset for offset in tries), start + cycle, start + 2 * cycle) if t >= now)

    def _call_due(self, end: AzureEnd, now: float) -> float | None:
        if self.called(end) is None:
            return None
        pace = self.assumptions.azure_dial_s
        return max(now, end.dialling_since + math.ceil((now - end.dialling_since) / pace) * pace)

    def _fire(self, now: float) -> None:
        for device in (*self._timed, *self.gateways.values()):
            due = device.due()
            if due is not None and due <= now:
                device.fire(now)
        for sa in self.sas():
            self._fire_sa(sa, now)
        for session in self.sessions():
            self._fire_session(session, now)
        for end in self.ends.values():
            due = self._dial_due(end, now) if end.connecting_since is not None else None
            if due is not None and due <= now:
                self._try(end, now)
        for azure in self.azure.values():
            due = self._call_due(azure, now)
            caller = self.called(azure) if due is not None and due <= now else None
            if caller is not None:
                self._establish(caller, azure, now)

    def _fire_sa(self, sa: Sa, now: float) -> None:
        if sa.azure_dies is not None and sa.azure_dies <= now and sa.azure.sa is sa:
            sa.azure.sa, sa.azure.dialling_since = None, now
        if sa.home_dies is not None and sa.home_dies <= now and sa.home.sa is sa:
            self._lose_at_home(sa, now)
        if sa.bgp_due is not None and sa.bgp_due <= now and self._opening(sa):
            home, azure, a = sa.home, sa.azure, self.assumptions
            home.bgp_error = tunnel.open_outcome(home, azure, self.gateways[azure.view.gateway].view)
            if home.bgp_error != tunnel.BAD_PEER_AS:
                home.bgp_error = None
                hold = min(home.desired.bgp.hold_s, a.bgp_hold_s)
                keepalive = min(home.desired.bgp.keepalive_s, a.bgp_keepalive_s, hold / 3)
                home.session = azure.session = Session(home, azure, now, keepalive, hold)

    def _fire_session(self, session: Session, now: float) -> None:
        if session.home_dies is not None and session.home_dies <= now and session.home.session is session:
            session.home.bgp_error = tunnel.CLOSED if session.half else tunnel.HOLD_EXPIRED
            session.home.session = None
        if session.azure_dies is not None and session.azure_dies <= now and session.azure.session is session:
            session.azure.session = None
