"""Fakes for the agent's seams. What outlives the agent (disk, firewall, control plane) hangs on a `World`.

Every seam call goes through `World.touch`, which can end the agent there: `Killed` is a BaseException, so that no
handler of the agent catches it, as none would catch a kill -9.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from agent.core import Agent
from agent.errors import DiskTrouble, FirewallError, Unreachable
from agent.firewall.contract import Change, Health, OwnedTunnel, Pending, Revert, State
from agent.identity import Identity
from agent.limits import Timing
from agent.seams import Reply
from shared.wire.commands import Apply, Bgp, Command, DesiredTunnel, Esp, Ike, Kind, SecretRef, Target, Transit
from shared.wire.decode import from_plain, to_plain
from shared.wire.errors import WireError
from shared.wire.keys import Purpose
from shared.wire.reports import (
    BgpHealth,
    ChildHealth,
    FirewallHealth,
    Heartbeat,
    HeartbeatAnswer,
    IkeHealth,
    ProbeHealth,
    QueueGrant,
    RenewRequest,
    Result,
    SecretGrant,
    TunnelHealth,
)
from shared.wire.seal import seal, unseal
from shared.wire.ulid import ulid

IDENTITY = Identity("https://api.test", "01AGENT", "controller-1", "home", bytes(range(32)))
START = 1_800_000_000.0


class Killed(BaseException):
    """The agent's process ended here."""


def desired(connection: str = "home", **changes: Any) -> DesiredTunnel:
    values: dict[str, Any] = {
        "connection": connection,
        "connection_id": f"id-{connection}",
        "peer_address": "203.0.113.10",
        "peer_id": "203.0.113.10",
        "psk": SecretRef(f"psk-{connection}", "v1"),
        "ike": Ike("GCMAES256", "SHA384", "ECP384", 28_800),
        "esp": Esp("GCMAES256", "GCMAES256", "ECP384", 27_000),
        "dpd_delay_s": 10,
        "initiates": True,
        "transit": Transit("gatewaySubnet", "10.0.1.29", "10.0.1.30", 30),
        "bgp": Bgp(64_600, "192.168.1.1", 65_515, "10.0.1.30", 60, 180, ("192.168.1.0/24",), ("10.0.0.0/16",)),
        "mss": 1350,
        "probe": None,
    }
    return DesiredTunnel(**{**values, **changes})


@dataclass
class World:
    """`touches` counts seam calls of the present agent; it is killed at number `kill_at`."""

    mono: float = 1000.0
    offset: float = START
    wall_error: float = 0.0
    disk: dict[str, bytes] = field(default_factory=dict)
    disk_full: bool = False
    touches: int = 0
    kill_at: int | None = None
    log: list[str] = field(default_factory=list)

    def touch(self) -> None:
        self.touches += 1
        if self.kill_at is not None and self.touches >= self.kill_at:
            self.kill_at = None
            raise Killed

    def server_time(self) -> float:
        return self.mono + self.offset


class FakeFiles:
    """`move` and `write` are atomic; the kill may come before or after each."""

    def __init__(self, world: World) -> None:
        self.world = world

    def read(self, path: str) -> bytes | None:
        return self.world.disk.get(path)

    def write(self, path: str, data: bytes) -> None:
        self._change()
        self.world.disk[path] = data
        self.world.touch()

    def move(self, source: str, target: str) -> None:
        self._change()
        if source in self.world.disk:
            self.world.disk[target] = self.world.disk.pop(source)
        elif target not in self.world.disk:
            raise DiskTrouble(f"cannot move {source}: not there")
        self.world.touch()

    def delete(self, path: str) -> None:
        self.world.touch()
        self.world.disk.pop(path, None)
        self.world.touch()

    def names(self, folder: str) -> tuple[str, ...]:
        inside = (p.removeprefix(folder + "/") for p in self.world.disk if p.startswith(folder + "/"))
        return tuple(sorted(n for n in inside if "/" not in n))

    def _change(self) -> None:
        self.world.touch()
        if self.world.disk_full:
            raise DiskTrouble("cannot write: No space left on device; free space or repair the disk", 60.0)


class FakeClock:
    def __init__(self, world: World) -> None:
        self.world = world

    def monotonic(self) -> float:
        return self.world.mono

    def wall(self) -> float:
        return self.world.server_time() + self.world.wall_error


class FakeRandom:
    def __init__(self) -> None:
        self.drawn = 0

    def token(self, size: int) -> bytes:
        self.drawn += 1
        return self.drawn.to_bytes(size, "big")


