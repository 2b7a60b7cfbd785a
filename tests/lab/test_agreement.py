"""The model world agrees with the lab: the same scenarios in both, and what came of them compared."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import scenario
from lab.agreement import real, report
from lab.agreement.compare import disagreements
from lab.agreement.scenarios import SCENARIOS
from lab.agreement.story import Story, Teller
from tests.lab.model.test_agreement import model_stories

pytestmark = pytest.mark.lab


async def lab_stories(logs: Path, setenv: Callable[[str, str], None]) -> list[Story]:
    async with real.opened(logs, setenv) as side:
        teller = Teller(side)
        return [await teller.tell(each) for each in SCENARIOS]


def test_the_model_agrees_with_the_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    logs = scenario.logs_folder("agreement")
    lab, model = asyncio.run(lab_stories(logs, monkeypatch.setenv)), model_stories()
    times = report.times(lab), report.times(model)
    print(report.table(*times))
    (logs / "times.json").write_text(json.dumps(report.as_json(*times), indent=2))
    assert [what for pair in zip(lab, model, strict=True) for what in disagreements(*pair)] == []
    for what, here in times[0].items():
        there = times[1][what]
        assert here is not None and there is not None and abs(here - there) <= report.APART_S, report.table(*times)
