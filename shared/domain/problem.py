"""What is wrong with a document, in a form that a person can act on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True)
class Problem:
    """One thing wrong. `path` as in `spec.virtualNetwork.gatewaySubnet`; `rule` is a stable code."""

    path: str
    value: object
    rule: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message} (got {shown(self.value)!r}). {self.remedy}"


def shown(value: object) -> str | int | bool | None:
    """A value as a person may see it: YAML knows what JSON does not (dates, NaN, sets), and nobody wants a megabyte of
    his own back."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if value.bit_length() <= 64 else f"(a number of {value.bit_length()} bits)"
    if not isinstance(value, str | bytes | float | date):
        return f"(a {type(value).__name__})"
    text = str(value)
    return text if len(text) <= 200 else text[:200] + "…"


class InvalidInput(Exception):
    """Every problem of the document at once."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(p) for p in self.problems))
