"""Puts the host together: starts listeners and the HTTP server, and stops them in the order that loses nothing."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from lab.host.clock import HostClock
from lab.host.functions import AppFunction, describe
from lab.host.http import HttpFront
from lab.host.invoke import Invoker
from lab.host.queues import QueueListener
from lab.host.routes import Router
from lab.host.settings import HostSettings
from lab.host.storage import Storage
from lab.host.timers import TimerListener

log = logging.getLogger("lab.host")


@dataclass(frozen=True)
class Listen:
    """Where the HTTP server listens; port 0 takes a free one. With a certificate it speaks HTTPS only."""

    address: str = "127.0.0.1"
    port: int = 0
    cert: Path | None = None
    key: Path | None = None

    def tls(self) -> ssl.SSLContext | None:
        if self.cert is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.cert, self.key)
        return context


class Host:
    """`async with Host(...) as host:` serves; leaving drains for at most `drain` seconds. `host.url` tells where."""

    def __init__(
        self,
        app: Any,
        settings: HostSettings,
        listen: Listen,
        clock: HostClock,
        rng: random.Random,
        *,
        directory: Path,
        drain: float = 30.0,
        log_messages: bool = False,
    ) -> None:
        self.functions = describe(app.get_functions(), settings)
        self.clock = clock
        self.url = ""
        self.drained = True
        self._settings = settings
        self._listen = listen
        self._drain = drain
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._storage = Storage(settings.environ, settings.queues.base64)
        self._executor = ThreadPoolExecutor(max_workers=min(32, (os.cpu_count() or 1) + 4), thread_name_prefix="fn")
        self._invoker = Invoker(self._storage, self._executor, directory, log_messages)
        front = HttpFront(Router(self.functions, settings.route_prefix), self._invoker, clock, settings.environ)
        self._runner = web.AppRunner(
            front.application(), access_log=None, shutdown_timeout=drain, keepalive_timeout=240.0
        )
        host_id = settings.environ.get("AzureFunctionsWebHost__hostid", "homelink")
        make: dict[str, Callable[[AppFunction], QueueListener | TimerListener]] = {
            "queueTrigger": lambda f: QueueListener(f, self._storage, self._invoker, settings.queues, rng),
            "timerTrigger": lambda f: TimerListener(f, self._storage, self._invoker, clock, settings.locks, host_id),
        }
        self._listeners = [make[function.kind](function) for function in self.functions if function.kind in make]

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        tls = self._listen.tls()
        site = web.TCPSite(self._runner, self._listen.address, self._listen.port, ssl_context=tls)
        try:
            await site.start()
        except BaseException:
            await self._runner.cleanup()
            await self._close()
            raise
        port = self._runner.addresses[0][1]
        self.url = f"{'https' if tls else 'http'}://{self._listen.address}:{port}"
        self._tasks = [asyncio.create_task(listener.run(self._stop)) for listener in self._listeners]
        return self

    async def failed(self) -> BaseException | None:
        """Returns when a listener ended although nobody stopped it (a missing connection setting); else waits."""
        if not self._tasks:
            await self._stop.wait()
            return None
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(iter(done)).exception()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()  # nothing new is taken from queues and timers from here on
        await self._runner.cleanup()
        finished = await self._invoker.drain(self._drain)
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=5.0 if finished else 0.1)
            for task in late:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        if not finished:
            log.error("stopped with functions still running after %.0f s", self._drain)
        self.drained = finished
        await self._close()

    async def _close(self) -> None:
        await self._storage.close()
        self._executor.shutdown(wait=False, cancel_futures=True)
