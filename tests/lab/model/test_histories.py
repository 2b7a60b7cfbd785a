"""Fresh histories, as many as fit into `make test`; `make histories` plays more. And what plays and shrinks them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lab.model import history, ledger, shrink
from lab.model.deeds import DEEDS
from lab.model.histories import Verdict, drawn, judge, verdicts
from lab.model.history import Event, History
from lab.model.ledger import Row

WRITTEN = {"rest", "standstill", "delete_gateway", "put_gateway", "release", "adopt", "diagnose"}
FIRST, CHUNKS, SIZE = 0, 7, 20


@pytest.mark.usefixtures("begun")
@pytest.mark.parametrize("first", range(FIRST, FIRST + CHUNKS * SIZE, SIZE))
def test_nothing_that_must_hold_is_broken(first: int) -> None:
    found = [judge(h) for h in drawn(first, SIZE)]
    assert {v.seed: v.violations for v in found if v.violations} == {}
    assert sum(v.events for v in found) >= 200 * SIZE
    assert sum(v.faults for v in found) >= 3 * SIZE


def test_two_processes_come_to_the_same_verdicts() -> None:
    assert list(verdicts(drawn(3, 6), 2)) == list(verdicts(drawn(3, 6), 1))


def test_every_fault_is_drawn_and_every_deed_is_one_that_exists() -> None:
    names = {e.deed for seed in range(600) for e in history.draw(seed).events}
    assert names == set(history.WEIGHTS)
    assert set(DEEDS) - names == WRITTEN, "of written histories only"


def test_a_history_survives_its_file() -> None:
    for h in drawn(0, 20):
        assert History.from_json(h.to_json()) == h


def test_an_exception_of_the_model_is_a_violation() -> None:
    broken = History(7, 1, {}, (Event(1.0, "no such deed", {}),))
    found = judge(broken)
    assert (found.seed, found.invariants) == (7, ["0"])
    assert "no such deed" in found.violations[0]


# shrinking ----------------------------------------------------------------------------------------------------------


def _long() -> History:
    noise = [Event(float(n), "kill_agent", {"home": "cabin"}) for n in range(9)]
    cause = [
        Event(2.5, "offline", {"home": "home", "seconds": 400.0}),
        Event(6.5, "strike", {"where": "home", "times": 5, "skip": 3, "after": True, "seconds": 0.0}),
    ]
    return History(1, 2, {"applies_bounce_all": True}, tuple(sorted([*noise, *cause], key=lambda e: e.at)))


def _both(h: History) -> bool:
    names = [e.deed for e in h.events]
    strikes = [e for e in h.events if e.deed == "strike" and e.arguments["skip"] == 3]
    return "offline" in names and bool(strikes)


def test_shrinking_keeps_only_what_the_violation_needs() -> None:
    small = shrink.shrink(_long(), _both)
    assert _both(small)
    assert [(e.deed, e.at) for e in small.events] == [("offline", 2.0), ("strike", 6.0)]
    assert small.events[1].arguments == {"where": "home", "times": 1, "skip": 3, "after": False, "seconds": 0.0}
    assert (small.homes, small.assumptions) == (1, {})


def test_shrinking_never_plays_more_than_it_may_and_ends_in_what_it_has_seen() -> None:
    played: list[History] = []

    def shows(h: History) -> bool:
        played.append(h)
        return _both(h)

    small = shrink.shrink(_long(), shows, tries=4)
    assert len(played) == 4
    assert small in [_long(), *played]
    assert _both(small)


def test_a_second_home_stays_when_something_happens_to_it() -> None:
    h = replace(_long(), events=(Event(1.0, "kill_agent", {"home": "cabin"}),))
    assert shrink.shrink(h, lambda s: bool(s.events)).homes == 2


# the ledger ---------------------------------------------------------------------------------------------------------


def _verdicts(first: int, last: int, *broken: int) -> list[Verdict]:
    return [Verdict(n, 10, 3, ("1: no",) if n in broken else ()) for n in range(first, last + 1)]


def test_the_ledger_joins_neighbours_and_leaves_out_what_broke() -> None:
    rows = ledger.extended([], _verdicts(0, 9, 4), "abc", "c0de", "2026-11-01")
    assert [(r.first, r.last, r.histories, r.events) for r in rows] == [(0, 3, 4, 40), (5, 9, 5, 50)]
    rows = ledger.extended(rows, _verdicts(10, 19), "abc", "c0de", "2026-11-02")
    assert rows[1] == Row(5, 19, "abc", "c0de", 15, 150, "2026-11-02")
    assert ledger.extended(rows, _verdicts(7, 12), "abc", "c0de", "2026-11-03") == rows, "known already"
    other = ledger.extended(rows, _verdicts(20, 21), "abd", "c0de", "2026-11-03")
    assert other == [*rows, Row(20, 21, "abd", "c0de", 2, 20, "2026-11-03")]
    filled = ledger.extended(rows, _verdicts(4, 4), "abc", "c0de", "2026-11-03")
    assert filled == [Row(0, 19, "abc", "c0de", 20, 200, "2026-11-03")]


def test_the_ledger_survives_its_file(tmp_path: Path) -> None:
    rows = ledger.extended([], _verdicts(0, 9, 4), "abc+", "c0de", "2026-11-01")
    ledger.write(rows, tmp_path / "ledger.csv")
    assert ledger.read(tmp_path / "ledger.csv") == rows
    assert ledger.read(tmp_path / "none.csv") == []


def test_the_committed_ledger_can_be_read() -> None:
    for row in ledger.read():
        assert row.histories == row.last - row.first + 1


def test_another_line_of_the_product_is_another_code(tmp_path: Path) -> None:
    for source in ledger.SOURCES:
        (tmp_path / source).parent.mkdir(parents=True, exist_ok=True)
        if (ledger.ROOT / source).is_file():
            (tmp_path / source).write_text("one")
    before = ledger.code(tmp_path)
    (tmp_path / "function_app.py").write_text("two")
    assert ledger.code(tmp_path) != before
