"""A control plane in memory with one agent that speaks the real wire format. Time moves only when a test says so.

Time jumps from event to event (a due message, a heartbeat, the sweep): nothing happens in between. A step that dies of
a Crash (faults.py) is a process that died: its message stays hidden, its lease stays taken, and a new process goes on.
"""

from __future__ import annotations

import base64
import json
import math
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from shared.control.reconciler import wake_unit
from shared.control.services import RECONCILE, Services
from shared.domain import parse
from shared.domain.dns import DnsView
from shared.domain.model import ControllerId
from shared.errors import HomelinkError, LeaseHeld
from shared.wire import keys
from shared.wire.commands import Apply, Command, Kind, parse_command
from shared.wire.decode import to_plain
from shared.wire.reports import (
    BgpHealth,
    ChildHealth,
    EnrolRequest,
    FirewallHealth,
    Heartbeat,
    IkeHealth,
    ProbeHealth,
    TunnelHealth,
)
from shared.wire.seal import seal, unseal
from shared.wiring import App, build
from tests.examples import CONNECTION, GATEWAY
from tests.fakes import FakeArm, FakeClock, FakeResolver, ModelQueue, ModelStore, ModelVault, SeededRandom

from .faults import Crash, Fault

FIRST, SECOND = "198.51.100.23", "198.51.100.77"
NAME = "home.homelink.test"


@dataclass
class Agent:
    """A home: takes commands from its queue, and reports the tunnel that the test wants it to have."""

    world: World
    id: str = ""
    secret: bytes = b""
    source: str = FIRST
    beat: int = 0
    high_seq: int = 0
    alive: bool = True
    tunnel: TunnelHealth | None = None
    commands: list[Command] = field(default_factory=list)

    async def enrol(self, name: str = "home-fw") -> None:
        token, _ = await self.world.app.agents.new_token(name)
        answer = await self.world.app.agents.enrol(EnrolRequest(token, name, "n" * 32, "1"))
        self.id, self.secret = answer.agent, base64.urlsafe_b64decode(answer.secret + "=")

    def key(self, purpose: keys.Purpose) -> bytes:
        return keys.derive(self.secret, purpose, self.id, "ctl")

    def take_commands(self) -> None:
        queue = f"agent-{self.id.lower()}"
        while (message := self.world.queue.receive(queue)) is not None:
            payload = unseal(self.key(keys.Purpose.COMMAND), keys.Purpose.COMMAND, message.text)
            command = parse_command(payload)
            self.commands.append(command)
            self.high_seq = max(self.high_seq, command.seq)
            self.world.queue.delete(queue, message)
            self.carry_out(command)

    def carry_out(self, command: Command) -> None:
        if command.kind is Kind.APPLY and isinstance(command.body, Apply):
            self.tunnel = working(command.body, command.generation)
            self.touch()
        elif command.kind is Kind.REMOVE:
            self.tunnel = None
        elif command.kind is Kind.INITIATE:
            self.touch()

    def touch(self) -> None:
        """A new SA from the present address: works if Azure accepts that address."""
        if self.tunnel is None:
            return
        works = self.world.azure_accepts() == self.source
        probes = tuple(replace(p, ok=works) for p in self.tunnel.probes)
        child = replace(self.tunnel.child, installed=works, installed_s=0.0)
        self.tunnel = replace(self.tunnel, probes=probes, child=child)
        self.world.azure_sees("Connected" if works else "NotConnected")

    def breaks(self) -> None:
        """Nothing goes through, but SA and BGP still look alive."""
        if self.tunnel is not None:
            self.tunnel = replace(self.tunnel, probes=tuple(replace(p, ok=False) for p in self.tunnel.probes))

    def heartbeat(self, **changes: Any) -> Heartbeat:
        """The next one, with a higher number."""
        self.beat += 1
        beat = Heartbeat(
            agent=self.id,
            controller="ctl",
            beat=self.beat,
            at=self.world.clock.now().timestamp(),
            version="1",
            high_seq=self.high_seq,
            in_incident=False,
            paused=False,
            clock_skew_s=0.0,
            firewall=FirewallHealth("fake", "1", "192.168.178.2", True),
            tunnels=(self.tunnel,) if self.tunnel else (),
            results=(),
        )
        return replace(beat, **changes)

    def sealed(self, beat: Heartbeat) -> str:
        return seal(self.key(keys.Purpose.REPORT), keys.Purpose.REPORT, to_plain(beat))

    async def report(self) -> None:
        """As the handler in functions/agents.py does."""
        received = await self.world.app.heartbeats.receive(self.id, self.sealed(self.heartbeat()), self.source)
        for unit in received.units:
            if received.moved:
                try:
                    await self.world.step(unit)
                    continue
                except HomelinkError:
                    pass
            await wake_unit(self.world.services, unit, "heartbeat")


def working(body: Apply, generation: int) -> TunnelHealth:
    d = body.desired
    return TunnelHealth(
        connection=d.connection,
        connection_id=d.connection_id,
        generation=generation,
        digest=d.digest(),
        psk_version=d.psk.version,
        confirmed=True,
        ike=IkeHealth("ESTABLISHED", d.peer_address, 1.0, True),
        child=ChildHealth(True, 1, 1, 0.0),
        bgp=BgpHealth("Established", 1.0, d.bgp.accept, d.bgp.advertise),
        routes=d.bgp.accept,
        probes=(ProbeHealth(d.probe, True, 1.0),) if d.probe else (),
    )


class Names(FakeResolver):
    """Remembers the last answer put in: what a gateway would hear that resolves the name now."""

    last: DnsView

    def put(self, view: DnsView) -> None:
        super().put(view)
        self.last = view


