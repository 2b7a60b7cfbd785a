"""Dataclasses from and to plain JSON values, all errors at once.

One decoder for everything that reaches either side, so that there is one place to get bounds and messages right.
Supported: dataclasses, str, int, float, bool, None, Enum, Literal, tuple[X, ...], dict[str, Any], X | None.
A reader of reports ignores fields it does not know (a newer agent may say more); a reader of commands refuses them
(`strict`), because doing less than was asked is worse than saying no.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Callable, Hashable
from enum import Enum
from typing import Any, TypeVar

from .errors import Malformed

T = TypeVar("T")
MAX_TEXT, MAX_ITEMS, MAX_ERRORS = 8192, 4096, 20


def to_plain(value: Any) -> Any:
    """The JSON value of a dataclass instance: enums by value, tuples as lists."""
    kind: Any = type(value)
    names = _fields(kind)
    if names is not None:
        return {name: to_plain(getattr(value, name)) for name in names}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, list | tuple):
        return [to_plain(v) for v in value]
    if isinstance(value, dict):
        return {k: to_plain(v) for k, v in value.items()}
    return value


@functools.cache
def _fields(cls: Any) -> tuple[str, ...] | None:
    return tuple(f.name for f in dataclasses.fields(cls)) if dataclasses.is_dataclass(cls) else None


def from_plain(cls: type[T], data: Any, *, strict: bool = False) -> T:
    """`data` as `cls`. Raises Malformed naming every wrong path."""
    errors: list[str] = []
    kind: Any = cls
    value = _reader(kind)(data, "$", _Told(strict, errors))
    if errors:
        more = f" (+{len(errors) - MAX_ERRORS} more)" if len(errors) > MAX_ERRORS else ""
        raise Malformed(f"{cls.__name__}: " + "; ".join(errors[:MAX_ERRORS]) + more)
    return typing.cast(T, value)


class _Told:
    """What one decoding was told, and what it found wrong."""

    def __init__(self, strict: bool, errors: list[str]) -> None:
        self.strict, self.errors = strict, errors

    def wrong(self, path: _Path, what: str) -> None:
        self.errors.append(f"{_text(path)}: {what}")


# Paths are nested pairs, written out only for an error: most documents are right, and heartbeats are many.
_Path = str | tuple["_Path", str | int]
_Reader = Callable[[Any, "_Path", _Told], Any]


def _text(path: _Path) -> str:
    if isinstance(path, str):
        return path
    parent, last = path
    return f"{_text(parent)}[{last}]" if isinstance(last, int) else f"{_text(parent)}.{last}"


@functools.cache
def _reader(kind: Any) -> _Reader:
    """How to read a type: found out once per type."""
    origin = typing.get_origin(kind)
    if kind is Any:
        return lambda data, path, told: data
    if origin in (typing.Union, types.UnionType):
        read = _reader(next(a for a in typing.get_args(kind) if a is not type(None)))
        return lambda data, path, told: None if data is None else read(data, path, told)
    if dataclasses.is_dataclass(kind):
        return _dataclass_reader(typing.cast(type, kind))
    if origin is tuple:
        return _tuple_reader(_reader(typing.get_args(kind)[0]))
    if origin is dict:
        return _dict_reader(_reader(typing.get_args(kind)[1]))
    if origin is typing.Literal:
        return _choice_reader({v: v for v in typing.get_args(kind)})
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _choice_reader({e.value: e for e in kind})
    return _scalar_reader(kind)


def _tuple_reader(read: _Reader) -> _Reader:
    def items(data: Any, path: _Path, told: _Told) -> Any:
        if not isinstance(data, list) or len(data) > MAX_ITEMS:
            return told.wrong(path, f"expected a list of at most {MAX_ITEMS}")
        return tuple([read(v, (path, i), told) for i, v in enumerate(data)])

    return items


def _dict_reader(read: _Reader) -> _Reader:
    def members(data: Any, path: _Path, told: _Told) -> Any:
        if not isinstance(data, dict) or len(data) > MAX_ITEMS:
            return told.wrong(path, "expected an object")
        return {str(k): read(v, (path, str(k)), told) for k, v in data.items()}

    return members


def _choice_reader(choices: dict[Any, Any]) -> _Reader:
    def choice(data: Any, path: _Path, told: _Told) -> Any:
        if not isinstance(data, Hashable) or data not in choices:
            return told.wrong(path, f"expected one of {list(choices)}")
        return choices[data]

    return choice


def _scalar_reader(kind: type) -> _Reader:
    def scalar(data: Any, path: _Path, told: _Told) -> Any:
        if kind is float and isinstance(data, int) and not isinstance(data, bool):
            data = float(data) if abs(data) < 2**53 else math.inf
        if not isinstance(data, kind) or (isinstance(data, bool) and kind is not bool):
            return told.wrong(path, f"expected {kind.__name__}, got {type(data).__name__}")
        if isinstance(data, str) and len(data) > MAX_TEXT:
            return told.wrong(path, f"longer than {MAX_TEXT} characters")
        if isinstance(data, float) and not math.isfinite(data):
            return told.wrong(path, "not a finite number")
        if isinstance(data, int) and abs(data) >= 2**63:
            return told.wrong(path, "beyond 64 bits")
        return data

    return scalar


def _dataclass_reader(cls: type) -> _Reader:
    readers: list[tuple[str, bool, _Reader]] | None = None
    names: frozenset[str] = frozenset()

    def members(data: Any, path: _Path, told: _Told) -> Any:
        nonlocal readers, names
        if readers is None:  # now and not before: a class may name one that is defined after it
            readers, names = _members(cls), frozenset(_fields(cls) or ())
        if not isinstance(data, dict):
            return told.wrong(path, f"expected an object, got {type(data).__name__}")
        before = len(told.errors)
        values: dict[str, Any] = {}
        for name, needed, read in readers:
            if name in data:
                values[name] = read(data[name], (path, name), told)
            elif needed:
                told.wrong((path, name), "missing")
        if told.strict and not names >= data.keys():
            for name in sorted(set(data) - names):
                told.wrong((path, name), "not known to this version")
        if len(told.errors) > before:
            return None
        try:
            return cls(**values)
        except ValueError as e:
            return told.wrong(path, str(e))

    return members


def _members(cls: type) -> list[tuple[str, bool, _Reader]]:
    """Per field: its name, whether it must be there, and how to read it."""
    hints, missing = typing.get_type_hints(cls), dataclasses.MISSING
    return [
        (f.name, f.default is missing and f.default_factory is missing, _reader(hints[f.name]))
        for f in dataclasses.fields(cls)
    ]
