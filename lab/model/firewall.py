"""A home's firewall, with everything a driver of the agent asks of one (agent.firewall.contract).

It is the machine and its driver in one: records, running configuration and the dead-man timer outlive the agent, and
a reboot. What an owner does by hand changes what runs (`hand_edit`), never the records; everything that is not ours is
`others`, which nothing here writes. A rollback makes every owned tunnel run as its record of the snapshot says.
As with charon, nobody can read a key back: a key changed by hand is no drift.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from agent.errors import FirewallBusy, FirewallError
from agent.firewall.contract import Change, Health, OwnedTunnel, Pending, Revert, State
from lab.model import tunnel
from lab.model.fabric import Fabric
from lab.model.home import Home
from lab.model.tunnel import HomeEnd
from shared.wire.commands import DesiredTunnel
from shared.wire.reports import BgpHealth, ChildHealth, FirewallHealth, IkeHealth, ProbeHealth, TunnelHealth

VERSION = "strongSwan 5.9.8"
RTT_MS = 20.0
NO_BGP = BgpHealth("Active", 0.0, (), ())


@dataclass(frozen=True)
class Record:
    """A tunnel that we own, as applied."""

    desired: DesiredTunnel
    generation: int
    psk: str = field(repr=False)
    digest: str = ""


@dataclass(frozen=True)
class Snapshot:
    records: dict[str, Record]
    pending: Pending


def _nowhere(_: str) -> None:
    pass


def _at_once(_: float) -> None:
    pass


class ModelFirewall:
    """`spend` lets seconds pass for the caller; `touch` is called between the steps of a change, and may end the agent
    there. Knobs: `busy` and `refuses` are the texts with which it raises, `timer_works` the dead-man's."""

    driver = "model"

    def __init__(
        self,
        fabric: Fabric,
        home: Home,
        *,
        spend: Callable[[float], None] = _at_once,
        touch: Callable[[str], None] = _nowhere,
    ) -> None:
        self.home = home
        self.records: dict[str, Record] = {}
        self.snapshot: Snapshot | None = None
        self.others: dict[str, str] = {"rule 1": "allow LAN to any", "ipsec con9": "the owner's own tunnel"}
        self.busy: str | None = None
        self.refuses: str | None = None
        self.timer_works = True
        self._boots_at: float | None = None
        self._fabric = fabric
        self._spend = spend
        self._touch = touch
        with fabric.change():
            fabric.watch(self)

    # the machine -----------------------------------------------------------------------------------------------

    def due(self) -> float | None:
        if self._boots_at is not None:
            return self._boots_at
        return self.snapshot.pending.deadline if self.snapshot is not None and self.timer_works else None

    def fire(self, now: float) -> None:
        if self._boots_at is not None and self._boots_at <= now:
            self._boots_at, self.home.firewall_on = None, True
            for end in self._fabric.at_home(self.home):
                if end.desired.initiates:
                    end.connecting_since = now
        if self.timer_works and self.snapshot and self.snapshot.pending.deadline <= now:
            self._restore(self.snapshot)

    def reboot(self, seconds: float | None = None) -> None:
        """Power is lost and comes back; what was configured is there again, and the dead-man catches up."""
        with self._fabric.change() as now:
            self.home.firewall_on = False
            self._boots_at = now + (self._fabric.assumptions.boot_s if seconds is None else seconds)
            for end in self._fabric.at_home(self.home):
                end.sa = end.session = end.connecting_since = end.error = end.bgp_error = None

    def hand_edit(self, connection: str, what: Literal["removed", "asn", "policy", "peer", "key"]) -> None:
        """The owner changes a tunnel of ours behind our back. Nothing happens if it does not run."""
        with self._fabric.change():
            end = self._end(connection)
            if end is None:
                return
            d = end.desired
            if what == "removed":
                self._fabric.uninstall(self.home, connection)
            elif what == "asn":
                d = replace(d, bgp=replace(d.bgp, local_asn=d.bgp.local_asn + 1))
            elif what == "policy":
                d = replace(d, ike=replace(d.ike, integrity="SHA1"), esp=replace(d.esp, pfs_group="PFS2"))
            elif what == "peer":
                d = replace(d, peer_address="192.0.2.1")
            if what != "removed":
                self._fabric.install(self.home, d, end.psk + "0" if what == "key" else end.psk)

    def canonical(self) -> dict[str, tuple[DesiredTunnel, str]]:
        """What runs of ours, keys included: for comparison only."""
        return {end.desired.connection: (end.desired, end.psk) for end in self._fabric.at_home(self.home)}

    def snapshot_canonical(self) -> dict[str, tuple[DesiredTunnel, str]] | None:
        """What a rollback must lead to; None if nothing is pending."""
        if self.snapshot is None:
            return None
        return {name: (r.desired, r.psk) for name, r in self.snapshot.records.items()}

    # the contract: state ---------------------------------------------------------------------------------------

    def read(self) -> State:
        self._fabric.clock()
        pending = self.snapshot.pending if self.snapshot else None
        changed = pending.connections if pending else ()
        records = sorted(self.records.items())
        return State(tuple(OwnedTunnel(r.desired, r.generation, name not in changed) for name, r in records), pending)

    def diff(self, desired: DesiredTunnel) -> tuple[Change, ...]:
        self._ask()
        record, end = self.records.get(desired.connection), self._end(desired.connection)
        found = []
        if record is None or record.desired != desired:
            found.append(Change("tunnel", "not applied" if record is None else "applied with other values"))
        if end is None:
            found.append(Change("charon", "the connection is not loaded"))
        elif end.desired != desired:
            found.append(Change("firewall", "it runs with other values"))
        return tuple(found)

    # the contract: changes -------------------------------------------------------------------------------------

    def apply(self, desired: DesiredTunnel, generation: int, psk: str, revert: Revert | None) -> None:
        self._ask()
        if self.refuses is not None:
            raise FirewallError(self.refuses)
        asns = {r.desired.bgp.local_asn for name, r in self.records.items() if name != desired.connection}
        if asns - {desired.bgp.local_asn}:
            raise FirewallError(f"BGP runs with ASN {min(asns)}, the Connection wants {desired.bgp.local_asn}")
        if revert is not None:
            with self._fabric.change() as now:
                self._arm(desired.connection, revert, now)
            self._touch("armed")
        with self._fabric.change():
            self.records[desired.connection] = Record(desired, generation, psk, desired.digest())
        self._touch("recorded")
        with self._fabric.change():
            if self._fabric.assumptions.applies_bounce_all:
                self._bounce()
            self._fabric.install(self.home, desired, psk)
        self._spend(self._fabric.assumptions.apply_s)
        self._touch("applied")

    def confirm(self) -> None:
        self._ask()
        with self._fabric.change():
            self.snapshot = None
        self._touch("confirmed")

    def rollback(self) -> None:
        self._ask()
        with self._fabric.change():
            if self.snapshot is not None:
                self._restore(self.snapshot)
        self._touch("rolled back")

    def remove(self, connection: str) -> None:
        self._ask()
        with self._fabric.change():
            if self.snapshot is not None:
                p = self.snapshot.pending
                names = tuple(c for c in p.connections if c != connection)
                kept = {c: r for c, r in self.snapshot.records.items() if c != connection}
                self.snapshot = Snapshot(kept, replace(p, connections=names)) if names else None
            if self.records.pop(connection, None) is not None:
                self._fabric.uninstall(self.home, connection)
        self._touch("removed")

    def start(self, connection: str) -> None:
        self._ask()
        with self._fabric.change():
            end = self._end(connection) if connection in self.records else None
            if end is not None and end.desired.initiates and end.sa is None and end.connecting_since is None:
                self._fabric.dial(end)

    def initiate(self, connection: str) -> str:
        self._ask()
        if connection not in self.records:
            raise FirewallError(f"Connection {connection} is not applied on this firewall")
        with self._fabric.change():
            end = self._end(connection)
            if end is None:
                return "not established: the connection is not loaded"
            self._fabric.hang_up(end)
            why = self._fabric.dial(end)
        self._touch("initiated")
        return "SA installed" if why is None else f"not established: {why}"

    # the contract: looking -------------------------------------------------------------------------------------

    def health(self) -> Health:
        now = self._fabric.clock()
        trouble = self.busy or (None if self.home.firewall_on else "no route to the firewall")
        firewall = FirewallHealth(self.driver, VERSION, self.home.firewall_wan, trouble is None, trouble)
        if trouble is not None:
            return Health(firewall, ())
        changed = self.snapshot.pending.connections if self.snapshot else ()
        tunnels = (self._health(name, r, name not in changed, now) for name, r in sorted(self.records.items()))
        return Health(firewall, tuple(tunnels))

    def diagnose(self, connection: str) -> dict[str, Any]:
        end = self._end(connection)
        state = "NONE" if end is None else _ike(end, self._fabric.clock()).state
        return {"owned": connection in self.records, "loaded": end is not None, "ike": state}

    def _health(self, name: str, record: Record, confirmed: bool, now: float) -> TunnelHealth:
        end, d = self._end(name), record.desired
        head = name, d.connection_id, record.generation, record.digest, d.psk.version, confirmed
        if end is None:
            none = IkeHealth("NONE", None, None, False), ChildHealth(False, 0, 0, None), replace(NO_BGP, state="NONE")
            return TunnelHealth(*head, *none, routes=(), probes=())
        child = ChildHealth(False, 0, 0, None)
        if end.sa is not None and end.sa.child:
            carried = int(end.sa.seconds_carried(now) * self._fabric.assumptions.bytes_per_s)
            child = ChildHealth(True, carried, carried, now - end.sa.since)
        bgp = self._bgp(end, now)
        hosts = {f"{end.desired.transit.remote}/32", f"{end.desired.bgp.peer_address}/32"}
        routes = tuple(sorted({*hosts, *bgp.received}))
        probes = () if d.probe is None or not child.installed else (self._probe(d.probe, end, routes),)
        return TunnelHealth(*head, _ike(end, now), child, bgp, routes, probes, end.error)

    def _bgp(self, end: HomeEnd, now: float) -> BgpHealth:
        session = end.session
        if session is None:
            state = "Idle" if end.bgp_error == tunnel.BAD_PEER_AS else "Active"
            return BgpHealth(state, 0.0, (), (), end.bgp_error)
        site = self._fabric.gateways.get(session.azure.view.gateway)
        told = () if site is None else self._fabric.announced(session.azure)
        sent = tuple(sorted(end.desired.bgp.advertise))
        return BgpHealth("Established", now - session.since, tunnel.accepted(end, told), sent)

    def _probe(self, target: str, end: HomeEnd, routes: tuple[str, ...]) -> ProbeHealth:
        """There through the tunnel, and back: Azure knows the neighbour's own address, or learned its network."""
        sa, mine = end.sa, end.desired.bgp.local_address
        ok = sa is not None and self._fabric.whole(sa) and any(tunnel.covers(p, f"{target}/32") for p in routes)
        if ok and sa is not None and sa.azure.view.peer_bgp_address != mine:
            back = (*sa.azure.view.static_prefixes, *self._fabric.learned(sa.azure))
            ok = any(tunnel.covers(p, f"{mine}/32") for p in back)
        return ProbeHealth(target, ok, RTT_MS if ok else None)

    # inside ----------------------------------------------------------------------------------------------------

    def _end(self, connection: str) -> HomeEnd | None:
        return self._fabric.ends.get((self.home.name, connection))

    def _ask(self) -> None:
        self._fabric.clock()
        if self.busy is not None or not self.home.firewall_on:
            raise FirewallBusy(self.busy or "no route to the firewall", 10.0)

    def _arm(self, connection: str, revert: Revert, now: float) -> None:
        deadline = now + revert.after_s
        if self.snapshot is None:
            pending = Pending((connection,), revert.up_before, deadline)
            self.snapshot = Snapshot(dict(self.records), pending)
        else:
            p = self.snapshot.pending
            names = tuple(sorted({*p.connections, connection}))
            self.snapshot = replace(self.snapshot, pending=replace(p, connections=names, deadline=deadline))

    def _restore(self, snapshot: Snapshot) -> None:
        if self._fabric.assumptions.applies_bounce_all:
            self._bounce()
        for name in [n for n in self.records if n not in snapshot.records]:
            self._fabric.uninstall(self.home, name)
        for r in snapshot.records.values():
            self._fabric.install(self.home, r.desired, r.psk)
        self.records, self.snapshot = dict(snapshot.records), None

    def _bounce(self) -> None:
        for end in self._fabric.at_home(self.home):
            self._fabric.end_session(end)


def _ike(end: HomeEnd, now: float) -> IkeHealth:
    if end.sa is not None:
        return IkeHealth("ESTABLISHED", end.desired.peer_address, now - end.sa.since, end.home.inside is not None)
    if end.connecting_since is not None:
        return IkeHealth("CONNECTING", end.desired.peer_address, None, False)
    return IkeHealth("NONE", None, None, False)
