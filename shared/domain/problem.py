"""What is wrong with a document, in a form that a person can act on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing wrong. `path` as in `spec.virtualNetwork.gatewaySubnet`; `rule` is a stable code."""

    path: str
    value: object
    rule: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message} (got {self.value!r}). {self.remedy}"


class InvalidInput(Exception):
    """Every problem of the document at once."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(p) for p in self.problems))
