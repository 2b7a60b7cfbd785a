"""Alerts and the workbook: the names in their queries are names of the code, and docs/operate.md tells of each."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from shared import telemetry
from shared.control.events import Reason
from shared.domain import limits
from tests.app import FUNCTIONS

from . import bicep
from .test_app import routes

METRICS = {"TunnelAverageBandwidth": "ConnectionName", "BgpPeerStatus": "BgpPeerAddress"}
"""Of Microsoft.Network/virtualNetworkGateways, with the dimension that tells one tunnel or peer from another
(Azure Monitor's reference of supported metrics)."""
TABLES = {"AppExceptions", "AppMetrics", "AppRequests", "AppTraces"} | {
    "AzureDiagnostics",
    "AzureMetrics",
    "StorageQueueLogs",
}
WORKBOOK = json.loads((bicep.INFRA / "workbook.json").read_text())
LOG_RULES: list[dict[str, Any]] = bicep.module("alerts")["variables"]["rules"]["value"]


def query_of(rule: dict[str, Any]) -> str:
    query = rule["query"]
    if isinstance(query, str):
        return query
    given = query["function"]["parameters"]
    form, value = given["format_string"], given["arg_1"]
    alerts = bicep.module("alerts")
    return (alerts["variables"][form]["value"] if form == "event" else form).replace("{0}", value)


def queries() -> list[Any]:
    found = {rule["name"]: query_of(rule) for rule in LOG_RULES}
    found |= {f"workbook {i['name']}": i["content"]["query"] for i in WORKBOOK["items"] if i["type"] == 3}
    return [pytest.param(query, id=name) for name, query in found.items()]


def alert_names() -> set[str]:
    metric = {rule["name"] for rule in bicep.module("gateway-alerts")["variables"]["rules"]["value"]}
    return {rule["name"] for rule in LOG_RULES} | {f"homelink-<gateway>-{name}" for name in metric} | {"budget"}


def reasons() -> set[str]:
    """Of Events: their own and those of Conditions."""
    source = bicep.ROOT.joinpath("shared/domain/conditions.py").read_text()
    return {str(reason) for reason in Reason} | set(re.findall(r'"((?:[A-Z][a-z]+)+)"', source))


@pytest.mark.parametrize("query", queries())
def test_queries_ask_known_tables_and_paths(query: str) -> None:
    assert query.splitlines()[0] in TABLES
    assert query.count("(") == query.count(")")
    assert query.count("'") % 2 == 0
    for end in re.findall(r"Url endswith '(.*?)'", query):
        assert [path for path in routes() if path.endswith(end) and "/api/agents/" in path]
    for queue in re.findall(r"Uri contains '/(.*?)/'", query):
        assert queue in bicep.module("storage")["parameters"]["queues"]["default"]
    for names in re.findall(r"Name has_any \((.*?)\)", query):
        assert set(re.findall(r"'(.*?)'", names)) == {n for n, f in FUNCTIONS.items() if not f.is_http_function()}
    for metric in re.findall(r"MetricName == '(.*?)'", query):
        assert metric in METRICS


@pytest.mark.parametrize("rule", LOG_RULES, ids=lambda r: str(r["name"]))
def test_rules_end_in_a_row_per_thing(rule: dict[str, Any]) -> None:
    assert re.search(rf"summarize .* by {rule['dimension']}( = .*)?$", query_of(rule), re.MULTILINE)
    assert rule["range"] in ("PT30M", "P2D"), "two days are the longest that Azure Monitor looks back"


def test_rules_look_for_events_that_there_are() -> None:
    asked = {word for r in LOG_RULES for word in re.findall(r"message\) startswith '(\w+): '", query_of(r))}
    assert asked
    assert asked <= reasons()
    assert '"%s: %s", row["reason"], row["message"]' in bicep.ROOT.joinpath("shared/control/saving.py").read_text()


def test_the_workbook_shows_every_metric_and_queries_ask_for_no_other() -> None:
    names = [m.name for m in telemetry.METRICS]
    asked = {q.id: re.findall(r"Name == '(homelink.*?)'", str(q.values[0])) for q in queries()}
    assert sorted(n for q, found in asked.items() if str(q).startswith("workbook") for n in found) == sorted(names)
    assert {n for found in asked.values() for n in found} <= set(names)
    attributes = {a for q in queries() for a in re.findall(r"Properties\.(\w+)", str(q.values[0]))}
    assert attributes <= {a for m in telemetry.METRICS for a in m.attributes}


def test_metrics_of_the_gateway_rules() -> None:
    rules = bicep.module("gateway-alerts")["variables"]["rules"]["value"]
    assert {r["metric"]: r["dimension"] for r in rules} == METRICS


def test_an_agent_is_silent_after_more_than_a_few_heartbeats() -> None:
    assert bicep.module("alerts")["parameters"]["silentSeconds"]["default"] > 5 * limits.HEARTBEAT_FRESH_S


def test_homelink_is_told_of_its_gateways_in_the_common_schema() -> None:
    alerts = bicep.module("alerts")
    webhook = alerts["variables"]["webhook"]["value"]
    assert webhook["serviceUri"] == "https://${hostName}/api/alerts?code=${alertsKey}"
    assert webhook["useCommonAlertSchema"] is True
    secure = alerts["variables"]["secureWebhook"]["value"]["function"]["parameters"]["arg_2"]
    assert secure["useAadAuth"] is True
    assert set(secure) == {"useAadAuth", "objectId", "identifierUri", "tenantId"}


def test_every_alert_is_explained_and_no_other() -> None:
    page = bicep.ROOT.joinpath("docs", "operate.md").read_text()
    told = re.findall(r"^### (.*)$", page.split("\n## Alerts\n")[1].split("\n## ")[0], re.MULTILINE)
    assert set(told) == alert_names()
    assert len(told) == len(set(told))


def test_the_workbook_is_one() -> None:
    assert WORKBOOK["version"] == "Notebook/1.0"
    names = [item["name"] for item in WORKBOOK["items"]]
    assert len(names) == len(set(names))
    assert {item["type"] for item in WORKBOOK["items"]} == {1, 3, 9}
