"""The hour at which a provider cuts a line: learned, so that a line that only dials again is given time to.

Many providers end a line's session once a day (a forced reconnect), often with a new address. Nobody tells us when, but
the changes of a home's address do: several nights running, at about the same time of day. Traded off: a line that
keeps its address is not learned from (a tunnel is down for many reasons, an address changes for few), and a clock that
is put forward or back in summer is learned anew within a week. UTC throughout, because nobody tells us the home's own
time either.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from . import limits

DAY = timedelta(days=1)
MEMORY = timedelta(days=limits.RECONNECT_DAYS)
WITHIN = timedelta(seconds=limits.RECONNECT_WITHIN_S)


@dataclass(frozen=True)
class Hour:
    """`at`: the time of day (UTC) about which the address changed; `times`: on how many days within MEMORY."""

    at: time
    times: int

    def holds(self, moment: datetime) -> bool:
        """Not further from it than WITHIN, on either side of midnight."""
        off = (_since_midnight(moment.time()) - _since_midnight(self.at)) % DAY
        return min(off, DAY - off) <= WITHIN

    def __str__(self) -> str:
        days = limits.RECONNECT_DAYS
        return f"{self.at:%H:%M} UTC (give or take {WITHIN.seconds // 60} min, {self.times} times in {days} days)"


def kept(moves: Iterable[datetime], now: datetime) -> tuple[datetime, ...]:
    """Those that are young enough to tell something, oldest first, and of them the newest RECONNECTS_KEPT."""
    return tuple(sorted({m for m in moves if m > now - MEMORY}))[-limits.RECONNECTS_KEPT :]


def usual(moves: Iterable[datetime], now: datetime) -> Hour | None:
    """The hour, from the times (UTC) at which the address changed. None unless it was so on RECONNECT_DAYS_SEEN days,
    and most changes were at that hour: a line that drops all day long has no hour."""
    recent = kept(moves, now)
    found = [_beginning_at(m, recent) for m in recent]
    days, _, inside, at = max(found, default=(0, timedelta(), 0, time()))
    return Hour(at, days) if days >= limits.RECONNECT_DAYS_SEEN and 2 * inside > len(recent) else None


def _beginning_at(first: datetime, moves: tuple[datetime, ...]) -> tuple[int, timedelta, int, time]:
    """Of the daily window that begins when it was `first`: on how many days something lies in it, how narrow that is
    (negative, so that more is better), how much it is, and the middle of it."""
    inside = [(m, off) for m in moves if (off := (m - first) % DAY) <= 2 * WITHIN]
    days = {m - off for m, off in inside}  # when the window began: midnight divides none
    spread = max(off for _, off in inside)
    return len(days), -spread, len(inside), (first + spread / 2).time()


def _since_midnight(at: time) -> timedelta:
    return timedelta(hours=at.hour, minutes=at.minute, seconds=at.second, microseconds=at.microsecond)
