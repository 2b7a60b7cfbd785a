"""The Functions host of the model world: it runs the functions of `function_app.py`, unchanged, in virtual time.

What of Azure's host matters to the control plane is here: invocations run beside each other, a message is hidden while
its function runs, a failed one comes again and ends in the poison queue, a crashed one stays hidden for ten minutes,
outputs are sent when the function has returned, timers that were missed are not made up for. Routes and bindings are
read by the lab's own host (`lab.host`), so both worlds see the same app.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import azure.functions as func

import function_app
from lab.host.functions import AppFunction, describe
from lab.host.routes import Router
from lab.host.schedule import Schedule
from lab.host.settings import load
from lab.model.faults import Killed, Process
from lab.model.loop import LoopClock
from lab.model.queue import ModelQueue
from shared import wiring
from shared.control.services import Services

SETTINGS = load(Path(function_app.__file__).parent, {})
LISTED = tuple(function_app.app.get_functions())
"""As the app registered them; it may be asked only once in its life."""
FUNCTIONS: dict[str, AppFunction] = {f.name: f for f in describe(LISTED, SETTINGS)}
ROUTER = Router(FUNCTIONS.values(), SETTINGS.route_prefix)
TIMERS = {f.name: Schedule(str(f.trigger["schedule"]), f.name) for f in FUNCTIONS.values() if f.kind == "timerTrigger"}
QUEUES = {str(f.trigger["queueName"]): f for f in FUNCTIONS.values() if f.kind == "queueTrigger"}


class Gone(Exception):
    """Nobody answers: the host is down, or the process that was to answer died."""


class _Out:
    """An output binding. What is set is sent when the function has returned."""

    def __init__(self) -> None:
        self.value: Any = None

    def set(self, value: Any) -> None:
        self.value = value

    def get(self) -> Any:
        return self.value


@dataclass
class Hosted:
    """What a host needs of its world. `services` makes what one invocation may reach, `process` that invocation;
    `pause` is what a trigger takes to notice (cold starts now and then), in seconds; `broken` hears of an exception
    that no handler turned into an answer, with the message that it was about."""

    queue: ModelQueue
    process: Callable[[str], Process]
    services: Callable[[Process], Services]
    pause: Callable[[], float]
    broken: Callable[[str, Exception, str], None]


class Host:
    """`run` serves timers and queues; `http` answers requests. `up` false: nothing of it exists."""

    def __init__(self, hosted: Hosted) -> None:
        self._h = hosted
        self.up = True
        self._back = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        self._processes: list[Process] = []

    async def run(self) -> None:
        clock = LoopClock()
        async with asyncio.TaskGroup() as group:
            for name, schedule in TIMERS.items():
                group.create_task(self._timer(FUNCTIONS[name], schedule, clock))
            for queue, function in QUEUES.items():
                group.create_task(self._queue(queue, function))

    def start(self) -> None:
        self.up = True
        self._back.set()

    def stop(self) -> None:
        """Every invocation dies where it is; nothing is served until `start`."""
        self.up = False
        self._back.clear()
        for process in self._processes:
            process.kill()

    async def _timer(self, function: AppFunction, schedule: Schedule, clock: LoopClock) -> None:
        while True:
            due = schedule.after(clock.now())
            await asyncio.sleep((due - clock.now()).total_seconds())
            await asyncio.sleep(self._h.pause())
            if self.up:
                await self._quietly(function, {function.argument: _Timer()})
            else:
                await self._back.wait()

    async def _queue(self, name: str, function: AppFunction) -> None:
        queue = self._h.queue
        while True:
            await queue.wait_visible(name)
            await asyncio.sleep(self._h.pause())
            if not self.up:
                await self._back.wait()
                continue
            while self.up and (message := queue.receive(name, SETTINGS.queues.hidden)) is not None:
                task = asyncio.create_task(self._message(name, function, message))
                self._running.add(task)
                task.add_done_callback(self._running.discard)

    async def _message(self, name: str, function: AppFunction, message: Any) -> None:
        options, queue = SETTINGS.queues, self._h.queue
        given = func.QueueMessage(id=str(message.number), body=message.text.encode())
        try:
            await self._invoke(function, {function.argument: given})
        except Killed:
            return  # nobody is left to say so: the message comes up again when its time is over
        except Exception as e:
            if message.dequeue_count >= options.max_dequeue_count:
                self._h.broken(f"{function.name}: to {name}-poison", e, message.text)
                await queue.send(f"{name}-poison", message.text)
                queue.delete(name, message)
            else:
                queue.show(name, message, options.visibility_timeout)
            return
        queue.delete(name, message)

    async def _quietly(self, function: AppFunction, bindings: dict[str, Any]) -> None:
        try:
            await self._invoke(function, bindings)
        except Killed:
            return
        except Exception as e:
            self._h.broken(function.name, e, "")

    async def http(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, source: str
    ) -> tuple[int, dict[str, str], bytes]:
        """One request from `source`; raises Gone."""
        if not self.up:
            raise Gone
        parts = urlsplit(url)
        found = ROUTER.find(method, parts.path)
        if found is None:
            return 404, {}, b""
        route, params = found
        request = func.HttpRequest(
            method=method,
            url=url,
            headers={**headers, "X-Forwarded-For": f"{source}:50123"},
            params=dict(parse_qsl(parts.query)),
            route_params=params,
            body=body,
        )
        try:
            response = await self._invoke(route.function, {route.function.argument: request})
        except Killed:
            raise Gone from None
        except Exception as e:
            self._h.broken(f"{method} {parts.path}", e, "")
            return 500, {}, b""
        return response.status_code, dict(response.headers), response.get_body()

    async def _invoke(self, function: AppFunction, bindings: dict[str, Any]) -> Any:
        """In a task of its own, so that what is bound holds for this invocation alone."""
        return await asyncio.create_task(self._run(function, bindings))

    async def _run(self, function: AppFunction, bindings: dict[str, Any]) -> Any:
        process = self._h.process(function.name)
        self._processes.append(process)
        outs = {o.argument: _Out() for o in function.outputs}
        try:
            wiring.bind(self._h.services(process))
            answer = await function.call(**bindings, **outs)
            process.check()
            for output in function.outputs:
                value = outs[output.argument].value
                for text in [] if value is None else value if isinstance(value, list) else [value]:
                    await self._h.queue.send(output.queue, text)
            return answer
        finally:
            self._processes.remove(process)


class _Timer(func.TimerRequest):
    @property
    def past_due(self) -> bool:
        return False
