"""Azure's time, which the lab may run faster than the wall's.

What Azure takes (creating a gateway, an operation, the DNS cache of a disconnected tunnel) is slept in Azure seconds
and divided by the factor F. The factor may change while something sleeps: the rest of the sleep then runs at the new
pace, so switching to F = 1 at the address change does not cut a running operation short. Tests use `VirtualClock`,
which moves only when told to: an hour of ARM costs no wall time and always happens in the same order.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Seconds are Azure seconds unless said otherwise."""

    @property
    def factor(self) -> float: ...
    def set_factor(self, factor: float) -> None: ...
    def now(self) -> datetime:
        """The time that responses and logs show."""
        ...

    def monotonic(self) -> float: ...
    async def sleep(self, seconds: float) -> None: ...
    def retry_after(self, seconds: float) -> int:
        """What a Retry-After header must say, in wall seconds, for a client to come back in so many Azure seconds."""
        ...


def check_factor(factor: float) -> float:
    """Between 0.01 and 10,000; anything else is a typing error rather than a wish."""
    if not 0.01 <= factor <= 10_000:
        raise ValueError(f"clock factor {factor} is outside 0.01 to 10000: give how many times faster Azure shall run")
    return factor


class ScaledClock:
    """Real time, multiplied."""

    def __init__(self, factor: float = 1.0) -> None:
        self._factor = check_factor(factor)
        self._changed = asyncio.Event()
        self._base = 0.0
        self._since: float | None = None

    @property
    def factor(self) -> float:
        return self._factor

    def set_factor(self, factor: float) -> None:
        check_factor(factor)
        self._base = self.monotonic()
        self._since = asyncio.get_running_loop().time()
        self._factor = factor
        self._changed.set()
        self._changed = asyncio.Event()

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        wall = asyncio.get_running_loop().time()
        if self._since is None:
            self._since = wall
        return self._base + (wall - self._since) * self._factor

    async def sleep(self, seconds: float) -> None:
        deadline = self.monotonic() + seconds
        while (remaining := deadline - self.monotonic()) > 0:
            changed = self._changed
            try:
                async with asyncio.timeout(remaining / self._factor):
                    await changed.wait()
            except TimeoutError:
                return

    def retry_after(self, seconds: float) -> int:
        return max(1, round(seconds / self._factor))


class VirtualClock:
    """Stands still until `advance`; its factor is kept but changes nothing."""

    def __init__(self, start: datetime = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)) -> None:
        self._start = start
        self._time = 0.0
        self._factor = 1.0
        self._timers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    @property
    def factor(self) -> float:
        return self._factor

    def set_factor(self, factor: float) -> None:
        self._factor = check_factor(factor)

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._time)

    def monotonic(self) -> float:
        return self._time

    async def sleep(self, seconds: float) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._timers, (self._time + max(0.0, seconds), next(self._order), done))
        await done

    def retry_after(self, seconds: float) -> int:
        return max(1, round(seconds))

    async def advance(self, seconds: float) -> None:
        """Let so many seconds pass, waking sleepers in order and letting each do what it does next."""
        await self._settle()
        target = self._time + seconds
        while self._timers and self._timers[0][0] <= target:
            when, _, done = heapq.heappop(self._timers)
            self._time = max(self._time, when)
            if not done.done():
                done.set_result(None)
                await self._settle()
        self._time = target

    async def _settle(self) -> None:
        # Woken tasks await only each other here, never a socket; twenty turns let a chain of them finish.
        for _ in range(20):
            await asyncio.sleep(0)
