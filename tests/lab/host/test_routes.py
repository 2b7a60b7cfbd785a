"""Route templates: precedence, constraints, optional and catch-all parameters."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lab.host.functions import AppFunction
from lab.host.routes import Router
from lab.host.settings import SettingsError


def _function(route: str, *methods: str) -> AppFunction:
    trigger = {"type": "httpTrigger", "name": "req", "route": route, "methods": list(methods) or None}
    call: Callable[..., None] = lambda req: None  # noqa: E731
    return AppFunction(route, trigger, (), call, False, False)


def _router(*routes: str, prefix: str = "api") -> Router:
    return Router([_function(route) for route in routes], prefix)


def _found(router: Router, path: str, method: str = "GET") -> tuple[str, dict[str, str]] | None:
    found = router.find(method, path)
    return None if found is None else (found[0].function.name, found[1])


def test_literal_wins_over_constrained_over_free_over_catch_all() -> None:
    router = _router("{*rest}", "a/{x}", "a/{x:int}", "a/b")
    assert _found(router, "/api/a/b") == ("a/b", {})
    assert _found(router, "/api/a/7") == ("a/{x:int}", {"x": "7"})
    assert _found(router, "/api/a/c") == ("a/{x}", {"x": "c"})
    assert _found(router, "/api/z/1/2") == ("{*rest}", {"rest": "z/1/2"})


def test_literals_ignore_case_and_a_trailing_slash_is_nothing() -> None:
    assert _found(_router("Gateways/{name}"), "/API/gateways/Home/") == ("Gateways/{name}", {"name": "Home"})


def test_an_encoded_slash_stays_inside_its_segment() -> None:
    assert _found(_router("a/{x}"), "/api/a/b%2Fc%20d") == ("a/{x}", {"x": "b/c d"})


def test_optional_and_catch_all_may_be_absent() -> None:
    router = _router("list/{kind?}", "files/{*rest}")
    assert _found(router, "/api/list") == ("list/{kind?}", {})
    assert _found(router, "/api/list/x") == ("list/{kind?}", {"kind": "x"})
    assert _found(router, "/api/files") == ("files/{*rest}", {})
    assert _found(router, "/api/list/x/y") is None


def test_method_and_prefix() -> None:
    router = Router([_function("a", "PUT")], "")
    assert _found(router, "/a", "PUT") == ("a", {})
    assert _found(router, "/a", "GET") is None
    assert _found(router, "/api/a", "PUT") is None


@pytest.mark.parametrize("route", ["a/{x:even}", "a/{x?}/b", "a/v{x}", "{*rest}/a", "a/{x"])
def test_a_template_that_is_not_carried_is_refused_with_its_function(route: str) -> None:
    with pytest.raises(SettingsError, match=r"function (a/|\{)"):
        _router(route)
