"""Every history that once showed a defect, and the long ones: none shows anything any more."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.model import corpus
from lab.model.corpus import Case
from lab.model.deeds import DEEDS
from lab.model.histories import judge

CASES = corpus.cases()


@pytest.mark.usefixtures("begun")
@pytest.mark.parametrize("case", CASES, ids=[c.name for c in CASES])
def test_it_stays_repaired(case: Case) -> None:
    assert judge(case.history).violations == (), case.why


@pytest.mark.parametrize("case", CASES, ids=[c.name for c in CASES])
def test_it_says_what_it_was_about(case: Case) -> None:
    assert case.why, "say which defect it showed"
    assert case.invariant in "0123456789"
    assert {e.deed for e in case.history.events} <= set(DEEDS)


def test_a_case_survives_its_file(tmp_path: Path) -> None:
    for case in CASES:
        assert corpus.read(corpus.write(case, tmp_path)) == case
    assert corpus.cases(tmp_path) == CASES
