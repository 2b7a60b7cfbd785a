"""Calls one function once: decodes what triggered it, runs it, sends what it put into its outputs.

Decoding and encoding are Microsoft's own converters (`azure.functions.get_binding_registry`), so types and refusals are
those of the real worker. A failure is logged by its type and place only: messages and bodies may hold what a caller
sent. `log_messages` adds the exception's text for someone who debugs with their own data.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import json
import logging
import threading
import time
import traceback
import uuid
from collections.abc import Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, Protocol

import azure.functions as azf
from azure.functions.meta import Datum

from lab.host.functions import RETURN, AppFunction, QueueOutput

log = logging.getLogger("lab.host")


class QueueSender(Protocol):
    """Where queue outputs go."""

    async def send(self, connection: str, queue: str, body: bytes) -> None: ...


class InvocationFailed(Exception):
    """The function, or one of its outputs, raised; it has been logged."""


class InvocationContext(azf.Context):
    """What a function gets as `context`. No distributed tracing and no retry policies here: both are None."""

    def __init__(self, name: str, directory: Path) -> None:
        self._name = name
        self._directory = directory
        self._id = str(uuid.uuid4())
        self._local = threading.local()
        self._local.invocation_id = self._id

    @property
    def invocation_id(self) -> str:
        return self._id

    @property
    def function_name(self) -> str:
        return self._name

    @property
    def function_directory(self) -> str:
        return str(self._directory)

    @property
    def thread_local_storage(self) -> Any:
        return self._local

    @property
    def trace_context(self) -> Any:
        return None

    @property
    def retry_context(self) -> Any:
        return None


class _Out(azf.Out[Any]):
    def __init__(self) -> None:
        self._value: Any = None

    def set(self, val: Any) -> None:
        self._value = val

    def get(self) -> Any:
        return self._value


def converter(binding: str) -> Any:
    """Microsoft's converter of a binding type, as its worker uses it."""
    registry: Any = azf.get_binding_registry
    return registry().get(binding)


class Invoker:
    """Runs functions on the event loop (async) or in a thread pool (sync), as Azure's worker does."""

    def __init__(self, sender: QueueSender, executor: Executor, directory: Path, log_messages: bool = False) -> None:
        self._sender = sender
        self._executor = executor
        self._directory = directory
        self._log_messages = log_messages
        self._running: set[asyncio.Task[Any]] = set()

    async def __call__(self, function: AppFunction, data: Datum, metadata: Mapping[str, Datum]) -> Any:
        """One invocation. Returns what the function returned; raises InvocationFailed.

        It is shielded: when the caller goes away (an HTTP client that hung up) the function still ends in order.
        """
        task = asyncio.ensure_future(self._run(function, data, metadata))
        self._running.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    async def drain(self, timeout: float) -> bool:
        """Wait for running invocations. False when some were still running after `timeout` seconds."""
        if self._running:
            _, pending = await asyncio.wait(self._running, timeout=timeout)
            return not pending
        return True

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()

    async def _run(self, function: AppFunction, data: Datum, metadata: Mapping[str, Datum]) -> Any:
        context = InvocationContext(function.name, self._directory)
        began = time.monotonic()
        try:
            arguments = {function.argument: converter(function.kind).decode(data, trigger_metadata=metadata)}
            outs = {output.argument: _Out() for output in function.outputs if output.argument != RETURN}
            arguments |= outs
            if function.takes_context:
                arguments["context"] = context
            result = await self._call(function, arguments)
            for output in function.outputs:
                value = result if output.argument == RETURN else outs[output.argument].get()
                await self._send(output, value)
        except Exception as error:
            log.error("%s %s failed: %s", function.name, context.invocation_id, self._describe(error))
            raise InvocationFailed(function.name) from None
        log.debug("%s %s ok in %.0f ms", function.name, context.invocation_id, (time.monotonic() - began) * 1000)
        return result

    async def _call(self, function: AppFunction, arguments: dict[str, Any]) -> Any:
        if function.is_async:
            return await function.call(**arguments)
        call = functools.partial(contextvars.copy_context().run, function.call, **arguments)
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)

    async def _send(self, output: QueueOutput, value: Any) -> None:
        if value is None:
            return
        datum = converter("queue").encode(value, expected_type=None)
        for body in _bodies(datum):
            await self._sender.send(output.connection, output.queue, body)

    def _describe(self, error: BaseException) -> str:
        parts: list[str] = []
        seen: BaseException | None = error
        while seen is not None and len(parts) < 4:
            frames = traceback.extract_tb(seen.__traceback__)[-3:]
            places = " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames[::-1])
            text = f" ({str(seen)[:300]})" if self._log_messages else ""
            parts.append(f"{type(seen).__module__}.{type(seen).__qualname__}{text} at {places}")
            seen = seen.__cause__
        return "; caused by ".join(parts)


def _bodies(datum: Datum) -> list[bytes]:
    if datum.type == "bytes":
        return [bytes(datum.value)]
    if datum.type == "string":
        return [str(datum.value).encode()]
    value = json.loads(datum.value)
    items = value if isinstance(value, list) else [value]
    return [(item if isinstance(item, str) else str(item["body"])).encode() for item in items]
