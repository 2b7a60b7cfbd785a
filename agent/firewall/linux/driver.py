"""The Linux driver: puts together charon, FRR, the link and the records into the contract of `firewall/contract.py`.

Order of an apply: records and dead-man first, then link, charon, FRR, MSS, and last the tunnel is started. Every part
is idempotent, so a kill anywhere is repaired by doing it again. A change of the peer, the identity or the policy ends
the live SA; a new pre-shared key alone does not (Azure may not have it yet), it counts from the next IKE_SA on.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent.config import Config
from agent.errors import AgentError, FirewallError
from agent.firewall.contract import Change, Health, OwnedTunnel, Pending, Revert, State
from agent.firewall.linux import frr as frr_module
from agent.firewall.linux.charon import NO_SA, Charon
from agent.firewall.linux.deadman import DeadMan, DetachedTimer, FileLock
from agent.firewall.linux.frr import Frr
from agent.firewall.linux.link import Link
from agent.firewall.linux.refusal import refusal
from agent.firewall.linux.rekeys import Rekeys
from agent.firewall.linux.run import Runner, run
from agent.firewall.linux.store import Owned, Snapshot, Store, Tunnel
from agent.limits import shorten
from agent.seams import Clock, Files, Random
from agent.secret_store import SecretStore
from shared.wire.commands import DesiredTunnel
from shared.wire.decode import to_plain
from shared.wire.reports import FirewallHealth, TunnelHealth

START_S, INITIATE_S = 4.0, 8.0
"""How long to wait for an SA: a sound negotiation takes two round trips; the rest goes on without us."""


class LinuxFirewall:
    driver = "linux"

    def __init__(
        self,
        charon: Charon,
        frr: Frr,
        link: Link,
        store: Store,
        secrets: SecretStore,
        dead_man: DeadMan,
        lock: Callable[[], AbstractContextManager[None]],
        clock: Clock,
        random: Random,
        boot: str,
    ) -> None:
        self._charon = charon
        self._frr = frr
        self._link = link
        self._store = store
        self._secrets = secrets
        self._dead_man = dead_man
        self._lock = lock
        self._clock = clock
        self._random = random
        self._boot = boot
        self._version: str | None = None
        self._rekeys = Rekeys()

    # state -----------------------------------------------------------------------------------------------------

    def read(self) -> State:
        owned, snapshot = self._store.owned(), self._store.snapshot()
        changed = snapshot.connections if snapshot else ()
        tunnels = tuple(
            OwnedTunnel(t.desired, t.generation, t.desired.connection not in changed) for t in owned.tunnels
        )
        if snapshot is None:
            return State(tunnels, None)
        deadline = snapshot.deadline if snapshot.boot == self._boot else float("-inf")
        return State(tunnels, Pending(snapshot.connections, snapshot.up_before, deadline))

    def diff(self, desired: DesiredTunnel) -> tuple[Change, ...]:
        owned = self._store.owned()
        tunnel = owned.get(desired.connection)
        found: list[Change] = []
        if tunnel is None or tunnel.desired != desired:
            found.append(Change("tunnel", "not applied" if tunnel is None else "applied with other values"))
        elif not tunnel.settled:
            found.append(Change("tunnel", "an earlier change was cut short"))
        if desired.connection not in self._charon.loaded():
            found.append(Change("charon", "the connection is not loaded"))
        found += [Change("link", f"ip {command}") for command in self._link.missing(desired)]
        if not self._link.clamped(desired):
            found.append(Change("mss", f"no clamp to {desired.mss}"))
        lines = frr_module.changes(self._frr.running(), desired, owned.frr)
        found += [Change("frr", line) for line in lines]
        return tuple(found)

    # changes ---------------------------------------------------------------------------------------------------

    def apply(self, desired: DesiredTunnel, generation: int, psk: str, revert: Revert | None) -> None:
        with self._lock():
            owned = self._store.owned()
            self._check(owned, desired)
            before = self._in_effect(owned, desired.connection)
            if revert is not None:
                self._arm(owned, desired.connection, revert)
            self._store.save(owned.having(Tunnel(desired, generation, settled=False)))
            try:
                self._effect(before, desired, psk)
                owned = self._store.owned()  # `_effect` recorded what of FRR is ours
                self._store.save(owned.having(Tunnel(desired, generation, settled=True)))
            except AgentError:
                if revert is not None:
                    self._roll_back()
                raise

    def confirm(self) -> None:
        with self._lock():
            self._store.drop_snapshot()

    def rollback(self, only: str | None = None) -> None:
        """`only`: the snapshot that a dead-man was armed for; if it is not that one any more, nothing happens."""
        with self._lock():
            snapshot = self._store.snapshot()
            if snapshot is not None and only in (None, snapshot.id):
                self._roll_back()

    def remove(self, connection: str) -> None:
        with self._lock():
            snapshot = self._store.snapshot()
            if snapshot is not None:
                kept = tuple(t for t in snapshot.tunnels if t.desired.connection != connection)
                changed = tuple(c for c in snapshot.connections if c != connection)
                if changed:
                    self._store.save_snapshot(replace(snapshot, tunnels=kept, connections=changed))
                else:
                    self._store.drop_snapshot()
            self._undo(connection)

    def initiate(self, connection: str) -> str:
        tunnel = self._store.owned().get(connection)
        if tunnel is None:
            raise FirewallError(f"Connection {connection} is not applied on this firewall")
        return self._charon.restart(connection, INITIATE_S)

    def start(self, connection: str) -> None:
        tunnel = self._store.owned().get(connection)
        if tunnel is not None and tunnel.desired.initiates and connection not in self._charon.sas():
            self._charon.start(connection, START_S)

    # looking ---------------------------------------------------------------------------------------------------

    def health(self) -> Health:
        state = self.read()
        try:
            self._version = self._version or self._charon.version()
            sas = self._charon.sas()
            tunnels = tuple(self._tunnel_health(t, sas.get(t.desired.connection, NO_SA)) for t in state.tunnels)
        except AgentError as e:
            why = shorten(str(e), 300)
            return Health(FirewallHealth(self.driver, self._version or "", self._link.wan_address(), False, why), ())
        firewall = FirewallHealth(self.driver, self._version, self._link.wan_address(), True)
        return Health(firewall, tunnels)

    def _tunnel_health(self, owned: OwnedTunnel, sa: Any) -> TunnelHealth:
        d = owned.desired
        sa = self._rekeys.counted(d.connection, sa)
        return TunnelHealth(
            connection=d.connection,
            connection_id=d.connection_id,
            generation=owned.generation,
            digest=d.digest(),
            psk_version=d.psk.version,
            confirmed=owned.confirmed,
            ike=sa.ike,
            child=sa.child,
            bgp=self._frr.health(d),
            routes=self._link.routes(self._link.device(d)),
            probes=(self._link.probe(d.probe),) if d.probe is not None and sa.child.installed else (),
            ike_error=self._charon.errors.get(d.connection),
        )

    def diagnose(self, connection: str) -> dict[str, Any]:
        tunnel = self._store.owned().get(connection)
        evidence: dict[str, Any] = {"owned": tunnel is not None}
        looks: dict[str, Callable[[], Any]] = {
            "charon": self._charon.version,
            "loaded": lambda: connection in self._charon.loaded(),
            "ike": lambda: self._charon.sas().get(connection, NO_SA).ike.state,
            "bgp_summary": lambda: shorten(self._frr.summary(), 4000),
            "wan_address": self._link.wan_address,
        }
        if tunnel is not None:
            desired = tunnel.desired
            evidence["applied"] = to_plain(desired)
            looks["sa"] = lambda: self._charon.describe(connection)
            looks["refusal"] = lambda: self._refusal(connection)
            looks["neighbor"] = lambda: self._frr.neighbour(desired.bgp.peer_address)
            looks["routes"] = lambda: list(self._link.routes(self._link.device(desired)))
            looks["drift"] = lambda: [f"{c.what}: {c.detail}" for c in self.diff(desired)][:40]
        for name, look in looks.items():
            try:
                evidence[name] = look()
            except AgentError as e:
                evidence[name] = f"cannot be read: {shorten(str(e), 200)}"
        return evidence

    def _refusal(self, connection: str) -> dict[str, Any] | None:
        """Only while it is refused: what was said before the last success explains nothing."""
        found = refusal(self._charon.said.get(connection, ())) if connection in self._charon.errors else None
        return None if found is None else to_plain(found)

    # inside ----------------------------------------------------------------------------------------------------

    def _check(self, owned: Owned, desired: DesiredTunnel) -> None:
        """Everything that would refuse the change, before anything is changed."""
        others = [t.desired.connection for t in owned.tunnels if t.desired.connection != desired.connection]
        if others and self._link.kind == "tun":
            raise FirewallError(
                f"link mode `tun` serves one tunnel and {others[0]} is there: remove it first, or use `xfrm`"
            )
        blocked = frr_module.problems(self._frr.running(), desired)
        if blocked:
            raise FirewallError("; ".join(blocked))

    def _arm(self, owned: Owned, connection: str, revert: Revert) -> None:
        deadline = self._clock.monotonic() + revert.after_s
        name = self._random.token(16).hex()
        now = self._store.snapshot()
        if now is None:
            now = Snapshot(name, self._boot, deadline, (connection,), revert.up_before, owned.tunnels)
        else:
            changed = tuple(sorted({*now.connections, connection}))
            now = replace(now, id=name, boot=self._boot, deadline=deadline, connections=changed)
        self._store.save_snapshot(now)
        self._dead_man.arm(name, revert.after_s)

    def _effect(self, before: Tunnel | None, desired: DesiredTunnel, psk: str) -> None:
        self._link.ensure(desired, before.desired if before else None)
        self._charon.load(desired, psk, self._link.if_id(desired))
        owned = self._store.owned()
        # what is ours in FRR is recorded before it is there: a kill in between leaves a record too many, not a line
        expected = frr_module.now_ours(self._frr.running(), desired, owned.frr)
        if expected != owned.frr:
            both = tuple(dict.fromkeys((*owned.frr.networks, *expected.networks)))
            self._store.save(replace(owned, frr=replace(expected, networks=both)))
        ours = self._frr.apply(desired, owned.frr)
        owned = replace(self._store.owned(), frr=ours)
        self._store.save(owned)
        self._link.clamp([t.desired for t in owned.having(Tunnel(desired, 0, False)).tunnels])
        if desired.initiates:
            if before is not None and not (before.settled and _negotiated(before.desired) == _negotiated(desired)):
                self._charon.restart(desired.connection, START_S)
            elif desired.connection not in self._charon.sas():
                self._charon.start(desired.connection, START_S)

    def _in_effect(self, owned: Owned, connection: str) -> Tunnel | None:
        """What the firewall carries of a Connection; `settled` is false where an earlier change was cut short."""
        tunnel, snapshot = owned.get(connection), self._store.snapshot()
        if tunnel is None or tunnel.settled or snapshot is None:
            return tunnel
        old = next((t for t in snapshot.tunnels if t.desired.connection == connection), None)
        return replace(old, settled=False) if old is not None else tunnel

    def _undo(self, connection: str) -> None:
        owned = self._store.owned()
        tunnel = owned.get(connection)
        if tunnel is None:
            return
        self._frr.remove(connection, owned.frr)
        self._charon.unload(connection)
        self._link.remove(tunnel.desired)
        rest = owned.without(connection)
        self._link.clamp([t.desired for t in rest.tunnels])
        left = {p for t in rest.tunnels for p in t.desired.bgp.advertise}
        networks = tuple(n for n in owned.frr.networks if n in left)
        ours = replace(owned.frr, networks=networks, instance=owned.frr.instance and bool(rest.tunnels))
        self._store.save(replace(rest, frr=ours))

    def _roll_back(self) -> None:
        snapshot = self._store.snapshot()
        if snapshot is None:
            return
        kept = {t.desired.connection for t in snapshot.tunnels}
        for tunnel in self._store.owned().tunnels:
            if tunnel.desired.connection not in kept:
                self._undo(tunnel.desired.connection)
        for tunnel in snapshot.tunnels:
            now = self._store.owned().get(tunnel.desired.connection)
            if now == tunnel:
                continue
            psk = self._secrets.get(tunnel.desired.psk)
            if psk is None:
                raise FirewallError(
                    f"the key of {tunnel.desired.connection} to go back to is missing in the state directory"
                )
            self._effect(now, tunnel.desired, psk)
            self._store.save(self._store.owned().having(replace(tunnel, settled=True)))
        self._store.drop_snapshot()


def _negotiated(d: DesiredTunnel) -> tuple[object, ...]:
    """What a live SA depends on."""
    return d.peer_address, d.peer_id, d.ike, d.esp


def boot_id() -> str:
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else ""


def build(config: Config, files: Files, clock: Clock, random: Random, runner: Runner = run) -> LinuxFirewall:
    """The driver for a host, from its agent.toml."""
    s = config.linux
    return LinuxFirewall(
        charon=Charon(s.vici),
        frr=Frr(s.vtysh, runner),
        link=Link(s.link, s.device, s.wan, s.lan_address, runner),
        store=Store(files),
        secrets=SecretStore(files),
        dead_man=DetachedTimer(config.path),
        lock=FileLock(config.state / "firewall" / "lock"),
        clock=clock,
        random=random,
        boot=boot_id(),
    )
