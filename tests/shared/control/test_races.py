"""Two reconcilers at one unit: they never write in turns, and one that lost its lease while it slept does no harm."""

from __future__ import annotations

import asyncio
import copy
import itertools
import random
from dataclasses import replace
from datetime import datetime

import pytest

from shared.control.services import UNITS
from shared.errors import LeaseHeld
from shared.wire.commands import Kind
from shared.wiring import App, build

from .faults import Fault
from .test_crashes import end_state, joins, moves, quick_world, reads
from .world import World


class Racing(World):
    """Every step is taken by two instances at once, whose awaits interleave by chance. `rounds` lists, per step, who
    wrote, in order; `held` counts how often one found the lease taken."""

    chance = random.Random(0)

    def __init__(self, gateway_takes_s: float) -> None:
        super().__init__(gateway_takes_s=gateway_takes_s)
        self.rounds: list[list[str]] = []
        self.held = 0

    def instance(self, name: str) -> App:
        fault, log = Fault(), self.rounds[-1]

        async def pause(_: int) -> None:
            for _ in range(self.chance.randrange(4)):
                await asyncio.sleep(0)

        fault.active, fault.pause = True, pause
        fault.done = lambda call: None if reads(call) else log.append(name)
        seams = {"arm": self.arm, "store": self.store, "queue": self.queue, "vault": self.vault}
        return build(replace(self.services, **{s: fault.around(s, seam) for s, seam in seams.items()}))

    async def step(self, unit: str, due: datetime | None = None, reason: str = "") -> None:
        self.steps += 1
        self.rounds.append([])
        both = [self.instance(n).reconciler.step(unit, due, reason) for n in ("a", "b")]
        results = await asyncio.gather(*both, return_exceptions=True)
        held = [r for r in results if isinstance(r, LeaseHeld)]
        self.held += len(held)
        assert [r for r in results if r is not None] == held and len(held) < 2, "one of the two gets the lease"


@pytest.mark.parametrize("seed", range(4))
async def test_two_at_once_never_write_in_turns(seed: int) -> None:
    Racing.chance = random.Random(seed)
    world = quick_world(Racing)
    assert isinstance(world, Racing)
    await joins(world)
    await world.run(60)
    await moves(world)
    await world.run(120)
    assert world.held > 5 and len(world.rounds) > 20
    for writers in world.rounds:
        turns = [who for who, _ in itertools.groupby(writers)]
        assert len(turns) == len(set(turns)), f"they wrote in turns: {writers}"
    found = await end_state(world)
    assert found["one key at both ends"] and found["tunnel"] and found["pin"] is None and found["resets"] == {}
    assert [c.kind for c in world.agent.commands].count(Kind.INITIATE) == 1


class Sleeping(World):
    """At call number `at` the step falls asleep for as long as its lease lasts; another does the unit's work, then the
    sleeper goes on. `late` is how often it got something into the unit's partition after that."""

    at: int | None = None
    late: int | None = None

    async def sleep(self, number: int) -> None:
        if number != self.at:
            return
        self.at = None
        self.clock.advance(60)
        self.second += 60
        plain = {"arm": self.arm, "store": self.store, "queue": self.queue, "vault": self.vault}
        await build(replace(self.services, **plain)).reconciler.step("hub")
        self.late = -self.written()

    def written(self) -> int:
        return sum(table == UNITS for table, _, _ in self.store.transactions)

    async def step(self, unit: str, due: datetime | None = None, reason: str = "") -> None:
        try:
            await super().step(unit, due, reason)
        finally:
            if self.late is not None and self.late < 0:
                self.late += self.written()


async def test_one_that_slept_beyond_its_lease_changes_nothing_of_the_unit() -> None:
    start = quick_world(Sleeping)
    await joins(start)
    await start.run(60)
    calm = copy.deepcopy(start)
    calm.fault.calls = []
    await moves(calm)
    await calm.run(180)
    calls, wanted = calm.fault.calls, await end_state(calm)
    points = [k for k, name in enumerate(calls) if not reads(name)]
    assert len(points) > 30
    wrong = []
    for number in points:
        world = copy.deepcopy(start)
        assert isinstance(world, Sleeping)
        world.at, world.fault.calls, world.fault.pause = number, [], world.sleep
        await moves(world)
        await world.run(180)
        found = await end_state(world)
        bad = {k: (v, wanted[k]) for k, v in found.items() if v != wanted[k]}
        if world.late != 0:
            bad["got into the unit after its lease was gone"] = (world.late, 0)
        if bad:
            wrong.append((number, calls[number], bad))
    assert not wrong, f"{len(wrong)} of {len(points)}, the first: {wrong[0]}"
