"""Deliberate defects, one for each invariant: what shows that an invariant can fail at all.

Each is a patch, with a history beside it that catches it. A copy of the sources gets the patch and plays histories in
a process of its own, so nothing of it can reach the tree or another test.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lab.model.corpus import Case, read
from lab.model.ledger import ROOT, SOURCES

FOLDER = ROOT / "tests" / "lab" / "model" / "mutants"


class DoesNotApply(Exception):
    """The code has changed where the patch wants to: make the patch anew."""


@dataclass(frozen=True)
class Mutant:
    """`name` begins with the number of the invariant that the defect breaks; `case` is None before it was found."""

    name: str
    patch: Path
    case: Case | None

    @property
    def invariant(self) -> str:
        return self.name.partition("-")[0]

    def caught(self, arguments: Iterable[str], timeout_s: float) -> list[tuple[int, list[str]]]:
        """In a copy of the sources with this defect: what `verdicts` tells. Raises DoesNotApply."""
        with tempfile.TemporaryDirectory() as folder:
            tree = Path(folder)
            copy(tree)
            mutate(tree, self.patch)
            return verdicts(tree, arguments, timeout_s)


def mutants(folder: Path = FOLDER) -> list[Mutant]:
    return [Mutant(p.stem, p, _case(p.with_suffix(".json"))) for p in sorted(folder.glob("*.patch"))]


def _case(path: Path) -> Case | None:
    return read(path) if path.exists() else None


def copy(to: Path, root: Path = ROOT) -> None:
    """The sources that decide an outcome, compiled files included: they save each process a second."""
    for source in SOURCES:
        target = to / source
        target.parent.mkdir(parents=True, exist_ok=True)
        if (root / source).is_dir():
            shutil.copytree(root / source, target)
        else:
            shutil.copy2(root / source, target)
    shutil.copy2(root / "lab" / "__init__.py", to / "lab" / "__init__.py")


def mutate(tree: Path, patch: Path) -> None:
    """Raises DoesNotApply: a patch that applies only nearly is none."""
    done = subprocess.run(
        ["patch", "--strip=1", "--forward", "--fuzz=0", "--no-backup-if-mismatch", "--input", str(patch)],
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise DoesNotApply(f"{patch.name}: {done.stdout}{done.stderr}")


def verdicts(tree: Path, arguments: Iterable[str], timeout_s: float) -> list[tuple[int, list[str]]]:
    """Seeds, and the invariants that they find broken: `python -m lab.model verdicts` in that tree. RuntimeError if it
    does not run."""
    command = [sys.executable, "-m", "lab.model", "verdicts", *arguments]
    ran = subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=timeout_s, check=False)
    if ran.returncode != 0:
        raise RuntimeError(f"the mutant does not run: {ran.stderr[-2000:]}")
    return [(seed, broken) for seed, broken in map(json.loads, ran.stdout.splitlines())]
