"""Server time from a monotonic clock, so that a firewall without a working clock can still judge a not-after.

The last sealed answer wins; its time is taken to be that of the middle of the round trip. Nothing is assumed before
the first answer: `now` is None, and the queue is not polled until it is not.
"""

from __future__ import annotations


class ServerTime:
    def __init__(self) -> None:
        self._offset: float | None = None

    def note(self, server: float, sent: float, received: float) -> None:
        """`sent` and `received` are monotonic seconds around the request that brought `server` (Unix seconds)."""
        self._offset = server - (sent + received) / 2

    def now(self, monotonic: float) -> float | None:
        """Unix seconds, None before the first answer."""
        return None if self._offset is None else monotonic + self._offset

    def skew(self, wall: float, monotonic: float) -> float | None:
        """How far this host's wall clock is ahead of the server, in seconds."""
        now = self.now(monotonic)
        return None if now is None else wall - now
