"""The model world: Azure, the Internet, homes and control planes, all in one process and in virtual time.

The real `functions/`, `shared/` and `agent/` code runs in it, unchanged. A world is made inside a running VirtualLoop
(lab.model.loop.run); `start` sets it going. At rest it is plain data and can be frozen, so that a thousand histories
begin with a tunnel that works without each of them waiting for a gateway.
"""

from __future__ import annotations

import asyncio
import copy
import io
import pickle
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

from lab.azure.clock import Clock
from lab.documents import document
from lab.model import agent
from lab.model.arm import Azure
from lab.model.assumptions import Assumptions
from lab.model.chance import SeededRandom
from lab.model.control import Control
from lab.model.dataplane import ModelDataPlane
from lab.model.fabric import Fabric
from lab.model.faults import Injector, Process
from lab.model.home import Home
from lab.model.host import Gone
from lab.model.loop import EPOCH, LoopClock
from lab.model.names import Names
from lab.model.watch import Watch, WatchedFirewall

SUBSCRIPTION = "22222222-2222-2222-2222-222222222222"
PUBLIC = tuple(f"203.0.113.{n}" for n in range(10, 90, 10))
UNPIN_AFTER_S = 60
"""Instead of ten minutes: a history shall see a pin end."""


@dataclass
class Place:
    """A home with what stands in it. `document`: what the user wants of it, if `wanted`; `others`: what the owner has
    on the firewall besides. `uncertain`: a request of the user got no answer."""

    home: Home
    firewall: WatchedFirewall
    service: agent.Service
    document: dict[str, Any]
    others: dict[str, str] = field(default_factory=dict)
    wanted: bool = True
    uncertain: bool = False
    connection_id: str = ""


