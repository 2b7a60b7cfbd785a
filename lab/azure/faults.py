"""Azure's bad days on demand: refusals, failures, lost and slow operations, told to the lab through `/lab/faults`.

What Azure does by itself (a lock, an empty token bucket, an invalid peering address) needs no fault; this is for what
it does without a reason that a client could cause: 429 RetryableErrorDueToAnotherOperation, GwmOperationTimeOut after
two hours (recorded), an operation URL that answers 404 (azure-sdk-for-python #22061), an answer that never ends.
"""

from __future__ import annotations

from dataclasses import dataclass

from lab.azure.errors import ArmError, Json

KINDS = ("refuse", "fail", "lose", "slow")


@dataclass
class Fault:
    """For the next `times` requests (`refuse`) or operations (the others) whose verb is `method` and whose path or
    resource id contains `path` without regard to case.

    `fail`: the operation takes `seconds` more than it would and ends Failed, its resource too. `lose`: the operation
    does its work, but its URLs answer 404. `slow`: it takes `seconds` more. `refuse`: `status`, `code`, `message`.
    """

    kind: str
    method: str
    path: str
    times: int = 1
    status: int = 429
    code: str = "RetryableErrorDueToAnotherOperation"
    message: str = "The operation is blocked by another operation on the resource. Please retry later."
    retry_after: int | None = None
    seconds: float = 0.0

    @classmethod
    def parse(cls, given: Json) -> Fault:
        """From the JSON of a request; ValueError or TypeError say what is wrong with it."""
        fault = cls(**given)
        if fault.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}")
        if not fault.path or fault.method.upper() not in ("GET", "PUT", "POST", "PATCH", "DELETE"):
            raise ValueError("method must be an HTTP method and path a part of the path")
        return fault

    def error(self) -> ArmError:
        return ArmError(self.status, self.code, self.message, retry_after=self.retry_after)


class Faults:
    """The faults that are still to happen."""

    def __init__(self) -> None:
        self.waiting: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self.waiting.append(fault)

    def take(self, kinds: tuple[str, ...], method: str, path: str) -> Fault | None:
        """The first fault that fits; it has then happened once."""
        for fault in self.waiting:
            if fault.kind in kinds and fault.method.upper() == method.upper() and fault.path.lower() in path.lower():
                fault.times -= 1
                if fault.times <= 0:
                    self.waiting.remove(fault)
                return fault
        return None
