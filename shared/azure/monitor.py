"""Where spans and measurements go: Application Insights, a file, both, or nowhere but into the ids.

Imported at the first call of a function, and only the SDK with it (110 ms): Azure's exporter (740 ms, 25 MB) is loaded
by the thread that sends the first batch. Our own providers and not `configure_azure_monitor`: that instruments every
library it finds, and a store call for each span of a store call is what a small bill does not need.

A heartbeat, the sweep and the steps that they ask for come some 7,000 times a day and mostly find all well. They are
marked routine, kept until they end, and thrown away unless one of their spans tells news or failed. Traded off: a
process that dies takes the spans of what it was doing along. Measurements are never thrown away.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from shared import telemetry
from shared.azure.settings import CONNECTION_STRING, TELEMETRY_FILE
from shared.telemetry import Attr

MOST_HELD = 2000
"""Spans of one invocation that are held back; beyond them they are sent whatever they tell."""
FILE_EVERY_MS, AZURE_EVERY_MS = 5_000, 60_000
_DELTA: dict[type, AggregationTemporality] = dict.fromkeys((Counter, Histogram), AggregationTemporality.DELTA)


def start(env: Mapping[str, str]) -> None:
    """Once in a process. Without a setting there are ids and nothing else."""
    providers = _providers(env)
    if providers is None:
        telemetry.use(telemetry.IdsOnly())
        return
    tracers, meters = providers
    telemetry.use(tracers.get_tracer(telemetry.SERVICE), meters.get_meter(telemetry.SERVICE))


def _providers(env: Mapping[str, str]) -> tuple[TracerProvider, MeterProvider] | None:
    azure, file = env.get(CONNECTION_STRING, "").strip(), env.get(TELEMETRY_FILE, "").strip()
    resource = Resource({"service.name": telemetry.SERVICE})
    tracers, readers = TracerProvider(sampler=ALWAYS_ON, resource=resource), []
    if azure:
        tracers.add_span_processor(News(BatchSpanProcessor(_LaterSpans(lambda: _azure("Trace", azure)))))
        readers.append(PeriodicExportingMetricReader(_LaterMetrics(lambda: _azure("Metric", azure)), AZURE_EVERY_MS))
    if file:
        tracers.add_span_processor(News(SimpleSpanProcessor(FileSpans(Path(file)))))
        readers.append(PeriodicExportingMetricReader(FileMetrics(Path(file)), FILE_EVERY_MS))
    return (tracers, MeterProvider(readers, resource)) if readers else None


class News(SpanProcessor):
    """Holds the spans of an invocation until its first span ends, and then passes on all of them or none."""

    def __init__(self, following: SpanProcessor) -> None:
        self._following = following
        self._root_of: dict[int, int] = {}
        self._held: dict[int, list[ReadableSpan]] = {}

    def on_start(self, span: Span, parent_context: Any = None) -> None:
        own, parent = _id(span), span.parent
        known = None if parent is None or parent.is_remote else self._root_of.get(parent.span_id)
        self._root_of[own] = own if known is None else known
        self._held.setdefault(self._root_of[own], [])
        self._following.on_start(span, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        own = _id(span)
        root = self._root_of.pop(own)
        held = self._held.pop(root, [])
        held.append(span)
        if own != root and root in self._root_of and len(held) < MOST_HELD:
            self._held[root] = held
        elif own != root or not _is_routine(span) or any(_tells(s) for s in held):
            for each in held:
                self._following.on_end(each)

    def shutdown(self) -> None:
        self._following.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._following.force_flush(timeout_millis)


def _id(span: ReadableSpan) -> int:
    context = span.get_span_context()
    return context.span_id if context is not None else 0


def _is_routine(span: ReadableSpan) -> bool:
    return bool((span.attributes or {}).get(Attr.ROUTINE))


def _tells(span: ReadableSpan) -> bool:
    return not span.status.is_unset or bool((span.attributes or {}).get(Attr.NEWS))


def _azure(signal: str, connection_string: str) -> Any:
    """Failed batches are not kept on the instance's disk, which Flex Consumption takes away with it. The exporter tells
    nobody of itself and lets nobody reconfigure it. It takes the managed identity where the app settings say so."""
    switches = ("STATSBEAT_DISABLED_ALL", "SDKSTATS_DISABLED", "CONTROLPLANE_DISABLED")
    for what in (*switches, "OPENTELEMETRY_RESOURCE_METRIC_DISABLED"):  # the last asks for a global provider: none here
        os.environ.setdefault(f"APPLICATIONINSIGHTS_{what}", "true")
    from azure.monitor.opentelemetry import exporter

    make = getattr(exporter, f"AzureMonitor{signal}Exporter")
    return make(connection_string=connection_string, disable_offline_storage=True)


class _LaterSpans(SpanExporter):
    """The exporter that `make` makes when there is something to export."""

    def __init__(self, make: Callable[[], SpanExporter]) -> None:
        self._make, self._made = make, list[SpanExporter]()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._made = self._made or [self._make()]
        return self._made[0].export(spans)

    def shutdown(self) -> None:
        for made in self._made:
            made.shutdown()


class _LaterMetrics(MetricExporter):
    def __init__(self, make: Callable[[], MetricExporter]) -> None:
        super().__init__(preferred_temporality=_DELTA)
        self._make, self._made = make, list[MetricExporter]()

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        self._made = self._made or [self._make()]
        return self._made[0].export(metrics_data, timeout_millis, **kwargs)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return all(made.force_flush(timeout_millis) for made in self._made)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        for made in self._made:
            made.shutdown(timeout_millis, **kwargs)


class FileSpans(SpanExporter):
    """Appends a line of JSON per span (docs/telemetry.md), so that several processes may share the file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        _append(self._path, [_line(span) for span in spans])
        return SpanExportResult.SUCCESS


class FileMetrics(MetricExporter):
    """The same for measurements: what a counter grew by, and a histogram took in, since the last time."""

    def __init__(self, path: Path) -> None:
        super().__init__(preferred_temporality=_DELTA)
        self._path = path

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        scopes = [s for r in metrics_data.resource_metrics for s in r.scope_metrics]
        _append(self._path, [_point(m, p) for s in scopes for m in s.metrics for p in m.data.data_points])
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        return


def _line(span: ReadableSpan) -> dict[str, Any]:
    context, start, end = span.get_span_context(), span.start_time or 0, span.end_time or 0
    trace = context.trace_id if context is not None else 0
    return {
        "span": span.name,
        "trace": f"{trace:032x}",
        "id": f"{_id(span):016x}",
        "parent": f"{span.parent.span_id:016x}" if span.parent else None,
        "links": [f"{link.context.trace_id:032x}" for link in span.links],
        "start": start / 1e9,
        "seconds": (end - start) / 1e9,
        "error": span.status.description if not span.status.is_ok else None,
        "attributes": dict(span.attributes or {}),
    }


def _point(metric: Any, point: Any) -> dict[str, Any]:
    values = {"value": point.value} if hasattr(point, "value") else {"count": point.count, "sum": point.sum}
    return (
        {"metric": metric.name, "unit": metric.unit, "at": point.time_unix_nano / 1e9}
        | values
        | {"attributes": dict(point.attributes)}
    )


def _append(path: Path, lines: list[dict[str, Any]]) -> None:
    """One write: lines of processes that share the file do not mix."""
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(json.dumps(line) + "\n" for line in lines))
