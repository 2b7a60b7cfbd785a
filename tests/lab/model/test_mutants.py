"""Nine deliberate defects, one for each invariant: each is caught by its own history, which is clean without it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from lab.model import mutants
from lab.model.histories import judge
from lab.model.mutants import DoesNotApply, Mutant

ALL = mutants.mutants()


def _broken(mutant: Mutant) -> list[str]:
    """The invariants that the pinned history finds broken in a tree with this defect."""
    ((_, broken),) = mutant.caught([str(mutant.patch.with_suffix(".json"))], timeout_s=120.0)
    return broken


@pytest.fixture(scope="module")
def broken() -> Iterator[dict[str, Future[list[str]]]]:
    with ThreadPoolExecutor(2) as pool:
        yield {m.name: pool.submit(_broken, m) for m in ALL}


def test_there_is_one_for_each_invariant() -> None:
    assert {m.invariant for m in ALL} == set("123456789")
    assert all(m.case is not None and m.case.invariant == m.invariant and m.case.why for m in ALL)


@pytest.mark.parametrize("mutant", ALL, ids=[m.name for m in ALL])
def test_its_history_catches_it(mutant: Mutant, broken: dict[str, Future[list[str]]]) -> None:
    assert mutant.invariant in broken[mutant.name].result()


@pytest.mark.usefixtures("begun")
@pytest.mark.parametrize("mutant", ALL, ids=[m.name for m in ALL])
def test_its_history_shows_nothing_without_it(mutant: Mutant) -> None:
    assert mutant.case is not None
    assert judge(mutant.case.history).violations == ()


def test_a_patch_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    mutants.copy(tmp_path)
    mutants.mutate(tmp_path, ALL[0].patch)
    with pytest.raises(DoesNotApply, match=ALL[0].patch.name):
        mutants.mutate(tmp_path, ALL[0].patch)


def test_a_tree_that_cannot_run_is_not_taken_for_a_healthy_one(tmp_path: Path) -> None:
    mutants.copy(tmp_path)
    (tmp_path / "function_app.py").write_text("raise SystemExit(3)")
    with pytest.raises(RuntimeError, match="does not run"):
        mutants.verdicts(tmp_path, ["--count=1"], timeout_s=60.0)
