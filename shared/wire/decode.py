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
from enum import Enum
from typing import Any, TypeVar

from .errors import Malformed

T = TypeVar("T")
MAX_TEXT, MAX_ITEMS, MAX_ERRORS = 8192, 4096, 20


def to_plain(value: Any) -> Any:
    """The JSON value of a dataclass instance: enums by value, tuples as lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, list | tuple):
        return [to_plain(v) for v in value]
    if isinstance(value, dict):
        return {k: to_plain(v) for k, v in value.items()}
    return value


def from_plain(cls: type[T], data: Any, *, strict: bool = False) -> T:
    """`data` as `cls`. Raises Malformed naming every wrong path."""
    errors: list[str] = []
    value = _read(cls, data, "$", strict, errors)
    if errors:
        more = f" (+{len(errors) - MAX_ERRORS} more)" if len(errors) > MAX_ERRORS else ""
        raise Malformed(f"{cls.__name__}: " + "; ".join(errors[:MAX_ERRORS]) + more)
    return typing.cast(T, value)


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _read(kind: Any, data: Any, path: str, strict: bool, errors: list[str]) -> Any:
    origin = typing.get_origin(kind)
    if kind is Any:
        return data
    if origin in (typing.Union, types.UnionType):
        if data is None:
            return None
        kind = next(a for a in typing.get_args(kind) if a is not type(None))
        return _read(kind, data, path, strict, errors)
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(typing.cast(type, kind), data, path, strict, errors)
    if origin is tuple:
        if not isinstance(data, list) or len(data) > MAX_ITEMS:
            return errors.append(f"{path}: expected a list of at most {MAX_ITEMS}")
        item = typing.get_args(kind)[0]
        return tuple(_read(item, v, f"{path}[{i}]", strict, errors) for i, v in enumerate(data))
    if origin is dict:
        if not isinstance(data, dict) or len(data) > MAX_ITEMS:
            return errors.append(f"{path}: expected an object")
        value = typing.get_args(kind)[1]
        return {str(k): _read(value, v, f"{path}.{k}", strict, errors) for k, v in data.items()}
    if origin is typing.Literal:
        if data not in typing.get_args(kind):
            errors.append(f"{path}: expected one of {list(typing.get_args(kind))}")
        return data
    if isinstance(kind, type) and issubclass(kind, Enum):
        try:
            return kind(data)
        except ValueError:
            return errors.append(f"{path}: expected one of {[e.value for e in kind]}")
    return _read_scalar(kind, data, path, errors)


def _read_scalar(kind: Any, data: Any, path: str, errors: list[str]) -> Any:
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        data = float(data) if abs(data) < 2**53 else math.inf
    if not isinstance(data, kind) or (isinstance(data, bool) and kind is not bool):
        return errors.append(f"{path}: expected {kind.__name__}, got {type(data).__name__}")
    if isinstance(data, str) and len(data) > MAX_TEXT:
        return errors.append(f"{path}: longer than {MAX_TEXT} characters")
    if isinstance(data, float) and not math.isfinite(data):
        return errors.append(f"{path}: not a finite number")
    if isinstance(data, int) and abs(data) >= 2**63:
        return errors.append(f"{path}: beyond 64 bits")
    return data


def _read_dataclass(cls: type, data: Any, path: str, strict: bool, errors: list[str]) -> Any:
    if not isinstance(data, dict):
        return errors.append(f"{path}: expected an object, got {type(data).__name__}")
    hints = _hints(cls)
    before = len(errors)
    values: dict[str, Any] = {}
    for f in dataclasses.fields(cls):
        if f.name in data:
            values[f.name] = _read(hints[f.name], data[f.name], f"{path}.{f.name}", strict, errors)
        elif f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            errors.append(f"{path}.{f.name}: missing")
    if strict:
        errors.extend(f"{path}.{name}: not known to this version" for name in sorted(set(data) - set(hints)))
    if len(errors) > before:
        return None
    try:
        return cls(**values)
    except ValueError as e:
        return errors.append(f"{path}: {e}")
