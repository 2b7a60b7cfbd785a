"""The real clock and the real randomness, so that nothing else has to reach for them."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


class SystemRandom:
    def token(self, size: int) -> bytes:
        return secrets.token_bytes(size)
