"""The agent's core: one thread, one function, `step(now) -> next wake`.

A step, in this order, each part on its own (what fails in one is reported and does not stop the others):
1. bring the firewall to what is owned (after a start, and when it drifted);
2. observe health, at each heartbeat and after each change;
3. end pending changes: confirm, or roll back;
4. send a heartbeat if one is due, with health and unacknowledged results; take server time and acknowledgements;
5. poll the queue if there is reason to, journalling before deleting;
6. carry out what is journalled.
The home owner's kill switch (the file `paused`) stops 1, confirming in 3, and refuses everything in 6 but `diagnose`,
which only looks.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import PurePath

from agent import VERSION
from agent.errors import AgentError, DiskTrouble, Rejected, TemporaryError
from agent.executor import Executor
from agent.firewall.contract import Firewall, Health
from agent.identity import Identity
from agent.inbox import Inbox
from agent.journal import Journal
from agent.limits import MAX_MESSAGES, MAX_REFUSED, MAX_REPORTED_BYTES, Timing, shorten
from agent.mailbox import Mailbox
from agent.seams import Clock, Files, Http, Log, Random
from agent.secret_store import SecretStore
from agent.servertime import ServerTime
from agent.uplink import Uplink
from agent.vigil import Vigil, healthy
from shared.wire.decode import to_plain
from shared.wire.reports import FirewallHealth, Heartbeat, HeartbeatAnswer, Result

PAUSE_FILE = "paused"


class Agent:
    """Built anew after each start; what must outlive it is in `files` and in the firewall."""

    def __init__(
        self,
        identity: Identity,
        http: Http,
        files: Files,
        firewall: Firewall,
        clock: Clock,
        random: Random,
        log: Log,
        timing: Timing | None = None,
    ) -> None:
        self._identity = identity
        self._files = files
        self._firewall = firewall
        self._clock = clock
        self._log = log
        self._timing = timing or Timing()
        self._time = ServerTime()
        self._journal = Journal(files, f"journal/{identity.agent}")
        self._uplink = Uplink(identity, http, clock, random, self._time, log)
        mailbox = Mailbox(self._uplink, http, clock, self._time, secure=identity.api.startswith("https://"))
        self._inbox = Inbox(identity, mailbox, self._journal, log)
        self._executor = Executor(
            self._journal, firewall, self._uplink, SecretStore(files), clock, self._time, self._timing, log
        )
        self._vigil = Vigil()
        self._health: Health | None = None
        self._looked_after = self._heard_after = -1
        self._silent_since: float | None = None
        self._beat_at = self._drift_at = self._nudge_at = float("-inf")
        self._polled_at = self._queue_at = self._queue_not_before = float("-inf")
        self._since: float | None = None
        self._expected = 0
        self._expecting = False
        self._trouble: dict[str, str] = {}

    def step(self, now: float) -> float:
        """Do what is due at monotonic time `now`; returns the monotonic time of the next step."""
        paused = self._paused()
        self._expect(now)
        if not paused and now >= self._drift_at:
            self._guard("drift", lambda: self._executor.repair_drift(self._health))
            self._drift_at = now + (self._pace(now) if "drift" in self._trouble else self._timing.drift_s)
        if now >= self._beat_at or self._looked_after < self._executor.changes:
            self._observe(now, paused)
        self._settle(now, paused)
        if now >= self._beat_at:
            if "disk" in self._trouble:
                self._guard("disk", lambda: self._files.write("disk-check", b"can be written\n"))
            self._guard("heartbeat", lambda: self._beat(now, paused))
            self._beat_at = now + self._pace(now)
        self._settle(now, paused)
        if now >= self._queue_due(now):
            self._guard("queue", lambda: self._poll(now))
        wakes = [self._beat_at, self._queue_due(now)]
        unreported = len(self._journal.unreported())
        self._guard("commands", lambda: self._work(now, paused, wakes))
        if len(self._journal.unreported()) > unreported and "heartbeat" not in self._trouble:
            self._beat_at = now  # a result is told at once
            wakes.append(now)
        if self._executor.awaiting():
            self._beat_at = min(self._beat_at, now + self._timing.incident_s)
            wakes.append(self._beat_at)
        if self._looked_after < self._executor.changes:
            wakes.append(now)  # look at what was just changed
        return max(now, min(wakes))

    # parts -----------------------------------------------------------------------------------------------------

    def _observe(self, now: float, paused: bool) -> None:
        self._guard("health", self._look)
        if self._health is None or "health" in self._trouble:
            return
        self._vigil.look(self._health)
        down = [t for t in self._health.tunnels if not t.child.installed]
        if down and not paused and now >= self._nudge_at:
            self._nudge_at = now + self._timing.nudge_s
            for tunnel in down:
                self._guard("start", lambda name=tunnel.connection: self._firewall.start(name))  # type: ignore[misc]
        gone = any(t.bgp.state == "NONE" or t.ike.state == "NONE" for t in self._health.tunnels)
        if gone or self._vigil.broken:
            self._drift_at = min(self._drift_at, now + self._timing.heartbeat_s)

    def _look(self) -> None:
        self._looked_after = self._executor.changes
        self._health = self._firewall.health()

    def _settle(self, now: float, paused: bool) -> None:
        changes = self._executor.changes
        fresh = self._health if self._looked_after == changes and "health" not in self._trouble else None
        heard, reachable = self._heard_after == changes, "heartbeat" not in self._trouble
        ended = False

        def settle() -> None:
            nonlocal ended
            ended = self._executor.settle(now, fresh, heard, reachable, paused)

        self._guard("settle", settle)
        if ended:  # is told at once, with what is true from now on
            self._observe(now, paused)
            self._beat_at = now

    def _beat(self, now: float, paused: bool) -> None:
        results = _fitting(self._journal.unreported())
        refused = self._journal.refusals()[:MAX_REFUSED]
        try:
            answer = self._uplink.heartbeat(lambda beat: self._heartbeat(beat, paused, results, refused))
        except AgentError:
            self._silent_since = now if self._silent_since is None else self._silent_since
            raise
        self._silent_since = None
        self._heard_after = self._executor.changes
        self._take(answer, refused)

    def _take(self, answer: HeartbeatAnswer, refused: tuple[str, ...]) -> None:
        if answer.high_seq < self._journal.high_seq:
            self._log("warning", "control-plane-behind", its=answer.high_seq, ours=self._journal.high_seq)
        if answer.commands_waiting:
            self._queue_at = float("-inf")
        self._journal.acknowledge(answer.acknowledged)
        if refused:
            self._journal.refusals_told(refused)

    def _poll(self, now: float) -> None:
        self._polled_at, self._queue_at = now, now + self._timing.queue_s
        try:
            if self._inbox.collect() >= MAX_MESSAGES:
                self._queue_at = now
        except (TemporaryError, Rejected) as e:
            self._queue_not_before = now + max(self._pace(now), e.delay_s if isinstance(e, TemporaryError) else 60.0)
            self._queue_at = self._queue_not_before
            raise

    def _queue_due(self, now: float) -> float:
        """Not before server time is known: without it no command's time can be judged."""
        if self._time.now(now) is None:
            return float("inf")
        due = min(self._queue_at, self._polled_at + self._pace(now)) if self._hurried() else self._queue_at
        return max(due, self._queue_not_before)

    def _work(self, now: float, paused: bool, wakes: list[float]) -> None:
        again = self._executor.work(now, self._health, paused)
        if again is not None:
            wakes.append(again)

    def _heartbeat(self, beat: int, paused: bool, results: tuple[Result, ...], refused: tuple[str, ...]) -> Heartbeat:
        mono, wall = self._clock.monotonic(), self._clock.wall()
        server = self._time.now(mono)
        health = self._health
        if health is None or "health" in self._trouble:
            why = self._trouble.get("health", "not looked at yet")
            health = Health(FirewallHealth(self._firewall.driver, "", None, False, why), ())
        troubles = tuple(f"{k}: {v}" for k, v in sorted(self._trouble.items()) if k not in ("health", "heartbeat"))
        return Heartbeat(
            agent=self._identity.agent,
            controller=self._identity.controller,
            beat=beat,
            at=wall if server is None else server,
            version=VERSION,
            high_seq=self._journal.high_seq,
            in_incident=self._vigil.incident(self._silent_since is not None),
            paused=paused,
            clock_skew_s=self._time.skew(wall, mono),
            firewall=health.firewall,
            tunnels=health.tunnels,
            results=results,
            refused=(refused + troubles)[: 2 * MAX_REFUSED],
        )

    # helpers ---------------------------------------------------------------------------------------------------

    def _guard(self, part: str, action: Callable[[], None]) -> None:
        """Run one part; its trouble is logged when it appears, changes or ends, and reported in heartbeats."""
        before = self._trouble.pop(part, None)
        try:
            action()
        except DiskTrouble as e:
            part, said = "disk", shorten(str(e))  # stays until a write succeeds, whatever part met it
            before = self._trouble.get(part, before)
        except AgentError as e:
            said = shorten(str(e))
        except Exception as e:
            said = f"internal error {type(e).__name__} at {_where(e)}: please report it"
        else:
            if before is not None:
                self._log("info", "trouble-over", part=part)
            return
        self._trouble[part] = said
        if said != before:
            self._log("warning", "trouble", part=part, reason=said)

    def _paused(self) -> bool:
        try:
            return self._files.read(PAUSE_FILE) is not None
        except DiskTrouble:
            return True  # a switch that cannot be read is taken to be thrown

    def _hurried(self) -> bool:
        return self._vigil.incident(self._silent_since is not None) or self._executor.awaiting()

    def _expect(self, now: float) -> None:
        """Somebody who has just started an agent, or sent it a change, is waiting for tunnels that work."""
        if self._since is None or self._expected < self._executor.changes:
            self._since, self._expected = now, self._executor.changes
        tunnels = self._health.tunnels if self._health is not None else ()
        serves = bool(tunnels) and all(healthy(t) for t in tunnels)
        self._expecting = not serves and now - self._since < self._timing.urgent_for_s

    def _pace(self, now: float) -> float:
        """Seconds until the next heartbeat."""
        long_silent = self._silent_since is not None and now - self._silent_since > self._timing.urgent_for_s
        hurried = self._hurried() or self._expecting
        return self._timing.incident_s if hurried and not long_silent else self._timing.heartbeat_s


def _where(error: BaseException) -> str:
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return "?" if frame is None else f"{PurePath(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno}"


def _fitting(results: tuple[Result, ...]) -> tuple[Result, ...]:
    """As many, oldest first, as one envelope holds."""
    chosen: list[Result] = []
    size = 0
    for result in results:
        size += len(json.dumps(to_plain(result)))
        if chosen and size > MAX_REPORTED_BYTES:
            break
        chosen.append(result)
    return tuple(chosen)
