"""Numbers, goals, tables and the picture, from samples that are known."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console

from lab.bench import picture, summary
from lab.bench.calm import Calm
from lab.bench.changes import LIMIT_S, Change
from lab.bench.contenders import Contender

FAST = Change(Contender.AGENT, 1, 5.0, 40.0, 41.0, 60.0, 0.0, 0)


def changes(**slower: Any) -> list[Change]:
    """Ten per contender, equally fast; `slower` changes every tenth of the agent's."""
    made = [replace(FAST, contender=c, seed=n) for n in range(10) for c in Contender]
    return [replace(c, **slower) if (c.contender, c.seed) == (Contender.AGENT, 9) else c for c in made]


def calmed(neighbour_s: float = 0.0, resets: int = 0) -> list[Calm]:
    rows = [Calm("psk", c, 1, 0.0, 30.0, 0) for c in (Contender.AZURE, Contender.DNS_ONLY, Contender.AGENT)]
    return [*rows[:2], replace(rows[2], neighbour_down_s=30.0 + neighbour_s, resets=resets)]


def missed(changed: list[Change], quiet: list[Calm]) -> list[str]:
    contenders, calm = summary.of_changes(changed), summary.of_calm(quiet)
    return [g["goal"] for g in summary.goals(contenders, calm) if not g["met"]]


def test_percentiles_are_of_samples_and_what_never_came_counts() -> None:
    assert summary.percentiles(float(n) for n in range(1, 101)) == {"p50": 50.0, "p95": 95.0, "p99": 99.0}
    assert summary.percentiles([7.04]) == {"p50": 7.0, "p95": 7.0, "p99": 7.0}
    assert summary.percentiles([1.0, 2.0, None]) == {"p50": 2.0, "p95": LIMIT_S, "p99": LIMIT_S}


def test_what_the_file_holds_of_a_contender() -> None:
    found = summary.of_changes(changes(resets=2, collateral_s=7.0, recover_s=None))
    row = found["homelink-with-agent"]
    assert set(row) >= {"detect_s", "downtime_s", "collateral_downtime_s", "resets", "useless_resets"}
    assert (row["resets"], row["useless_resets"], row["collateral_downtime_s"], row["not_recovered"]) == (2, 2, 7.0, 1)
    assert found["azure-alone"]["verified_s"] is None and row["verified_s"]["p50"] == 41.0


@pytest.mark.parametrize(
    ("slower", "goal"),
    [
        ({}, []),
        ({"detect_s": 36.0}, ["homelink-with-agent: detect_s p95"]),
        ({"verified_s": 91.0}, ["homelink-with-agent: verified_s p95"]),
        ({"resets": 1}, ["Homelink, everywhere: useless_resets"]),
        ({"collateral_s": 1.0}, ["Homelink, everywhere: collateral_downtime_s"]),
    ],
)
def test_goals_that_are_missed(slower: dict[str, float], goal: list[str]) -> None:
    assert missed(changes(**slower), calmed()) == goal


def test_calm_counts_what_azure_alone_would_not_have_done() -> None:
    assert missed(changes(), calmed()) == []
    assert missed(changes(), calmed(neighbour_s=1.0)) == ["Homelink, everywhere: collateral_downtime_s"]
    assert missed(changes(), calmed(resets=1)) == ["Homelink, everywhere: useless_resets"]


def test_tables_can_be_printed() -> None:
    contenders, calm = summary.of_changes(changes()), summary.of_calm(calmed())
    console = Console(record=True, width=140, file=io.StringIO())
    for table in summary.tables({"contenders": contenders, "calm": calm, "goals": summary.goals(contenders, calm)}):
        console.print(table)
    text = console.export_text()
    assert "homelink-dns-only" in text and "MISSED" not in text and summary.stated()


def test_the_picture_is_svg_with_a_line_each_that_ends_at_all() -> None:
    drawn = ElementTree.fromstring(picture.cumulative("a < b", "s", {"x": [3.0, 1.0], "y": [250.0]}))
    lines = [e.get("points", "").split() for e in drawn.iter() if e.tag.endswith("polyline")]
    assert len(lines) == 2
    ends = {line[-1].split(",")[1] for line in lines}
    assert ends == {f"{picture.TOP:.1f}"}, "every one of the samples"
    heights = [float(p.split(",")[1]) for p in lines[0]]
    assert heights == sorted(heights, reverse=True), "and never back"
