"""A decision as data: written down with everything it was made from, and made again from it.

What an incident record keeps is a whole `repair.Situation`, so another version of the code can be asked what it would
have done, and a change of mind shows as a difference.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import TypeAdapter

from . import ladder
from .ladder import Decision
from .model import Model
from .repair import Situation, decide

_SITUATION: TypeAdapter[Situation] = TypeAdapter(Situation)


class DecisionEntry(Model):
    """`situation` is a repair.Situation as JSON; `kind` is act, wait or give-up. `seconds` is that of a wait."""

    at: datetime
    situation: dict[str, Any]
    kind: str
    reason: str
    rung: str | None = None
    address: str | None = None
    seconds: float | None = None


def entry(situation: Situation, decision: Decision, now: datetime) -> DecisionEntry:
    kind = {ladder.Act: "act", ladder.Wait: "wait", ladder.GiveUp: "give-up"}[type(decision)]
    found = vars(decision)
    return DecisionEntry(
        at=now,
        situation=_SITUATION.dump_python(situation, mode="json"),
        kind=kind,
        reason=decision.reason,
        rung=found.get("rung"),
        address=found.get("address"),
        seconds=found.get("seconds"),
    )


def replayed(made: DecisionEntry) -> DecisionEntry:
    """The decision that today's code makes in the recorded situation. Raises ValueError for one it cannot read. Of a
    witness that was not known then, today's default says that it was silent, and it is left out again."""
    situation = _SITUATION.validate_python(made.situation)
    again = entry(situation, decide(situation, made.at), made.at)
    return again.model_copy(update={"situation": {k: v for k, v in again.situation.items() if k in made.situation}})
