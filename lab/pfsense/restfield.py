"""A field of the REST package's models: what it accepts, and how it looks in config.xml and in an answer.

Values are checked in the order of the fields and the first failure is the answer, as the package does it. Identifiers
of refusals that no recorded exchange gave are marked `L`: act on their status.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


class RestError(Exception):
    """`code` is the HTTP status, `response_id` the package's identifier."""

    def __init__(self, code: int, response_id: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.response_id = response_id
        self.message = message


@dataclass(frozen=True)
class Field:
    """`xml` is the path below the object. `when`: other fields' values with which it counts; a name with `!` negates.
    `true` and `false` are what a boolean is in config.xml; without `false` it is absent. `nested` is another model's
    fields, `many` a list (stored joined by commas unless `xml_list`)."""

    name: str
    kind: type = str
    xml: str = ""
    required: bool = False
    default: Any = None
    choices: tuple[Any, ...] = ()
    when: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    low: int = 0
    high: int = 2**63 - 1
    longest: int = 1024
    many: bool = False
    xml_list: bool = False
    nested: tuple[Field, ...] = ()
    true: str = ""
    false: str | None = None
    sensitive: bool = False
    read_only: bool = False
    null: bool = False
    address: bool = False
    """A rule's source or destination."""
    foreign: bool = False
    """Names another object: shown as it is stored, a number as text."""

    @property
    def path(self) -> list[str]:
        return (self.xml or self.name).split("/")

    def counts(self, values: Json) -> bool:
        for name, accepted in self.when:
            negated = name.startswith("!")
            if (values.get(name.lstrip("!")) in accepted) == negated:
                return False
        return True

    def check(self, value: Any) -> Any:
        """The value as it is kept; RestError 400 where the package refuses it."""
        if value is None or (value == "" and self.kind is not str):
            if self.required and not self.null:
                raise RestError(400, "FIELD_IS_REQUIRED", f"Field `{self.name}` is required.")
            return None
        if self.many:
            if not isinstance(value, list):
                raise RestError(400, "FIELD_REQUIRES_ARRAY", f"Field `{self.name}` must be an array.")  # L
            if self.required and not value:
                raise RestError(400, "FIELD_IS_REQUIRED", f"Field `{self.name}` is required.")  # L
            return [self._one(v) for v in value]
        return self._one(value)

    def _one(self, value: Any) -> Any:
        if self.nested:
            return check(self.nested, value)
        if self.kind is int and isinstance(value, str) and value.isdigit():
            value = int(value)
        if self.kind is bool and isinstance(value, str) and value in ("true", "false"):
            value = value == "true"
        fits: Any = isinstance(value, self.kind)
        if not fits or (self.kind is int and isinstance(value, bool)):
            said = {str: "string", int: "integer", bool: "boolean"}[self.kind]
            raise RestError(400, "FIELD_INVALID_TYPE", f"Field `{self.name}` must be of type `{said}`.")  # L
        if self.choices and value not in self.choices:
            raise RestError(
                400, "FIELD_INVALID_CHOICE", f"Field `{self.name}` must be one of [{', '.join(map(str, self.choices))}]"
            )
        if self.kind is int and not self.low <= value <= self.high:
            side, bound = ("MINIMUM", self.low) if value < self.low else ("MAXIMUM", self.high)
            word = "greater" if value < self.low else "less"
            raise RestError(
                400,
                f"NUMERIC_RANGE_VALIDATOR_{side}_CONSTRAINT",
                f"Field `{self.name}` must be {word} than or equal to {bound}.",
            )  # L
        if self.kind is str and len(value) > self.longest:
            raise RestError(
                400,
                "LENGTH_VALIDATOR_MAXIMUM_CONSTRAINT",
                f"Field `{self.name}` exceeds the maximum character length of {self.longest}.",
            )
        if self.required and value == "":
            raise RestError(400, "FIELD_IS_REQUIRED", f"Field `{self.name}` is required.")
        return value

    # config.xml ------------------------------------------------------------------------------------------------

    def read(self, stored: Json) -> Any:
        there: Any = stored
        for step in self.path:
            there = there.get(step) if isinstance(there, dict) else None
        if self.kind is bool:
            return there is not None and (there == self.true if self.true else True)
        if self.address:
            return _address(there)
        if self.many:
            parts = there if isinstance(there, list) else [p for p in str(there or "").split(",") if p]
            return [read(self.nested, n, p) for n, p in enumerate(parts)] if self.nested else parts or None
        if there in (None, ""):
            return (
                ""
                if there == "" and self.kind is str and not self.when
                else (self.default if self.default == "" else None)
            )
        return int(there) if self.kind is int and not self.foreign and str(there).isdigit() else there

    def write(self, stored: Json, value: Any) -> None:
        *parents, last = self.path
        if value is None or (self.kind is bool and not value and self.false is None):
            _delete(stored, self.path)
            return
        for step in parents:
            inner = stored.get(step)
            stored[step] = stored = inner if isinstance(inner, dict) else {}
        if self.kind is bool:
            stored[last] = self.true if value else self.false
        elif self.address:
            port = stored[last].get("port") if isinstance(stored.get(last), dict) else None
            stored[last] = {**_stored_address(value), **({} if port is None else {"port": port})}
        elif self.nested:
            stored[last] = [write(self.nested, {}, v) for v in value]
        elif self.many:
            stored[last] = list(value) if self.xml_list else ",".join(value)
        else:
            stored[last] = str(value)


def _delete(stored: Json, path: Sequence[str]) -> None:
    for step in path[:-1]:
        inner = stored.get(step)
        if not isinstance(inner, dict):
            return
        stored = inner
    stored.pop(path[-1], None)


def _address(there: Any) -> str | None:
    if not isinstance(there, dict):
        return None
    text = "any" if "any" in there else str(there.get("network") or there.get("address") or "any")
    return ("!" if "not" in there else "") + text


def _stored_address(value: str) -> Json:
    plain = value.removeprefix("!")
    kind = "any" if plain == "any" else "address" if plain[:1].isdigit() else "network"
    return {kind: "" if plain == "any" else plain, **({"not": ""} if value.startswith("!") else {})}


# whole objects -------------------------------------------------------------------------------------------------


def check(fields: tuple[Field, ...], given: Any) -> Json:
    """All fields with defaults; unknown ones are ignored without a word."""
    if not isinstance(given, dict):
        raise RestError(400, "MODEL_INVALID_DATA", "The object must be a JSON object.")  # L
    values: Json = {}
    for f in fields:
        value = given.get(f.name, f.default)
        values[f.name] = f.default if value is None and f.default is not None and not f.null else value
    for f in fields:
        values[f.name] = (
            f.check(values[f.name]) if f.counts(values) and not f.read_only else values[f.name] if f.read_only else None
        )
    return values


def read(fields: tuple[Field, ...], number: int | str, stored: Json) -> Json:
    """A stored object as an answer shows it, sensitive fields included."""
    values = {f.name: f.read(stored) for f in fields}
    return {"id": number, **{f.name: values[f.name] if f.counts(values) else None for f in fields}}


def write(fields: tuple[Field, ...], stored: Json, values: Json) -> Json:
    for f in fields:
        f.write(stored, values.get(f.name))
    return stored


def shown(fields: tuple[Field, ...], values: Json, parent: int | str | None = None) -> Json:
    """Without what must not be seen, and nested objects with the parent's id."""
    out: Json = {} if parent is None else {"parent_id": parent}
    for name, seen in values.items():
        value = seen
        f = next((f for f in fields if f.name == name), None)
        if f is not None and f.sensitive:
            continue
        if f is not None and f.nested and isinstance(value, list):
            value = [
                shown(f.nested, {"id": n, **{k: x for k, x in v.items() if k != "id"}}, values.get("id"))
                for n, v in enumerate(value)
            ]
        out[name] = value
    return out
