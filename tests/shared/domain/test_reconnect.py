"""The provider's hour: found where there is one, on either side of midnight, and not where there is none."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain import limits
from shared.domain.reconnect import Hour, kept, usual

NOW = datetime(2026, 11, 8, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 11, 8, tzinfo=UTC)
DAY = timedelta(days=1)
calm = settings(derandomize=True, database=None, deadline=None, max_examples=300)


def nights(*ages: int, at: str = "03:00", minutes: tuple[int, ...] = (0,)) -> list[datetime]:
    """One change so many nights ago, each at `at` and so many minutes later (in turn)."""
    clock = time.fromisoformat(at)
    first = MIDNIGHT + timedelta(hours=clock.hour, minutes=clock.minute)
    return [first - n * DAY + timedelta(minutes=minutes[i % len(minutes)]) for i, n in enumerate(ages)]


@pytest.mark.parametrize(
    ("moves", "hour"),
    [
        ([], None),
        (nights(1, 2), None),
        (nights(1, 2, 3), Hour(time(3, 0), 3)),
        (nights(1, 3, 5, minutes=(0, 10, 20)), Hour(time(3, 10), 3)),
        (nights(1, 2, 3, minutes=(0, 30, 31)), None),
        (nights(1, 2, 3, at="23:50", minutes=(0, 20)), Hour(time(0, 0), 3)),
        ([*nights(1, 2, 3, at="00:00"), *nights(1, 2, 3, at="12:00")], None),
        ([*nights(1, 2, 3), *nights(4, at="17:00"), *nights(5, at="08:00")], Hour(time(3, 0), 3)),
        ([*nights(4, 5, 6), *nights(0, 1, 2, 3, at="02:00")], Hour(time(2, 0), 4)),
        (nights(1, 1, 1, minutes=(0, 1, 2)), None),
        (nights(1, 2, 7), None),
    ],
    ids=[
        "nothing known",
        "two nights",
        "three nights",
        "not to the minute",
        "too far apart",
        "about midnight",
        "twice a day",
        "and two other drops",
        "the clock was put back",
        "three times in one night",
        "a week ago",
    ],
)
def test_the_hour(moves: list[datetime], hour: Hour | None) -> None:
    assert usual(moves, NOW) == hour


@pytest.mark.parametrize(
    ("at", "moment", "holds"),
    [
        ("03:00", "03:15", True),
        ("03:00", "02:45", True),
        ("03:00", "03:16", False),
        ("00:05", "23:50", True),
        ("23:55", "00:10", True),
        ("23:55", "00:11", False),
    ],
)
def test_what_is_within(at: str, moment: str, holds: bool) -> None:
    assert Hour(time.fromisoformat(at), 3).holds(nights(1, at=moment)[0]) is holds


instants = st.integers(0, 10 * 86_400).map(lambda s: NOW - timedelta(seconds=s))
jitters = st.lists(st.integers(-limits.RECONNECT_WITHIN_S, limits.RECONNECT_WITHIN_S), min_size=3, max_size=6)


@given(st.integers(0, 86_399), jitters)
@calm
def test_a_change_every_night_is_learned_at_whatever_hour(second: int, jitter: list[int]) -> None:
    at = MIDNIGHT - DAY + timedelta(seconds=second)
    moves = [at - n * DAY + timedelta(seconds=j) for n, j in enumerate(jitter)]
    hour = usual(moves, at + DAY)
    assert hour is not None and hour.times == len(jitter)
    assert all(hour.holds(m) for m in moves)


@given(st.lists(instants, max_size=40), st.integers(-86_400, 86_400))
@calm
def test_what_must_hold_of_any_changes(moves: list[datetime], shift: int) -> None:
    hour = usual(moves, NOW)
    by = timedelta(seconds=shift)
    moved = usual([m + by for m in moves], NOW + by)
    assert (moved.times if moved else 0) == (hour.times if hour else 0), "no time of day is another than the rest"
    known = kept(moves, NOW)
    assert len(known) <= limits.RECONNECTS_KEPT and usual(known, NOW) == hour, "what is forgotten told nothing"
    if hour is None:
        return
    inside = [m for m in known if hour.holds(m)]
    assert hour.times >= limits.RECONNECT_DAYS_SEEN and len(inside) * 2 > len(known)


@given(st.lists(instants, max_size=30), st.randoms())
@calm
def test_the_order_of_the_changes_tells_nothing(moves: list[datetime], random) -> None:  # type: ignore[no-untyped-def]
    shuffled = list(moves)
    random.shuffle(shuffled)
    assert usual(shuffled, NOW) == usual(moves, NOW)
