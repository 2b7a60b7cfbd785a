"""ARM's token buckets (since 2024) and the network provider's own limit.

Per subscription and principal: reads 250 + 25/s, writes and deletes 200 + 10/s; the subscription as a whole has 15
times that (request-limits-and-throttling). Behind it Microsoft.Network counts windows of five minutes: 10,000 reads,
1,000 writes and deletes. A refused request takes no token, and one that comes before Retry-After is refused again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

LIMITS = {"reads": (250.0, 25.0), "writes": (200.0, 10.0), "deletes": (200.0, 10.0)}
GLOBAL = 15
PROVIDER_LIMITS = {"reads": 10_000, "writes": 1_000, "deletes": 1_000}
WINDOW_S = 300.0


@dataclass(frozen=True)
class Taken:
    """What is left, or after how many (Azure) seconds to come back if there was nothing to take."""

    left: int
    left_globally: int
    wait: float | None = None


@dataclass
class _Bucket:
    size: float
    refill: float
    left: float
    at: float

    def fill(self, now: float) -> float:
        self.left = min(self.size, self.left + (now - self.at) * self.refill)
        self.at = now
        return self.left

    def wait(self) -> float:
        return max(0.0, (1 - self.left) / self.refill)


@dataclass
class _Window:
    since: float
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PROVIDER_LIMITS, 0))


class Throttle:
    """Refills by the given clock, in seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._buckets: dict[tuple[str, str], _Bucket] = {}
        self._window = _Window(monotonic())

    def _bucket(self, owner: str, kind: str, factor: int) -> _Bucket:
        size, refill = LIMITS[kind]
        new = _Bucket(size * factor, refill * factor, size * factor, self._monotonic())
        return self._buckets.setdefault((owner, kind), new)

    def take(self, kind: str, principal: str, *, network: bool) -> Taken:
        """One request of `kind` (reads, writes, deletes) by a principal; `network` if the network provider gets it."""
        now = self._monotonic()
        buckets = (self._bucket(f"principal {principal}", kind, 1), self._bucket("subscription", kind, GLOBAL))
        empty = [bucket.wait() for bucket in buckets if bucket.fill(now) < 1]
        if now - self._window.since >= WINDOW_S:
            self._window = _Window(now)
        counted = self._window.counts
        if network and counted[kind] >= PROVIDER_LIMITS[kind]:
            empty.append(self._window.since + WINDOW_S - now)
        if not empty:
            for bucket in buckets:
                bucket.left -= 1
            counted[kind] += network
        return Taken(math.floor(buckets[0].left), math.floor(buckets[1].left), max(empty) if empty else None)
