"""Which histories have passed, and of which code: a CSV file in the repository, so that a claim can be checked.

A row is a range of seeds without a violation. `code` is a digest of everything that decides an outcome (product, model,
simulated ARM, example documents), so a row stays true whatever is committed later; `commit` is where that code can be
found, with `+` when it was not committed yet. Neighbouring ranges of the same commit and code become one row.
"""

from __future__ import annotations

import csv
import hashlib
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path

from lab.model.histories import Verdict

ROOT = Path(__file__).resolve().parents[2]
FILE = Path(__file__).with_name("ledger.csv")
SOURCES = (
    *("function_app.py", "host.json", "functions", "shared", "agent", "docs/examples"),
    *("lab/model", "lab/azure", "lab/host", "lab/dataplane.py", "lab/documents.py", "lab/opened.py"),
)
SUFFIXES = (".py", ".json", ".yaml")


@dataclass(frozen=True)
class Row:
    """Seeds `first` to `last`, both included; `date` is that of the run, as YYYY-MM-DD."""

    first: int
    last: int
    commit: str
    code: str
    histories: int
    events: int
    date: str


def code(root: Path = ROOT) -> str:
    """Twelve hex digits."""
    digest = hashlib.sha256()
    for source in SOURCES:
        found = root / source
        for path in sorted(found.rglob("*")) if found.is_dir() else [found]:
            if path.is_file() and path.suffix in SUFFIXES:
                digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def commit(root: Path = ROOT) -> str:
    """Of the working tree: abbreviated, with `+` if what is looked at here differs from it."""
    head = _git(root, "rev-parse", "--short=10", "HEAD")
    return head + ("+" if _git(root, "status", "--porcelain", "--", *SOURCES, ":!lab/model/ledger.csv") else "")


def _git(root: Path, *arguments: str) -> str:
    ran = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
    return ran.stdout.strip()


def extended(rows: Iterable[Row], verdicts: Iterable[Verdict], at: str, of: str, date: str) -> list[Row]:
    """The ledger with those verdicts in it that have no violation. What it knows already counts once."""
    found = list(rows)
    for v in verdicts:
        same = [r for r in found if (r.commit, r.code) == (at, of)]
        if v.violations or any(r.first <= v.seed <= r.last for r in same):
            continue
        row = Row(v.seed, v.seed, at, of, 1, v.events, date)
        for beside in [r for r in same if v.seed in (r.first - 1, r.last + 1)]:
            found.remove(beside)
            row = _joined(beside, row)
        found.append(row)
    return found


def _joined(a: Row, b: Row) -> Row:
    first, last = min(a.first, b.first), max(a.last, b.last)
    return replace(b, first=first, last=last, histories=a.histories + b.histories, events=a.events + b.events)


def read(path: Path = FILE) -> list[Row]:
    """Empty where there is none. Raises ValueError for a damaged one."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = [list(r.values()) for r in csv.DictReader(file)]
    return [Row(int(r[0]), int(r[1]), r[2], r[3], int(r[4]), int(r[5]), r[6]) for r in rows]


def write(rows: Iterable[Row], path: Path = FILE) -> None:
    names = [f.name for f in fields(Row)]
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(names)
        out.writerows([getattr(row, name) for name in names] for row in rows)
