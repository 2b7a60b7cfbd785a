"""What every Queue must do, seen from the receiving end: over HTTP with nothing but a grant, as an agent does it."""

from __future__ import annotations

import asyncio
import base64
import logging
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Protocol
from urllib.parse import parse_qs, urlsplit

import pytest

from shared.azure.calls import Http
from shared.azure.limits import MAX_MESSAGE_BYTES
from shared.azure.queue import StorageQueue
from shared.azure.system import SystemClock
from shared.errors import PermanentError
from shared.seams import Queue
from tests.contracts.conftest import RealAzure
from tests.fakes import FakeClock, ModelQueue


class Ends(Protocol):
    @property
    def queue(self) -> Queue: ...

    async def receive(self, name: str) -> list[str]:
        """The texts that are visible now; they are deleted."""
        ...

    async def passed(self, seconds: float) -> None: ...


class FakeEnds:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.queue = ModelQueue(self.clock)

    async def receive(self, name: str) -> list[str]:
        texts = []
        while message := self.queue.receive(name):
            texts.append(message.text)
            assert self.queue.delete(name, message)
        return texts

    async def passed(self, seconds: float) -> None:
        self.clock.advance(seconds)


class RealEnds:
    def __init__(self, queue: StorageQueue, http: Http) -> None:
        self.queue = queue
        self._session = http.transport().session

    async def receive(self, name: str) -> list[str]:
        url, _, signature = (await self.queue.grant(name, 60)).partition("?")
        texts = []
        while True:
            async with self._session.get(f"{url}/messages?numofmessages=32&visibilitytimeout=60&{signature}") as answer:
                assert answer.status == 200
                found = ET.fromstring(await answer.read()).findall("QueueMessage")
            for message in found:
                texts.append(base64.b64decode(message.findtext("MessageText") or "", validate=True).decode())
                target = f"{url}/messages/{message.findtext('MessageId')}?popreceipt={message.findtext('PopReceipt')}"
                async with self._session.delete(f"{target}&{signature}") as answer:
                    assert answer.status == 204
            if not found:
                return texts

    async def passed(self, seconds: float) -> None:
        """Only the service knows its time: let it pass."""
        await asyncio.sleep(seconds)


@pytest.fixture
def fake() -> Ends:
    return FakeEnds()


@pytest.fixture
async def azurite_key(real: RealAzure) -> AsyncIterator[Ends]:
    queue = StorageQueue(real.by_key, real.http, SystemClock())
    yield RealEnds(queue, real.http)
    await queue.close()


@pytest.fixture
async def azurite_identity(real: RealAzure) -> AsyncIterator[RealEnds]:
    queue = StorageQueue(real.settings, real.http, SystemClock(), real.credential)
    yield RealEnds(queue, real.http)
    await queue.close()


@pytest.fixture(params=["fake", "azurite_key", "azurite_identity"])
def ends(request: pytest.FixtureRequest) -> Ends:
    found: Ends = request.getfixturevalue(request.param)
    return found


async def test_a_message_arrives_once_in_a_queue_that_was_not_there(ends: Ends, unique: str) -> None:
    text = '{"kind": "connection", "name": "Köln 🏠"}'
    await ends.queue.send(unique, text)
    assert await ends.receive(unique) == [text]
    assert await ends.receive(unique) == []


async def test_several_messages_all_arrive(ends: Ends, unique: str) -> None:
    for i in range(5):
        await ends.queue.send(unique, f"m{i}")
    assert sorted(await ends.receive(unique)) == [f"m{i}" for i in range(5)]


async def test_a_delayed_message_is_hidden_until_then(ends: Ends, unique: str) -> None:
    await ends.queue.send(unique, "late", delay_s=1)
    await ends.queue.send(unique, "now")
    assert await ends.receive(unique) == ["now"]
    arrived: list[str] = []
    for _ in range(50):
        await ends.passed(0.1)
        if arrived := await ends.receive(unique):
            break
    assert arrived == ["late"]


async def test_a_message_disappears_after_its_time_to_live(ends: Ends, unique: str) -> None:
    await ends.queue.send(unique, "short", ttl_s=1)
    await ends.queue.send(unique, "long")
    await ends.passed(2.1)
    assert await ends.receive(unique) == ["long"]


async def test_removing_a_queue_removes_its_messages_and_twice_is_fine(ends: Ends, unique: str) -> None:
    await ends.queue.send(unique, "old")
    await ends.queue.remove(unique)
    await ends.queue.remove(unique)
    await ends.queue.send(unique, "new")
    assert await ends.receive(unique) == ["new"]


