"""How far the two worlds are from each other in time: a table for people, and the same for a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lab.agreement.story import Story

APART_S = 12.0
"""So far may a measure be in one world from the other: two heartbeats and the two-second poll of a queue, for in each
world chance decides when the next one is."""
Times = dict[str, float | None]


def times(stories: Sequence[Story]) -> Times:
    """Seconds: of joining from the first PUT, of the rest from the address change."""
    by_name = {s.scenario: s for s in stories}
    joined, moved = by_name["join"], by_name["address_change"]
    incident = moved.incidents[0]
    return {
        "join": joined.after(joined.first("home: CommandDone apply")),
        "detect": moved.after(incident.opened),
        "pin": moved.after(moved.first("home: PinSet")),
        "recover": moved.after(incident.verified),
        "unpin": moved.after(incident.closed),
    }


def table(lab: Times, model: Times) -> str:
    """One line per measure: seconds in the lab, in the model, and the difference."""
    lines = [f"{'':10}{'lab s':>8}{'model s':>9}{'differ':>8}"]
    for what, here in lab.items():
        there = model[what]
        differ = f"{here - there:8.1f}" if here is not None and there is not None else f"{'?':>8}"
        lines.append(f"{what:10}{_number(here):>8}{_number(there):>9}{differ}")
    return "\n".join(lines)


def as_json(lab: Times, model: Times) -> Mapping[str, Mapping[str, float | None]]:
    return {"lab_s": lab, "model_s": model}


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.1f}"
