"""The smallest history that still shows a violation: what a person wants to read.

Delta debugging (ddmin, Zeller and Hildebrandt 2002) over the events, then one home instead of two, the usual
assumptions, and plainer arguments. Everything is tried by playing it, so the number of tries is bounded; a result is
always a history that was played and showed the violation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from lab.model.history import HOMES, Event, History

TRIES = 200
PLAIN: dict[str, Any] = {"times": 1, "skip": 0, "after": False, "lag_s": 0.0, "seconds": 0.0, "outage_s": 0.0}


def shrink(history: History, shows: Callable[[History], bool], tries: int = TRIES) -> History:
    """`shows`: whether a history still shows what `history` does. Called `tries` times at most."""
    smaller = _Shrinking(history, shows, tries)
    smaller.events()
    smaller.whole()
    smaller.arguments()
    smaller.events()
    return smaller.best


class _Shrinking:
    def __init__(self, history: History, shows: Callable[[History], bool], tries: int) -> None:
        self.best, self._shows, self._left = history, shows, tries

    def _try(self, candidate: History) -> bool:
        if self._left == 0 or candidate == self.best:
            return False
        self._left -= 1
        if not self._shows(candidate):
            return False
        self.best = candidate
        return True

    def events(self) -> None:
        """Without one chunk of them, for smaller and smaller chunks."""
        size = max(1, len(self.best.events) // 2)
        while True:
            start, found = 0, False
            while start < len(self.best.events):
                kept = self.best.events[:start] + self.best.events[start + size :]
                if self._try(replace(self.best, events=kept)):
                    found = True
                else:
                    start += size
            if size == 1 and not found:
                return
            size = max(1, size // 2)

    def whole(self) -> None:
        used = {e.arguments.get(key) for e in self.best.events for key in ("home", "where")}
        if self.best.homes > 1 and not used & set(HOMES[1:]):
            self._try(replace(self.best, homes=1))
        for name in list(self.best.assumptions):
            rest = {k: v for k, v in self.best.assumptions.items() if k != name}
            self._try(replace(self.best, assumptions=rest))

    def arguments(self) -> None:
        ways: list[Callable[[Event], Event]] = [_rounded, *(partial(_plain, name) for name in PLAIN)]
        for n in range(len(self.best.events)):
            for way in ways:
                event = way(self.best.events[n])
                self._try(replace(self.best, events=(*self.best.events[:n], event, *self.best.events[n + 1 :])))


def _plain(name: str, event: Event) -> Event:
    if name not in event.arguments:
        return event
    return replace(event, arguments={**event.arguments, name: PLAIN[name]})


def _rounded(event: Event) -> Event:
    return replace(event, at=float(round(event.at)))
