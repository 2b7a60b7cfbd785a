"""Sequences that only grow, whoever else writes; and commands that a crash swallowed between record and queue."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from shared.control.agents import AGENT, COMMAND, queue_of
from shared.control.commands import Commands
from shared.control.services import AGENTS
from shared.errors import NotFound, TemporaryError
from shared.seams import Write
from shared.wire import keys
from shared.wire.commands import Apply, Command, Kind, Target, parse_command
from shared.wire.seal import unseal

from .faults import Crash
from .world import World

TARGET = Target("home", "ID")


@pytest.fixture
async def world() -> World:
    world = World()
    await world.agent.enrol()
    return world


async def issue(world: World, kind: Kind = Kind.INITIATE, ttl_s: float = 120.0) -> Command:
    return await Commands(world.services, world.app.agents).issue(world.agent.id, kind, 3, TARGET, ttl_s)


def sent(world: World) -> list[Command]:
    key = world.agent.key(keys.Purpose.COMMAND)
    texts = world.queue.texts(queue_of(world.agent.id))
    return [parse_command(unseal(key, keys.Purpose.COMMAND, t)) for t in texts]


async def test_what_is_sent_is_what_is_recorded(world: World) -> None:
    command = await issue(world)
    assert sent(world) == [command]
    assert (command.seq, command.audience, command.controller, command.generation) == (1, world.agent.id, "ctl", 3)
    assert command.not_after == int(world.clock.now().timestamp()) + 120
    row = await world.store.get(AGENTS, world.agent.id, COMMAND + command.id)
    assert row is not None and row.data["outcome"] is None
    assert (row.data["seq"], row.data["kind"], row.data["connection"]) == (1, "initiate", "home")


async def test_a_message_lives_as_long_as_its_command(world: World) -> None:
    await issue(world, ttl_s=120)
    world.clock.advance(119)
    assert len(sent(world)) == 1
    world.clock.advance(1)
    assert sent(world) == []


async def test_sequences_are_unique_and_grow_under_colliding_writers(world: World) -> None:
    """Each transaction is preceded by a whole one of another writer, up to four in a row."""
    left = 4

    async def rival(table: str, partition: str, writes: Sequence[Write]) -> None:
        nonlocal left
        if left and any(w.key == AGENT for w in writes):
            left -= 1
            hook, world.store.before_transact = world.store.before_transact, None
            await issue(world)
            world.store.before_transact = hook

    world.store.before_transact = rival
    mine = await issue(world)
    assert left == 0
    numbers = [c.seq for c in sent(world)]
    assert mine.seq == 5 and numbers == [1, 2, 3, 4, 5]
    assert len({c.id for c in sent(world)}) == 5


async def test_writers_that_interleave(world: World) -> None:
    async def breathe(*_: object) -> None:
        await asyncio.sleep(0)

    world.store.before_transact = breathe
    await asyncio.gather(*(issue(world) for _ in range(4)))
    assert sorted(c.seq for c in sent(world)) == [1, 2, 3, 4]


async def test_after_five_collisions_it_asks_for_time_and_sent_nothing(world: World) -> None:
    async def rival(table: str, partition: str, writes: Sequence[Write]) -> None:
        row = await world.store.get(AGENTS, world.agent.id, AGENT)
        assert row is not None
        world.store._rows[AGENTS, world.agent.id, AGENT] = (
            world.store._rows[AGENTS, world.agent.id, AGENT][0],
            f"x{row.etag}",
        )

    world.store.before_transact = rival
    with pytest.raises(TemporaryError, match="five writers"):
        await issue(world)
    assert sent(world) == []


async def test_an_agent_that_was_replaced_gets_no_commands(world: World) -> None:
    old = world.agent.id
    world.clock.advance(1)
    await world.agent.enrol()
    with pytest.raises(NotFound):
        await Commands(world.services, world.app.agents).issue(old, Kind.INITIATE, 1, TARGET, 60)
    assert world.queue.texts(queue_of(old)) == []


async def test_a_crash_between_record_and_queue_leaves_a_gap_and_the_reconciler_issues_again() -> None:
    world = World()
    await world.put()
    await world.agent.enrol()
    real = world.queue.send

    async def dies(queue: str, *args: Any, **named: Any) -> None:
        if queue.startswith("agent-"):
            world.queue.send = real  # type: ignore[method-assign]
            world.fault.dead = True
            raise Crash(queue)
        await real(queue, *args, **named)

    world.queue.send = dies  # type: ignore[method-assign]
    await world.until(world.ready)
    assert world.crashes == 1
    rows = await world.store.query(AGENTS, world.agent.id, COMMAND)
    assert sorted(r.data["seq"] for r in rows) == [1, 2] and [c.seq for c in world.agent.commands] == [2]
    assert isinstance(world.agent.commands[0].body, Apply)
