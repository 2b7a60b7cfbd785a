"""The queue trigger and the sweep."""

from __future__ import annotations

import json
from datetime import timedelta

import azure.functions as func
import pytest

from shared.control.lease import Lease
from shared.control.reconciler import wake_message
from shared.control.services import RECONCILE
from tests.shared.control.world import World

from .calls import FUNCTIONS, Out


async def handle(text: str) -> None:
    await FUNCTIONS["reconcile"].get_user_function()(message=func.QueueMessage(body=text.encode()))


async def test_a_message_is_one_step(world: World) -> None:
    await world.put()
    await handle(wake_message(world.services, "hub", "put"))
    assert [r.verb for r in world.arm.writes()] == ["ensure_resource_group", "put"]
    [next_wake] = world.queue.texts(RECONCILE)
    assert json.loads(next_wake)["unit"] == "hub"


async def test_one_that_a_later_step_has_overtaken_is_dropped(world: World) -> None:
    await world.put()
    message = wake_message(world.services, "hub", "put")
    world.clock.advance(1)
    await handle(wake_message(world.services, "hub", "put"))
    reads = len(world.arm.requests)
    await handle(message)
    assert len(world.arm.requests) == reads


async def test_a_unit_that_is_being_worked_on_is_looked_at_soon(world: World) -> None:
    await world.put()
    await Lease.acquire(world.store, "hub", "other", world.clock.now())
    await handle(wake_message(world.services, "hub", "put"))
    assert world.arm.requests == []
    [again] = world.queue.texts(RECONCILE)
    data = json.loads(again)
    assert (data["unit"], data["reason"]) == ("hub", "put")
    due = world.queue.next_visible(RECONCILE)
    assert due is not None and timedelta() < due - world.clock.now() <= timedelta(seconds=10)


async def test_wakes_that_wait_for_one_step_are_one_step_together(world: World) -> None:
    await world.put()
    lease = await Lease.acquire(world.store, "hub", "other", world.clock.now())
    for _ in range(5):
        await handle(wake_message(world.services, "hub", "put"))
    waiting = world.queue.texts(RECONCILE)
    assert len(waiting) == 5
    await lease.release()
    world.clock.advance(1)
    await handle(wake_message(world.services, "hub", "sweep"))
    reads = len(world.arm.requests)
    world.clock.advance(10)
    for text in waiting:
        await handle(text)
    assert reads > 0 and len(world.arm.requests) == reads


async def test_a_unit_that_is_gone_is_no_error(world: World) -> None:
    await handle(wake_message(world.services, "none", "sweep"))
    assert world.arm.requests == []


@pytest.mark.parametrize("text", ["", "x", "[]", "{}", '{"unit": "hub"}', '{"unit": "hub", "due": "soon"}'])
async def test_a_message_that_cannot_be_read_is_left_for_a_person(world: World, text: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        await handle(text)


async def test_the_sweep_wakes_every_unit(world: World) -> None:
    wakes = Out()
    await FUNCTIONS["sweep"].get_user_function()(timer=None, wakes=wakes)
    assert wakes.value == []
    await world.put()
    await FUNCTIONS["sweep"].get_user_function()(timer=None, wakes=wakes)
    assert [(json.loads(w)["unit"], json.loads(w)["reason"]) for w in wakes.value] == [("hub", "sweep")]
