"""Plays one history: a world that works, the faults, their end, and the verdict."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

from agent.errors import AgentError
from lab.model import judge, loop
from lab.model.assumptions import Assumptions
from lab.model.deeds import DEEDS
from lab.model.history import BOUND_S, PERSON_S, SPAN_S, History
from lab.model.host import Gone
from lab.model.names import Cache
from lab.model.world import World

LOOK_S = 30.0
SETTLE_S = 65.0
"""After the end, one more sweep: what is right must stay right."""


@dataclass(frozen=True)
class Outcome:
    """`violations` begin with the number of the invariant; `took_s` is virtual, from the end of the faults on. `calls`
    are the Injector's."""

    violations: tuple[str, ...]
    events: int
    faults: int
    took_s: float
    log: str
    calls: tuple[tuple[str, str], ...] = ()

    @property
    def invariants(self) -> frozenset[str]:
        return frozenset(v.partition(":")[0] for v in self.violations)


@cache
def beginning(homes: int) -> tuple[bytes, float]:
    """A world at rest in which every tunnel works, and its time."""
    return loop.run(_join(homes))


async def _join(homes: int) -> tuple[bytes, float]:
    world = World(0, homes)
    world.start()
    await world.join()
    while lacks := await judge.unfinished(world):
        if world.clock.monotonic() > 4 * 3600:
            raise AssertionError(f"the world does not come up: {lacks}")
        await asyncio.sleep(LOOK_S)
    now = world.clock.monotonic()
    await asyncio.sleep(120 - now % 60 + 50.5)  # between two sweeps, and between two heartbeats
    world.watch.events.clear()
    world.injector.calls.clear()
    return world.freeze(), world.clock.monotonic()


def play(history: History) -> Outcome:
    frozen, start = beginning(history.homes)
    return loop.run(_play(history, frozen), start)


async def _play(history: History, frozen: bytes) -> Outcome:
    world = World.thaw(frozen, history.seed, Assumptions(**history.assumptions))
    world.backup()
    world.start()
    began = world.clock.monotonic()
    for event in history.events:
        if (left := began + event.at - world.clock.monotonic()) > 0.0:  # at 0: before anything runs
            await asyncio.sleep(left)
        told = " ".join(f"{k}={v}" for k, v in event.arguments.items())
        world.watch.tell("history", f"{event.deed} {told}".rstrip())
        await DEEDS[event.deed](world, **event.arguments)
    last = max((e.at for e in history.events), default=0.0)
    await asyncio.sleep(max(0.0, began + min(SPAN_S, last + 60.0) - world.clock.monotonic()))
    healed = world.clock.monotonic()
    await _heal(world)
    lacks = await _converge(world, healed + BOUND_S, healed + PERSON_S)
    took = world.clock.monotonic() - healed
    if lacks:
        world.watch.violate(1, f"after {BOUND_S:.0f} s without faults: {'; '.join(lacks)}")
    judge.end(world)
    watch = world.watch
    faults = len(history.events) + len(world.injector.done)
    calls = tuple(world.injector.calls)
    return Outcome(tuple(watch.violations), len(watch.events), faults, took, watch.text(), calls)


async def _converge(world: World, until: float, person: float) -> list[str]:
    """Right, and still right a sweep later."""
    while True:
        if world.fabric.wedged and world.clock.monotonic() > person:
            world.watch.tell("a person", f"resets {', '.join(sorted(world.fabric.wedged))}")
            with world.fabric.change():
                world.fabric.wedged.clear()
        lacks = await judge.unfinished(world)
        if not lacks:
            await asyncio.sleep(SETTLE_S)
            lacks = await judge.unfinished(world)
            if not lacks:
                return []
        if world.clock.monotonic() > until:
            return lacks
        await asyncio.sleep(LOOK_S)


async def _heal(world: World) -> None:
    """Everything that lasts ends; a person looks after what only a person can."""
    world.watch.tell("history", "the faults end")
    world.injector.active = False
    world.azure.faults.waiting.clear()
    world.control.queue.mishaps.clear()
    world.control.host.start()
    for server in (*world.names.servers.values(), *world.names.caches.values()):
        server.fault, server.lie, server.lag_s = "", None, 0.0
        if isinstance(server, Cache):
            server.kept.clear()
    for name, place in world.places.items():
        home, service = place.home, place.service
        home.lag_s = world.assumptions.ddns_lag_s
        home.mend()
        home.unstick()
        service.disk.full, service.clock.error_s = False, 0.0
        service.pause(False)
        place.firewall.busy = place.firewall.refuses = None
        place.firewall.timer_works = True
        await _mend(world, name)


async def _mend(world: World, name: str) -> None:
    """The user repeats what got no answer, and enrols an agent anew that the control plane does not know (any more)."""
    place = world.places[name]
    with suppress(Gone):
        status, stored = await world.control.call("GET", f"connections/{name}")
        if place.uncertain:
            place.wanted = status == 200 and not stored["metadata"]["deleting"]
        if place.uncertain and place.wanted:
            await world.put(name)
    agent_id = place.service.identity()
    known = agent_id and await world.control.store.get("agents", agent_id, "agent") is not None
    for _ in range(0 if known else 3):  # a person repeats what failed: the line may have changed a moment ago
        with suppress(AgentError, AssertionError, Gone):
            await world.enrol(name)
            return
        await asyncio.sleep(5.0)
