"""Which Events a step has to tell: the difference between what is stored and what is about to be stored.

Made from the difference and not where things happen, so that an Event is told exactly when its state is stored: a step
that dies before it has told nothing, and the next one tells it. A Condition's first value is no transition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from shared.domain.conditions import Condition

from .events import Reason, Told
from .unit import CommandRow, IncidentRow, LinkRow, OperationRow, StateRow

UNDER_WAY = {"Pending", "OperationRunning", "Updating", "Creating", "Deleting", "Waiting", "Unconfirmed"}
"""Reasons of a Condition that is not True and needs nobody's attention."""


def of_state(
    old: StateRow, new: StateRow, concerned: Callable[[str, str], str | None]
) -> Iterator[tuple[str | None, Told]]:
    """With the Connection that an operation concerns, None for the Gateway's own; `concerned` tells it by kind and name
    of a resource."""
    before, after = old.operation, new.operation
    refusal = new.refusal if new.refusal != old.refusal else None
    if before is not None and (after is None or after.started != before.started or after.url != before.url):
        if refusal is not None and refusal.target == _target(before):
            failed = Told(Reason.OPERATION_FAILED, f"{_what(before)}: {refusal.code}: {refusal.message}", "Warning")
            yield concerned(before.kind, before.name), failed
            refusal = None
        else:
            yield concerned(before.kind, before.name), Told(Reason.OPERATION_ENDED, f"{_what(before)} has ended.")
        before = None
    if after is not None and before is None:
        yield concerned(after.kind, after.name), Told(Reason.OPERATION_STARTED, f"{_what(after)} has started.")
    if refusal is not None:
        kind, _, name = refusal.target.partition("/")
        told = Told(Reason.AZURE_REFUSED, f"{refusal.target}: {refusal.code}: {refusal.message}", "Warning")
        yield concerned(kind, name), told
    for told in _of_conditions(old.conditions, new.conditions):
        yield None, told


def of_link(old: LinkRow, new: LinkRow) -> Iterator[Told]:
    if old.psk_version is not None and new.psk_version not in (None, old.psk_version):
        yield Told(Reason.KEY_CHANGED, "The vault has a new version of the pre-shared key; both ends get it.")
    if new.psk_taken not in (None, old.psk_taken):
        advice = " It would be refused in a new Connection: PUT a longer one when you can." if new.psk_unusual else ""
        message = f"The pre-shared key that Azure has was moved into the vault.{advice}"
        yield Told(Reason.KEY_TAKEN, message, "Warning" if advice else "Normal")
    if new.pin is not None and new.pin != old.pin:
        yield Told(Reason.PIN_SET, f"Azure is pointed at {new.pin.address} until the name has settled.", "Warning")
    if old.pin is not None and new.pin is None:
        yield Told(Reason.PIN_ENDED, f"Azure follows the name again instead of {old.pin.address}.")
    known = {c.id: c for c in old.commands}
    for command in new.commands:
        before = known.get(command.id)
        if before is None:
            yield Told(Reason.COMMAND_ISSUED, f"{command.kind} {command.id} was sent to the agent.")
        if command.outcome is not None and (before is None or before.outcome is None):
            yield _answered(command)
    yield from _of_conditions(old.conditions, new.conditions)


def of_incident(old: IncidentRow | None, new: IncidentRow) -> Iterator[Told]:
    if old is None:
        yield Told(Reason.INCIDENT_OPENED, f"Incident {new.id}: {new.finding}.", "Warning")
    if new.exhausted is not None and (old is None or old.exhausted is None):
        yield Told(Reason.REPAIRS_EXHAUSTED, f"Incident {new.id}: {new.exhausted}", "Warning")
    if new.verified is not None and (old is None or old.verified is None):
        yield Told(Reason.INCIDENT_VERIFIED, f"Incident {new.id}: the tunnel is proven to work again.")
    if new.closed is not None and (old is None or old.closed is None):
        yield Told(Reason.INCIDENT_CLOSED, f"Incident {new.id} ({new.finding}): nothing is left to do.")


def _of_conditions(old: Iterable[Condition], new: Iterable[Condition]) -> Iterator[Told]:
    before = {c.type: (c.status, c.reason) for c in old}
    for c in new:
        if c.type in before and before[c.type] != (c.status, c.reason):
            calm = c.status == "True" or c.reason in UNDER_WAY
            yield Told(c.reason, f"{c.type} is {c.status}: {c.message}", "Normal" if calm else "Warning")


def _answered(command: CommandRow) -> Told:
    what = f"{command.kind} {command.id}: {command.outcome}"
    if command.outcome == CommandRow.UNANSWERED:
        return Told(Reason.COMMAND_UNANSWERED, f"{command.kind} {command.id} ran out without an answer.", "Warning")
    if command.outcome in ("done", "superseded"):
        return Told(Reason.COMMAND_DONE, what)
    return Told(Reason.COMMAND_FAILED, f"{what}: {command.detail}", "Warning")


def _target(op: OperationRow) -> str:
    return f"{op.kind.value}/{op.name}"


def _what(op: OperationRow) -> str:
    return f"{op.action} of {_target(op)}"
