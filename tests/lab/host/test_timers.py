"""Timer triggers on a real Azurite: catch-up, one firing host, no overlap, speed."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob.aio import BlobClient

from lab.host.lease import CONTAINER, BlobLease
from tests.lab.host.conftest import World, until

EVERY_SECOND = "* * * * * *"
YEARLY = "0 0 3 1 1 *"


def _status(world: World) -> BlobClient:
    return world.blobs.get_blob_client(CONTAINER, f"timers/{world.tag}/Host.Functions.tick/status")


async def _recorded(world: World) -> dict[str, str]:
    try:
        return json.loads(await (await _status(world).download_blob()).readall())  # type: ignore[no-any-return]
    except ResourceNotFoundError:
        return {}


async def _record(world: World, following: datetime) -> None:
    lease = BlobLease(world.blobs, f"locks/{world.tag}/scratch", 15)  # creates the container
    assert await lease.acquire()
    await lease.release()
    status = {
        "Last": (following - timedelta(days=365)).isoformat(),
        "Next": following.isoformat(),
        "LastUpdated": (following - timedelta(days=365)).isoformat(),
    }
    await _status(world).upload_blob(json.dumps(status).encode(), overwrite=True)


async def test_a_first_start_records_the_schedule_and_does_not_fire(world: World) -> None:
    async with world.host(TICK=YEARLY):
        status = await until(lambda: _recorded(world), "a recorded status")
    following = datetime.fromisoformat(status["Next"])
    assert (following.month, following.day, following.hour) == (1, 1, 3)
    assert status["Last"] is None
    assert await world.count("ticks") == 0


async def test_a_missed_occurrence_is_caught_up_once(world: World) -> None:
    missed = datetime.now(UTC) - timedelta(days=2)
    await _record(world, missed)
    async with world.host(TICK=YEARLY):
        tick = (await world.ticks())[0]

        async def updated() -> bool:
            return datetime.fromisoformat((await _recorded(world))["Next"]) > datetime.now(UTC)

        await until(updated, "the status is updated")
    assert tick["past_due"] is True
    assert datetime.fromisoformat(tick["status"]["Next"]) == missed
    async with world.host(TICK=YEARLY):
        await world.put("work", "a sign that the host has run")
        await world.seen()
    assert await world.count("ticks") == 1


async def test_it_fires_on_schedule(world: World) -> None:
    async with world.host(TICK=EVERY_SECOND):
        assert [tick["past_due"] for tick in await world.ticks(2)][:2] == [False, False]


async def test_the_factor_makes_it_fire_more_often(world: World) -> None:
    async with world.host(TICK="0 * * * * *", factor=240):
        assert len(await world.ticks(4)) >= 4


async def test_one_of_two_hosts_fires_and_the_other_takes_over(world: World) -> None:
    async with AsyncExitStack() as first:
        await first.enter_async_context(world.host(TICK=EVERY_SECOND))
        await world.ticks(1)
        async with world.host(TICK=EVERY_SECOND):
            # A host never fires twice within one second of the clock, so a repeated second would be the other host.
            seconds = [int(tick["at"]) for tick in await world.ticks(3)]
            assert len(set(seconds)) == len(seconds)
            await first.aclose()
            await world.ticks(len(await world.bodies("ticks")) + 1)


async def test_a_lease_held_elsewhere_keeps_the_timer_silent(world: World) -> None:
    other = BlobLease(world.blobs, f"locks/{world.tag}/Host.Functions.tick.Listener", 15)
    assert await other.acquire()
    async with world.host(TICK=EVERY_SECOND):
        await world.put("work", "long 1.2")
        await world.seen()
        assert await world.count("ticks") == 0
        await other.release()
        await world.ticks(1)


async def test_a_lease_is_exclusive_and_says_when_it_is_lost(world: World) -> None:
    one, two = (BlobLease(world.blobs, f"locks/{world.tag}/one", 15) for _ in range(2))
    assert await one.acquire()
    assert not await two.acquire()
    assert await one.renew()
    await world.blobs.get_blob_client(CONTAINER, f"locks/{world.tag}/one").delete_blob(lease=one._lease.id)  # type: ignore[union-attr]
    assert not await one.renew()
    assert not await two.renew()