@dataclass
class Installed:
    desired: DesiredTunnel
    generation: int
    psk: str = field(repr=False)


class FakeFirewall:
    """Implements the contract in memory; it is the firewall itself and so outlives the agent.

    `ready` are the Connections whose Azure end answers; `foreign` is what nobody of ours may touch.
    """

    driver = "fake"

    def __init__(self, world: World) -> None:
        self.world = world
        self.installed: dict[str, Installed] = {}
        self.snapshot: tuple[dict[str, Installed], Pending] | None = None
        self.up: set[str] = set()
        self.ready: set[str] = set()
        self.initiated: list[str] = []
        self.started: list[str] = []
        self.applied: list[tuple[str, int]] = []
        self.drifted: set[str] = set()
        self.refuse: str | None = None
        self.reverts: list[Revert | None] = []
        self.after_apply: Callable[[], None] = lambda: None
        self.defect: Exception | None = None
        self.timer_works = True
        self.reachable = True
        self.wan = "192.168.178.2"
        self.probe_ok = True
        self.foreign = "untouched"

    def tick(self) -> None:
        """The dead-man timer, which is not part of the agent."""
        if self.timer_works and self.snapshot is not None and self.world.mono >= self.snapshot[1].deadline:
            self._restore()

    def read(self) -> State:
        pending = self.snapshot[1] if self.snapshot else None
        changed = pending.connections if pending else ()
        tunnels = tuple(
            OwnedTunnel(i.desired, i.generation, c not in changed) for c, i in sorted(self.installed.items())
        )
        return State(tunnels, pending)

    def diff(self, desired: DesiredTunnel) -> tuple[Change, ...]:
        now = self.installed.get(desired.connection)
        if now is None or now.desired != desired:
            return (Change("tunnel", "differs"),)
        return (Change("tunnel", "drifted"),) if desired.connection in self.drifted else ()

    def apply(self, desired: DesiredTunnel, generation: int, psk: str, revert: Revert | None) -> None:
        self.world.touch()
        if self.defect is not None:
            raise self.defect
        if self.refuse is not None:
            raise FirewallError(self.refuse)
        self.reverts.append(revert)
        if revert is not None:
            deadline = self.world.mono + revert.after_s
            if self.snapshot is None:
                pending = Pending((desired.connection,), revert.up_before, deadline)
                self.snapshot = (dict(self.installed), pending)
            else:
                old = self.snapshot[1]
                names = tuple(sorted({*old.connections, desired.connection}))
                self.snapshot = (self.snapshot[0], Pending(names, old.up_before, deadline))
        self.world.touch()
        self.installed[desired.connection] = Installed(desired, generation, psk)
        self.drifted.discard(desired.connection)
        self.applied.append((desired.connection, generation))
        self._settle(desired.connection)
        self.after_apply()
        self.world.touch()

    def confirm(self) -> None:
        self.world.touch()
        self.snapshot = None
        self.world.touch()

    def rollback(self) -> None:
        self.world.touch()
        self._restore()
        self.world.touch()

    def health(self) -> Health:
        if self.defect is not None:
            raise self.defect
        firewall = FirewallHealth(self.driver, "1", self.wan, self.reachable, None if self.reachable else "away")
        changed = self.snapshot[1].connections if self.snapshot else ()
        tunnels = tuple(self._health(i, c not in changed) for c, i in sorted(self.installed.items()))
        return Health(firewall, tunnels if self.reachable else ())

    def start(self, connection: str) -> None:
        self.world.touch()
        self.started.append(connection)
        self._settle(connection)

    def initiate(self, connection: str) -> str:
        self.world.touch()
        if connection not in self.installed:
            raise FirewallError(f"Connection {connection} is not applied on this firewall")
        self.initiated.append(connection)
        self._settle(connection)
        self.world.touch()
        return "SA installed" if connection in self.up else "not established: PEER_NOT_RESPONDING"

    def remove(self, connection: str) -> None:
        self.world.touch()
        self.installed.pop(connection, None)
        self.up.discard(connection)
        if self.snapshot is not None:
            before, pending = self.snapshot
            names = tuple(c for c in pending.connections if c != connection)
            kept = {c: i for c, i in before.items() if c != connection}
            self.snapshot = (kept, Pending(names, pending.up_before, pending.deadline)) if names else None
        self.world.touch()

    def diagnose(self, connection: str) -> dict[str, Any]:
        return {"owned": connection in self.installed}

    def _settle(self, connection: str) -> None:
        (self.up.add if connection in self.ready else self.up.discard)(connection)

    def _restore(self) -> None:
        if self.snapshot is not None:
            self.installed, self.snapshot = dict(self.snapshot[0]), None
            self.up &= set(self.installed)

    def _health(self, i: Installed, confirmed: bool) -> TunnelHealth:
        d, up = i.desired, i.desired.connection in self.up
        ike = IkeHealth("ESTABLISHED" if up else "CONNECTING", d.peer_address, 1.0 if up else None, True)
        bgp = BgpHealth(
            "Established" if up else "Active", 1.0, d.bgp.accept if up else (), d.bgp.advertise if up else ()
        )
        probes = (ProbeHealth(d.probe, self.probe_ok, 1.0),) if d.probe and up else ()
        child = ChildHealth(up, 0, 0, None)
        return TunnelHealth(
            d.connection,
            d.connection_id,
            i.generation,
            d.digest(),
            d.psk.version,
            confirmed,
            ike,
            child,
            bgp,
            (),
            probes,
        )


