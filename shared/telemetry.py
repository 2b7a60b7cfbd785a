"""What Homelink tells of itself: the names of its spans, metrics and attributes, and the few calls that make them.

Without `use` nothing is made: the model world and the tests pay a no-op, and no clock or randomness of theirs is asked.
The providers are this module's own and not OpenTelemetry's global ones, so that a test can have its own for a moment,
and the host's worker, which may set the global ones, cannot get in between.

A trace belongs to a cause: a request, or a heartbeat that told of trouble. It goes from hand to hand as a W3C
traceparent (https://www.w3.org/TR/trace-context/): in messages, in commands, in the state of a unit that is at work. A
span is named `<service> <verb>`. Names of Gateways, Connections and ARM resources stand on spans and never on metrics,
but for the gauges of a tunnel. Secrets, addresses and names in DNS stand on neither; an error is its type alone.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from opentelemetry import metrics, trace
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, Status, StatusCode, TraceFlags
from opentelemetry.trace import Span as Span
from opentelemetry.trace import SpanKind as SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.errors import LeaseHeld, NotFound, Refused, StoreConflict

SERVICE = "homelink"
HEADER = "x-correlation-id"
"""Of every answer: the id of the trace that the request belongs to."""


class Attr(StrEnum):
    """Attributes of spans. The first two are read by the filter that keeps what tells nothing (azure/monitor.py)."""

    ROUTINE = "homelink.routine"
    NEWS = "homelink.news"
    GATEWAY = "homelink.gateway"
    CONNECTION = "homelink.connection"
    REASON = "homelink.reason"
    OUTCOME = "homelink.outcome"
    TABLE = "homelink.table"
    QUEUE = "homelink.queue"
    ARM_KIND = "homelink.arm.kind"
    ARM_NAME = "homelink.arm.name"
    METHOD = "http.request.method"
    STATUS = "http.response.status_code"


About = Mapping[Attr, str | int | bool]


@dataclass(frozen=True)
class Metric:
    """`unit` as in UCUM; `attributes` in the order in which `record` takes their values."""

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    unit: str
    attributes: tuple[str, ...] = ()


BOUNDS = {
    "gateway": "the Gateways that exist",
    "connection": "the Connections that exist",
    "direction": "received, sent",
    "finding": "the codes of docs/troubleshooting.md",
    "verb": "the methods of the Arm seam",
    "kind": "the kinds of ARM resources, operation, resourceGroup",
    "outcome": "ok, busy, refused, failed",
    "rung": "the rungs of the repair ladder",
    "reason": "put, delete, psk, alert, heartbeat, continue, sweep, other",
}
"""What bounds the values of each attribute of a metric: none is free text."""
REASONS = frozenset(BOUNDS["reason"].split(", "))

TUNNEL_UP = Metric("homelink.tunnel.up", "gauge", "1", ("gateway", "connection"))
PREFIXES = Metric("homelink.tunnel.prefixes", "gauge", "{prefix}", ("gateway", "connection", "direction"))
SILENCE = Metric("homelink.agent.silence", "gauge", "s", ("gateway", "connection"))
DETECTION = Metric("homelink.incident.detection", "histogram", "s")
RECOVERY = Metric("homelink.incident.recovery", "histogram", "s", ("finding",))
ARM_CALLS = Metric("homelink.arm.calls", "counter", "{call}", ("verb", "kind", "outcome"))
RESETS = Metric("homelink.resets", "counter", "{reset}", ("rung",))
QUEUE_AGE = Metric("homelink.queue.age", "histogram", "s", ("reason",))
METRICS = (TUNNEL_UP, PREFIXES, SILENCE, DETECTION, RECOVERY, ARM_CALLS, RESETS, QUEUE_AGE)


class IdsOnly(trace.NoOpTracer):
    """Spans that nobody gets, with ids: answers, Events, the audit and log lines belong together all the same."""

    def start_span(self, name: str, context: Any = None, *args: Any, **kwargs: Any) -> Span:
        parent = trace.get_current_span(context).get_span_context()
        trace_id = parent.trace_id if parent.is_valid else secrets.randbits(128)
        return NonRecordingSpan(SpanContext(trace_id, secrets.randbits(64), False, TraceFlags(TraceFlags.SAMPLED)))


NEW = "new"
_EXPECTED = NotFound, Refused, StoreConflict, LeaseHeld
"""Answers to a caller, and what happens where several work at once: nothing has failed."""
_tracer: trace.Tracer = trace.NoOpTracer()
_meter: metrics.Meter = metrics.NoOpMeter(SERVICE)
_instruments: dict[str, Any] = {}
_w3c = TraceContextTextMapPropagator()


def use(tracer: trace.Tracer | None = None, meter: metrics.Meter | None = None) -> None:
    """From now on spans and measurements go there; without either nowhere."""
    global _tracer, _meter
    _tracer, _meter = tracer or trace.NoOpTracer(), meter or metrics.NoOpMeter(SERVICE)
    _instruments.clear()


@contextmanager
def span(
    name: str,
    kind: SpanKind = SpanKind.INTERNAL,
    about: About | None = None,
    parent: str | None = None,
) -> Iterator[Span]:
    """The current span while the block runs. `parent`: a traceparent whose trace it joins, unless it is in it already,
    linked to the span that was current; NEW begins a trace; what is neither is ignored, for it comes from outside. An
    exception leaves its type and passes on."""
    current = trace.get_current_span().get_span_context()
    context = None if trace_id(parent) == trace_id() else _context(parent)
    links = [Link(current)] if context is not None and current.is_valid else []
    made = _tracer.start_span(name, context, kind, attributes=_plain(about or {}), links=links)
    with trace.use_span(made, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield made
        except _EXPECTED as e:
            mark(Attr.OUTCOME, type(e).__name__)
            raise
        except BaseException as e:
            failed(type(e).__name__)
            raise


def past(name: str, parent: str, began: datetime, ended: datetime, about: About) -> None:
    """A span of what happened elsewhere, told afterwards, in the trace of `parent` alone."""
    context = _context(parent)
    if context is None:
        return
    current = trace.get_current_span().get_span_context()
    links = [Link(current)] if current.is_valid else []
    start, end = (int(t.timestamp() * 1e9) for t in (began, ended))
    made = _tracer.start_span(name, context, SpanKind.SERVER, _plain(about), links, start)
    made.end(end)


def mark(name: Attr, value: str | int | bool) -> None:
    """An attribute of the current span."""
    trace.get_current_span().set_attribute(name, value)


def news() -> None:
    """Something happened that a person may look for: the trace is worth its price."""
    mark(Attr.NEWS, True)


def failed(what: str) -> None:
    """`what`: the type of an error, or a status; never its text."""
    trace.get_current_span().set_status(Status(StatusCode.ERROR, what))


def traceparent() -> str:
    """The current span as what follows it needs it; empty where there is none."""
    carrier: dict[str, str] = {}
    _w3c.inject(carrier)
    return carrier.get("traceparent", "")


def trace_id(parent: str | None = None) -> str | None:
    """The correlation id: 32 hex digits, of a traceparent or of the current span."""
    context = trace.get_current_span(_context(parent)).get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else None


def record(metric: Metric, value: float, *attributes: str) -> None:
    """Adds to a counter, sets a gauge, or notes one value of a histogram."""
    instrument = _instruments.get(metric.name)
    if instrument is None:
        make = getattr(_meter, f"create_{metric.kind}")
        instrument = _instruments[metric.name] = make(metric.name, unit=metric.unit)
    given = dict(zip(metric.attributes, attributes, strict=True))
    (instrument.add if metric.kind == "counter" else instrument.set if metric.kind == "gauge" else instrument.record)(
        value, given
    )


def _plain(about: About) -> dict[str, str | int | bool]:
    return {str(name): value for name, value in about.items()}


def _context(parent: str | None) -> Any:
    """None for what is no traceparent: then the current span is the parent."""
    if not parent:
        return None
    if parent == NEW:
        return trace.set_span_in_context(trace.INVALID_SPAN)
    found = _w3c.extract({"traceparent": parent}, context=trace.set_span_in_context(trace.INVALID_SPAN))
    return found if trace.get_current_span(found).get_span_context().is_valid else None
