"""The one exception tree of the control plane.

HomelinkError
 ├─ NotFound                no such Gateway, Connection or Agent
 ├─ Refused                 understood, but not allowed in this state (the text says what to do instead)
 │   ├─ PlanChanged         the hash that was sent is not that of the present Plan
 │   └─ Precondition        an If-Match that does not hold, or a hash that is missing (`status` 412 or 428)
 ├─ StoreConflict           a row is not as it was read: somebody else wrote (a stale writer ends here)
 │   └─ RowExists           an insert met an existing row; inserts never overwrite
 ├─ TemporaryError(delay)   try again after `delay_s`; nothing is broken
 │   ├─ LeaseHeld           another instance works on this unit
 │   └─ ArmBusy             429, AnotherOperationInProgress, 5xx, timeouts
 └─ PermanentError          will not go away by waiting; a person or a changed spec is needed
     ├─ ArmRejected         ARM's own code and message
     └─ NotConfigured       the app settings; every problem at once

Beside it stand shared.domain.problem.InvalidInput (what a user sent, every problem of the document at once) and
shared.wire.errors.WireError: both live where this module may not be imported.
"""

from __future__ import annotations


class HomelinkError(Exception):
    """Says what, where, and what to do next; never holds a secret."""


class NotFound(HomelinkError):
    pass


class Refused(HomelinkError):
    pass


class PlanChanged(Refused):
    pass


class Precondition(Refused):
    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class StoreConflict(HomelinkError):
    pass


class RowExists(StoreConflict):
    pass


class TemporaryError(HomelinkError):
    def __init__(self, message: str, delay_s: float) -> None:
        super().__init__(message)
        self.delay_s = delay_s


class LeaseHeld(TemporaryError):
    pass


class ArmBusy(TemporaryError):
    """`code` is ARM's error code or the exception's name; `locked` when the resource, not the quota, is the reason."""

    def __init__(self, message: str, delay_s: float, code: str, locked: bool = False) -> None:
        super().__init__(message, delay_s)
        self.code = code
        self.locked = locked


class PermanentError(HomelinkError):
    pass


class ArmRejected(PermanentError):
    def __init__(self, message: str, status: int, code: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class NotConfigured(PermanentError):
    pass
