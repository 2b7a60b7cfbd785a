"""ARM template expressions, as far as clients that deploy a VPN connection write them.

`[parameters('x')]`, `[variables('x')]`, `[concat(...)]`, `[resourceId(...)]`, `[resourceGroup().location]`,
`[subscription().subscriptionId]`, `[toLower(...)]`, `[format(...)]` and, in outputs, `[reference(...)]`, each with
property and index access behind it. Anything else is refused by name: a template that silently meant something else
would be worse than one that does not run.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from lab.azure.errors import ArmError, Json

Function = Callable[..., Any]
TOKEN = re.compile(r"\s*(?:(?P<word>[A-Za-z_]\w*)|(?P<text>'(?:[^']|'')*')|(?P<number>-?\d+)|(?P<sign>[()\[\],.]))")


def invalid_template(message: str, code: str = "InvalidTemplate") -> ArmError:
    return ArmError(400, code, f"Deployment template validation failed: '{message}'", nrp=False)


class Expressions:
    """Evaluates a template's values; `functions` are added to (or replace) the built-in ones, lower-case names."""

    def __init__(self, parameters: Json, variables: Json, functions: dict[str, Function]) -> None:
        self._parameters = {name.lower(): value for name, value in parameters.items()}
        self._variables = {name.lower(): value for name, value in variables.items()}
        self._functions: dict[str, Function] = {
            "parameters": self._parameter,
            "variables": self._variable,
            "concat": _concat,
            "format": lambda text, *values: re.sub(r"\{(\d+)\}", lambda m: str(values[int(m[1])]), text),
            "tolower": lambda text: str(text).lower(),
            "toupper": lambda text: str(text).upper(),
            "true": lambda: True,
            "false": lambda: False,
            "null": lambda: None,
            **functions,
        }

    def value(self, value: Any) -> Any:
        """The value with every expression in it replaced, at any depth."""
        if isinstance(value, dict):
            return {str(self.value(name)): self.value(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.value(inner) for inner in value]
        if isinstance(value, str) and value.startswith("[[") and value.endswith("]"):
            return value[1:]  # an escaped bracket
        if isinstance(value, str) and value.startswith("[") and value.endswith("]"):
            return self._expression(value[1:-1])
        return value

    def _parameter(self, name: str) -> Any:
        if name.lower() not in self._parameters:
            raise invalid_template(f"The template parameter '{name}' is not found.")
        return self._parameters[name.lower()]

    def _variable(self, name: str) -> Any:
        if name.lower() not in self._variables:
            raise invalid_template(f"The template variable '{name}' is not found.")
        return self.value(self._variables[name.lower()])

    def _expression(self, text: str) -> Any:
        tokens, position = [], 0
        while text[position:].strip():
            match = TOKEN.match(text, position)
            if match is None:
                raise invalid_template(f"The template language expression '{text}' is not valid.")
            tokens.append(match)
            position = match.end()
        try:
            result, rest = self._term(tokens)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            # What was evaluated may be a secret, so only the expression's own text is told.
            raise invalid_template(f"The template language expression '{text}' cannot be evaluated.") from None
        if rest:
            raise invalid_template(f"The template language expression '{text}' is not valid.")
        return result

    def _term(self, tokens: list[re.Match[str]]) -> tuple[Any, list[re.Match[str]]]:
        first, rest = tokens[0], tokens[1:]
        result: Any
        if first["text"] is not None:
            result = first["text"][1:-1].replace("''", "'")
        elif first["number"] is not None:
            result = int(first["number"])
        elif first["word"] is not None:
            function = self._functions.get(first["word"].lower())
            if function is None:
                raise invalid_template(f"The template function '{first['word']}' is not simulated by the lab.")
            arguments, rest = self._arguments(rest)
            result = function(*arguments)
        else:
            raise ValueError(first.group())
        while rest and rest[0]["sign"] in (".", "["):
            if rest[0]["sign"] == ".":
                result, rest = _member(result, rest[1].group().strip()), rest[2:]
                continue
            index, rest = self._term(rest[1:])
            if rest[0]["sign"] != "]":
                raise ValueError("no closing bracket")
            result, rest = _member(result, index), rest[1:]
        return result, rest

    def _arguments(self, rest: list[re.Match[str]]) -> tuple[list[Any], list[re.Match[str]]]:
        if rest[0]["sign"] != "(":
            raise ValueError("no opening parenthesis")
        rest, found = rest[1:], []
        while rest[0]["sign"] != ")":
            value, rest = self._term(rest)
            found.append(value)
            if rest[0]["sign"] == ",":
                rest = rest[1:]
        return found, rest[1:]


def _member(value: Any, name: Any) -> Any:
    """Property names are read without regard to case."""
    if isinstance(value, list):
        return value[int(name)]
    return {key.lower(): inner for key, inner in value.items()}[str(name).lower()]


def _concat(*values: Any) -> Any:
    if values and all(isinstance(value, list) for value in values):
        return [item for value in values for item in value]
    return "".join(str(value) for value in values)
