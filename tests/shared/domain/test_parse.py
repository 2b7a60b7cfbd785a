"""Whatever a parser of YAML or JSON can hand over becomes a document or InvalidInput; secrets never come back."""

from __future__ import annotations

import copy
import datetime
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.domain import parse, rules
from shared.domain.problem import InvalidInput, Problem, shown
from shared.domain.spec import ConnectionDocument, GatewayDocument
from tests.examples import CONNECTION, GATEWAY, changed

REPEATABLE = settings(derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SECRET = "Xq7vSECRETvalue31415926535"
TEXTS = st.text(alphabet=st.characters(), max_size=12)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | TEXTS
    | st.just(9000).map(lambda digits: 16**digits)  # YAML reads it; repr() of it raises
    | st.sampled_from(["", "\ud800", datetime.date(2026, 1, 1), b"\xff", math.nan, "10.0.0.0/8"])
)
KEYS = TEXTS | st.sampled_from(
    ["apiVersion", "kind", "metadata", "spec", "name", "home", "psk", "asn", 1, None, 1.5, "\ud800"]
)
JSONISH = st.recursive(
    SCALARS,
    lambda x: st.lists(x, max_size=4) | st.dictionaries(KEYS, x, max_size=4) | st.frozensets(SCALARS),
    max_leaves=12,
)


def paths(document: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [here]
    if isinstance(document, dict):
        for k, v in document.items():
            found += paths(v, (*here, k))
    elif isinstance(document, list):
        for i, v in enumerate(document):
            found += paths(v, (*here, i))
    return found


def put(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copied = copy.deepcopy(document)
    target = copied
    for part in path[:-1]:
        target = target[part]
    target[path[-1]] = value
    return copied


READERS: list[tuple[Callable[[Any], Any], Any]] = [(parse.gateway, GATEWAY), (parse.connection, CONNECTION)]


@given(st.sampled_from([p for p, _ in READERS]), JSONISH)
@settings(REPEATABLE, max_examples=150)
def test_anything_is_a_document_or_invalid(reader: Callable[[Any], Any], data: Any) -> None:
    read(reader, data)


@given(st.data())
@settings(REPEATABLE, max_examples=300)
def test_a_document_with_one_thing_replaced_is_a_document_or_invalid(data: st.DataObject) -> None:
    reader, document = data.draw(st.sampled_from(READERS))
    path = data.draw(st.sampled_from(paths(document)))
    read(reader, put(document, path, data.draw(JSONISH)))


def read(reader: Callable[[Any], Any], data: Any) -> None:
    """And what was read can be judged by the rules: they are total."""
    try:
        document = reader(data)
    except InvalidInput as e:
        assert e.problems and all(p.path and p.rule and p.message and p.remedy for p in e.problems)
        str(e)
        return
    assert isinstance(document, GatewayDocument | ConnectionDocument)
    if isinstance(document, GatewayDocument):
        found = rules.gateway_problems(document.spec)
    else:
        found = rules.connection_problems("home", document.spec, parse.gateway(GATEWAY).spec, {"other": document.spec})
    [str(p) for p in found]


@pytest.mark.parametrize(
    "path",
    [
        "spec.psk",
        "spec.psk.value",
        "spec.psk.vaultRef",
        "spec.sharedKey",
        "spec.preSharedKey",
        "spec.passphrase",
        "psk",
        "spec.home.password",
        "spec.key",
        "spec.psk.generate",
    ],
)
@pytest.mark.parametrize(
    "value", [SECRET + "!", [SECRET], {"value": SECRET}, {SECRET: 1}], ids=lambda v: type(v).__name__
)
def test_a_secret_in_the_wrong_place_is_not_repeated(path: str, value: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse.connection(changed(CONNECTION, path, value))
    if isinstance(value, dict) and SECRET in value:
        return  # a key is named, so that it can be found
    assert SECRET not in str(caught.value) and SECRET not in repr(caught.value.problems)


def test_every_problem_of_form_at_once_with_its_path() -> None:
    bad = changed(GATEWAY, "spec.asn", "many")
    bad = changed(bad, "spec.virtualNetwork.addressSpace", [])
    bad = changed(bad, "spec.virtualNetwork.subnets", [{"name": "front", "prefix": 7}])
    bad = changed(bad, "spec.sqlSku", "x")
    bad = changed(bad, "metadata.name", "Nope")
    del bad["spec"]["tenantId"]
    with pytest.raises(InvalidInput) as caught:
        parse.gateway(bad)
    assert {(p.path, p.rule) for p in caught.value.problems} == {
        ("metadata.name", "string_pattern_mismatch"),
        ("spec.tenantId", "missing"),
        ("spec.virtualNetwork.addressSpace", "too_short"),
        ("spec.virtualNetwork.subnets[0].prefix", "string_type"),
        ("spec.asn", "int_parsing"),
        ("spec.sqlSku", "extra_forbidden"),
    }


@pytest.mark.parametrize("data", [None, [], "text", 7, [GATEWAY]])
def test_what_is_no_object_is_told_so(data: Any) -> None:
    with pytest.raises(InvalidInput, match="not a YAML or JSON object"):
        parse.gateway(data)


def test_the_wrong_kind_is_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse.gateway(CONNECTION)
    assert "kind" in {p.path for p in caught.value.problems}


@pytest.mark.parametrize("name", ["ab", "a" * 41, "Home", "a--b", "-ab", "ab-", "a_b", "1ab", "abc\n", "äbc"])
def test_a_name_that_could_not_name_a_queue_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        parse.connection(changed(CONNECTION, "metadata.name", name))


@pytest.mark.parametrize(
    "value", [16**9000, math.nan, "x" * 10_000, {1}, b"\xff", datetime.date(2026, 1, 1)], ids=lambda v: type(v).__name__
)
def test_what_is_shown_is_short_and_json(value: object) -> None:
    text = shown(value)
    assert isinstance(text, str) and len(text) <= 201
    assert len(str(Problem("p", value, "r", "m", "x"))) < 1000


def test_a_document_survives_its_own_json() -> None:
    document = parse.connection(CONNECTION)
    again = parse.connection(document.model_dump(mode="json", by_alias=True))
    assert again == document and document.spec.home.bgp_address == "192.168.1.1"
