"""A process that dies at a chosen call of a seam: before it takes effect, or after it, its answer being lost.

What a dead process would not do, nothing in it does: every later call dies too, `finally` included, until `revive`.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

READS = {"get", "list", "query", "scan", "look", "poll", "has_shared_key", "move_shared_key"}


class Crash(BaseException):
    """Not an Exception: no handler may take it for something that it can deal with."""


class Fault:
    """Counts the calls made while `active`, by name in `calls`; kills at number `at` (0 is the first). `pause` is
    awaited before a call takes effect, `done` is told of every call that did."""

    def __init__(self) -> None:
        self.active = False
        self.at: int | None = None
        self.after = False
        self.dead = False
        self.calls: list[str] = []
        self.pause: Callable[[int], Awaitable[None]] | None = None
        self.done: Callable[[str], None] | None = None

    def kill(self, at: int, after: bool) -> None:
        self.at, self.after, self.calls = at, after, []

    def revive(self) -> None:
        self.dead, self.at = False, None

    def around(self, name: str, seam: Any) -> Any:
        return _Around(self, name, seam)

    async def call(self, name: str, real: Callable[..., Awaitable[Any]], *args: Any, **named: Any) -> Any:
        if self.dead:
            raise Crash(name)
        if not self.active:
            return await real(*args, **named)
        number = len(self.calls)
        self.calls.append(name)
        if self.pause is not None:
            await self.pause(number)
        self._die(number, False, name)
        answer = await real(*args, **named)
        if self.done is not None:
            self.done(name)
        self._die(number, True, name)
        return answer

    def _die(self, number: int, after: bool, name: str) -> None:
        if number == self.at and after is self.after:
            self.dead = True
            raise Crash(f"{name} ({'after' if after else 'before'})")


class _Around:
    """Any seam: its coroutines go through the Fault, everything else is the seam's own."""

    def __init__(self, fault: Fault, name: str, seam: Any) -> None:
        self._fault, self._name, self._seam = fault, name, seam

    def __getattr__(self, verb: str) -> Any:
        if verb.startswith("_"):
            raise AttributeError(verb)  # copy.deepcopy asks before there is anything inside
        real = getattr(self._seam, verb)
        if not inspect.iscoroutinefunction(real):
            return real

        async def call(*args: Any, **named: Any) -> Any:
            return await self._fault.call(f"{self._name}.{verb}", real, *args, **named)

        return call