class World:
    """Due messages are handled, the sweep runs each minute, the agent speaks each 30 s. `fault` may kill a step; what
    the tests themselves hold (`arm`, `store`, ...) stays outside of it. `crashes` counts."""

    def __init__(self, seed: int = 1, gateway_takes_s: float = 60) -> None:
        self.clock = FakeClock()
        self.arm = FakeArm(self.clock)
        self.arm.takes_s["put virtualNetworkGateways"] = gateway_takes_s
        self.store, self.vault, self.resolver = ModelStore(), ModelVault(), Names()
        self.queue = ModelQueue(self.clock)
        self.fault = Fault()
        self.crashes = 0
        self.services = Services(
            arm=self.fault.around("arm", self.arm),
            resolver=self.fault.around("resolver", self.resolver),
            store=self.fault.around("store", self.store),
            queue=self.fault.around("queue", self.queue),
            vault=self.fault.around("vault", self.vault),
            clock=self.clock,
            random=SeededRandom(seed),
            controller=ControllerId("ctl"),
        )
        self.app: App = build(self.services)
        self.agent = Agent(self)
        self.second = 0
        self.steps = 0
        self._resolved: tuple[str, str | None] = ("", None)
        self.resolver.answer(NAME, FIRST)

    async def put(
        self, gateway: dict[str, object] = GATEWAY, connection: dict[str, object] | None = CONNECTION
    ) -> None:
        await self.app.specs.put_gateway("hub", parse.gateway(gateway))
        if connection is not None:
            await self.app.specs.put_connection("home", parse.connection(connection))

    async def step(self, unit: str, due: datetime | None = None, reason: str = "") -> None:
        """One step of a process that may die of it; LeaseHeld as from the reconciler."""
        self.steps += 1
        self.fault.active = True
        try:
            await self.app.reconciler.step(unit, due, reason)
        finally:
            self.fault.active = False

    async def tick(self, at_most: int = 30) -> int:
        """To the next event, at most so many seconds; returns how many."""
        now = self.clock.now()
        queues = [RECONCILE, f"agent-{self.agent.id.lower()}"] if self.agent.id else [RECONCILE]
        due = [w for q in queues if (w := self.queue.next_visible(q)) is not None and w > now]
        soonest = min((math.ceil((w - now) / timedelta(seconds=1)) for w in due), default=at_most)
        seconds = min(at_most, soonest, 30 - self.second % 30)
        self.clock.advance(seconds)
        self.second += seconds
        try:
            await self._events()
        except Crash:
            self.crashes += 1
            self.fault.revive()
            self.app = build(self.services)  # another process: nothing remembered
        return seconds

    async def _events(self) -> None:
        if self.second % 60 == 0:
            for unit in await self.app.specs.list_gateways():
                await wake_unit(self.services, unit, "sweep")
        await self.handle_messages()
        if self.agent.id and self.agent.alive:
            self.agent.take_commands()
            if self.second % 30 == 0:
                await self.agent.report()

    async def handle_messages(self) -> None:
        """As the handler in functions/reconcile.py does; a message whose step dies comes up again after 10 minutes."""
        while (message := self.queue.receive(RECONCILE)) is not None:
            data = json.loads(message.text)
            try:
                await self.step(data["unit"], datetime.fromisoformat(data["due"]), data["reason"])
            except LeaseHeld as e:
                await wake_unit(self.services, data["unit"], data["reason"], e.delay_s)
            self.queue.delete(RECONCILE, message)

    async def run(self, seconds: int) -> None:
        while seconds > 0:
            seconds -= await self.tick(seconds)

    async def until(self, holds, limit: int = 20_000) -> int:  # type: ignore[no-untyped-def]
        """Seconds until `holds()`; fails the test after `limit`."""
        passed = 0
        while passed < limit:
            if await holds():
                return passed
            passed += await self.tick()
        raise AssertionError(f"not so within {limit} s: {await self.conditions()}")

    async def conditions(self) -> dict[str, tuple[str, str]]:
        stored = await self.app.specs.get_connection("home")
        return {c.type: (c.status, c.reason) for c in stored.conditions}

    async def ready(self) -> bool:
        return (await self.conditions()).get("Ready", ("", ""))[0] == "True"

    async def lng(self) -> dict[str, object]:
        from shared.domain import render
        from shared.domain.arm import ArmKind

        refs = render.connection_refs("home", parse.gateway(GATEWAY).spec)
        return (self.arm.resource(refs[ArmKind.LOCAL_GATEWAY]) or {}).get("properties") or {}

    def azure_accepts(self) -> str | None:
        """The address whose packets the gateway takes: the LNG's own, or what its name meant when it was written (a
        gateway with a tunnel looks no more)."""
        from shared.domain import render
        from shared.domain.arm import ArmKind

        refs = render.connection_refs("home", parse.gateway(GATEWAY).spec)
        lng = self.arm.resource(refs[ArmKind.LOCAL_GATEWAY]) or {"etag": ""}
        properties = lng.get("properties") or {}
        if properties.get("provisioningState") != "Succeeded":
            return None
        if self._resolved[0] != lng["etag"]:
            self._resolved = (lng["etag"], self.resolver.last.agreed())
        return properties.get("gatewayIpAddress") or self._resolved[1]

    def azure_sees(self, status: str) -> None:
        """What ARM says of the connection from now on, if there is one."""
        from shared.domain import render
        from shared.domain.arm import ArmKind

        ref = render.connection_refs("home", parse.gateway(GATEWAY).spec)[ArmKind.CONNECTION]
        if self.arm.resource(ref) is not None:
            self.arm.set_connection_status(ref, status)

    async def joined(self) -> None:
        """Gateway and Connection made, tunnel proven."""
        await self.put()
        await self.agent.enrol()
        await self.until(self.ready)
