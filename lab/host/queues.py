"""The queue trigger: receives, hides, renews, counts, and gives up into `<queue>-poison`.

A received message is hidden for ten minutes and the hiding is renewed at half that time, so a host that was killed
leaves its messages invisible for up to ten minutes. That is Azure's behaviour and is kept on purpose: an application
that relies on quick redelivery after a crash must fail here too. New messages of this very host do not wake the
listener: on Flex Consumption producer and consumer are different instances.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import random
from datetime import datetime

from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.functions.meta import Datum
from azure.storage.queue import QueueMessage
from azure.storage.queue.aio import QueueClient

from lab.host.clock import wait_event
from lab.host.functions import AppFunction
from lab.host.invoke import InvocationFailed, Invoker
from lab.host.settings import QueueOptions
from lab.host.storage import Storage

log = logging.getLogger("lab.host")


class QueueListener:
    """Serves one queue function until `stop` is set; messages already received are finished first."""

    def __init__(
        self, function: AppFunction, storage: Storage, invoker: Invoker, options: QueueOptions, rng: random.Random
    ) -> None:
        self._function = function
        self._storage = storage
        self._invoker = invoker
        self._options = options
        self._rng = rng
        self._name = str(function.trigger["queueName"])
        self._connection = str(function.trigger.get("connection") or "AzureWebJobsStorage")
        self._running: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Poll with random back-off: from 100 ms up to maxPollingInterval while the queue is empty."""
        client = await self._storage.queue(self._connection, self._name)
        interval = self._options.min_polling_interval
        while not stop.is_set():
            try:
                messages = await self._receive(client)
            except AzureError as error:
                log.warning("queue %s cannot be read: %s", self._name, type(error).__name__)
                messages = []
            if not messages:
                await wait_event(stop, interval)
                interval = min(self._options.max_polling_interval, interval * 2 * self._rng.uniform(0.8, 1.2))
                continue
            interval = self._options.min_polling_interval
            for message in messages:
                task = asyncio.create_task(self._process(client, message))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
            await self._room(stop)
        await self._finish()

    async def _room(self, stop: asyncio.Event) -> None:
        """Wait until no more than newBatchThreshold messages are being processed."""
        stopping = asyncio.ensure_future(stop.wait())
        try:
            while len(self._running) > self._options.new_batch_threshold and not stop.is_set():
                await asyncio.wait([*self._running, stopping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()

    async def _finish(self) -> None:
        if self._running:
            await asyncio.wait(self._running)

    async def _receive(self, client: QueueClient) -> list[QueueMessage]:
        pages = client.receive_messages(
            messages_per_page=self._options.batch_size, visibility_timeout=int(self._options.hidden)
        ).by_page()
        try:
            return [message async for message in await anext(pages)]
        except (ResourceNotFoundError, StopAsyncIteration):
            return []  # the trigger does not create its queue: whoever sends first does

    async def _process(self, client: QueueClient, message: QueueMessage) -> None:
        try:
            body = self._decode(message.content)
            if body is None:
                log.error("queue %s: message %s is not base64", self._name, message.id)
                await self._poison(client, message)
            elif int(message.dequeue_count) > self._options.max_dequeue_count:
                await self._poison(client, message)
            else:
                await self._handle(client, message, body)
        except ResourceNotFoundError:
            # Pop receipt mismatch: hidden for too long, so somebody else has the message. Azure's host ignores it too.
            log.info("queue %s: message %s had been taken over", self._name, message.id)
        except AzureError as error:
            log.warning("queue %s: message %s not settled: %s", self._name, message.id, type(error).__name__)

    async def _handle(self, client: QueueClient, message: QueueMessage, body: bytes) -> None:
        renewal = asyncio.create_task(self._renew(client, message))
        try:
            await self._invoker(self._function, _datum(body), _metadata(message))
            failed = False
        except InvocationFailed:
            failed = True
        finally:
            renewal.cancel()
            await asyncio.wait([renewal])
        if not failed:
            await client.delete_message(message.id, message.pop_receipt)
        elif int(message.dequeue_count) >= self._options.max_dequeue_count:
            await self._poison(client, message)
        else:
            delay = int(self._options.visibility_timeout)
            await client.update_message(message.id, message.pop_receipt, visibility_timeout=delay)

    async def _renew(self, client: QueueClient, message: QueueMessage) -> None:
        """Keep the message hidden while it is processed. A failed renewal is tried again soon."""
        wait = self._options.hidden / 2
        while True:
            await asyncio.sleep(wait)
            try:
                updated = await client.update_message(
                    message.id, message.pop_receipt, visibility_timeout=int(self._options.hidden)
                )
            except ResourceNotFoundError:
                return
            except AzureError:
                wait = self._options.hidden / 20
            else:
                message.pop_receipt = updated.pop_receipt
                wait = self._options.hidden / 2

    async def _poison(self, client: QueueClient, message: QueueMessage) -> None:
        name = f"{self._name}-poison"
        await self._storage.put(await self._storage.queue(self._connection, name), message.content)
        await client.delete_message(message.id, message.pop_receipt)
        log.error(
            "queue %s: message %s moved to %s after %s tries", self._name, message.id, name, message.dequeue_count
        )

    def _decode(self, content: str) -> bytes | None:
        if not self._options.base64:
            return content.encode()
        try:
            return base64.b64decode(content, validate=True)
        except (binascii.Error, ValueError):
            return None


def _datum(body: bytes) -> Datum:
    try:
        return Datum(body.decode(), "string")
    except UnicodeDecodeError:
        return Datum(body, "bytes")


def _metadata(message: QueueMessage) -> dict[str, Datum]:
    return {
        "Id": Datum(message.id, "string"),
        "DequeueCount": Datum(int(message.dequeue_count), "int"),
        "InsertionTime": Datum(_stamp(message.inserted_on), "string"),
        "ExpirationTime": Datum(_stamp(message.expires_on), "string"),
        "NextVisibleTime": Datum(_stamp(message.next_visible_on), "string"),
        "PopReceipt": Datum(message.pop_receipt, "string"),
    }


def _stamp(moment: datetime) -> str:
    return moment.isoformat()
