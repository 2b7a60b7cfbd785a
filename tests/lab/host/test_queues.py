"""Queue triggers on a real Azurite: settle, retry, poison, hide, renew."""

from __future__ import annotations

import time

from azure.storage.queue.aio import QueueClient

from tests.lab.host.conftest import World, until


async def test_a_message_is_processed_once_and_deleted(world: World) -> None:
    await world.put("work", "job-1")
    async with world.host():
        report = (await world.seen())[0]
        assert (report["body"], report["count"]) == ("job-1", 1)
        await world.emptied("work")
    assert await world.count("seen") == 1


async def test_more_messages_than_a_batch_are_all_processed(world: World) -> None:
    bodies = {f"job-{number}" for number in range(12)}
    for body in sorted(bodies):
        await world.put("work", body)
    async with world.host():
        assert {report["body"] for report in await world.seen(12)} == bodies
        await world.emptied("work")


async def test_five_failures_end_in_the_poison_queue(world: World) -> None:
    await world.put("work", "fail always")
    async with world.host(AzureFunctionsJobHost__extensions__queues__visibilityTimeout="00:00:00"):
        await until(lambda: world.bodies("work!"), "a poison message")
        await world.emptied("work")
    assert await world.bodies("work!") == ["fail always"]
    assert await world.count("seen") == 0


async def test_a_message_that_was_received_too_often_is_not_tried_again(world: World) -> None:
    await world.put("work", "job-1")
    async with world.queue("work") as queue:
        await queue.receive_message(visibility_timeout=1)
    await until(lambda: world.bodies("work"), "the message is visible again")
    async with world.host(AzureFunctionsJobHost__extensions__queues__maxDequeueCount="1"):
        await until(lambda: world.bodies("work!"), "a poison message")
    assert await world.count("seen") == 0


async def test_a_failure_is_redelivered_after_the_visibility_timeout(world: World) -> None:
    await world.put("work", "late 1")
    began = time.monotonic()
    async with world.host():  # visibilityTimeout is 1 s in the application's host.json
        report = (await world.seen())[0]
    assert report["count"] == 2
    assert time.monotonic() - began >= 0.9


async def test_what_is_not_base64_goes_to_poison_untouched(world: World) -> None:
    await world.put("work", "first")
    async with QueueClient.from_connection_string(world.connection, f"work-{world.tag}") as raw:
        await raw.send_message("{not base64}")
    async with world.host():
        await until(lambda: world.count("work!"), "a poison message")
        await world.emptied("work")
    async with QueueClient.from_connection_string(world.connection, f"work-{world.tag}-poison") as raw:
        assert [message.content for message in await raw.peek_messages()] == ["{not base64}"]


async def test_a_message_in_work_stays_hidden_by_renewal(world: World) -> None:
    """Hidden for 1 s, renewed at 0.5 s, worked on for 1.6 s: without the renewal a second host would get it."""
    await world.put("work", "long 1.6")
    async with world.host(hidden=1), world.host(hidden=1):
        assert (await world.seen())[0]["count"] == 1
        await world.emptied("work")
    assert await world.count("seen") == 1


async def test_leaving_finishes_what_was_received(world: World) -> None:
    await world.put("work", "long 0.4")
    async with world.host():

        async def hidden() -> bool:
            return not await world.bodies("work")

        await until(hidden, "the message is taken")
    assert await world.count("work") == 0
    assert await world.count("seen") == 1


async def test_a_queue_that_does_not_exist_yet_is_waited_for(world: World) -> None:
    async with world.host():
        assert await world.count("work") == 0
        await world.put("work", "job-1")
        assert (await world.seen())[0]["body"] == "job-1"
