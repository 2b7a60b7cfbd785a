"""Randomness that a seed decides."""

from __future__ import annotations

import random


class SeededRandom:
    """The same seed gives the same tokens: the Random seam of worlds, never of the product."""

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)

    def token(self, size: int) -> bytes:
        return self._random.randbytes(size)
