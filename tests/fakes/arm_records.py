"""What the fake ARM keeps beside resources: requests for the test to read, running operations, scripted failures."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from shared.seams import ArmKind, ArmRef, Json, OperationState


@dataclass(frozen=True)
class Request:
    """What was asked and when, secrets masked. `verb` is the seam's method name."""

    verb: str
    target: str
    body: Json | None = None
    outcome: str = "ok"
    at: datetime | None = None


@dataclass
class Running:
    url: str
    ref: ArmRef
    verb: str
    ends_at: datetime
    polls_left: int | None
    state: OperationState = OperationState.RUNNING
    fail: tuple[str, str] | None = None
    gone: bool = False


@dataclass
class Script:
    verb: str
    kind: ArmKind | None
    error: Exception | None = None
    after: bool = False
    operation_error: tuple[str, str] | None = None
    operation_gone: bool = False
