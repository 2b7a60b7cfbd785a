"""One Azurite for all host tests; every test gets queue names and a host id of its own."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import random
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue import TextBase64DecodePolicy, TextBase64EncodePolicy
from azure.storage.queue.aio import QueueClient

from lab.azurite import Azurite
from lab.host.clock import HostClock
from lab.host.host import Host, Listen
from lab.host.settings import load
from tests.lab.host.app import function_app

APP = Path(__file__).parent / "app"
DEADLINE = 15.0


async def until(read: Callable[[], Awaitable[Any]], what: str) -> Any:
    """Poll until `read` gives something true; fail with `what` after the deadline."""
    end = time.monotonic() + DEADLINE
    while not (value := await read()):
        assert time.monotonic() < end, f"not within {DEADLINE:.0f} s: {what}"
        await asyncio.sleep(0.03)
    return value


@dataclass
class World:
    """Storage and settings of one test, and hosts that run the test's application in this process."""

    connection: str = field(repr=False)
    blobs: BlobServiceClient
    tag: str = field(default_factory=lambda: uuid.uuid4().hex[:12])

    @property
    def environ(self) -> dict[str, str]:
        names = {name.upper(): f"{name}-{self.tag}" for name in ("work", "seen", "batch", "ticks")}
        return {
            "AzureWebJobsStorage": self.connection,
            "AzureFunctionsWebHost__hostid": self.tag,
            "LAB_HOST_FUNCTION_KEY": "fk-1",
            "LAB_HOST_MASTER_KEY": "mk-1",
            "TICK": "0 0 3 1 1 *",
            **names,
        }

    def queue(self, name: str, **options: Any) -> QueueClient:
        """The queue `name` of this test; `work!` is the poison queue of `work`."""
        stem = name.removesuffix("!")
        return QueueClient.from_connection_string(
            self.connection,
            f"{stem}-{self.tag}{'-poison' if stem != name else ''}",
            message_encode_policy=TextBase64EncodePolicy(),
            message_decode_policy=TextBase64DecodePolicy(),
            **options,
        )

    def host(self, *, hidden: float = 600.0, factor: float = 1.0, tls: Listen | None = None, **more: Any) -> Host:
        application = importlib.reload(function_app).app  # an app tells its functions only once
        settings = load(APP, {**self.environ, **more})
        settings = replace(settings, queues=replace(settings.queues, hidden=hidden))
        clock = HostClock(factor)
        return Host(application, settings, tls or Listen(), clock, random.Random(1), directory=APP, drain=10.0)

    async def put(self, name: str, body: str) -> None:
        async with self.queue(name) as queue:
            with contextlib.suppress(ResourceExistsError):
                await queue.create_queue()
            await queue.send_message(body)

    async def bodies(self, name: str) -> list[str]:
        """What lies visible in a queue, without taking it."""
        async with self.queue(name) as queue:
            try:
                return [message.content for message in await queue.peek_messages(max_messages=32)]
            except ResourceNotFoundError:
                return []

    async def emptied(self, name: str) -> None:
        """Wait until a queue holds no message, hidden ones included."""

        async def empty() -> bool:
            return await self.count(name) == 0

        await until(empty, f"queue {name} is empty")

    async def count(self, name: str) -> int:
        """Messages in a queue, hidden ones included; 0 when there is no queue."""
        async with self.queue(name) as queue:
            try:
                return int((await queue.get_queue_properties()).approximate_message_count)
            except ResourceNotFoundError:
                return 0

    async def seen(self, number: int = 1) -> list[Any]:
        """Wait for at least `number` reports of the queue function."""

        async def enough() -> list[str]:
            found = await self.bodies("seen")
            return found if len(found) >= number else []

        return [json.loads(body) for body in await until(enough, f"{number} reports in `seen`")]

    async def ticks(self, number: int = 1) -> list[Any]:
        async def enough() -> list[str]:
            found = await self.bodies("ticks")
            return found if len(found) >= number else []

        return [json.loads(body) for body in await until(enough, f"{number} timer runs")]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def azurite() -> AsyncIterator[Azurite]:
    async with Azurite() as running:
        yield running


@pytest.fixture
async def world(azurite: Azurite) -> AsyncIterator[World]:
    async with BlobServiceClient.from_connection_string(azurite.connection_string) as blobs:
        yield World(azurite.connection_string, blobs)
