"""How storage and vault calls fail: in time, with our errors, and without the service's own words."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web

from shared.azure import calls
from shared.azure.calls import Http, retry_after
from shared.azure.queue import StorageQueue
from shared.azure.settings import AzureSettings
from shared.azure.store import TableStore, escape, unescape
from shared.azure.system import SystemClock, SystemRandom
from shared.errors import PermanentError, TemporaryError
from shared.seams import Write, WriteKind

KEY = "a2V5a2V5"


@dataclass
class Storage:
    settings: AzureSettings
    http: Http
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]]
    asked: int = 0

    def calls(self) -> list[Awaitable[Any]]:
        store = TableStore(self.settings, self.http)
        queue = StorageQueue(self.settings, self.http, SystemClock())
        return [
            store.get("rows", "p", "k"),
            store.query("rows", "p"),
            store.transact("rows", "p", [Write(WriteKind.INSERT, "k")]),
            queue.send("reconcile", "x"),
            queue.remove("reconcile"),
        ]


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Storage]:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    made: Storage

    async def handle(request: web.Request) -> web.StreamResponse:
        made.asked += 1
        return await made.answer(request)

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    url = f"https://127.0.0.1:{runner.addresses[0][1]}/acc"
    text = f"DefaultEndpointsProtocol=https;AccountName=acc;AccountKey={KEY};TableEndpoint={url};QueueEndpoint={url}"
    made = Storage(AzureSettings("c", "https://vault.test", connection_string=text), Http(tmp_path / "ca.pem"), handle)
    yield made
    await made.http.close()
    await runner.cleanup()


def answering(status: int, code: str, **headers: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(_: web.Request) -> web.StreamResponse:
        words = f"<Error><Code>{code}</Code><Message>The MAC signature sig=s3cret is not the same</Message></Error>"
        named = {"x-ms-error-code": code} | {k.replace("_", "-"): v for k, v in headers.items()}
        return web.Response(status=status, text=words, content_type="application/xml", headers=named)

    return answer


async def test_a_busy_service_is_tried_again_later_and_not_in_the_process(storage: Storage) -> None:
    storage.answer = answering(503, "ServerBusy", Retry_After="11")
    started = asyncio.get_running_loop().time()
    for call in storage.calls():
        with pytest.raises(TemporaryError, match="ServerBusy") as busy:
            await call
        assert busy.value.delay_s == 11
    assert storage.asked == 5 and asyncio.get_running_loop().time() - started < 5


async def test_a_refusal_says_what_to_do_and_quotes_no_signature(storage: Storage) -> None:
    storage.answer = answering(403, "AuthenticationFailed")
    for call in storage.calls():
        with pytest.raises(PermanentError, match="AuthenticationFailed") as refused:
            await call
        assert "role" in str(refused.value) and "s3cret" not in str(refused.value)


async def test_an_answer_that_does_not_come_is_bounded(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    storage.answer = never
    monkeypatch.setattr(calls, "TOTAL_S", 0.1)
    for call in storage.calls():
        with pytest.raises(TemporaryError, match="no answer within"):
            await call


async def test_a_service_that_is_not_there(storage: Storage) -> None:
    away = storage.settings.connection_string.replace("127.0.0.1:", "127.0.0.9:")
    for call in replace(storage, settings=replace(storage.settings, connection_string=away)).calls():
        with pytest.raises(TemporaryError) as lost:
            await call
        assert KEY not in str(lost.value)


async def test_an_untrusted_certificate_is_named(storage: Storage) -> None:
    http = Http()
    for call in replace(storage, http=http).calls():
        with pytest.raises(TemporaryError, match="HOMELINK_CA_FILE"):
            await call
    await http.close()
    assert storage.asked == 0


@pytest.mark.parametrize(
    ("value", "seconds"), [("7", 7), ("0", 1), ("", 5), ("soon", 5), ("-1", 5), ("999999", 3600), ("1.5", 5)]
)
def test_retry_after(value: str, seconds: float) -> None:
    assert retry_after({"Retry-After": value}) == seconds


@pytest.mark.parametrize("key", ["plain-1.2_3:4@5=6~7", "a/b", "!", "!2f", "ä!/🏠", "\x00\x1f\x7f"])
def test_keys_are_escaped_and_back(key: str) -> None:
    stored = escape(key)
    assert unescape(stored) == key and not set(stored) & set("/\\#?%+'\x00")
    assert all(escape(key[:i]) == stored[: len(escape(key[:i]))] for i in range(len(key)))


def test_clock_and_randomness() -> None:
    assert SystemClock().now().tzinfo is not None
    assert len(SystemRandom().token(16)) == 16 and SystemRandom().token(16) != SystemRandom().token(16)
