"""A user of the lab: speaks to Homelink's API as a person with curl would, and to the lab's own handles."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

import aiohttp

from lab.net.run import LabNetError, until

Json = dict[str, Any]


class ApiError(LabNetError):
    """An answer that was not expected; the text is the API's own."""


class Client:
    """`base` is the API's URL up to /api, `azure` that of the simulated Azure."""

    def __init__(self, base: str, azure: str, key: str, tls: ssl.SSLContext) -> None:
        self._base, self._azure, self._key = base, azure, key
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls, force_close=True), timeout=aiohttp.ClientTimeout(total=30)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def call(self, method: str, path: str, body: Any = None, text: str | None = None) -> Any:
        """JSON of the answer (None for 204). Raises ApiError for 400 and above."""
        return await self._send(method, f"{self._base}/api/{path}", body, text, {"x-functions-key": self._key})

    async def conditions(self, kind: str, name: str) -> dict[str, tuple[str, str, str]]:
        """Condition type -> (status, reason, message)."""
        found = await self.call("GET", f"{kind}/{name}/status")
        return {c["type"]: (c["status"], c["reason"], c["message"]) for c in found["conditions"]}

    async def clock(self, azure: float, timers: float) -> None:
        """The pace of the simulated Azure and of the host's timers."""
        await self._send("POST", f"{self._azure}/lab/clock", {"factor": azure}, None, {})
        await self._send("POST", f"{self._base}/admin/lab/clock", {"factor": timers}, None, {})

    async def metrics(self) -> Json:
        found: Json = await self._send("GET", f"{self._azure}/lab/metrics", None, None, {})
        return found

    async def _send(self, method: str, url: str, body: Any, text: str | None, headers: dict[str, str]) -> Any:
        if self._session is None:
            raise ApiError("the client is not open: use `async with`")
        data = text.encode() if text is not None else None
        async with self._session.request(method, url, json=body, data=data, headers=headers) as response:
            if response.status >= 400:
                raise ApiError(f"{method} {url} answered {response.status}: {(await response.text())[:2000]}")
            return None if response.status == 204 else await response.json(content_type=None)


async def eventually(what: str, probe: Callable[[], Awaitable[bool]], within: float, every: float = 0.2) -> None:
    """Polls `probe`, which may fail while things start, until it holds."""

    async def holds() -> bool:
        try:
            return await probe()
        except (aiohttp.ClientError, ApiError, TimeoutError):
            return False

    await until(what, holds, within=within, every=every)
