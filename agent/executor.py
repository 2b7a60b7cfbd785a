"""Carries out journalled commands against the firewall, each as if once.

An `apply` stays in `current/` until the driver's commit-confirm has ended one way or the other, so its result tells
the truth; other commands go on meanwhile. Confirmation (docs/agent.md): the firewall answers, every session that
was up before is up, the changed tunnels' own SA and BGP where their command says that the Azure end is ready, and the
control plane was heard from since. With the control plane lost, the changed tunnels being up is enough.
"""

from __future__ import annotations

import json

from agent.errors import AgentError, FirewallError, Rejected, TemporaryError
from agent.firewall.contract import Firewall, Health, OwnedTunnel, Pending, Revert, State
from agent.journal import Journal, subject
from agent.limits import MAX_DIAGNOSE_BYTES, Timing, shorten
from agent.seams import Clock, Log
from agent.secret_store import SecretStore
from agent.servertime import ServerTime
from agent.uplink import Uplink
from shared.wire.commands import Apply, Command, DesiredTunnel, Kind
from shared.wire.reports import Outcome, Result

PAUSED = "paused by the home owner"


class Executor:
    def __init__(
        self,
        journal: Journal,
        firewall: Firewall,
        uplink: Uplink,
        secrets: SecretStore,
        clock: Clock,
        server_time: ServerTime,
        timing: Timing,
        log: Log,
    ) -> None:
        self._journal = journal
        self._firewall = firewall
        self._uplink = uplink
        self._secrets = secrets
        self._clock = clock
        self._time = server_time
        self._timing = timing
        self._log = log
        self._retry_at: dict[str, float] = {}
        self._began: dict[str, float] = {}
        self.changes = 0
        self._keys_set: set[str] = set()
        """Changes made so far; only what is seen and heard after the latest one counts for its confirmation."""

    def work(self, now: float, health: Health | None, paused: bool) -> float | None:
        """Everything that can be done now; when to come back for what could not (monotonic), or None."""
        for command in [b.command for b in self._journal.current() if b.stage == "intent"] + list(
            self._journal.pending()
        ):
            if paused and command.kind is not Kind.DIAGNOSE:  # looking harms nothing
                self._finish(command, "refused", PAUSED)
            elif self._journal.superseded(command):
                self._finish(command, "superseded", "a newer command for the same purpose was accepted")
            elif self._expired(command):
                self._finish(command, "expired", "its time was up before it could be carried out")
            elif now >= self._retry_at.get(command.id, now):
                self._carry_out(command, now, health)
        waiting = [t for i, t in self._retry_at.items() if self._journal.knows(i)]
        return min(waiting, default=None)

    def awaiting(self) -> bool:
        return any(b.stage == "awaiting" for b in self._journal.current())

    def settle(self, now: float, health: Health | None, heard: bool, reachable: bool, paused: bool) -> bool:
        """End pending changes; true when one was. `health` is None unless taken after the latest change; `heard` says
        whether a heartbeat succeeded since then, `reachable` whether the latest one did."""
        state, ended = self._firewall.read(), False
        pending = state.pending
        if pending is not None:
            if now >= pending.deadline + self._timing.revert_grace_s:
                self._log("warning", "rollback", reason="not confirmed in time", connections=pending.connections)
                self._firewall.rollback()
                state, ended = self._firewall.read(), True
            elif not paused and self._may_confirm(pending, state, health, heard, reachable):
                self._firewall.confirm()
                self._log("info", "confirmed", connections=pending.connections)
                self._keep_secrets()
                state, ended = self._firewall.read(), True
        for begun in self._journal.current():
            if begun.stage == "awaiting":
                self._close(begun.command, state, health)
        return ended

    def repair_drift(self, health: Health | None) -> None:
        """Make the firewall carry what is owned, after a reboot or when charon or FRR lost their configuration.

        A key that somebody changed cannot be seen on every firewall. It shows when the ends refuse each other, and is
        then set again: once, because the wrong one may be Azure's, and an apply can cost other tunnels their sessions.
        """
        refused = {t.connection for t in health.tunnels if t.ike_error == "AUTHENTICATION_FAILED"} if health else set()
        self._keys_set &= refused
        for tunnel in self._firewall.read().tunnels:
            connection = tunnel.desired.connection
            what = [c.what for c in self._firewall.diff(tunnel.desired)]
            if connection in refused - self._keys_set:
                what.append("key")
                self._keys_set.add(connection)
            if what:
                self._log("warning", "drift", connection=connection, what=shorten(", ".join(what)))
                self._firewall.apply(tunnel.desired, tunnel.generation, self._psk(tunnel.desired), None)

    # one command -----------------------------------------------------------------------------------------------

    def _carry_out(self, command: Command, now: float, health: Health | None) -> None:
        self._retry_at.pop(command.id, None)
        self._began.setdefault(command.id, self._server_time())
        if not any(b.command.id == command.id for b in self._journal.current()):
            self._journal.begin(command)
        try:
            if isinstance(command.body, Apply):
                self._apply(command, command.body, now, health)
            else:
                self._other(command, subject(command)[0])
        except TemporaryError as e:
            self._retry_at[command.id] = now + e.delay_s
            self._log("warning", "command-delayed", id=command.id, reason=shorten(str(e)), retry_s=e.delay_s)
        except AgentError as e:
            self._finish(command, "failed", str(e))
        except Exception as e:
            self._finish(
                command, "failed", f"internal error ({type(e).__name__}): please report it with the agent's log"
            )

    def _apply(self, command: Command, body: Apply, now: float, health: Health | None) -> None:
        desired = body.desired
        state = self._firewall.read()
        owned = state.tunnel(desired.connection)
        if self._is_so(owned, desired, command.generation):
            if owned is not None and owned.confirmed:
                self._finish(command, "done", "already so")
            else:
                self._journal.await_confirmation(command)
            return
        psk = self._psk(desired)
        up_before = tuple(sorted(health.up())) if health is not None else ()
        after = max(body.revert_in_s or self._timing.revert_s, self._timing.min_revert_s)
        self._firewall.apply(desired, command.generation, psk, Revert(after, up_before))
        self.changes += 1
        self._journal.await_confirmation(command)

    def _is_so(self, owned: OwnedTunnel | None, desired: DesiredTunnel, generation: int) -> bool:
        if owned is None or owned.desired != desired or owned.generation != generation:
            return False
        return not self._firewall.diff(desired)

    def _other(self, command: Command, connection: str) -> None:
        owned = self._firewall.read().tunnel(connection)
        same = owned is not None and owned.desired.connection_id == subject(command)[1]
        if command.kind is Kind.REMOVE:
            if same:
                self._firewall.remove(connection)
                self._keep_secrets()
            self._finish(command, "done", "removed" if same else "was not there")
        elif command.kind is Kind.INITIATE:
            if not same:
                raise FirewallError(f"Connection {connection} is not applied on this firewall: send an apply first")
            self._finish(command, "done", self._firewall.initiate(connection))
        else:
            evidence = self._firewall.diagnose(connection)
            if len(json.dumps(evidence)) > MAX_DIAGNOSE_BYTES:
                evidence = {"truncated": json.dumps(evidence)[:MAX_DIAGNOSE_BYTES]}
            self._finish(command, "done", "", evidence)

    def _close(self, command: Command, state: State, health: Health | None) -> None:
        if not isinstance(command.body, Apply):
            return
        desired = command.body.desired
        if self._journal.superseded(command):
            self._finish(command, "superseded", "a newer command for the same purpose was accepted")
            return
        if state.pending is not None and desired.connection in state.pending.connections:
            return
        owned = state.tunnel(desired.connection)
        if owned is not None and owned.desired == desired and owned.generation == command.generation:
            self._finish(command, "done", "applied and confirmed")
            return
        self._finish(
            command, "failed", f"rolled back, because it was not confirmed in time: {_missing(desired, health)}"
        )

    def _may_confirm(self, pending: Pending, state: State, health: Health | None, heard: bool, reachable: bool) -> bool:
        if health is None or not health.firewall.reachable:
            return False
        changed, up = set(pending.connections), health.up()
        ready = {
            b.command.body.desired.connection
            for b in self._journal.current()
            if isinstance(b.command.body, Apply) and b.command.body.azure_ready
        }
        still_owned = {t.desired.connection for t in state.tunnels}  # what was removed meanwhile need not come back
        if not ((set(pending.up_before) & still_owned) - changed) <= up or not (ready & changed) <= up:
            return False
        return heard if reachable else changed <= up

    def _psk(self, desired: DesiredTunnel) -> str:
        stored = self._secrets.get(desired.psk)
        if stored is not None:
            return stored
        try:
            value = self._uplink.secret(desired.psk)
        except Rejected as e:
            raise FirewallError(f"the key of {desired.connection} cannot be had: {e}") from None
        self._secrets.put(desired.psk, value)
        return value

    def _keep_secrets(self) -> None:
        """Only while nothing is pending: the snapshot's keys are needed until then."""
        state = self._firewall.read()
        if state.pending is None:
            self._secrets.keep_only({t.desired.psk for t in state.tunnels})

    def _expired(self, command: Command) -> bool:
        now = self._time.now(self._clock.monotonic())
        return now is not None and now > command.not_after

    def _finish(self, command: Command, outcome: Outcome, detail: str, data: dict[str, object] | None = None) -> None:
        at, began = self._server_time(), self._began.pop(command.id, None)
        detail, about = shorten(detail), subject(command)[0]
        kind, generation = command.kind.value, command.generation
        result = Result(command.id, command.seq, kind, generation, about, outcome, detail, at, data or {}, began)
        self._journal.finish(command, result)
        self._retry_at.pop(command.id, None)
        said = {"kind": kind, "outcome": outcome, "detail": detail, "trace": command.trace_id}
        self._log("info", "command-finished", id=command.id, **said)

    def _server_time(self) -> float:
        now = self._time.now(self._clock.monotonic())
        return self._clock.wall() if now is None else now


def _missing(desired: DesiredTunnel, health: Health | None) -> str:
    if health is None:
        return "the firewall did not answer"
    for t in health.tunnels:
        if t.connection == desired.connection:
            sa = "installed" if t.child.installed else "missing"
            return f"IKE {t.ike.state}, SA {sa}, BGP {t.bgp.state}; {t.ike_error or t.bgp.last_error or ''}"
    return "no session came up"
