"""Whatever a webhook gets is an Alert or refused with every problem, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain import limits
from shared.domain.alert import Alert, decode
from shared.domain.problem import InvalidInput
from tests.alerts import EXAMPLE, alert, dimension, raw

SAMPLE = Path(__file__).parents[3] / ".." / "shared" / "data" / "azure" / "common-alert-metric-static.json"
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def refused(body: bytes) -> list[tuple[str, str]]:
    with pytest.raises(InvalidInput) as e:
        decode(body)
    assert all(p.message and p.remedy and p.value is None for p in e.value.problems)
    return [(p.path, p.rule) for p in e.value.problems]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(p for k, v in inner for p in places(v, (*path, k)))]


def test_an_alert() -> None:
    found = decode(raw(EXAMPLE))
    assert (found.condition, found.rule, found.severity) == ("Fired", "tunnel-without-traffic", "Sev1")
    [target] = found.targets
    assert target.endswith("/microsoft.network/virtualnetworkgateways/hub") and found.connections == ("home",)


@pytest.mark.skipif(not SAMPLE.exists(), reason="the sample of the documentation is not beside this checkout")
def test_the_sample_of_the_documentation() -> None:
    found = decode(SAMPLE.read_bytes())
    assert (found.condition, found.rule, found.severity) == ("Resolved", "WCUS-R2-Gen2", "Sev3")
    assert found.targets[0].endswith("/virtualmachines/wcus-r2-gen2") and found.connections == ()


def test_targets_are_compared_in_lower_case_and_once() -> None:
    assert decode(raw(alert("/A/B", "/a/b/", "/C"))).targets == ("/a/b", "/c")
    assert decode(raw(alert(alertTargetIDs=None))).targets == ()


@pytest.mark.parametrize(
    "context",
    [
        None,
        [],
        {"condition": 1},
        {"condition": {"allOf": 1}},
        {"condition": {"allOf": [1, {"dimensions": 1}, {"dimensions": [1]}]}},
        dimension("ConnectionName", 1),
        dimension("RemoteIP", "home"),
    ],
)
def test_a_context_that_is_no_metrics_names_no_connection(context: Any) -> None:
    assert decode(raw(alert("/x", context=context))).connections == ()


def test_what_makes_two_deliveries_one() -> None:
    """Alert, condition and time of firing; not the description, nor the case of the id."""
    one = decode(raw(EXAMPLE)).digest
    upper = EXAMPLE["data"]["essentials"]["alertId"].upper()
    assert decode(raw(alert("/x", description="other", alertId=upper))).digest == one
    for field, value in (
        ("alertId", "/other"),
        ("monitorCondition", "Resolved"),
        ("firedDateTime", "2026-11-22T21:20:00.1234568Z"),
    ):
        assert decode(raw(alert("/x", **{field: value}))).digest != one


@pytest.mark.parametrize(
    ("body", "problems"),
    [
        (b"", [("$", "json_invalid")]),
        (b"\xff\xfe", [("$", "json_invalid")]),
        (b"[" * 100_000, [("$", "json_invalid")]),
        (b'{"schemaId": ' + b"9" * 5000 + b"}", [("$", "json_invalid")]),
        (b"[]", [("$", "model_type")]),
        (b" " * (limits.ALERT_BYTES + 1), [("$", "too_long")]),
        (b"{}", [("schemaId", "missing")]),
        (b'{"schemaId": "AzureMonitorMetricAlert", "data": {}}', [("schemaId", "literal_error")]),
        (b'{"schemaId": "azureMonitorCommonAlertSchema"}', [("data", "missing")]),
        (raw(alert(monitorCondition="Activated")), [("data.essentials.monitorCondition", "literal_error")]),
        (raw(alert(firedDateTime="yesterday")), [("data.essentials.firedDateTime", "string_pattern_mismatch")]),
        (raw(alert(alertId="\ud800")), [("data.essentials.alertId", "string_unicode")]),
        (
            raw(alert(alertId="", alertTargetIDs=["/x", 1])),
            [("data.essentials.alertId", "string_too_short"), ("data.essentials.alertTargetIDs.1", "string_type")],
        ),
    ],
)
def test_what_is_refused(body: bytes, problems: list[tuple[str, str]]) -> None:
    assert refused(body) == problems


def test_another_schema_is_told_what_to_do() -> None:
    with pytest.raises(InvalidInput) as e:
        decode(b'{"schemaId": "Microsoft.Insights/activityLogs"}')
    assert "common alert schema" in e.value.problems[0].remedy


@given(st.data())
def test_one_place_of_an_alert_may_hold_anything(data: st.DataObject) -> None:
    document = json.loads(json.dumps(EXAMPLE))
    *path, last = data.draw(st.sampled_from([p for p in places(document) if p]))
    target: Any = document
    for part in path:
        target = target[part]
    target[last] = data.draw(ANYTHING)
    _is_taken_or_refused(raw(document))


@given(st.binary(max_size=300) | ANYTHING.map(raw))
def test_anything_at_all(body: bytes) -> None:
    _is_taken_or_refused(body)


def _is_taken_or_refused(body: bytes) -> None:
    try:
        found = decode(body)
    except InvalidInput as e:
        assert e.problems
    else:
        assert isinstance(found, Alert) and len(found.digest) == 64
        found.id.encode(), found.description.encode()
