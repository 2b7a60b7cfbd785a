"""ARM's token buckets (since 2024, per subscription and principal): reads 250 + 25/s, writes and deletes 200 + 10/s."""

from __future__ import annotations

from collections.abc import Callable

LIMITS = {"reads": (250.0, 25.0), "writes": (200.0, 10.0), "deletes": (200.0, 10.0)}


class Throttle:
    """Refills by the given clock, in seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._left = {kind: size for kind, (size, _) in LIMITS.items()}
        self._at = dict.fromkeys(LIMITS, monotonic())

    def take(self, kind: str) -> int | None:
        """How many are left after this one, None if there was none to take."""
        size, refill = LIMITS[kind]
        now = self._monotonic()
        self._left[kind] = min(size, self._left[kind] + (now - self._at[kind]) * refill)
        self._at[kind] = now
        if self._left[kind] < 1:
            return None
        self._left[kind] -= 1
        return int(self._left[kind])
