"""The lease by itself: who gets it, who loses it, and what the loser can still write."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shared.control.lease import KEY, Lease
from shared.control.services import UNITS
from shared.domain import limits
from shared.errors import LeaseHeld, StoreConflict
from shared.seams import Write, WriteKind
from tests.fakes import FakeClock, ModelStore

A_ROW = Write(WriteKind.UPSERT, "state", {"by": "a"})
B_ROW = Write(WriteKind.UPSERT, "state", {"by": "b"})


async def test_one_at_a_time_until_released() -> None:
    store, clock = ModelStore(), FakeClock()
    first = await Lease.acquire(store, "hub", "a", clock.now())
    with pytest.raises(LeaseHeld) as caught:
        await Lease.acquire(store, "hub", "b", clock.now())
    assert caught.value.delay_s > 0
    await Lease.acquire(store, "other", "b", clock.now())
    await first.commit([A_ROW])
    await first.release()
    await Lease.acquire(store, "hub", "b", clock.now())


@pytest.mark.parametrize(("after_s", "free"), [(limits.LEASE_S - 1, False), (limits.LEASE_S, True)])
async def test_an_abandoned_lease_runs_out(after_s: int, free: bool) -> None:
    store, clock = ModelStore(), FakeClock()
    await Lease.acquire(store, "hub", "a", clock.now())
    late = clock.now() + timedelta(seconds=after_s)
    if free:
        await Lease.acquire(store, "hub", "b", late)
    else:
        with pytest.raises(LeaseHeld):
            await Lease.acquire(store, "hub", "b", late)


async def test_whoever_lost_it_writes_nothing_and_takes_nothing_away() -> None:
    store, clock = ModelStore(), FakeClock()
    stale = await Lease.acquire(store, "hub", "a", clock.now())
    clock.advance(limits.LEASE_S)
    owner = await Lease.acquire(store, "hub", "b", clock.now())
    await owner.commit([B_ROW])
    with pytest.raises(StoreConflict):
        await stale.commit([A_ROW])
    await stale.release()
    with pytest.raises(LeaseHeld):
        await Lease.acquire(store, "hub", "c", clock.now())
    await owner.commit([B_ROW])
    row = await store.get(UNITS, "hub", "state")
    assert row is not None and row.data == {"by": "b"}


@pytest.mark.parametrize("held_before", [False, True])
async def test_of_two_who_see_it_free_one_gets_it(held_before: bool) -> None:
    store, clock = ModelStore(), FakeClock()
    if held_before:
        await (await Lease.acquire(store, "hub", "x", clock.now())).release()

    async def rival(*_: object) -> None:
        store.before_transact = None
        await Lease.acquire(store, "hub", "b", clock.now())

    store.before_transact = rival
    with pytest.raises(LeaseHeld):
        await Lease.acquire(store, "hub", "a", clock.now())
    row = await store.get(UNITS, "hub", KEY)
    assert row is not None and row.data["owner"] == "b"
