"""Two reconcilers at one unit: they never write in turns, and one that lost its lease while it slept does no harm."""

from __future__ import annotations

import asyncio
import copy
import itertools
import random
from datetime import datetime

import pytest

from shared.control.services import UNITS
from shared.errors import LeaseHeld, StoreConflict
from shared.wire.commands import Kind
from shared.wiring import build

from .faults import Fault
from .test_crashes import end_state, joins, moves, quick_world, reads
from .world import World


class Racing(World):
    """Every step is taken by two instances at once, whose awaits interleave as the seed says. `rounds` lists, per
    step, who wrote (in the store's unit, or in ARM), in order."""

    def __init__(self, seed: int) -> None:
        super().__init__(gateway_takes_s=15)
        self.arm.takes_s.update({k: 5 for k in self.arm.takes_s if "virtualNetworkGateways" not in k})
        self.rounds: list[list[str]] = []
        self.held = 0
        chance = random.Random(seed)
        self.rivals = {name: self._rival(name, chance) for name in ("a", "b")}

    def _rival(self, name: str, chance: random.Random) -> Fault:
        fault = Fault()
        fault.active = True

        async def pause(_: int) -> None:
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)

        fault.pause = pause
        return fault

    def _instance(self, name: str) -> World:
        """The same world seen by another process, with its writes noted."""
        fault, log = self.rivals[name], self.rounds[-1]
        seams = {"arm": self.arm, "store": self.store, "queue": self.queue, "vault": self.vault}

        def noted(seam: str) -> object:
            return _Noted(fault.around(seam, seams[seam]), lambda verb: log.append(name) if not reads(verb) else None)

        from dataclasses import replace

        services = replace(self.services, **{s: noted(s) for s in seams})  # type: ignore[arg-type]
        return build(services)  # type: ignore[return-value]

    async def step(self, unit: str, due: datetime | None = None) -> None:
        self.steps += 1
        self.rounds.append([])
        both = [self._instance(n).reconciler.step(unit, due) for n in self.rivals]  # type: ignore[attr-defined]
        results = await asyncio.gather(*both, return_exceptions=True)
        for result in results:
            if isinstance(result, LeaseHeld):
                self.held += 1
            elif result is not None:
                raise result
        assert not all(isinstance(r, LeaseHeld) for r in results), "one of the two gets the lease"


class _Noted:
    def __init__(self, seam: object, note: object) -> None:
        self._seam, self._note = seam, note

    def __getattr__(self, verb: str) -> object:
        real = getattr(self._seam, verb)

        async def call(*args: object, **named: object) -> object:
            try:
                answer = await real(*args, **named)
            except StoreConflict:
                raise  # refused: nothing was written
            self._note(f"x.{verb}")  # type: ignore[operator]
            return answer

        return call


@pytest.mark.parametrize("seed", range(4))
async def test_two_at_once_never_write_in_turns(seed: int) -> None:
    world = Racing(seed)
    await joins(world)
    await world.run(60)
    await moves(world)
    await world.run(120)
    assert world.held > 0 and len(world.rounds) > 20
    for writers in world.rounds:
        turns = [who for who, _ in itertools.groupby(writers)]
        assert len(turns) == len(set(turns)), f"they wrote in turns: {writers}"
    found = await end_state(world)
    assert found["one key at both ends"] and found["tunnel"] and found["pin"] is None and found["resets"] == {}
    assert [c.kind for c in world.agent.commands].count(Kind.INITIATE) == 1


async def test_one_that_slept_beyond_its_lease_changes_nothing_of_the_unit() -> None:
    """At each write of a repair the step falls asleep for a lease's time, another does the work, and it wakes up."""
    start = quick_world()
    await joins(start)
    await start.run(60)
    calm = copy.deepcopy(start)
    calm.fault.calls = []
    await moves(calm)
    await calm.run(180)
    calls, wanted = calm.fault.calls, await end_state(calm)
    points = [k for k, name in enumerate(calls) if not reads(name)]
    wrong = []
    for number in points:
        world = copy.deepcopy(start)
        sleeper = _Sleeper(world, number)
        await moves(world)
        await world.run(180)
        found = await end_state(world)
        bad = {k: (v, wanted[k]) for k, v in found.items() if v != wanted[k]}
        if not sleeper.slept or sleeper.written:
            bad["wrote though its lease was gone"] = sleeper.written
        if bad:
            wrong.append((number, calls[number], bad))
    assert len(points) > 30
    assert not wrong, f"{len(wrong)} of {len(points)}, the first: {wrong[0]}"


class _Sleeper:
    """`written`: what the sleeper got into the unit's partition after it woke up, its own lease being gone."""

    def __init__(self, world: World, at: int) -> None:
        self.world, self.at = world, at
        self.slept, self.written = False, 0
        world.fault.calls = []
        world.fault.pause = self.pause

    async def pause(self, number: int) -> None:
        if number != self.at:
            return
        world = self.world
        self.slept = True
        name = world.fault.calls[-1]
        before = len(world.fault.calls)
        world.fault.active = False
        world.clock.advance(60)
        world.second += 60
        acquiring = not any(w.key == "lease" for _, _, ws in world.store.transactions[-1:] for w in ws) and before == 0
        await build(world.services).reconciler.step("hub")
        world.fault.active = True
        transact = world.store.transact
        finished = world.step

        async def watched(table: str, partition: str, writes: object) -> object:
            answer = await transact(table, partition, writes)  # type: ignore[arg-type]
            if table == UNITS and not acquiring:
                self.written += 1
            return answer

        del name, finished
        world.store.transact = watched  # type: ignore[assignment, method-assign]
