"""Where telemetry goes: a file, and Azure's own exporter towards an ingestion endpoint on this machine."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider

from shared import telemetry
from shared.azure import monitor
from shared.azure.settings import CONNECTION_STRING, TELEMETRY_FILE
from shared.telemetry import Attr

ROOT = Path(__file__).parents[3]


@pytest.fixture
def providers(request: pytest.FixtureRequest) -> Iterator[Any]:
    def start(env: dict[str, str]) -> tuple[TracerProvider, MeterProvider]:
        made = monitor._providers(env)
        assert made is not None
        request.addfinalizer(made[0].shutdown)
        request.addfinalizer(made[1].shutdown)
        telemetry.use(made[0].get_tracer("test"), made[1].get_meter("test"))
        return made

    yield start
    telemetry.use()


def test_a_file_has_a_line_per_span_and_measurement(tmp_path: Path, providers: Any) -> None:
    file = tmp_path / "telemetry.jsonl"
    file.write_text('{"kept": true}\n')
    _, meters = providers({TELEMETRY_FILE: str(file)})
    with (
        telemetry.span("http put_gateway", about={Attr.STATUS: 200}),
        pytest.raises(ValueError),
        telemetry.span("arm put"),
    ):
        raise ValueError("AKeyOfMyOwn0123456789")
    telemetry.record(telemetry.RESETS, 1, "reset-gateway")
    telemetry.record(telemetry.QUEUE_AGE, 2.5, "put")
    meters.force_flush()
    kept, child, parent, *points = [json.loads(line) for line in file.read_text().splitlines()]
    assert kept == {"kept": True}, "another process writes there too"
    assert (child["span"], child["error"], child["attributes"]) == ("arm put", "ValueError", {})
    assert (child["trace"], child["parent"]) == (parent["trace"], parent["id"])
    assert parent["attributes"] == {"http.response.status_code": 200} and parent["error"] is None
    assert parent["parent"] is None and 0 <= child["seconds"] <= parent["seconds"] < 10
    assert {(p["metric"], p.get("value"), p.get("sum")) for p in points} == {
        ("homelink.resets", 1, None),
        ("homelink.queue.age", None, 2.5),
    }
    telemetry.record(telemetry.RESETS, 1, "reset-gateway")
    meters.force_flush()
    last = json.loads(file.read_text().splitlines()[-1])
    assert (last["metric"], last["value"]) == ("homelink.resets", 1), "what it grew by, not the sum"


def test_a_caller_cannot_have_his_trace_left_out(tmp_path: Path, providers: Any) -> None:
    providers({TELEMETRY_FILE: str(tmp_path / "t.jsonl")})
    with telemetry.span("http put_gateway", parent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"):
        pass
    assert len((tmp_path / "t.jsonl").read_text().splitlines()) == 1


def test_without_a_setting_there_are_ids() -> None:
    monitor.start({})
    try:
        with telemetry.span("http a"):
            assert telemetry.trace_id() is not None
    finally:
        telemetry.use()


class Ingestion:
    """What Application Insights would have been sent."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
        items = self.items

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                text = (gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body).decode()
                found = json.loads(text) if text.startswith("[") else [json.loads(x) for x in text.splitlines()]
                items.extend(found)
                answer = json.dumps({"itemsReceived": len(found), "itemsAccepted": len(found), "errors": []}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def connection_string(self) -> str:
        key = "00000000-0000-0000-0000-000000000001"
        return f"InstrumentationKey={key};IngestionEndpoint=http://127.0.0.1:{self.server.server_port}/"


@pytest.fixture
def ingestion() -> Iterator[Ingestion]:
    made = Ingestion()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_azures_exporter_sends_what_is_told(
    ingestion: Ingestion, providers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = [f"APPLICATIONINSIGHTS_{w}" for w in ("STATSBEAT_DISABLED_ALL", "SDKSTATS_DISABLED", "CONTROLPLANE_DISABLED")]
    for name in own:
        monkeypatch.delenv(name, raising=False)
    tracers, meters = providers({CONNECTION_STRING: ingestion.connection_string})
    with telemetry.span("http put_gateway", telemetry.SpanKind.SERVER):
        trace = telemetry.trace_id()
        with telemetry.span("arm put", telemetry.SpanKind.CLIENT, {Attr.ARM_NAME: "rg/hub"}):
            pass
    with telemetry.span("timer sweep", about={Attr.ROUTINE: True}):
        pass
    telemetry.record(telemetry.TUNNEL_UP, 1, "hub", "home")
    tracers.force_flush()
    meters.force_flush()
    data = {i["data"]["baseType"]: i for i in ingestion.items}
    assert set(data) == {"RequestData", "RemoteDependencyData", "MetricData"} and len(ingestion.items) == 3
    assert {i["tags"]["ai.operation.id"] for i in ingestion.items if "ai.operation.id" in i["tags"]} == {trace}
    assert data["RequestData"]["data"]["baseData"]["name"] == "http put_gateway"
    assert data["RemoteDependencyData"]["data"]["baseData"]["properties"]["homelink.arm.name"] == "rg/hub"
    [point] = data["MetricData"]["data"]["baseData"]["metrics"]
    assert (point["name"], point["value"]) == ("homelink.tunnel.up", 1)
    assert data["MetricData"]["data"]["baseData"]["properties"]["connection"] == "home"
    assert {i["tags"]["ai.cloud.role"] for i in ingestion.items} == {"homelink"}
    assert {os.environ.get(name) for name in own} == {"true"}, "it sends nothing of itself"


def test_azures_exporter_is_loaded_by_the_first_batch_and_not_before() -> None:
    code = (
        "import sys; from shared.azure import monitor; from shared import telemetry\n"
        f"monitor.start({{'{CONNECTION_STRING}': 'InstrumentationKey=00000000-0000-0000-0000-000000000001;"
        "IngestionEndpoint=http://127.0.0.1:9/'})\n"
        "with telemetry.span('http a'): pass\n"
        "print('azure.monitor' in sys.modules); import os; os._exit(0)"
    )
    argv = [sys.executable, "-u", "-c", code]
    run = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout == "False\n", run.stderr
