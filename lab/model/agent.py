"""The agent of one home in the model world: its lives, its disk, its clock, and its way to the control plane.

`agent.core.Agent` runs unchanged. A life begins with what is on the disk and in the firewall, and ends when it is
killed; the service manager starts the next one. Its HTTP leaves by the home's Internet access, so the address that the
control plane sees is the one that the home has at that moment.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from agent.core import PAUSE_FILE, Agent
from agent.enrol import enrol
from agent.errors import AgentError, DiskTrouble, FirewallBusy, Unreachable
from agent.identity import Identity
from agent.limits import CONNECT_TIMEOUT_S, READ_TIMEOUT_S, Timing
from agent.seams import Random, Reply
from lab.model.faults import Killed, Process, Seam
from lab.model.host import Gone, Host
from lab.model.loop import EPOCH, LoopClock, synchronous, wait_for
from lab.model.queue import Message, ModelQueue

RESTART_S = 5.0
"""RestartSec of the service unit that the agent ships."""


class Disk:
    """The state directory: it outlives every life of the agent. `full`: nothing can be written. `tell` hears of every
    file before it is written."""

    def __init__(self, tell: Callable[[str, bytes], None]) -> None:
        self._tell = tell
        self.files: dict[str, bytes] = {}
        self.full = False

    def read(self, path: str) -> bytes | None:
        return self.files.get(path)

    def write(self, path: str, data: bytes) -> None:
        self._room(path)
        self._tell(path, data)
        self.files[path] = data

    def move(self, source: str, target: str) -> None:
        self._room(source)
        if source in self.files:
            self.files[target] = self.files.pop(source)
        elif target not in self.files:
            raise DiskTrouble(f"cannot move {source}: No such file or directory", 60.0)

    def delete(self, path: str) -> None:
        self.files.pop(path, None)

    def names(self, folder: str) -> tuple[str, ...]:
        inside = (p.removeprefix(folder + "/") for p in self.files if p.startswith(folder + "/"))
        return tuple(sorted(n for n in inside if "/" not in n))

    def _room(self, path: str) -> None:
        if self.full:
            raise DiskTrouble(f"cannot write {path}: No space left on device; free space or repair the disk", 60.0)


class WallClock:
    """Monotonic time is right; wall time is off by `error_s`, as on a board without a battery."""

    def __init__(self) -> None:
        self.error_s = 0.0

    def monotonic(self) -> float:
        return LoopClock().monotonic()

    def wall(self) -> float:
        return EPOCH.timestamp() + self.monotonic() + self.error_s


class Access(Protocol):
    """A home's Internet access: the address that the world sees, None while it has none. `line`: another number for
    each time that it came up, also with the same address."""

    @property
    def address(self) -> str | None: ...
    @property
    def line(self) -> int: ...


@dataclass
class Internet:
    """The Http of an agent: the control planes by their host names, and the storage queue of each.

    An access that goes away in the middle of a request takes its answer along. The connection to a control plane is
    kept between heartbeats, and does not outlive the NAT mapping that it was made by: its next request fails at once
    (measured in the lab; a storage queue is asked too seldom for its connection to be kept). `tell` hears of every
    request and its body.
    """

    access: Access
    hosts: Mapping[str, Host]
    queues: Mapping[str, ModelQueue]
    latency: Callable[[], float]
    tell: Callable[[str, str], None]
    queue_down: bool = False
    _kept: dict[str, int] = field(default_factory=dict)
    """Host -> the line on which the connection to it was made."""

    def forget(self) -> None:
        """The process ended, and its connections with it."""
        self._kept.clear()

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Reply:
        return wait_for(self._send(method, url, headers, body or b""))

    async def _send(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        parts = urlsplit(url)
        where, source = f"{parts.hostname}:443", self.access.address
        host, queue = self.hosts.get(parts.hostname or ""), self.queues.get(parts.hostname or "")
        if source is None or (host is None and queue is None) or (queue is not None and self.queue_down):
            await asyncio.sleep(CONNECT_TIMEOUT_S)
            raise Unreachable(f"{where}: no answer within {CONNECT_TIMEOUT_S:.0f} s")
        await asyncio.sleep(self.latency())
        if queue is not None:
            reply = _queue(queue, method, parts.path, parts.query)
        elif host is not None:
            if self._kept.pop(where, self.access.line) != self.access.line:
                raise Unreachable(f"{where}: Connection reset by peer")
            self._kept[where] = self.access.line
            self.tell(f"a request to {parts.path}", body.decode(errors="replace"))
            try:
                status, _, content = await host.http(method, url, headers, body, source)
            except Gone:
                raise Unreachable(f"{where}: Connection reset by peer") from None
            reply = Reply(status, content)
        if self.access.address != source:
            await asyncio.sleep(READ_TIMEOUT_S)
            raise Unreachable(f"{where}: no answer within {READ_TIMEOUT_S:.0f} s")
        return reply


def _queue(queue: ModelQueue, method: str, path: str, query: str) -> Reply:
    """Azure Storage's REST interface, as far as a SAS to process messages reaches."""
    args = parse_qs(query)
    name = path.split("/")[1]
    if not queue.allows(name, args.get("sig", [""])[0]):
        return Reply(403, b"<Error><Code>AuthenticationFailed</Code></Error>")
    if method == "GET":
        hidden, most = float(args["visibilitytimeout"][0]), int(args["numofmessages"][0])
        shown: list[Message] = []
        while len(shown) < most and (message := queue.receive(name, hidden)) is not None:
            shown.append(message)
        return Reply(200, _xml(shown))
    number = unquote(path.rpartition("/")[2])
    found = queue.find(name, int(number)) if number.isdigit() else None
    if found is None:
        return Reply(404, b"")
    if args["popreceipt"] != [f"pop+{found.pop}"]:
        return Reply(400, b"")
    queue.delete(name, found)
    return Reply(204, b"")


