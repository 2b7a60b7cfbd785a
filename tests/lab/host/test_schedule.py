"""NCRONTAB: six fields, UTC, and its differences from cron."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lab.host.schedule import Schedule
from lab.host.settings import SettingsError

NOON = datetime(2026, 3, 4, 12, 0, 0, 500_000, tzinfo=UTC)  # a Wednesday


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 */5 * * * *", datetime(2026, 3, 4, 12, 5, tzinfo=UTC)),
        ("*/10 * * * * *", datetime(2026, 3, 4, 12, 0, 10, tzinfo=UTC)),
        ("*/5 * * * *", datetime(2026, 3, 4, 12, 5, tzinfo=UTC)),
        ("0 30 9 * * Mon-Fri", datetime(2026, 3, 5, 9, 30, tzinfo=UTC)),
        ("0 0 0 1 Jan *", datetime(2027, 1, 1, tzinfo=UTC)),
        # Both must match: the first Friday the 13th after this day, not the first Friday.
        ("0 0 0 13 * 5", datetime(2026, 3, 13, tzinfo=UTC)),
        ("0 0 0 14 * 5", datetime(2026, 8, 14, tzinfo=UTC)),
    ],
)
def test_next_occurrence(expression: str, expected: datetime) -> None:
    assert Schedule(expression, "here").after(NOON) == expected


def test_an_occurrence_is_later_than_the_moment_it_is_asked_for() -> None:
    schedule = Schedule("0 * * * * *", "here")
    first = schedule.after(NOON)
    assert schedule.after(first) == datetime(2026, 3, 4, 12, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["", "* * * *", "@hourly", "0 0 0 L * *", "0 0 0 * * 5#2", "0 0 ? * * *", "60 * * * * *"]
)
def test_what_is_not_ncrontab_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="here: the schedule"):
        Schedule(text, "here")


def test_only_schedules_of_a_minute_or_more_are_monitored() -> None:
    assert Schedule("0 * * * * *", "here").monitored(NOON)
    assert not Schedule("*/30 * * * * *", "here").monitored(NOON)