@dataclass
class Queued:
    id: int
    body: str
    visible_at: float = 0.0
    pops: int = 0


class FakeControl:
    """The control plane and the storage queue, as far as the agent's HTTP reaches: an `Http`.

    It speaks the same sealed messages as the real one. `down` makes everything unreachable; `expired_sas` answers the
    queue with 403 until access is renewed; `lose_answers` carries a request out and then loses the answer.
    """

    def __init__(self, world: World, identity: Identity = IDENTITY) -> None:
        self.world = world
        self.identity = identity
        self.queue: list[Queued] = []
        self.next_message = 1
        self.sas = 0
        self.expired_sas = True
        self.down = False
        self.queue_down = False
        self.lose_answers = 0
        self.beats: list[Heartbeat] = []
        self.last_beat = 0
        self.results: dict[str, Result] = {}
        self.acknowledge = True
        self.secrets: dict[tuple[str, str], str] = {}
        self.secret_status = 200
        self.urls: list[str] = []
        self.issued = 0
        self.replay_nonce: str | None = None
        self.queue_base = "https://queue.test"

    # what a test does

    def put(self, command: Command, key: bytes | None = None) -> None:
        key = key or self.identity.key(Purpose.COMMAND)
        self.put_raw(base64.b64encode(seal(key, Purpose.COMMAND, command.to_payload()).encode()).decode())

    def put_raw(self, body: str) -> None:
        self.queue.append(Queued(self.next_message, body))
        self.next_message += 1

    def command(
        self, kind: Kind, body: Apply | Target, generation: int = 1, seq: int | None = None, **kw: Any
    ) -> Command:
        self.issued = max(self.issued + 1, seq or 0)
        seq = seq or self.issued
        values: dict[str, Any] = {
            "id": ulid(START + seq, seq.to_bytes(10, "big")),
            "seq": seq,
            "audience": self.identity.agent,
            "controller": self.identity.controller,
            "not_after": int(START + 10_000_000),
            "generation": generation,
            "kind": kind,
            "body": body,
        }
        return Command(**{**values, **kw})

    def apply(
        self, d: DesiredTunnel, generation: int = 1, ready: bool = False, revert: int = 600, **kw: Any
    ) -> Command:
        self.secrets.setdefault((d.psk.name, d.psk.version), f"key-of-{d.psk.name}-{d.psk.version}")
        return self.command(Kind.APPLY, Apply(d, revert, ready), generation, **kw)

    def go_down(self) -> None:
        self.down = True

    def outcome(self, command: Command) -> str | None:
        result = self.results.get(command.id)
        return None if result is None else result.outcome

    # the Http seam

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Reply:
        self.world.touch()
        self.urls.append(url)
        parts = urlsplit(url)
        is_queue = parts.path.startswith("/agent-")
        if self.down or (is_queue and self.queue_down):
            raise Unreachable(f"{parts.hostname}:443: Connection refused")
        reply = self._queue(method, parts.path, parts.query) if is_queue else self._api(parts.path, body or b"")
        self.world.touch()
        if self.lose_answers:
            self.lose_answers -= 1
            raise Unreachable(f"{parts.hostname}:443: no answer")
        return reply

    def _api(self, path: str, body: bytes) -> Reply:
        what = path.rsplit("/", 1)[1]
        assert path == f"/api/agents/{self.identity.agent}/{what}", path
        purpose = Purpose.REPORT if what == "heartbeat" else Purpose.RENEW
        try:
            payload = unseal(self.identity.key(purpose), purpose, body.decode())
        except WireError as e:
            return Reply(401, str(e).encode())
        if what == "heartbeat":
            return self._heartbeat(from_plain(Heartbeat, payload))
        request = from_plain(RenewRequest, payload)
        nonce = self.replay_nonce or request.nonce
        if what == "queue":
            self.sas += 1
            self.expired_sas = False
            url = f"{self.queue_base}/agent-{self.identity.agent}?sig=SAS{self.sas}"
            grant: Any = QueueGrant(nonce, self.world.server_time(), url, self.world.server_time() + 3600)
        else:
            value = self.secrets.get((request.secret_name or "", request.secret_version or ""))
            if self.secret_status != 200 or value is None:
                return Reply(self.secret_status if self.secret_status != 200 else 404, b"no such secret")
            name, version = request.secret_name or "", request.secret_version or ""
            grant = SecretGrant(nonce, self.world.server_time(), name, version, value)
        return self._answer(200, grant)

    def _heartbeat(self, beat: Heartbeat) -> Reply:
        acknowledged: tuple[str, ...] = ()
        status = 200 if beat.beat > self.last_beat else 409
        if status == 200:
            self.last_beat = beat.beat
            self.beats.append(beat)
            for result in beat.results:
                self.results.setdefault(result.command_id, result)
            if self.acknowledge:
                acknowledged = tuple(r.command_id for r in beat.results)
        waiting = any(q.visible_at <= self.world.mono for q in self.queue)
        return self._answer(
            status,
            HeartbeatAnswer(
                self.world.server_time(), self.last_beat, self.issued, waiting, acknowledged, "198.51.100.23"
            ),
        )

    def _answer(self, status: int, answer: Any) -> Reply:
        return Reply(status, seal(self.identity.key(Purpose.ANSWER), Purpose.ANSWER, to_plain(answer)).encode())

    def _queue(self, method: str, path: str, query: str) -> Reply:
        args = parse_qs(query)
        if self.expired_sas or args["sig"] != [f"SAS{self.sas}"]:
            return Reply(403, b"<Error><Code>AuthenticationFailed</Code></Error>")
        if method == "GET":
            assert args["numofmessages"] == ["16"]
            shown = [q for q in self.queue if q.visible_at <= self.world.mono][:16]
            for q in shown:
                q.visible_at = self.world.mono + float(args["visibilitytimeout"][0])
                q.pops += 1
            return Reply(200, _xml(shown))
        message = next((q for q in self.queue if str(q.id) == unquote(path.rsplit("/", 1)[1])), None)
        if message is None:
            return Reply(404, b"")
        if args["popreceipt"] != [f"pop+{message.pops}"]:
            return Reply(400, b"")
        self.queue.remove(message)
        return Reply(204, b"")


