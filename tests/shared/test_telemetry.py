"""Spans, measurements and log lines: one trace per cause, nothing that must not be told, nothing where nobody asked."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import azure.functions as func
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from shared import telemetry, wiring
from shared.azure import monitor
from shared.control.commands import Commands
from shared.control.services import RECONCILE
from shared.control.unit import load
from shared.errors import StoreConflict
from shared.logs import JsonFormatter
from shared.telemetry import Attr
from shared.wire.commands import Command, Kind, Target, parse_command
from shared.wire.errors import Malformed
from shared.wire.reports import Result
from tests.app import FUNCTIONS
from tests.examples import CONNECTION, GATEWAY
from tests.functions.calls import call
from tests.shared.control.world import FIRST, NAME, SECOND, World

ROOT = Path(__file__).parents[2]
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE = CALLER[3:35]


class Told:
    """What was told so far. `filtered`: only what the filter of routine lets through."""

    def __init__(self, filtered: bool = False) -> None:
        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        simple = SimpleSpanProcessor(self.exporter)
        tracers = TracerProvider(shutdown_on_exit=False)
        tracers.add_span_processor(monitor.News(simple) if filtered else simple)
        meters = MeterProvider([self.reader], shutdown_on_exit=False)
        telemetry.use(tracers.get_tracer("test"), meters.get_meter("test"))

    def spans(self, trace: str | None = None) -> list[ReadableSpan]:
        found = self.exporter.get_finished_spans()
        return [s for s in found if s.context is not None and trace in (None, f"{s.context.trace_id:032x}")]

    def names(self, trace: str | None = None) -> set[str]:
        return {s.name for s in self.spans(trace)}

    def metrics(self) -> dict[str, list[Any]]:
        data = self.reader.get_metrics_data()
        scopes = [s for r in data.resource_metrics for s in r.scope_metrics] if data else []
        return {m.name: list(m.data.data_points) for s in scopes for m in s.metrics}


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    wiring.bind(wiring.traced(made.services))
    made.app = wiring.app()
    yield made
    wiring.bind(None)
    telemetry.use()


@pytest.fixture
def told(world: World) -> Told:
    return Told()


async def play(world: World, seconds: int) -> None:
    """As World.run, but by the functions themselves, and with an agent that tells what became of its commands."""
    done = len(world.agent.commands)
    for second in range(0, seconds, 5):
        world.clock.advance(5)
        if second % 60 == 0:
            await reconcile(json.dumps({"unit": "hub", "reason": "sweep", "due": world.clock.now().isoformat()}))
        while (message := world.queue.receive(RECONCILE)) is not None:
            await reconcile(message.text)
            world.queue.delete(RECONCILE, message)
        if not world.agent.id:
            continue
        world.agent.take_commands()
        if second % 30 == 0:
            new, done = world.agent.commands[done:], len(world.agent.commands)
            at = world.clock.now().timestamp()
            results = tuple(
                Result(c.id, c.seq, c.kind.value, c.generation, "home", "done", "", at, began=at - 1) for c in new
            )
            await heartbeat(world, results)


async def reconcile(text: str) -> None:
    await FUNCTIONS["reconcile"].get_user_function()(message=func.QueueMessage(body=text.encode()))


async def heartbeat(world: World, results: tuple[Result, ...] = ()) -> None:
    sealed = world.agent.sealed(world.agent.heartbeat(results=results))
    headers = {"X-Forwarded-For": f"{world.agent.source}:50123"}
    assert (await call("heartbeat", sealed, {"agent": world.agent.id}, headers)).status == 200


async def put(world: World, traceparent: str = CALLER) -> None:
    headers = {"traceparent": traceparent}
    for name, document, route in (("put_gateway", GATEWAY, "hub"), ("put_connection", CONNECTION, "home")):
        answer = await call(name, document, {"name": route}, headers)
        await world.queue.send(RECONCILE, json.dumps(answer.wake))


async def joined(world: World, traceparent: str = CALLER) -> None:
    await put(world, traceparent)
    await world.agent.enrol()
    await play(world, 600)
    assert await world.ready()


async def test_a_request_is_one_trace_to_the_agent_and_back(world: World, told: Told) -> None:
    answer = await call("put_gateway", GATEWAY, {"name": "hub"}, {"traceparent": CALLER})
    assert answer.headers[telemetry.HEADER] == TRACE and answer.wake["trace"][3:35] == TRACE
    await joined(world)
    assert told.names(TRACE) >= {
        "http put_connection", "queue reconcile", "reconciler step", "arm put", "store transact", "vault get",
        "resolver look", "command apply", "queue send", "agent apply",
    }  # fmt: skip
    [apply] = [s for s in told.spans(TRACE) if s.name == "agent apply"]
    [command] = [s for s in told.spans(TRACE) if s.name == "command apply"]
    assert apply.parent is not None and command.context is not None and apply.parent.span_id == command.context.span_id
    assert (apply.end_time or 0) - (apply.start_time or 0) == 10**9, "as long as the agent says that it took"
    events = (await call("get_connection_events", route={"name": "home"}, params={"limit": "500"})).json["items"]
    assert {e["reason"] for e in events if e["trace"] == TRACE} >= {"Created", "CommandIssued", "CommandDone"}
    audit = (await call("get_audit", route={"month": f"{world.clock.now():%Y-%m}"})).json["items"]
    assert {e["action"] for e in audit if e["trace"] == TRACE} >= {"put", "arm-put", "command-apply"}
    assert (await load(world.store, "hub")).state.cause is None, "all is well: the next step is another story"


async def test_an_outage_is_one_trace_from_the_heartbeat_that_told_of_it(world: World, told: Told) -> None:
    await joined(world)
    told.exporter.clear()
    world.agent.source = SECOND
    world.resolver.answer(NAME, SECOND)
    world.agent.breaks()
    await heartbeat(world)
    cause = (await load(world.store, "hub")).state.cause
    assert cause is not None
    [began] = [s for s in told.spans() if s.name == "http heartbeat"]
    assert began.context is not None and cause.trace[3:35] == f"{began.context.trace_id:032x}" != TRACE
    await play(world, 300)
    assert told.names(cause.trace[3:35]) >= {"http heartbeat", "arm put", "command initiate", "agent initiate"}
    detection, recovery = (told.metrics()[m.name] for m in (telemetry.DETECTION, telemetry.RECOVERY))
    assert sum(p.count for p in detection) == 1 and 0 < sum(p.sum for p in detection) <= 35
    assert sum(p.count for p in recovery) == 1 and 0 < sum(p.sum for p in recovery) < 300


async def test_a_message_without_a_trace_or_with_nonsense_is_taken(world: World, told: Told) -> None:
    await world.put()
    message = {"unit": "hub", "reason": "put", "due": world.clock.now().isoformat()}
    await reconcile(json.dumps(message))
    assert [r.verb for r in world.arm.writes()][-1] == "put"
    for nonsense in ("00-0-0-00", 7, None, ["x"], "00-" + "0" * 32 + "-" + "0" * 16 + "-01"):
        world.clock.advance(60)
        await reconcile(json.dumps({**message, "due": world.clock.now().isoformat(), "trace": nonsense}))
    assert len(told.spans()) > 5 and TRACE not in {f"{s.context.trace_id:032x}" for s in told.spans() if s.context}


async def test_what_began_and_never_gets_well_is_another_story_after_hours(world: World, told: Told) -> None:
    await put(world)
    await play(world, 120)
    assert (await load(world.store, "hub")).state.cause is not None
    told.exporter.clear()
    world.clock.advance(5 * 3600)
    late = {"unit": "hub", "reason": "continue", "due": world.clock.now().isoformat(), "trace": CALLER}
    await reconcile(json.dumps(late))
    await play(world, 120)
    steps = {s.context.trace_id for s in told.spans() if s.context and s.name == "reconciler step"}
    assert len(steps) == 1 and f"{steps.pop():032x}" != TRACE


async def test_nothing_is_told_where_nobody_asked(world: World) -> None:
    await joined(world, traceparent="")
    assert telemetry.HEADER not in (await call("list_gateways")).headers
    events = (await call("get_connection_events", route={"name": "home"}, params={"limit": "500"})).json["items"]
    assert {e["trace"] for e in events} == {None} and {c.trace for c in world.agent.commands} == {""}
    assert "trace" not in (await call("put_connection", CONNECTION, {"name": "home"})).wake
    with_one = await call("put_connection", CONNECTION, {"name": "home"}, {"traceparent": CALLER})
    assert with_one.wake["trace"] == CALLER, "what a caller brings along is passed on"


async def test_ids_without_the_sdk() -> None:
    telemetry.use(telemetry.IdsOnly())
    try:
        with telemetry.span("http a"):
            outer = telemetry.trace_id()
            assert outer is not None and re.fullmatch("[0-9a-f]{32}", outer)
            with telemetry.span("store b"):
                assert telemetry.trace_id() == outer
            with telemetry.span("reconciler c", parent=CALLER):
                assert telemetry.trace_id() == TRACE and telemetry.traceparent() != CALLER
    finally:
        telemetry.use()
    assert telemetry.trace_id() is None


async def test_no_secret_no_address_and_no_name_in_dns_is_told(world: World, told: Told) -> None:
    await joined(world)
    world.agent.source = SECOND
    world.resolver.answer(NAME, SECOND)
    await heartbeat(world)
    await play(world, 120)
    text = "".join(s.to_json() for s in told.spans()) + repr(told.metrics())
    values = [s.value for versions in world.vault._versions.values() for s in versions]
    assert len(values) >= 5 and not [v for v in values if v in text]
    assert not [a for a in (FIRST, SECOND, NAME) if a in text]
    assert "home" in text


async def test_an_error_is_told_by_its_type(told: Told) -> None:
    with pytest.raises(ValueError), telemetry.span("arm put"):
        raise ValueError("AKeyOfMyOwn0123456789 at 198.51.100.23")
    with pytest.raises(StoreConflict), telemetry.span("store transact"):
        raise StoreConflict("row units/hub/lease")
    failed, conflict = told.spans()
    assert failed.status.description == "ValueError" and "AKeyOf" not in failed.to_json()
    assert conflict.status.is_unset and dict(conflict.attributes or {}) == {Attr.OUTCOME: "StoreConflict"}, (
        "that is how two of us find out about each other"
    )


async def test_measurements_have_the_attributes_that_are_listed(world: World, told: Told) -> None:
    await joined(world)
    found = told.metrics()
    assert set(found) <= {m.name for m in telemetry.METRICS}
    for metric in telemetry.METRICS:
        assert set(metric.attributes) <= set(telemetry.BOUNDS)
        for point in found.get(metric.name, ()):
            assert set(point.attributes) == set(metric.attributes), metric.name
    [silence] = found[telemetry.SILENCE.name]
    assert 0 <= silence.value <= 60
    [up] = found[telemetry.TUNNEL_UP.name]
    assert up.value == 1 and dict(up.attributes) == {"gateway": "hub", "connection": "home"}
    received = [p for p in found[telemetry.PREFIXES.name] if p.attributes["direction"] == "received"]
    assert [p.value for p in received] == [1]
    calls = {(p.attributes["verb"], p.attributes["kind"]): p.value for p in found[telemetry.ARM_CALLS.name]}
    assert calls["put", "virtualNetworkGateways"] == 1 and calls["ensure_resource_group", "resourceGroup"] == 1
    ages = {p.attributes["reason"] for p in found[telemetry.QUEUE_AGE.name]}
    assert {"put", "sweep", "continue"} <= ages <= telemetry.REASONS


async def test_a_reason_that_nobody_gives_is_no_new_value(world: World, told: Told) -> None:
    await world.put()
    await reconcile(json.dumps({"unit": "hub", "reason": "x" * 99, "due": world.clock.now().isoformat()}))
    assert [p.attributes["reason"] for p in told.metrics()[telemetry.QUEUE_AGE.name]] == ["other"]


async def test_routine_is_told_when_it_tells_news_or_fails(world: World) -> None:
    kept = Told(filtered=True)
    await joined(world)
    kept.exporter.clear()
    await play(world, 300)
    assert kept.names() == set(), "a calm quarter of an hour is no story"
    await call("list_gateways")
    assert kept.names() == set(), "who looks changes nothing"
    world.agent.breaks()
    await heartbeat(world)
    await play(world, 60)
    assert kept.names() >= {"http heartbeat", "queue reconcile", "reconciler step", "store transact"}
    kept.exporter.clear()
    with telemetry.span("http a", about={Attr.ROUTINE: True}), telemetry.span("store b"):
        telemetry.failed("Trouble")
    assert [s.name for s in kept.spans()] == ["store b", "http a"]


async def test_what_is_held_back_is_bounded(world: World) -> None:
    kept = Told(filtered=True)
    with telemetry.span("timer sweep", about={Attr.ROUTINE: True}):
        for _ in range(monitor.MOST_HELD + 1):
            with telemetry.span("store get"):
                pass
        assert len(kept.spans()) == monitor.MOST_HELD


def command(trace: str = "") -> Command:
    return Command("01ARZ3NDEKTSV4RRFFQ69G5FAV", 7, "agent", "ctl", 10, 3, Kind.INITIATE, Target("home", "id"), trace)


def test_a_command_carries_its_trace_and_only_a_trace() -> None:
    assert "trace" not in command().to_payload()
    payload = json.loads(json.dumps(command(CALLER).to_payload()))
    assert parse_command(payload) == command(CALLER) and command(CALLER).trace_id == TRACE
    for wrong in ("x", CALLER + "\n", CALLER.upper(), CALLER[:-1], "AKeyOfMyOwn0123456789"):
        with pytest.raises(Malformed, match="traceparent"):
            parse_command({**payload, "trace": wrong})


async def test_the_agents_clock_is_believed_within_reason(world: World, told: Told) -> None:
    await joined(world)
    target, issued = Target("home", "id"), world.clock.now().timestamp()
    with telemetry.span("http diagnose", parent=CALLER):
        commands = Commands(world.services, world.app.agents)
        sent = await commands.issue(world.agent.id, Kind.DIAGNOSE, 1, target, 300)
    world.clock.advance(60)
    await heartbeat(world, (Result(sent.id, sent.seq, "diagnose", 1, "home", "done", "", 4e9, began=-5.0),))
    [span] = [s for s in told.spans(TRACE) if s.name == "agent diagnose"]
    assert (span.start_time, span.end_time) == (int(issued * 1e9), int((issued + 60) * 1e9))


def test_log_lines_are_json_with_their_trace_and_without_secrets(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    log, stream = logging.getLogger("homelink.test"), io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    monkeypatch.setattr(log, "handlers", [handler])
    monkeypatch.setattr(log, "propagate", False)
    log.setLevel(logging.INFO)
    with telemetry.span("http a", parent=CALLER):
        log.info("busy for %d s, said 198.51.100.23", 3, extra={"gateway": "hub", "connection": None})
        log.warning("KeyChanged: https://x/q?sv=1&sig=AbCdEf%3D&se=2 hle_abcdefgh, Bearer eyJabc.def.ghi")
        try:
            raise ValueError("AKeyOfMyOwn0123456789")
        except ValueError:
            log.exception("it failed")
    first, second, third = map(json.loads, stream.getvalue().splitlines())
    assert first | {"time": ""} == {
        "time": "", "level": "INFO", "logger": "homelink.test", "message": "busy for 3 s, said 198.51.100.0/24",
        "trace": TRACE, "gateway": "hub",
    }  # fmt: skip
    assert datetime.fromisoformat(first["time"]).tzinfo is not None
    said = "KeyChanged: https://x/q?sv=1&sig=(not shown)&se=2 hle_(not shown) Bearer (not shown)"
    assert second["message"] == said
    record = logging.LogRecord("asyncio", logging.ERROR, "f", 1, "password: AKeyOfMyOwn0123456789", None, None)
    assert json.loads(JsonFormatter().format(record))["message"] == "password: (not shown)"
    assert re.fullmatch(r"ValueError at test_telemetry\.py:\d+", third["error"]) and "AKeyOf" not in json.dumps(third)


def test_the_page_lists_what_is_told() -> None:
    page = (ROOT / "docs" / "telemetry.md").read_text()
    for metric in telemetry.METRICS:
        attributes = ", ".join(f"`{a}`" for a in metric.attributes) or "none"
        assert f"| `{metric.name}` | {metric.kind} | {metric.unit} | {attributes} |" in page
    for attribute, bound in telemetry.BOUNDS.items():
        assert f"| `{attribute}` | {bound} |" in page
    assert {a for a in Attr if f"`{a}`" not in page} == set()