class World:
    def __init__(
        self,
        seed: int,
        homes: int = 1,
        assumptions: Assumptions | None = None,
        azure_clock: Clock | None = None,
    ) -> None:
        """`azure_clock`: for an Azure with another pace than the world's."""
        self.chance = Random(seed)
        self.assumptions = assumptions or Assumptions()
        self.clock = LoopClock()
        self.watch = Watch()
        self.injector = Injector()
        self.fabric = self.watch.fabric = Fabric(self.clock.monotonic, self.assumptions)
        self.names = Names(self.fabric.clock)
        self._ids = 0
        self._backup: Any = None
        self.gateway = document("gateway")
        dataplane = ModelDataPlane(self.fabric, EPOCH)
        self.azure = Azure(SUBSCRIPTION, PUBLIC, azure_clock or self.clock, dataplane, self.names, self._new_id)
        self.controls: dict[str, Control] = {}
        self.control = self._add_control("ctl")
        self.places = {name: self._build(name, n) for n, name in enumerate(["home", "cabin", "office"][:homes])}

    def _new_id(self) -> str:
        self._ids += 1
        return f"00000000-0000-4000-8000-{self._ids:012x}"

    def _add_control(self, name: str) -> Control:
        made = Control(name, self.azure, self.names, self.injector, self.watch, self.chance)
        self.controls[name] = made
        return made

    def _build(self, name: str, n: int) -> Place:
        fqdn = f"{name}.homelink.test"
        home = Home(self.fabric, self.names, name, fqdn, f"198.51.100.{20 + n}")
        firewall = WatchedFirewall(self.fabric, home, spend=agent.spend, touch=partial(self._touch, name))
        firewall.watch, firewall.newest = self.watch, {}
        hosts = {f"{c.name}.invalid": c.host for c in self.controls.values()}
        queues = {c.queue.host: c.queue for c in self.controls.values()}
        service = agent.Service(
            f"{name}-fw",
            agent.Disk(self.watch.filed),
            agent.WallClock(),
            agent.Internet(home, hosts, queues, self._latency, self.watch.packed),
            firewall,
            SeededRandom(self.chance.getrandbits(32)),
            partial(self._process, name),
            partial(self.watch.tell, f"agent {name}"),
        )
        return Place(home, firewall, service, _document(name, fqdn, n), dict(firewall.others))

    def _touch(self, name: str, step: str) -> None:
        self.places[name].service.touch(step)

    def _latency(self) -> float:
        return 0.01 + 0.05 * self.chance.random()

    def _process(self, name: str) -> Process:
        return Process(name, self.injector, agent.trouble, partial(self.watch.called, f"agent {name}"))

    def start(self) -> None:
        """Hosts, agents and Azure's own clockwork run from now on."""
        runs = [self.azure.plumbing.run(), *(c.host.run() for c in self.controls.values())]
        runs += [p.service.run() for p in self.places.values()]
        for run in runs:
            asyncio.get_running_loop().create_task(run)

    async def join(self) -> None:
        """A gateway, and every home: documents, tokens, enrolments."""
        await self.expect(201, "PUT", "gateways/hub", self.gateway)
        for name in self.places:
            await self.put(name)
            await self.enrol(name)

    async def put(self, name: str) -> None:
        """The user sends the home's document."""
        place = self.places[name]
        status, answer = await self.control.call("PUT", f"connections/{name}", place.document)
        if status not in (200, 201):
            raise AssertionError(f"PUT connections/{name}: {status} {answer}")
        place.connection_id = answer["metadata"]["id"]

    async def enrol(self, name: str) -> None:
        token = await self.expect(201, "POST", f"agents/{name}-fw/token")
        await self.places[name].service.enrol(self.control.api, token["token"])

    async def expect(self, status: int, method: str, path: str, body: Any = None) -> Any:
        """A person's request that must succeed."""
        found, answer = await self.control.call(method, path, body)
        if found != status:
            raise AssertionError(f"{method} {path}: {found} {answer}")
        return answer

    async def ask(self, method: str, path: str, body: Any = None) -> bool:
        """A person's request, repeated a few times while the answer says so or there is none."""
        for _ in range(5):
            try:
                status, _answer = await self.control.call(method, path, body)
            except Gone:
                status = 503
            if status not in (409, 503):
                return 200 <= status < 300
            await asyncio.sleep(3.0)
        return False

    def second(self) -> Control:
        """Another control plane, with a storage account of its own, for the same subscription."""
        if "other" not in self.controls:
            made = self._add_control("other")
            asyncio.get_running_loop().create_task(made.host.run())
        return self.controls["other"]

    def backup(self) -> None:
        """Of the tables, and of what the user then wanted."""
        wants = {n: (copy.deepcopy(p.document), p.wanted, p.connection_id) for n, p in self.places.items()}
        self._backup = (self.control.store.rows(), wants)

    def restore(self) -> None:
        rows, wants = self._backup
        self.control.store.put_rows(rows)
        for name, (wish, wanted, connection_id) in wants.items():
            place = self.places[name]
            place.document, place.wanted, place.connection_id = copy.deepcopy(wish), wanted, connection_id

    # at rest: everything is data ---------------------------------------------------------------------------------

    def freeze(self) -> bytes:
        """The world as it is, without what runs in it: to be called when nothing does."""
        for control in self.controls.values():
            control.store.transactions.clear()
        self.azure.metrics.recent.clear()
        stream = io.BytesIO()
        _Pickler(stream, pickle.HIGHEST_PROTOCOL).dump(self)
        return stream.getvalue()

    @staticmethod
    def thaw(frozen: bytes, seed: int, assumptions: Assumptions) -> World:
        """A copy that goes its own way from here on; call `start`."""
        world: World = pickle.loads(frozen)
        world.chance.seed(seed)
        world.assumptions = world.fabric.assumptions = assumptions
        world.watch.events.clear()
        for place in world.places.values():
            place.service.lives = 0
        return world


class _Pickler(pickle.Pickler):
    """What belongs to a running loop is made anew."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, asyncio.Lock | asyncio.Event):
            return type(value), ()
        if isinstance(value, asyncio.Task):
            return _nothing, ()
        return NotImplemented


def _nothing() -> None:
    return None


def _document(name: str, fqdn: str, n: int) -> dict[str, Any]:
    lan = f"192.168.{n + 1}"
    made = document(
        "home",
        agent=f"{name}-fw",
        fqdn=fqdn,
        home={"asn": 65010 + n, "bgpAddress": f"{lan}.1", "prefixes": [f"{lan}.0/24"]},
        repair={"unpinAfterSeconds": UNPIN_AFTER_S},
    )
    made["metadata"]["name"] = name
    return made
