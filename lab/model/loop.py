"""Virtual time: an event loop whose clock jumps to the next timer, and the agent's synchronous code inside it.

The real handlers are asyncio and run here unchanged; `asyncio.sleep` costs no time at all, and what happens happens in
an order that only the program decides. The agent is synchronous: it runs in a greenlet (as SQLAlchemy does it), whose
calls to the outside world suspend it while other tasks run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from greenlet import getcurrent, greenlet

T = TypeVar("T")
EPOCH = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


class NothingLeft(Exception):
    """Every task waits for another one: a deadlock in the model."""


class VirtualLoop(asyncio.BaseEventLoop):
    """`time()` is seconds since the world began. There are no sockets, threads or signals."""

    def __init__(self, start: float = 0.0) -> None:
        super().__init__()
        self._now = start
        self._clock_resolution = 1e-6
        self._selector = self  # asyncio's own loop asks its selector to wait; here waiting is a jump

    def time(self) -> float:
        return self._now

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise NothingLeft
        self._now += timeout
        return []

    def _process_events(self, events: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


def run(main: Coroutine[Any, Any, T], start: float = 0.0) -> T:
    """Runs a world to the end of `main`, then cancels what is left of it."""
    loop = VirtualLoop(start)
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(main)
    finally:
        _cancel(loop)
        asyncio.set_event_loop(None)
        loop.close()


def _cancel(loop: VirtualLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in sorted(tasks, key=lambda t: t.get_name()):
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))


class LoopClock:
    """The time of the running loop, for every seam that asks: control plane, Azure and queues."""

    factor = 1.0

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def retry_after(self, seconds: float) -> int:
        return max(1, round(seconds))

    def set_factor(self, factor: float) -> None:
        raise ValueError("the model world has one pace")


async def synchronous(work: Callable[[], T]) -> T:
    """Runs synchronous code, which may `wait_for` coroutines on its way."""
    task = greenlet(work)
    wanted: Any = task.switch()
    while not task.dead:
        try:
            value = await wanted
        except BaseException as e:
            wanted = task.throw(e)
        else:
            wanted = task.switch(value)
    result: T = wanted
    return result


def wait_for(coroutine: Awaitable[T]) -> T:
    """From inside `synchronous`: the coroutine's result, other tasks running meanwhile."""
    parent = getcurrent().parent
    assert parent is not None, "only code that was started by `synchronous` can wait"
    result: T = parent.switch(coroutine)
    return result
