"""Long-running operations: what is in progress, on which resources, and how it ended.

An operation holds keys (lower-case resource ids). A second write that needs one of them is refused with 409, as Azure
does on a gateway and everything that depends on it. Operations are kept after their end, because clients poll them
once more or resume after hours; the lab lives too briefly to need an expiry.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from lab.azure.clock import Clock
from lab.azure.errors import ArmError, another_operation
from lab.azure.faults import Faults
from lab.azure.statelog import StateLog

Finish = Callable[[], Awaitable[Any]]
Fail = Callable[[ArmError], None]


@dataclass
class Operation:
    """`status` is InProgress, Succeeded or Failed; `result` is what operationResults answers with in the end."""

    id: str
    verb: str
    location: str
    keys: frozenset[str]
    retry_after: float
    subject: str = ""
    status: str = "InProgress"
    error: ArmError | None = None
    result: Any = field(default=None, repr=False)

    @property
    def running(self) -> bool:
        return self.status == "InProgress"


class Operations:
    """Starts and remembers operations."""

    def __init__(self, clock: Clock, new_id: Callable[[], str], log: StateLog, faults: Faults | None = None) -> None:
        self._clock = clock
        self._new_id = new_id
        self._log = log
        self._faults = faults or Faults()
        self._lost: set[str] = set()
        self._operations: dict[str, Operation] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def require_free(self, keys: Iterable[str]) -> None:
        """Raise 409 AnotherOperationInProgress if one of the keys is held."""
        wanted = set(keys)
        for operation in self._operations.values():
            if operation.running and operation.keys & wanted:
                raise another_operation(operation.id)

    def start(
        self,
        verb: str,
        subject: str,
        location: str,
        keys: Iterable[str],
        seconds: float,
        finish: Finish | None = None,
        *,
        begin: Finish | None = None,
        fail: Fail | None = None,
        retry_after: float,
    ) -> Operation:
        """Run `begin` now and `finish` after so many Azure seconds; an ArmError out of them makes it fail."""
        operation = Operation(self._new_id(), verb, location, frozenset(keys), retry_after, subject)
        self._operations[operation.id] = operation
        fault = self._faults.take(("fail", "lose", "slow"), verb, subject)
        if fault is not None:
            seconds += fault.seconds
            if fault.kind == "lose":
                self._lost.add(operation.id)
        self._log.write("operation started", subject, verb=verb, operation=operation.id, azure_seconds=seconds)

        async def work() -> Any:
            if begin is not None:
                await begin()
            await self._clock.sleep(seconds)
            if fault is not None and fault.kind == "fail":
                raise fault.error()
            return await finish() if finish is not None else None

        task = asyncio.create_task(self._run(operation, subject, work, fail))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return operation

    async def _run(self, operation: Operation, subject: str, work: Finish, fail: Fail | None) -> None:
        try:
            operation.result = await work() or operation.result
            operation.status = "Succeeded"
        except ArmError as error:
            operation.error = error
        except Exception as error:
            # The data plane broke: that is the lab's fault, so the log gets the cause and the client Azure's answer.
            self._log.write("data plane error", subject, error=f"{type(error).__name__}: {error}")
            operation.error = ArmError(500, "InternalServerError", "An error occurred.")
        if operation.error is not None:
            operation.status = "Failed"
            if fail is not None:
                fail(operation.error)
        code = operation.error.code if operation.error else None
        self._log.write("operation ended", subject, operation=operation.id, status=operation.status, code=code)

    def get(self, operation_id: str) -> Operation | None:
        """None for what never was, and for what a fault made the lab forget."""
        return None if operation_id.lower() in self._lost else self._operations.get(operation_id.lower())

    async def close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