def _xml(messages: list[Queued]) -> bytes:
    rows = "".join(
        f"<QueueMessage><MessageId>{q.id}</MessageId><PopReceipt>pop+{q.pops}</PopReceipt>"
        f"<MessageText>{q.body}</MessageText></QueueMessage>"
        for q in messages
    )
    return f'\ufeff<?xml version="1.0" encoding="utf-8"?><QueueMessagesList>{rows}</QueueMessagesList>'.encode()


class Rig:
    """A world with one firewall, one control plane, and an agent that can be killed and started again."""

    def __init__(self, timing: Timing | None = None) -> None:
        self.world = World()
        self.firewall = FakeFirewall(self.world)
        self.control = FakeControl(self.world)
        self.timing = timing or Timing()
        self.agent = self.start()

    def start(self) -> Agent:
        def log(level: str, event: str, **fields: object) -> None:
            self.world.log.append(f"{level} {event} {json.dumps(fields, default=str)}")

        files, clock = FakeFiles(self.world), FakeClock(self.world)
        self.agent = Agent(IDENTITY, self.control, files, self.firewall, clock, FakeRandom(), log, self.timing)
        return self.agent

    def run(self, seconds: float) -> None:
        """Virtual time passes; the agent steps whenever it asked to be woken."""
        end = self.world.mono + seconds
        steps = 0
        while True:
            self.firewall.tick()
            wake = self.agent.step(self.world.mono)
            assert wake >= self.world.mono, "the next wake lies in the past"
            steps += 1
            assert steps < 100 + seconds * 3, "the agent spins without time passing"
            if wake > end:
                break
            self.world.mono = max(wake, self.world.mono)
        self.world.mono = end

    def files(self, folder: str) -> tuple[str, ...]:
        return FakeFiles(self.world).names(f"journal/{IDENTITY.agent}/{folder}")
