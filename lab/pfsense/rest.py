"""The REST package's resources (v2), apart from the command prompt: models over config.xml, applies, status.

Every write is one write_config() and marks its subsystem dirty; nothing happens on the wire before the apply. Ids are
indexes and shift when something before them is deleted. Not simulated: PUT (which replaces whole lists), GraphQL, JWT,
privileges, and the models that have nothing to do with a tunnel; their paths answer 404 as unknown ones do.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from collections.abc import Callable
from typing import Any

from lab.pfsense import restfield
from lab.pfsense.box import Box
from lab.pfsense.restchecks import MODELS, PLURALS, entries
from lab.pfsense.restfield import Json, RestError
from lab.pfsense.restmodels import Model

_APPLIES = {
    "vpn/ipsec/apply": ("ipsec",),
    "interface/apply": ("interfaces",),
    "firewall/apply": ("filter",),
    "routing/apply": ("staticroutes",),
}
_CONTROLS = {
    "id",
    "dry_run",
    "apply",
    "async",
    "limit",
    "offset",
    "append",
    "remove",
    "placement",
    "reverse",
    "sort_by",
    "sort_order",
    "sort_flags",
    "parent_id",
}
_STATUS = frozenset(
    [
        "system/version",
        "system/packages",
        "status/ipsec/sas",
        "status/gateways",
        "status/interfaces",
        "status/services",
        "interface/available_interfaces",
        "diagnostics/config_history/revisions",
    ]
)
"""Resources that are only read; rootfs/usr/local/libexec/twin-status answers."""


class Rest:
    def __init__(self, box: Box, clock: Callable[[], float]) -> None:
        self._box = box
        self._clock = clock
        self._lock = asyncio.Lock()
        self.keys: list[str] = []
        """API keys made by POST /auth/key."""

    def check(self, path: str, method: str) -> None:
        """Before anybody is asked who he is: unknown paths and methods."""
        name = path.removeprefix("/api/v2/")
        if name in _STATUS:
            allowed = ["GET"]
        elif name in _APPLIES:
            allowed = ["GET", "POST"]
        elif name in MODELS:
            allowed = ["GET", "POST", "PATCH", "DELETE"]
        elif name in PLURALS:
            allowed = ["GET", "DELETE"]
        elif name in ("auth/key", "diagnostics/command_prompt"):
            allowed = ["POST"]
        else:
            raise RestError(404, "ENDPOINT_NOT_FOUND", f"No endpoint exists at {path}")  # L
        if method not in allowed:
            raise RestError(
                405,
                "ENDPOINT_METHOD_NOT_ALLOWED",
                f"Resource at {path} does not support the requested HTTP method `{method}`",
            )

    async def answer(self, path: str, method: str, given: Json, remote: str) -> Any:
        name = path.removeprefix("/api/v2/")
        if name in _STATUS:
            found = json.loads(await self._run("/usr/local/libexec/twin-status", name))
            return [_sa(n, sa) for n, sa in enumerate(found)] if name == "status/ipsec/sas" else found
        if name in _APPLIES:
            return await self._apply(name, method, given)
        if name == "auth/key":
            return self._key(given)
        async with self._lock:
            if name in PLURALS:
                return await self._plural(MODELS[PLURALS[name]], method, given)
            return await self._single(MODELS[name], method, given)

    # config.xml ------------------------------------------------------------------------------------------------

    async def _php(self, code: str) -> str:
        return await self._run(
            "/usr/local/bin/php", "-r", f"require_once('config.inc'); require_once('functions.inc'); {code}"
        )

    async def _run(self, *command: str, stdin: str = "") -> str:
        ran = await asyncio.to_thread(self._box.run, *command, stdin=stdin)
        if ran.returncode != 0:
            raise RestError(500, "UNEXPECTED_ERROR", (ran.stderr or ran.stdout)[-500:])
        return ran.stdout

    async def _config(self) -> Json:
        return dict(json.loads(await self._run("/usr/local/libexec/twin-config", "read")))

    async def _save(self, config: Json, what: str, subsystem: str) -> None:
        await self._run("/usr/local/libexec/twin-config", "write", what, "admin", subsystem, stdin=json.dumps(config))

    # models ----------------------------------------------------------------------------------------------------

    def _all(self, model: Model, config: Json) -> dict[int | str, Json]:
        if model.keyed:
            return dict(config.get(model.path, {}))
        return dict(enumerate(entries(config, model.path)))

    def _read(self, model: Model, number: int | str, stored: Json) -> Json:
        if model.keyed:
            address = stored.get("ipaddr", "")
            stored = {**stored, "typev4": "dhcp" if address == "dhcp" else "static" if address else "none"}
        return restfield.read(model.fields, number, stored)

    def _shown(self, model: Model, values: Json) -> Json:
        return {**restfield.shown(model.fields, values), **dict.fromkeys(model.nulls)}

    async def _plural(self, model: Model, method: str, given: Json) -> list[Json]:
        config = await self._config()
        found = [self._shown(model, self._read(model, n, stored)) for n, stored in self._all(model, config).items()]
        found = [f for f in found if all(_fits(f, k, v) for k, v in given.items() if k not in _CONTROLS)]
        offset, limit = int(given.get("offset", 0)), int(given.get("limit", 0))
        found = found[offset : offset + limit if limit else None]
        if method == "DELETE" and found:
            gone = {f["id"] for f in found}
            self._put(model, config, {n: s for n, s in self._all(model, config).items() if n not in gone})
            await self._save(config, f"Deleted {model.title} via API", model.subsystem)
        return found

    async def _single(self, model: Model, method: str, given: Json) -> Json:
        config = await self._config()
        objects = self._all(model, config)
        number = None
        if method != "POST":
            number = self._id(model, given, objects)
        if method == "GET" and number is not None:
            return self._shown(model, self._read(model, number, objects[number]))
        verb = {"POST": "Added", "PATCH": "Modified", "DELETE": "Deleted"}[method]
        if method == "DELETE" and number is not None:
            values = self._read(model, number, objects.pop(number))
        else:
            before = {} if number is None else self._read(model, number, objects[number])
            values = restfield.check(model.fields, {**before, **given})
            if number is None and model.prepare is not None:
                model.prepare(values, config, self._clock())
            if model.validate is not None:
                model.validate(values, config, number)
            number = self._next(model, objects) if number is None else number
            objects[number] = self._stored(model, values, objects.get(number, {}))
            values = {"id": number, **values}
        if given.get("dry_run") not in (None, False, "false"):
            return self._shown(model, values)
        self._put(model, config, objects)
        await self._save(config, f"{verb} {model.title} via API", model.subsystem)
        if given.get("apply") is True:
            await self._do_apply(model.subsystem)
        return self._shown(model, values)

    def _stored(self, model: Model, values: Json, before: Json) -> Json:
        stored = restfield.write(model.fields, dict(before) if model.merge else {}, values)
        if model.path == "ipsec/phase2":
            stored.setdefault("natlocalid", {"type": ""})  # what the package leaves there
        if model.keyed:
            kind = stored.pop("typev4")
            if kind == "dhcp":
                stored["ipaddr"] = "dhcp"
        return stored

    @staticmethod
    def _id(model: Model, given: Json, objects: dict[int | str, Json]) -> int | str:
        number = given.get("id")
        if number is None:
            raise RestError(400, "MODEL_REQUIRES_ID", "Field `id` is required.")
        key = number if model.keyed else int(number) if str(number).isdigit() else -1
        if key not in objects:
            raise RestError(404, "MODEL_OBJECT_NOT_FOUND", f"Object with ID `{number}` does not exist.")
        return key

    @staticmethod
    def _next(model: Model, objects: dict[int | str, Json]) -> int | str:
        return (
            next(f"opt{n}" for n in range(1, len(objects) + 2) if f"opt{n}" not in objects)
            if model.keyed
            else len(objects)
        )

    @staticmethod
    def _put(model: Model, config: Json, objects: dict[int | str, Json]) -> None:
        *parents, last = model.path.split("/")
        there = config
        for step in parents:
            if not isinstance(there.get(step), dict):
                there[step] = {}
            there = there[step]
        there[last] = objects if model.keyed else list(objects.values())

    # applies ---------------------------------------------------------------------------------------------------

    async def _apply(self, name: str, method: str, given: Json) -> Json:
        """The answer is what was the case before: a POST says `applied: false` and it is done."""
        (subsystem,) = _APPLIES[name]
        dirty = self._box.path(f"/var/run/{subsystem}.dirty").exists()
        state: Json = {"applied": not dirty}
        if subsystem == "interfaces":
            pending = (
                [] if not dirty else [n for n in (await self._config()).get("interfaces", {}) if n.startswith("opt")]
            )
            state["pending_interfaces"] = pending
        if subsystem == "filter":
            state = {
                "applied": not dirty or method == "POST",
                "pending_subsystems": ["filter"] if dirty and method == "GET" else [],
            }
        if method == "POST":
            work = self._do_apply(subsystem)
            if given.get("async", True) is False:
                await work
            else:
                self._background = asyncio.create_task(work)
        return state

    async def _do_apply(self, subsystem: str) -> None:
        code = {
            "ipsec": "ipsec_configure(); ipsec_reload_package_hook(); filter_configure();",
            "interfaces": "foreach (array_keys(config_get_path('interfaces')) as $i) { interface_configure($i, true); }"
            " filter_configure();",
            "filter": "filter_configure_sync();",
            "staticroutes": "system_routing_configure(); filter_configure(); setup_gateways_monitor();",
        }[subsystem]
        await self._php(f"{code} clear_subsystem_dirty('{subsystem}');")

    def _key(self, given: Json) -> Json:
        length, algorithm = int(given.get("length_bytes", 24)), str(given.get("hash_algo", "sha256"))
        if length not in (16, 24, 32, 64):
            raise RestError(400, "FIELD_INVALID_CHOICE", "Field `length_bytes` must be one of [16, 24, 32, 64]")
        if algorithm not in hashlib.algorithms_available:
            raise RestError(400, "FIELD_INVALID_CHOICE", "Field `hash_algo` must be one of [sha256, sha384, sha512]")
        self.keys.append(secrets.token_hex(length))
        return {
            "id": len(self.keys) - 1,
            "descr": given.get("descr", ""),
            "username": "admin",
            "hash_algo": algorithm,
            "length_bytes": length,
            "key": self.keys[-1],
        }


def _fits(found: Json, key: str, wanted: Any) -> bool:
    name, _, how = key.partition("__")
    value, text = str(found.get(name)), str(wanted)
    if name not in found:
        return True
    return {
        "": value == text,
        "exact": value == text,
        "except": value != text,
        "startswith": value.startswith(text),
        "endswith": value.endswith(text),
        "contains": text in value,
    }.get(how, True)


def _sa(number: int, sa: Json) -> Json:
    """The C module's names with underscores; numbers as numbers; yes and no as booleans."""
    out: Json = {"id": number}
    for key, value in sa.items():
        name = key.replace("-", "_")
        if key == "child-sas":
            out[name] = [{**_sa(n, c), "parent_id": number} for n, c in enumerate(value)]
        elif isinstance(value, str) and (key.startswith("nat-") or key == "encap"):
            out[name] = value == "yes"
        else:
            out[name] = int(value) if isinstance(value, str) and value.isdigit() and "host" not in key else value
    return out
