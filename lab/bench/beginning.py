"""What every sample begins with: two homes on one gateway, both tunnels up, and Azure's durations as recorded.

Made once and frozen; each sample thaws a copy with a seed of its own and waits for a random while, so that no clock
(heartbeats, sweeps, Azure's five minutes, a script's timer) stands in a known phase when something happens.
"""

from __future__ import annotations

import asyncio
from functools import cache

from lab.azure import durations
from lab.azure.faults import Fault
from lab.model import judge, loop
from lab.model.assumptions import Assumptions, draw
from lab.model.world import World

HOME, NEIGHBOUR = "home", "cabin"
"""The home to which things happen, and the one on the same gateway that must not notice."""
WARM_UP_S = 130.0
"""Longer than the control plane believes a heartbeat (95 s), so that an agent which is not there is missed."""
PHASE_S = 300.0
"""The longest period of all clocks in the comparison."""
_OPERATIONS = (
    ("PUT", "/localNetworkGateways/", "LOCAL_GATEWAY_UPDATE"),
    ("PUT", "/connections/", "CONNECTION_UPDATE"),
    ("POST", "/virtualNetworkGateways/", "GATEWAY_RESET"),
)
_DRAWN = 60
"""Operations of each kind in one sample, at most; later ones would take the median."""


@cache
def beginning() -> tuple[bytes, float]:
    """The frozen world and its time. With a Connection's own defaults: a pin ends after ten healthy minutes."""
    return loop.run(_join())


async def _join() -> tuple[bytes, float]:
    world = World(0, 2)
    for place in world.places.values():
        place.document["spec"].pop("repair")
    world.start()
    await world.join()
    while lacks := await judge.unfinished(world):
        if world.clock.monotonic() > 4 * 3600:
            raise AssertionError(f"the world does not come up: {lacks}")
        await asyncio.sleep(20.0)
    world.watch.events.clear()
    world.injector.calls.clear()
    return world.freeze(), world.clock.monotonic()


def thaw(seed: int) -> World:
    """Nothing runs in it yet: see contenders.py."""
    world = World.thaw(beginning()[0], seed, Assumptions())
    for method, path, kind in _OPERATIONS:
        for _ in range(_DRAWN):
            beyond = draw(kind, world.chance) - getattr(durations, kind)
            world.azure.faults.add(Fault("slow", method, path, seconds=beyond))
    return world


async def warm_up(world: World) -> None:
    await asyncio.sleep(WARM_UP_S + PHASE_S * world.chance.random())