async def test_the_largest_message_arrives_and_a_larger_one_is_refused(ends: Ends, unique: str) -> None:
    await ends.queue.send(unique, "x" * MAX_MESSAGE_BYTES)
    assert [len(t) for t in await ends.receive(unique)] == [MAX_MESSAGE_BYTES]
    with pytest.raises(PermanentError, match=unique):
        await ends.queue.send(unique, "ü" * (MAX_MESSAGE_BYTES // 2 + 1))


async def test_mistakes_of_a_caller_are_named(ends: Ends) -> None:
    for name in ("ab", "Upper", "a_b", "a--b", "-ab", "x" * 64):
        with pytest.raises(ValueError, match="queue name"):
            await ends.queue.send(name, "x")
    with pytest.raises(ValueError, match="shorter than"):
        await ends.queue.send("abc", "x", delay_s=60, ttl_s=60)


async def test_a_grant_names_its_queue_and_ends(ends: Ends, unique: str) -> None:
    before = datetime.now(UTC) if isinstance(ends, RealEnds) else ends.clock.now()  # type: ignore[attr-defined]
    url = await ends.queue.grant(unique, 3600)
    parts, query = urlsplit(url), parse_qs(urlsplit(url).query)
    assert parts.scheme == "https" and parts.path.endswith(f"/{unique}")
    assert query["sp"] == ["p"] and query["sig"]
    ends_at = datetime.fromisoformat(query["se"][0])
    assert timedelta(0) <= ends_at - before.replace(microsecond=0) - timedelta(hours=1) <= timedelta(seconds=10)


async def test_a_grant_is_for_one_queue_and_only_to_process(
    azurite_identity: RealEnds, real: RealAzure, unique: str
) -> None:
    other = f"{unique}-other"
    await azurite_identity.queue.send(other, "not yours")
    url, _, signature = (await azurite_identity.queue.grant(unique, 60)).partition("?")
    session = real.http.transport().session
    asked = {
        "read its own": await _status(session, "GET", f"{url}/messages?{signature}"),
        "read another's": await _status(session, "GET", f"{url}-other/messages?{signature}"),
        "peek": await _status(session, "GET", f"{url}/messages?peekonly=true&{signature}"),
        "write": await _status(session, "POST", f"{url}/messages?{signature}"),
        "clear": await _status(session, "DELETE", f"{url}/messages?{signature}"),
        "delete the queue": await _status(session, "DELETE", f"{url}?{signature}"),
    }
    assert asked.pop("read its own") == 200
    assert set(asked.values()) == {403}, asked


async def test_a_grant_ends_and_its_delegation_key_serves_many(real: RealAzure, unique: str) -> None:
    """The clock is the test's own, set back so that a grant of a minute has already ended for the service."""
    clock = FakeClock(datetime.now(UTC) - timedelta(minutes=4))
    queue = StorageQueue(real.settings, real.http, clock, real.credential)
    urls = [await queue.grant(unique, seconds) for seconds in (60, 600, 3600)]
    keys = {parse_qs(urlsplit(url).query)["ske"][0] for url in urls}
    assert len(keys) == 1
    statuses = []
    for url in urls:
        base, _, signature = url.partition("?")
        statuses.append(await _status(real.http.transport().session, "GET", f"{base}/messages?{signature}"))
    assert statuses == [403, 200, 200]
    clock.advance(23 * 3600 + 1800)
    assert parse_qs(urlsplit(await queue.grant(unique, 3600)).query)["ske"][0] not in keys
    with pytest.raises(ValueError, match="delegation key"):
        await queue.grant(unique, 8 * 24 * 3600)
    await queue.close()


async def test_agents_may_reach_the_queue_by_another_url(real: RealAzure, unique: str) -> None:
    from dataclasses import replace

    settings = replace(real.settings, queue_public_url="https://queues.example.org/account")
    queue = StorageQueue(settings, real.http, SystemClock(), real.credential)
    assert (await queue.grant(unique, 60)).startswith(f"https://queues.example.org/account/{unique}?")
    await queue.close()


async def test_no_secret_is_logged_or_shown(
    azurite_identity: RealEnds, real: RealAzure, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    url = await azurite_identity.queue.grant(unique, 60)
    await azurite_identity.queue.send(unique, "hello")
    secrets = [parse_qs(urlsplit(url).query)["sig"][0], azurite_identity.queue._delegation.value]
    token = (await real.credential.get_token("https://storage.azure.com/.default")).token
    shown = caplog.text + repr(azurite_identity.queue) + repr(real.settings) + repr(real.by_key)
    for secret in [*secrets, token, real.by_key.connection_string]:
        assert secret not in shown


async def _status(session: object, method: str, url: str) -> int:
    body = "<QueueMessage><MessageText>eA==</MessageText></QueueMessage>" if method == "POST" else None
    async with session.request(method, url, data=body) as answer:  # type: ignore[attr-defined]
        return int(answer.status)