def _xml(messages: list[Message]) -> bytes:
    rows = "".join(
        f"<QueueMessage><MessageId>{m.number}</MessageId><PopReceipt>pop+{m.pop}</PopReceipt>"
        f"<MessageText>{base64.b64encode(m.text.encode()).decode()}</MessageText></QueueMessage>"
        for m in messages
    )
    return f'\ufeff<?xml version="1.0" encoding="utf-8"?><QueueMessagesList>{rows}</QueueMessagesList>'.encode()


@dataclass
class Service:
    """The agent as its service manager runs it. `process` makes the next life, `tell` logs what it says."""

    name: str
    disk: Disk
    clock: WallClock
    internet: Internet
    firewall: object
    random: Random
    process: Callable[[], Process]
    tell: Callable[[str], None]
    lives: int = 0
    still_until: float = 0.0
    """Until then (monotonic) no step is taken."""
    timing: Timing = field(default_factory=Timing)
    _life: Process | None = None
    _told: asyncio.Event | None = field(default=None, repr=False)

    async def run(self) -> None:
        """For ever: one life after the other."""
        while True:
            process = self._life = self.process()
            self._told = asyncio.Event()
            self.internet.forget()
            self.lives += 1
            try:
                await self._live(process)
            except Killed:
                self.tell("killed")
            except AgentError as e:
                self.tell(f"ends: {type(e).__name__}")
            await asyncio.sleep(RESTART_S)

    def kill(self) -> None:
        """kill -9, a power cut, or a reboot of its host."""
        if self._life is not None and self._told is not None:
            self._life.kill()
            self._told.set()

    def touch(self, step: str) -> None:
        """Between two steps of a change that the agent makes to its firewall: it may die there."""
        if self._life is not None:
            self._life.at_once(f"firewall {step}", lambda: None)

    def pause(self, paused: bool) -> None:
        """The home owner's kill switch."""
        (self.disk.files.__setitem__(PAUSE_FILE, b"") if paused else self.disk.files.pop(PAUSE_FILE, None))

    def identity(self) -> str:
        """The agent's id, empty before enrolment."""
        found = Identity.load(self.disk)
        return found.agent if found else ""

    async def enrol(self, api: str, token: str) -> None:
        """As a person does it on the firewall, giving up an earlier identity. Raises AgentError."""
        make = lambda: enrol(api, token, self.name, self.internet, self.disk, self.random, replace=True)  # noqa: E731
        await synchronous(make)
        self.kill()  # systemctl restart

    async def _live(self, process: Process) -> None:
        files = Seam(process, "files", self.disk)
        http = Seam(process, "http", self.internet)
        firewall = Seam(process, "firewall", self.firewall)
        while (identity := await synchronous(lambda: Identity.load(files))) is None:
            await self._rest(process, RESTART_S)
        mine: Identity = identity
        seams = mine, http, files, firewall, self.clock, self.random
        agent = await synchronous(lambda: Agent(*seams, self._log, self.timing))
        while True:
            await asyncio.sleep(max(0.0, self.still_until - self.clock.monotonic()))
            process.check()
            wake = await synchronous(lambda: agent.step(self.clock.monotonic()))
            await self._rest(process, min(max(0.0, wake - self.clock.monotonic()), 60.0))

    async def _rest(self, process: Process, seconds: float) -> None:
        assert self._told is not None
        try:
            async with asyncio.timeout(seconds):
                await self._told.wait()
        except TimeoutError:
            pass
        process.check()

    def _log(self, level: str, event: str, **fields: object) -> None:
        self.tell(f"{level} {event} {json.dumps(fields, default=str, sort_keys=True)}")


def spend(seconds: float) -> None:
    """What a synchronous seam does that takes its caller so long."""
    wait_for(asyncio.sleep(seconds))


def trouble(call: str) -> Exception:
    """What a struck call of an agent's seam raises."""
    seam = call.partition(".")[0]
    if seam == "files":
        return DiskTrouble("cannot read or write: Input/output error; repair the disk", 60.0)
    if seam == "http":
        return Unreachable("no answer")
    return FirewallBusy("the firewall is being configured by somebody else", 5.0)
