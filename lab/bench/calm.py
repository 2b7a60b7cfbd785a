"""Troubles in which the right thing is to do little: no reset may be used on them, and the neighbour must not notice.

Each is played under Homelink with and without the agent, and under Azure alone with the same seed, since a failover
interrupts everybody's packets whoever watches. Only what goes beyond that is held against Homelink.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

from lab.bench.beginning import HOME, NEIGHBOUR, beginning, thaw, warm_up
from lab.bench.contenders import Contender, start
from lab.bench.meter import STEP_S, Meter
from lab.model import loop
from lab.model.deeds import DEEDS
from lab.model.world import World

Scenario = Callable[[World, Random], Awaitable[None]]
SA_DIES_S = 240.0
"""Both ends have given up an SA whose path is gone (Azure after 45 s, the home after 175 s)."""
SCENARIOS: dict[str, tuple[float, Scenario]] = {}
"""Name -> (how long is watched, in seconds; what happens). The chance is the same under every contender."""


@dataclass(frozen=True)
class Calm:
    """Seconds without packets of either home; `resets`: none of these troubles needs one."""

    scenario: str
    contender: Contender
    seed: int
    down_s: float
    neighbour_down_s: float
    resets: int


def play(scenario: str, contender: Contender, seed: int) -> Calm:
    return loop.run(_play(scenario, contender, seed), beginning()[1])


async def _play(scenario: str, contender: Contender, seed: int) -> Calm:
    seconds, happens = SCENARIOS[scenario]
    world = thaw(seed)
    start(world, contender)
    await warm_up(world)
    meter = Meter(world)
    happening = asyncio.create_task(_happens(world, happens, Random(f"{scenario} {seed}")))
    await meter.run(seconds)
    await happening
    down, neighbour = meter.down_s[HOME], meter.down_s[NEIGHBOUR]
    return Calm(scenario, contender, seed, down, neighbour, len(world.watch.resets))


async def _happens(world: World, happens: Scenario, chance: Random) -> None:
    await asyncio.sleep(STEP_S / 2)  # never at the moment of a look, where the last bit of the time would decide
    await happens(world, chance)


def scenario(seconds: float) -> Callable[[Scenario], Scenario]:
    def add(function: Scenario) -> Scenario:
        SCENARIOS[function.__name__.replace("_", "-")] = seconds, function
        return function

    return add


@scenario(3600.0)
async def psk_mismatch(world: World, chance: Random) -> None:
    """Somebody sets another key in Azure. A live SA proves no key: it shows when the line was away for long enough."""
    await DEEDS["edit_azure"](world, home=HOME, what="key")
    await asyncio.sleep(60.0)
    await DEEDS["reconnect"](world, home=HOME, outage_s=SA_DIES_S)


@scenario(3600.0)
async def psk_mismatch_at_home(world: World, chance: Random) -> None:
    """The owner sets another key on the firewall, which without the agent nobody can see or mend."""
    await DEEDS["hand_edit"](world, home=HOME, what="key")
    await DEEDS["reconnect"](world, home=HOME, outage_s=SA_DIES_S)


@scenario(2400.0)
async def planned_failover(world: World, chance: Random) -> None:
    for _ in range(3):
        await DEEDS["failover"](world, planned=True, seconds=chance.uniform(10.0, 15.0))
        await asyncio.sleep(600.0)


@scenario(2400.0)
async def servfail_storm(world: World, chance: Random) -> None:
    """Every server and every cache, for half an hour."""
    await DEEDS["servfail_everywhere"](world)
    await asyncio.sleep(1800.0)
    for server in (*world.names.servers.values(), *world.names.caches.values()):
        server.fault = ""


@scenario(2400.0)
async def lying_resolver(world: World, chance: Random) -> None:
    """One after the other, authoritative and recursive, names an address where nobody of ours lives."""
    for number in range(len(world.names.servers) + len(world.names.caches)):
        await DEEDS["dns"](world, server=number, fault="", lie="198.51.100.200", lag_s=0.0)
        await asyncio.sleep(400.0)
        await DEEDS["dns"](world, server=number, fault="", lie="", lag_s=0.0)


@scenario(4200.0)
async def twelve_changes_an_hour(world: World, chance: Random) -> None:
    for number in range(12):
        world.places[HOME].home.move(f"198.51.100.{60 + number}")
        await asyncio.sleep(300.0)
