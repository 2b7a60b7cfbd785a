"""What is registered, and what an instance has to import before it can answer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .calls import FUNCTIONS

ROOT = Path(__file__).parents[2]

HTTP = {
    "list_gateways": ("GET", "gateways", "function"),
    "put_gateway": ("PUT", "gateways/{name}", "function"),
    "get_gateway": ("GET", "gateways/{name}", "function"),
    "get_gateway_status": ("GET", "gateways/{name}/status", "function"),
    "delete_gateway": ("DELETE", "gateways/{name}", "function"),
    "plan_gateway": ("POST", "gateways/{name}/plan", "function"),
    "plan_connection": ("POST", "connections/{name}/plan", "function"),
    "get_audit": ("GET", "audit/{month}", "function"),
    "list_connections": ("GET", "connections", "function"),
    "put_connection": ("PUT", "connections/{name}", "function"),
    "get_connection": ("GET", "connections/{name}", "function"),
    "get_connection_status": ("GET", "connections/{name}/status", "function"),
    "get_incident": ("GET", "connections/{name}/incidents/{incident}", "function"),
    "get_incidents": ("GET", "connections/{name}/incidents", "function"),
    "get_gateway_events": ("GET", "gateways/{name}/events", "function"),
    "get_connection_events": ("GET", "connections/{name}/events", "function"),
    "get_findings": ("GET", "connections/{name}/findings", "function"),
    "diagnose": ("POST", "connections/{name}/diagnose", "function"),
    "put_psk": ("PUT", "connections/{name}/psk", "function"),
    "delete_connection": ("DELETE", "connections/{name}", "function"),
    "post_import": ("POST", "imports", "function"),
    "post_token": ("POST", "agents/{name}/token", "function"),
    "post_alert": ("POST", "alerts", "function"),
    "get_alerts": ("GET", "alerts", "function"),
    "openapi": ("GET", "openapi.json", "anonymous"),
    "enrol": ("POST", "agents/enrol", "anonymous"),
    "heartbeat": ("POST", "agents/{agent}/heartbeat", "anonymous"),
    "queue_grant": ("POST", "agents/{agent}/queue", "anonymous"),
    "secret_grant": ("POST", "agents/{agent}/secret", "anonymous"),
}


def test_every_handler_is_registered_with_its_route_and_key() -> None:
    found = {}
    for name, function in FUNCTIONS.items():
        trigger = function.get_trigger().get_dict_repr()
        if trigger["type"] == "httpTrigger":
            methods = ",".join(str(m.value if hasattr(m, "value") else m) for m in trigger["methods"])
            level = trigger["authLevel"]
            found[name] = (methods, trigger["route"], str(getattr(level, "value", level)).lower())
    assert found == HTTP


def test_queue_and_timer() -> None:
    reconcile = FUNCTIONS["reconcile"].get_trigger().get_dict_repr()
    assert (reconcile["type"], reconcile["queueName"]) == ("queueTrigger", "reconcile")
    sweep = FUNCTIONS["sweep"].get_trigger().get_dict_repr()
    assert (sweep["type"], sweep["schedule"]) == ("timerTrigger", "0 * * * * *")
    retention = FUNCTIONS["retention"].get_trigger().get_dict_repr()
    assert (retention["type"], retention["schedule"]) == ("timerTrigger", "0 17 3 * * *")
    assert set(FUNCTIONS) == {*HTTP, "reconcile", "sweep", "retention"}


def test_every_output_goes_to_the_reconcile_queue() -> None:
    outputs = [b.get_dict_repr() for f in FUNCTIONS.values() for b in f.get_bindings()]
    queues = {o["queueName"] for o in outputs if o["type"] == "queue"}
    assert queues == {"reconcile"}


@pytest.mark.parametrize(
    "module",
    [
        "azure.mgmt",
        "azure.identity",
        "azure.data",
        "azure.storage",
        "azure.keyvault",
        "azure.core",
        "azure.monitor",
        "opentelemetry.sdk",
        "dns",
        "yaml",
        "aiohttp",
    ],
)
def test_importing_the_app_imports_nothing_heavy(loaded: frozenset[str], module: str) -> None:
    assert not [m for m in loaded if m == module or m.startswith(module + ".")]


@pytest.fixture(scope="module")
def loaded() -> frozenset[str]:
    code = "import function_app, sys; print('\\n'.join(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    modules = frozenset(run.stdout.split())
    assert {"function_app", "functions.agents", "shared.control.step", "azure.functions"} <= modules
    return modules
