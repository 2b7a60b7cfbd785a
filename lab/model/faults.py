"""Faults at the seams: a process that dies, or an answer that never comes, before or after a chosen call takes effect.

A process is one invocation of a function, or one life of the agent. What a dead process would not do, nothing in it
does: every later call of it dies too, `finally` included.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from lab.model.loop import wait_for

Kind = Literal["kill", "error", "stall"]


class Killed(BaseException):
    """Not an Exception: no handler may take it for something that it can deal with."""


@dataclass
class Strike:
    """`where` is "functions" or an agent's home; `call` as in "store.transact", "" is any; so many calls of that name
    are let pass. With `after`, the call takes effect and its answer is lost. It happens `times` times in a row. A
    stalled call goes on as if nothing had been, after so many seconds."""

    kind: Kind
    where: str
    call: str
    skip: int = 0
    after: bool = False
    times: int = 1
    seconds: float = 0.0


@dataclass
class Injector:
    """`done`: the strikes that happened, as (kind, where, call, after); `calls`: all that could have been struck, as
    (where, call), in order."""

    waiting: list[Strike] = field(default_factory=list)
    done: list[tuple[str, str, str, bool]] = field(default_factory=list)
    calls: list[tuple[str, str]] = field(default_factory=list)
    active: bool = True

    def take(self, where: str, call: str) -> Strike | None:
        """The strike that meets this call, if any; told once per call."""
        if not self.active:
            return None
        self.calls.append((where, call))
        for strike in self.waiting:
            if strike.where == where and strike.call in ("", call):
                if strike.skip > 0:
                    strike.skip -= 1
                    continue
                strike.times -= 1
                if strike.times <= 0:
                    self.waiting.remove(strike)
                self.done.append((strike.kind, where, call, strike.after))
                return strike
        return None


class Process:
    """`fail` makes the error that a call of this name gets when it is struck; `tell` hears of every call that ends."""

    def __init__(
        self, where: str, injector: Injector, fail: Callable[[str], Exception], tell: Callable[[str, str], None]
    ) -> None:
        self.where, self.alive = where, True
        self._injector, self._fail, self._tell = injector, fail, tell

    def check(self) -> None:
        if not self.alive:
            raise Killed

    def kill(self) -> None:
        self.alive = False

    def strike(self, strike: Strike | None, call: str, after: bool) -> None:
        """Raises what the strike means for a call at this point of it."""
        if strike is None or strike.after is not after:
            return
        self._tell(call, f"{strike.kind} {'after' if after else 'before'}")
        if strike.kind == "stall":
            return
        if strike.kind == "kill":
            self.alive = False
            raise Killed
        raise self._fail(call)

    async def through(
        self, call: str, wait: Callable[[], Awaitable[None]], real: Callable[..., Awaitable[Any]], *args: Any, **k: Any
    ) -> Any:
        """An asynchronous call: `wait` is its way there."""
        self.check()
        strike = self._injector.take(self.where, call)
        await wait()
        self.check()
        self.strike(strike, call, False)
        await self._stall(strike, False)
        try:
            answer = await real(*args, **k)
        except Exception as e:
            self._tell(call, type(e).__name__)
            raise
        self._tell(call, "")
        self.strike(strike, call, True)
        await self._stall(strike, True)
        return answer

    async def _stall(self, strike: Strike | None, after: bool) -> None:
        if strike is not None and strike.kind == "stall" and strike.after is after:
            await asyncio.sleep(strike.seconds)
            self.check()

    def at_once(self, call: str, real: Callable[..., Any], *args: Any, **k: Any) -> Any:
        """A synchronous call."""
        self.check()
        strike = self._injector.take(self.where, call)
        self.strike(strike, call, False)
        if strike is not None and strike.kind == "stall":
            wait_for(self._stall(strike, False))
        answer = real(*args, **k)
        self.check()  # what it did may have waited, and the process died meanwhile
        self.strike(strike, call, True)
        if strike is not None and strike.kind == "stall":
            wait_for(self._stall(strike, True))
        return answer


class AsyncSeam:
    """Any asynchronous seam as a process sees it: its coroutines go through the process, the rest is its own."""

    def __init__(self, process: Process, name: str, real: Any, wait: Callable[[], Awaitable[None]]) -> None:
        self._process, self._name, self._real, self._wait = process, name, real, wait

    def __getattr__(self, verb: str) -> Any:
        real = getattr(self._real, verb)
        if not inspect.iscoroutinefunction(real):
            return real
        process, wait, call = self._process, self._wait, f"{self._name}.{verb}"

        async def through(*args: Any, **named: Any) -> Any:
            return await process.through(call, wait, real, *args, **named)

        self.__dict__[verb] = through
        return through


class Seam:
    """Any synchronous seam as a process sees it."""

    def __init__(self, process: Process, name: str, real: Any) -> None:
        self._process, self._name, self._real = process, name, real

    def __getattr__(self, verb: str) -> Any:
        real = getattr(self._real, verb)
        if not callable(real):
            return real
        process, call = self._process, f"{self._name}.{verb}"

        def through(*args: Any, **named: Any) -> Any:
            return process.at_once(call, real, *args, **named)

        self.__dict__[verb] = through
        return through
