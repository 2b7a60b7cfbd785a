"""Documents in, problems out, and whose address a caller has."""

from __future__ import annotations

import json

import azure.functions as func
import pytest

from functions import web
from shared.domain.problem import InvalidInput, Problem
from shared.errors import (
    ArmBusy,
    ArmRejected,
    LeaseHeld,
    NotFound,
    PermanentError,
    Refused,
    RowExists,
    StoreConflict,
    TemporaryError,
)
from shared.wire.errors import BadSeal, Malformed


@pytest.fixture(autouse=True)
def unwatched(monkeypatch: pytest.MonkeyPatch) -> None:
    """No world is bound here, and this process is no Function app that begins to tell of itself."""
    monkeypatch.setattr("functions.entered.watch", lambda: None)


def request(body: bytes = b"", **headers: str) -> func.HttpRequest:
    named = {k.replace("_", "-"): v for k, v in headers.items()}
    return func.HttpRequest(
        method="POST", url="https://x.invalid", headers=named, params={}, route_params={}, body=body
    )


@pytest.mark.parametrize(
    ("header", "address"),
    [
        ("198.51.100.23:50123", "198.51.100.23"),
        ("198.51.100.23", "198.51.100.23"),
        ("10.0.0.1, 198.51.100.23:1", "198.51.100.23"),
        ("203.0.113.66,198.51.100.23", "198.51.100.23"),
        ("::ffff:198.51.100.23", "198.51.100.23"),
        ("[::ffff:198.51.100.23]:443", "198.51.100.23"),
        ("::FFFF:198.51.100.23", "198.51.100.23"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("  198.51.100.23:50123  ", "198.51.100.23"),
        ("", ""),
        ("198.51.100.23,", ""),
    ],
)
def test_the_address_that_the_platform_saw(header: str, address: str) -> None:
    assert web.source_address(request(X_Forwarded_For=header)) == address


def test_no_header_no_address() -> None:
    assert web.source_address(request()) == ""


@pytest.mark.parametrize(
    ("body", "data"),
    [
        (b'{"a": [1, "x", null, true]}', {"a": [1, "x", None, True]}),
        (b"a:\n  - 1\n  - x\n", {"a": [1, "x"]}),
        (b"", None),
        (b"a: 10.0.0.0/16\n", {"a": "10.0.0.0/16"}),
        (b'{\t"a":\t1e4\n}', {"a": 10000.0}),
        (b'{"a": "\\ud83c\\udfe0"}', {"a": "\U0001f3e0"}),
    ],
)
def test_yaml_and_json(body: bytes, data: object) -> None:
    assert web.document(request(body)) == data


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"a: [1", "line 1"),
        (b"a: 1\nb: {\n", "line 3"),
        (b"a: \xff", "UTF-8"),
        (b"[" * 100_000, "not YAML or JSON"),
        (b"a: !!python/object/apply:os.system [id]", "not YAML or JSON"),
        (b"a: 2026-99-99", "not YAML or JSON"),
        (b"--- 1\n--- 2\n", "not YAML or JSON"),
        (b"x" * (web.MAX_DOCUMENT + 1), "larger than"),
    ],
)
def test_what_is_neither_says_where(body: bytes, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        web.document(request(body))


def asked(query: str) -> func.HttpRequest:
    """As the platform hands it over: what is empty is in the URL only."""
    url = f"https://x.invalid/api?{query}"
    return func.HttpRequest(method="PUT", url=url, headers={}, params={}, route_params={}, body=b"")


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("", None),
        ("plan=", ""),
        ("plan", ""),
        ("plan=ab", "ab"),
        ("plan=a&plan=", "a,"),
        ("Plan=a", None),
        ("plan=%2C", ","),
    ],
)
def test_what_stands_in_the_query(query: str, value: str | None) -> None:
    assert web.query(asked(query), "plan") == value


@pytest.mark.parametrize(("query", "value"), [("", False), ("delete=false", False), ("delete=true", True)])
def test_a_flag(query: str, value: bool) -> None:
    assert web.flag(asked(query), "delete") is value


@pytest.mark.parametrize(
    "query", ["delete", "delete=", "delete=1", "delete=True", "delete=ture", "delete=true&delete=true"]
)
def test_a_flag_is_never_guessed(query: str) -> None:
    with pytest.raises(InvalidInput, match="neither true nor false"):
        web.flag(asked(query), "delete")


REQUEST = request()
ERRORS = [
    (InvalidInput([Problem("p", float("nan"), "rule", "m", "r")]), 422),
    (NotFound("which"), 404),
    (Refused("why"), 409),
    (StoreConflict("row units/hub/gateway"), 409),
    (RowExists("row"), 409),
    (BadSeal("seal"), 401),
    (Malformed("form"), 400),
    (TemporaryError("wait", 7.4), 503),
    (LeaseHeld("wait", 3.0), 503),
    (ArmBusy("wait", 0.2, "Timeout"), 503),
    (ArmRejected("no", 403, "AuthorizationFailed"), 502),
    (PermanentError("no"), 502),
]


@pytest.mark.parametrize(("error", "status"), ERRORS, ids=[type(e).__name__ for e, _ in ERRORS])
async def test_each_error_has_its_answer(error: Exception, status: int) -> None:
    @web.guarded
    async def handler(req: func.HttpRequest) -> func.HttpResponse:
        raise error

    response = await handler(req=REQUEST)
    body = json.loads(response.get_body(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert (response.status_code, body["status"]) == (status, status)
    assert response.mimetype == "application/problem+json" and body["title"] and body["detail"]
    if status == 503:
        assert int(response.headers["Retry-After"]) >= 1
    if status == 422:
        assert body["errors"] == [{"path": "p", "value": "nan", "rule": "rule", "message": "m", "remedy": "r"}]


async def test_a_bug_is_not_hidden() -> None:
    @web.guarded
    async def handler(req: func.HttpRequest) -> func.HttpResponse:
        raise KeyError("bug")

    with pytest.raises(KeyError):
        await handler(req=REQUEST)


def test_the_host_still_sees_names_and_types() -> None:
    import inspect

    @web.guarded
    async def handler(req: func.HttpRequest, wake: func.Out[str]) -> func.HttpResponse:
        return web.answer({})

    assert list(inspect.signature(handler).parameters) == ["req", "wake"]


@pytest.mark.parametrize(("enabled", "who"), [("True", "ann@example.net"), ("", "function key from 198.51.100.7")])
def test_a_name_counts_only_where_the_platform_vouches_for_it(
    monkeypatch: pytest.MonkeyPatch, enabled: str, who: str
) -> None:
    monkeypatch.setenv("WEBSITE_AUTH_ENABLED", enabled)
    headers = {"X-MS-CLIENT-PRINCIPAL-NAME": "ann@example.net", "X-Forwarded-For": "198.51.100.7:4242"}
    assert web.actor(func.HttpRequest("GET", "https://x.test/api/gateways", headers=headers, body=b"")) == who
