"""What the REST package checks across objects, and what it fills in: numbers, unique names, interfaces that exist."""

from __future__ import annotations

import uuid
from typing import Any

from lab.pfsense import restmodels as m
from lab.pfsense.restfield import Json, RestError
from lab.pfsense.restmodels import Config, Model


def entries(config: Config, path: str) -> list[Json]:
    """The list at a path of config.xml; an absent or empty one is []."""
    there: Any = config
    for step in path.split("/"):
        there = there.get(step) if isinstance(there, dict) else None
    return there if isinstance(there, list) else []


def interface_choices(config: Config) -> list[str]:
    return [*config.get("interfaces", {}), "enc0", "openvpn", "any"]


def _choice(name: str, value: Any, choices: list[str]) -> None:
    if value not in choices:
        raise RestError(400, "FIELD_INVALID_CHOICE", f"Field `{name}` must be one of [{', '.join(choices)}]")


def _lowest(used: list[Any]) -> int:
    taken = {int(n) for n in used if str(n).isdigit()}
    return next(n for n in range(1, len(taken) + 2) if n not in taken)


def phase1(values: Json, config: Config, me: int | str | None) -> None:
    _choice("interface", values["interface"], list(config.get("interfaces", {})))
    for n, other in enumerate(entries(config, "ipsec/phase1")):
        if (
            n == me
            or "disabled" in other
            or values["disabled"]
            or other.get("remote-gateway") != values["remote_gateway"]
        ):
            continue
        if not (values["gw_duplicates"] and "gw_duplicates" in other):
            text = f"Field `remote_gateway` must be unique. Duplicate value found in IPsec Phase 1 with ID `{n}`."
            raise RestError(400, "IPSEC_PHASE_1_ILLEGAL_DUPLICATE_REMOTE_GATEWAY", text)
    for name in ("rekey_time", "reauth_time"):
        if values[name] >= values["lifetime"]:
            raise RestError(
                400, f"IPSEC_PHASE_1_{name.upper()}_EXCEEDS_LIFETIME", f"Field `{name}` must be less than `lifetime`."
            )  # L
    if values["nattport"] == values["ikeport"]:
        raise RestError(
            400, "IPSEC_PHASE_1_NATTPORT_MATCHES_IKEPORT", "Field `nattport` must differ from `ikeport`."
        )  # L


def phase2(values: Json, config: Config, me: int | str | None) -> None:
    if all(str(p1.get("ikeid")) != str(values["ikeid"]) for p1 in entries(config, "ipsec/phase1")):
        raise RestError(
            400,
            "FOREIGN_MODEL_FIELD_VALUE_NOT_FOUND",
            f"Field `ikeid` could not find an IPsec Phase 1 with `ikeid` of `{values['ikeid']}`.",
        )  # L


def interface(values: Json, config: Config, me: int | str | None) -> None:
    for name, other in config.get("interfaces", {}).items():
        for field in ("if", "descr"):
            if name != me and str(other.get(field, "")).lower() == str(values[field]).lower():
                raise RestError(
                    400,
                    "FIELD_MUST_BE_UNIQUE",
                    f"Field `{field}` must be unique. Value `{values[field]}` is in use by object with ID `{name}`.",
                )  # L


def rule(values: Json, config: Config, me: int | str | None) -> None:
    for name in values["interface"]:
        _choice("interface", name, interface_choices(config))


def new_phase1(values: Json, config: Config, now: float) -> None:
    values["ikeid"] = _lowest([p1.get("ikeid") for p1 in entries(config, "ipsec/phase1")])


def new_phase2(values: Json, config: Config, now: float) -> None:
    values["reqid"] = _lowest([p2.get("reqid") for p2 in entries(config, "ipsec/phase2")])
    values["uniqid"] = uuid.uuid4().hex[:13]


def new_rule(values: Json, config: Config, now: float) -> None:
    values |= {"tracker": int(now), "created_time": int(now), "created_by": "@127.0.0.1 (API)"}
    values |= {"updated_time": int(now), "updated_by": "admin@127.0.0.1 (API)"}


MODELS: dict[str, Model] = {
    "vpn/ipsec/phase1": Model("IPsec Phase 1", "ipsec/phase1", m.PHASE1, "ipsec", prepare=new_phase1, validate=phase1),
    "vpn/ipsec/phase2": Model("IPsec Phase 2", "ipsec/phase2", m.PHASE2, "ipsec", prepare=new_phase2, validate=phase2),
    "interface": Model(
        "Network Interface",
        "interfaces",
        m.INTERFACE,
        "interfaces",
        merge=False,
        keyed=True,
        validate=interface,
        nulls=m.INTERFACE_NULLS,
    ),
    "firewall/rule": Model("Firewall Rule", "filter/rule", m.RULE, "filter", prepare=new_rule, validate=rule),
    "routing/gateway": Model("Routing Gateway", "gateways/gateway_item", m.GATEWAY, "staticroutes"),
    "routing/static_route": Model("Static Route", "staticroutes/route", m.STATIC_ROUTE, "staticroutes"),
}
PLURALS = {
    "vpn/ipsec/phase1s": "vpn/ipsec/phase1",
    "vpn/ipsec/phase2s": "vpn/ipsec/phase2",
    "interfaces": "interface",
    "firewall/rules": "firewall/rule",
    "routing/gateways": "routing/gateway",
    "routing/static_routes": "routing/static_route",
}
