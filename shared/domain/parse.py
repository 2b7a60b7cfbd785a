"""From plain data (parsed YAML or JSON) to a document, with every problem of form and of its own rules at once."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from .adoption import ImportRequest
from .model import Model
from .problem import InvalidInput, Problem
from .spec import ConnectionDocument, GatewayDocument

D = TypeVar("D", bound=Model)

_REMEDY = {
    "missing": "Add it.",
    "extra_forbidden": "Remove it, or check its spelling: names are camelCase.",
    "string_pattern_mismatch": "See docs/reference.md for its form.",
}
SECRET_FIELDS = ("psk", "sharedkey", "secret", "token", "password")


def gateway(data: Any) -> GatewayDocument:
    """Raises InvalidInput."""
    return _parse(GatewayDocument, data)


def connection(data: Any) -> ConnectionDocument:
    """Raises InvalidInput."""
    return _parse(ConnectionDocument, data)


def import_request(data: Any) -> ImportRequest:
    """Raises InvalidInput."""
    return _parse(ImportRequest, data)


def _parse(kind: type[D], data: Any) -> D:
    if not isinstance(data, dict):
        raise InvalidInput(
            [
                Problem(
                    "$",
                    type(data).__name__,
                    "form",
                    "not a YAML or JSON object",
                    "Send one document with apiVersion, kind, metadata and spec.",
                )
            ]
        )
    try:
        return kind.model_validate(data, strict=False)
    except ValidationError as e:
        raise InvalidInput(
            _problem(dict(error)) for error in e.errors(include_url=False, include_context=False)
        ) from None


def _problem(error: dict[str, Any]) -> Problem:
    path = ""
    for part in error["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{to_camel(str(part))}"
    kind = str(error["type"])
    value = error.get("input")
    if kind == "extra_forbidden" or any(s in path.lower() for s in SECRET_FIELDS):
        value = "(not shown)"  # nobody knows what a misspelt field holds
    elif kind == "missing" or isinstance(value, dict | list | set | tuple):
        value = None
    return Problem(path.lstrip(".") or "$", value, kind, str(error["msg"]), _REMEDY.get(kind, "Correct it."))
