"""Histories that once showed a defect, kept so that it does not come back; and long ones that nobody would draw.

One JSON file each: `why` says which defect it showed, `invariant` which one was broken, the rest is the history. A
found one is saved with an empty `why`, which a person fills in when the defect is understood.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from lab.model.history import History

FOLDER = Path(__file__).resolve().parents[2] / "tests" / "lab" / "model" / "corpus"


@dataclass(frozen=True)
class Case:
    """`name` is the file's, without its ending."""

    name: str
    why: str
    invariant: str
    history: History


def read(path: Path) -> Case:
    """Raises ValueError, KeyError or TypeError for what is no case."""
    text = path.read_text(encoding="utf-8")
    raw = json.loads(text)
    return Case(path.stem, raw["why"], raw["invariant"], History.from_json(text))


def cases(folder: Path = FOLDER) -> list[Case]:
    return [read(path) for path in sorted(folder.glob("*.json"))]


def write(case: Case, folder: Path = FOLDER) -> Path:
    """A file of that name is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{case.name}.json"
    raw = {"why": case.why, "invariant": case.invariant, **json.loads(case.history.to_json())}
    path.write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")
    return path
