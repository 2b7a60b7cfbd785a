"""Where a trace begins: one span around each invocation, continued from whoever caused it.

What its caller gave as a traceparent is a claim. It names a trace and lets nobody do anything, so it is believed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from shared import telemetry
from shared.telemetry import Attr, Span, SpanKind
from shared.wiring import watch


@contextmanager
def entered(name: str, kind: SpanKind, parent: str | None = None, *, routine: bool = False) -> Iterator[Span]:
    """`name` as in `http put_gateway`; `routine`: it comes all day and mostly changes nothing (azure/monitor.py)."""
    watch()
    with telemetry.span(name, kind, {Attr.ROUTINE: True} if routine else {}, parent) as span:
        yield span
