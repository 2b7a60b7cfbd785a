"""NCRONTAB schedules: six fields (second first), UTC, as timer triggers use them.

The parsing is croniter's. Around it stand the differences between NCRONTAB and cron that would otherwise pass unseen:
day of month and day of week must both match, and cron's extensions (`?`, `L`, `#`, `@hourly`) are refused.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from croniter import croniter  # type: ignore[import-untyped]

from lab.host.settings import SettingsError

_FIELD = re.compile(r"[\dA-Za-z*,/-]+")
_NAMES = {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"} | {
    "sun",
    "mon",
    "tue",
    "wed",
    "thu",
    "fri",
    "sat",
}
_SAMPLE = 5


class Schedule:
    """One NCRONTAB expression; five fields mean second 0, as in Azure."""

    def __init__(self, expression: str, where: str) -> None:
        fields = expression.split()
        if len(fields) == 5:
            fields.insert(0, "0")
        words = {word.lower() for field in fields for word in re.findall(r"[A-Za-z]+", field)}
        normal = " ".join(fields)
        valid = len(fields) == 6 and all(map(_FIELD.fullmatch, fields)) and words <= _NAMES
        if not valid or not croniter.is_valid(normal, second_at_beginning=True):
            raise SettingsError(
                f"{where}: the schedule {expression!r} is not NCRONTAB: six fields "
                "{second} {minute} {hour} {day} {month} {day of week}, for example '0 */5 * * * *'"
            )
        self.expression = normal

    def after(self, moment: datetime) -> datetime:
        """The first occurrence later than `moment` (aware, UTC)."""
        whole = moment.replace(microsecond=0)
        occurrence: datetime = croniter(self.expression, whole, second_at_beginning=True, day_or=False).get_next(
            datetime
        )
        return occurrence

    def monitored(self, moment: datetime) -> bool:
        """Azure records the status, and so catches up, only when occurrences are a minute or more apart."""
        previous = self.after(moment)
        for _ in range(_SAMPLE):
            following = self.after(previous)
            if following - previous < timedelta(minutes=1):
                return False
            previous = following
        return True
