"""A control plane in memory with one agent that speaks the real wire format. Time moves only when a test says so."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field, replace
from datetime import datetime

from shared.control.services import RECONCILE, Services
from shared.domain import parse
from shared.domain.model import ControllerId
from shared.errors import LeaseHeld
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
from tests.fakes import FakeArm, FakeClock, FakeQueue, FakeResolver, FakeStore, FakeVault, SeededRandom

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

    def breaks(self) -> None:
        """Nothing goes through, but SA and BGP still look alive."""
        if self.tunnel is not None:
            self.tunnel = replace(self.tunnel, probes=tuple(replace(p, ok=False) for p in self.tunnel.probes))

    async def report(self) -> None:
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
        text = seal(self.key(keys.Purpose.REPORT), keys.Purpose.REPORT, to_plain(beat))
        received = await self.world.app.heartbeats.receive(self.id, text, self.source)
        for unit in received.units:
            await self.world.app.reconciler.step(unit)


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


class World:
    """`tick` lets a second pass: due messages are handled, the sweep runs each minute, the agent speaks each 30 s."""

    def __init__(self, seed: int = 1) -> None:
        self.clock = FakeClock()
        self.arm = FakeArm(self.clock)
        self.store, self.vault, self.resolver = FakeStore(), FakeVault(), FakeResolver()
        self.queue = FakeQueue(self.clock)
        self.services = Services(
            arm=self.arm,
            resolver=self.resolver,
            store=self.store,
            queue=self.queue,
            vault=self.vault,
            clock=self.clock,
            random=SeededRandom(seed),
            controller=ControllerId("ctl"),
        )
        self.app: App = build(self.services)
        self.agent = Agent(self)
        self.second = 0
        self.steps = 0
        self.resolver.answer(NAME, FIRST)

    async def put(
        self, gateway: dict[str, object] = GATEWAY, connection: dict[str, object] | None = CONNECTION
    ) -> None:
        await self.app.specs.put_gateway("hub", parse.gateway(gateway))
        if connection is not None:
            await self.app.specs.put_connection("home", parse.connection(connection))

    async def tick(self) -> None:
        self.clock.advance(1)
        self.second += 1
        if self.second % 60 == 0:
            for unit in await self.app.specs.list_gateways():
                await self.app.reconciler.step(unit)
        await self.handle_messages()
        if self.agent.id and self.agent.alive:
            self.agent.take_commands()
            if self.second % 30 == 0:
                await self.agent.report()

    async def handle_messages(self) -> None:
        while (message := self.queue.receive(RECONCILE)) is not None:
            data = json.loads(message.text)
            try:
                self.steps += 1
                await self.app.reconciler.step(data["unit"], datetime.fromisoformat(data["due"]))
                self.queue.delete(RECONCILE, message)
            except LeaseHeld:
                return

    async def run(self, seconds: int) -> None:
        for _ in range(seconds):
            await self.tick()

    async def until(self, holds, limit: int = 20_000) -> int:  # type: ignore[no-untyped-def]
        """Seconds until `holds()`; fails the test after `limit`."""
        for passed in range(limit):
            if await holds():
                return passed
            await self.tick()
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
        """The address whose packets the gateway takes: the LNG's own, or what its name meant when it was written."""
        from shared.domain import render
        from shared.domain.arm import ArmKind

        refs = render.connection_refs("home", parse.gateway(GATEWAY).spec)
        lng = (self.arm.resource(refs[ArmKind.LOCAL_GATEWAY]) or {}).get("properties") or {}
        if lng.get("provisioningState") != "Succeeded":
            return None
        return lng.get("gatewayIpAddress") or FIRST

    async def joined(self) -> None:
        """Gateway and Connection made, tunnel proven."""
        await self.put()
        await self.agent.enrol()
        await self.until(self.ready)
