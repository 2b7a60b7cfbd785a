"""Application settings and host.json, read the way the Azure host reads them.

The environment wins over `local.settings.json`, and `AzureFunctionsJobHost__a__b__c` overrides `a.b.c` of host.json.
That second rule is Azure's own; the tests and the lab use it to shorten intervals without a second host.json.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_OVERRIDE = "AzureFunctionsJobHost__"
_SETTING = re.compile(r"%([^%\s]+)%")
_TIMESPAN = re.compile(r"(?:(\d+)\.)?(\d{1,2}):(\d{2}):(\d{2}(?:\.\d+)?)")
MAX_BATCH = 32


class SettingsError(Exception):
    """A setting or binding that this host cannot work with; the message says where it stands and what to write."""


@dataclass(frozen=True)
class QueueOptions:
    """`extensions.queues` of host.json. Durations in seconds. `hidden` is fixed at 10 minutes in Azure."""

    batch_size: int = 16
    new_batch_threshold: int = 8
    max_dequeue_count: int = 5
    visibility_timeout: float = 0.0
    min_polling_interval: float = 0.1
    max_polling_interval: float = 60.0
    base64: bool = True
    hidden: float = 600.0


@dataclass(frozen=True)
class LockOptions:
    """`singleton` of host.json, in seconds: how long a timer's lease lives and how often others look for it."""

    listener_lock_period: float = 60.0
    recovery_polling_interval: float = 60.0


@dataclass(frozen=True)
class HostSettings:
    """Everything that the host was told. `environ` holds application settings, so it stays out of the repr."""

    environ: Mapping[str, str]
    route_prefix: str
    queues: QueueOptions
    locks: LockOptions

    def __repr__(self) -> str:
        return f"HostSettings(route_prefix={self.route_prefix!r}, queues={self.queues!r}, locks={self.locks!r})"

    def expand(self, text: str, where: str) -> str:
        """Replace `%NAME%` by the application setting NAME."""

        def value(match: re.Match[str]) -> str:
            name = match.group(1)
            if name not in self.environ:
                raise SettingsError(f"{where}: the application setting {name} is not set")
            return self.environ[name]

        return _SETTING.sub(value, text)


def load(app: Path, environ: Mapping[str, str]) -> HostSettings:
    """Read host.json (required, as in Azure) and local.settings.json (optional) of the folder `app`."""
    host_json = app / "host.json"
    if not host_json.is_file():
        raise SettingsError(f"{host_json} is missing: --app must name a Functions app folder")
    host = _read(host_json)
    for name, text in environ.items():
        if name.startswith(_OVERRIDE):
            _override(host, name.removeprefix(_OVERRIDE).split("__"), text)
    return HostSettings(
        environ={**_local(app), **environ},
        route_prefix=str(_get(host, "extensions", "http", "routePrefix", default="api")).strip("/"),
        queues=_queues(_get(host, "extensions", "queues", default={})),
        locks=_locks(_get(host, "singleton", default={})),
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise SettingsError(f"{path} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise SettingsError(f"{path} must hold a JSON object")
    return value


def _local(app: Path) -> dict[str, str]:
    path = app / "local.settings.json"
    values = _read(path).get("Values", {}) if path.is_file() else {}
    return {str(name): str(value) for name, value in values.items()}


def _override(host: dict[str, Any], keys: list[str], text: str) -> None:
    for key in keys[:-1]:
        inner = host.setdefault(key, {})
        if not isinstance(inner, dict):
            raise SettingsError(f"{_OVERRIDE}{'__'.join(keys)}: {key} is not a section of host.json")
        host = inner
    host[keys[-1]] = text


def _get(host: dict[str, Any], *keys: str, default: Any) -> Any:
    value: Any = host
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return default if value is None else value


def _queues(section: dict[str, Any]) -> QueueOptions:
    batch = _whole(section, "batchSize", 16, 1, MAX_BATCH)
    encoding = str(section.get("messageEncoding", "base64")).lower()
    if encoding not in {"base64", "none"}:
        raise SettingsError(f"host.json extensions.queues.messageEncoding: {encoding} is neither base64 nor none")
    return QueueOptions(
        batch_size=batch,
        new_batch_threshold=_whole(section, "newBatchThreshold", batch // 2, 0, 1000),
        max_dequeue_count=_whole(section, "maxDequeueCount", 5, 1, 1000),
        visibility_timeout=_seconds(section, "visibilityTimeout", 0.0),
        max_polling_interval=max(0.1, _seconds(section, "maxPollingInterval", 60.0)),
        base64=encoding == "base64",
    )


def _locks(section: dict[str, Any]) -> LockOptions:
    period = _seconds(section, "listenerLockPeriod", 60.0)
    if not 15 <= period <= 60:
        raise SettingsError("host.json singleton.listenerLockPeriod: a blob lease lasts 15 to 60 seconds")
    return LockOptions(period, max(0.1, _seconds(section, "listenerLockRecoveryPollingInterval", 60.0)))


def _whole(section: dict[str, Any], key: str, default: int, low: int, high: int) -> int:
    try:
        value = int(section.get(key, default))
    except (TypeError, ValueError):
        value = low - 1
    if not low <= value <= high:
        raise SettingsError(f"host.json extensions.queues.{key}: needs a whole number from {low} to {high}")
    return value


def _seconds(section: dict[str, Any], key: str, default: float) -> float:
    if key not in section:
        return default
    match = _TIMESPAN.fullmatch(str(section[key]))
    if match is None:
        raise SettingsError(f"host.json {key}: {section[key]!r} is not a time span like 00:00:02")
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return days * 86400 + hours * 3600 + minutes * 60 + seconds
