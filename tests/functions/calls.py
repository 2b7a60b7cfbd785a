"""Calls a registered function as the host would: by its name, bindings by keyword, in a world behind the seams."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import azure.functions as func
import pytest

from shared import wiring
from tests.app import FUNCTIONS
from tests.shared.control.world import FIRST, World


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    wiring.bind(made.services)
    made.app = wiring.app()
    yield made
    wiring.bind(None)


class Out:
    """What a handler set for an output binding."""

    def __init__(self) -> None:
        self.value: Any = None

    def set(self, value: Any) -> None:
        self.value = value

    def get(self) -> Any:
        return self.value


class Answer:
    """`wake` is what the handler put on the reconcile queue, parsed, or None."""

    def __init__(self, response: func.HttpResponse, wake: str | None) -> None:
        self.status, self.mimetype = response.status_code, response.mimetype
        self.headers, self.text = response.headers, response.get_body().decode()
        self.wake = None if wake is None else json.loads(wake)

    @property
    def json(self) -> Any:
        return json.loads(self.text, parse_constant=_no_constant)

    def problem(self) -> list[str]:
        """The rule codes, of an answer that is well-formed problem details."""
        assert self.mimetype == "application/problem+json"
        assert self.json["status"] == self.status and self.json["title"] and self.json["detail"]
        return [e["rule"] for e in self.json.get("errors", [])]


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


async def call(
    name: str,
    body: Any = b"",
    route: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
    params: dict[str, str] | None = None,
) -> Answer:
    """`body`: bytes and text as they are, anything else as JSON."""
    raw = body.encode() if isinstance(body, str) else body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"X-Forwarded-For": f"{FIRST}:50123"} if headers is None else headers
    request = func.HttpRequest(
        method="GET",
        url=f"https://api.invalid/api/{name}?{urlencode(params or {})}",
        headers=given,
        params=params or {},
        route_params=route or {},
        body=raw,
    )
    function, wake = FUNCTIONS[name], Out()
    bindings = {b.name for b in function.get_bindings()}
    extra = {"wake": wake} if "wake" in bindings else {}
    return Answer(await function.get_user_function()(req=request, **extra), wake.value)
