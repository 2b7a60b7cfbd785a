"""The host's time: the wall clock, and a schedule time that runs `factor` times as fast.

Timers are planned in schedule time so that a speed-up keeps their phase. Dividing each wait instead would make a timer
fire ever more often as its next full minute comes near. The price: after a speed-up the schedule stays ahead of UTC by
what was gained. What is persisted is always wall time, so a restarted host judges "past due" correctly.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

MAX_FACTOR = 3600.0


class HostClock:
    """Wall time plus an offset that grows by `factor - 1` seconds a second. Factor 1 is an ordinary clock."""

    def __init__(self, factor: float = 1.0) -> None:
        self._offset = 0.0
        self._since = time.monotonic()
        self._factor = _checked(factor)
        self._changed = asyncio.Event()

    @property
    def factor(self) -> float:
        return self._factor

    def set_factor(self, factor: float) -> None:
        """Change the speed from now on and wake every waiter. ValueError when it is not within 1..3600."""
        checked = _checked(factor)
        self._offset = self._gained()
        self._since = time.monotonic()
        self._factor = checked
        self._changed.set()
        self._changed = asyncio.Event()

    def now(self) -> datetime:
        """Wall time, UTC."""
        return datetime.now(UTC)

    def scheduled(self) -> datetime:
        """Schedule time, UTC: equal to wall time until a factor other than 1 was in force."""
        return self.now() + timedelta(seconds=self._gained())

    def wall(self, scheduled: datetime) -> datetime:
        """When `scheduled` will be reached on the wall clock if the factor stays."""
        now = self.now()
        return now + (scheduled - now - timedelta(seconds=self._gained())) / self._factor

    async def wait_until(self, scheduled: datetime, cancelled: asyncio.Event) -> bool:
        """Wait for a point of schedule time. False when `cancelled` was set first."""
        while not cancelled.is_set():
            remaining = (scheduled - self.scheduled()).total_seconds() / self._factor
            if remaining <= 0:
                return True
            await _first_of(cancelled, self._changed, timeout=remaining)
        return False

    def _gained(self) -> float:
        return self._offset + (self._factor - 1.0) * (time.monotonic() - self._since)


async def wait_event(event: asyncio.Event, timeout: float) -> bool:
    """Wait for an event at most `timeout` seconds; True when it is set."""
    try:
        async with asyncio.timeout(timeout):
            await event.wait()
    except TimeoutError:
        return False
    return True


async def _first_of(*events: asyncio.Event, timeout: float) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


def _checked(factor: float) -> float:
    if not 1.0 <= factor <= MAX_FACTOR:
        raise ValueError(f"the clock factor must be between 1 and {MAX_FACTOR:.0f}, not {factor}")
    return float(factor)
