"""The Plan: what must change so that Azure is as the specs say, in an order that Azure can carry out.

Field by field: only the fields that Homelink sets are compared, case is ignored where ARM ignores it, and what somebody
else put beside them (another subnet, another tag) is kept. A resource without our mark is never changed: the Plan says
so instead. The hash names the Plan, so that what was shown is what is done.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from shared.wire.seal import canonical

from .arm import ArmKind, ArmRef
from .render import TAG_CONTROLLER, TAG_OWNER, Desired, Json

Observed = Mapping[ArmRef, Json | None]


class Action(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    BLOCKED = "blocked"


@dataclass(frozen=True)
class Difference:
    """`path` as in properties.bgpSettings.asn; values as JSON."""

    path: str
    observed: Any
    desired: Any


@dataclass(frozen=True)
class Change:
    """One write. `body` is what a PUT sends (empty for a deletion); `reason` says why a change is blocked."""

    action: Action
    ref: ArmRef
    body: Json
    differences: tuple[Difference, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Plan:
    changes: tuple[Change, ...]

    @property
    def hash(self) -> str:
        """Hex SHA-256 over what would be done, secrets not being part of it."""
        parts = [[c.action, c.ref.id().lower(), c.body] for c in self.changes]
        return hashlib.sha256(canonical({"changes": parts})).hexdigest()

    def next(self) -> Change | None:
        """The first change that may be carried out; nothing overtakes a blocked one it could depend on."""
        first = self.changes[0] if self.changes else None
        return None if first is None or first.action is Action.BLOCKED else first


def make(desired: Iterable[Desired], unwanted: Iterable[ArmRef], observed: Observed, controller: str) -> Plan:
    """Creations and updates in the given order, then deletions in the given order (dependants first)."""
    changes: list[Change] = []
    for wanted in desired:
        have = observed.get(wanted.ref)
        want = _with_addresses_in_use(wanted, observed)
        if have is None:
            changes.append(Change(Action.CREATE, want.ref, want.body))
            continue
        found = tuple(differences(want.body, have))
        if not found and is_settled(have):
            continue
        if not found and provisioning_state(have) != "failed":
            continue  # ARM is still at work on exactly this: reading again is all there is to do
        if owner(have) != controller:
            changes.append(Change(Action.BLOCKED, want.ref, {}, found, _not_ours(have)))
        else:
            changes.append(Change(Action.UPDATE, want.ref, merged(want, have), found))
    for ref in unwanted:
        have = observed.get(ref)
        if have is not None and owner(have) != controller:
            changes.append(Change(Action.BLOCKED, ref, {}, (), _not_ours(have)))
        elif have is not None:
            changes.append(Change(Action.DELETE, ref, {}))
    return Plan(tuple(changes))


def _with_addresses_in_use(want: Desired, observed: Observed) -> Desired:
    """A gateway's link-local BGP addresses are let go only when no connection uses them any more: Azure refuses it
    before. Those that nobody wants are named with an empty list, because a field left out would not be compared."""
    if want.ref.kind is not ArmKind.GATEWAY:
        return want
    bgp = want.body["properties"]["bgpSettings"]
    kept = {e["ipconfigurationId"].lower(): e for e in bgp.get("bgpPeeringAddresses", ())}
    have = ((observed.get(want.ref) or {}).get("properties") or {}).get("bgpSettings") or {}
    for entry in have.get("bgpPeeringAddresses") or []:
        if entry.get("customBgpIpAddresses"):
            where = str(entry.get("ipconfigurationId"))
            kept.setdefault(where.lower(), {"ipconfigurationId": where, "customBgpIpAddresses": []})
    for ref, body in observed.items():
        chosen = ((body or {}).get("properties") or {}).get("gatewayCustomBgpIpAddresses") or []
        for item in chosen if ref.kind is ArmKind.CONNECTION else ():
            where = str(item.get("ipConfigurationId"))
            if where.lower() in kept:
                entry = kept[where.lower()]
                addresses = sorted({*entry["customBgpIpAddresses"], str(item.get("customBgpIpAddress"))})
                kept[where.lower()] = {**entry, "customBgpIpAddresses": addresses}
    if not kept:
        return want
    properties = {**want.body["properties"], "bgpSettings": {**bgp, "bgpPeeringAddresses": list(kept.values())}}
    return Desired(want.ref, {**want.body, "properties": properties})


def provisioning_state(resource: Json) -> str:
    return str((resource.get("properties") or {}).get("provisioningState", "")).lower()


def is_settled(resource: Json | None) -> bool:
    return resource is not None and provisioning_state(resource) == "succeeded"


def owner(resource: Json) -> str | None:
    return (resource.get("tags") or {}).get(TAG_CONTROLLER)


def merged(want: Desired, have: Json) -> Json:
    """The whole desired body, with what others added to it kept: foreign tags and, in a virtual network, subnets."""
    body = {**want.body, "tags": {**(have.get("tags") or {}), **want.body["tags"]}}
    if want.ref.kind is ArmKind.VIRTUAL_NETWORK:
        ours = {s["name"].lower() for s in want.body["properties"]["subnets"]}
        foreign = [s for s in (have["properties"].get("subnets") or []) if s["name"].lower() not in ours]
        body["properties"] = {**body["properties"], "subnets": [*body["properties"]["subnets"], *foreign]}
    return body


def differences(desired: Any, observed: Any, path: str = "") -> Iterable[Difference]:
    """Where `observed` is not as `desired` says; fields that `desired` does not name are not looked at.

    A local gateway names either a FQDN or an address, so the one that is not desired must be absent. ARM keeps the
    BGP addresses of a gateway by IP configuration, in any order.
    """
    if isinstance(desired, dict):
        have = observed if isinstance(observed, dict) else {}
        for key, value in desired.items():
            if isinstance(value, dict | list) or value != have.get(
                key
            ):  # most leaves are equal, and this is called often
                yield from differences(value, have.get(key), f"{path}.{key}".lstrip("."))
        for one, other in (("fqdn", "gatewayIpAddress"), ("gatewayIpAddress", "fqdn")):
            if one in desired and have.get(other):
                yield Difference(f"{path}.{other}", have[other], None)
    elif path.endswith("bgpPeeringAddresses") and isinstance(desired, list):
        have_listed = observed if isinstance(observed, list) else []
        listed = {str(x.get("ipconfigurationId", "")).lower(): x for x in have_listed if isinstance(x, dict)}
        for item in desired:
            custom = listed.get(item["ipconfigurationId"].lower(), {}).get("customBgpIpAddresses")
            instance = item["ipconfigurationId"].rpartition("/")[2]
            yield from differences(item["customBgpIpAddresses"], custom, f"{path}[{instance}].customBgpIpAddresses")
    elif isinstance(desired, list) and desired and isinstance(desired[0], dict) and "name" in desired[0]:
        have_named = observed if isinstance(observed, list) else []
        named = {str(x.get("name", "")).lower(): x for x in have_named if isinstance(x, dict)}
        for item in desired:
            yield from differences(item, named.get(item["name"].lower()), f"{path}[{item['name']}]")
    elif isinstance(desired, list):
        have_list = observed if isinstance(observed, list) else []
        if len(have_list) != len(desired):
            yield Difference(path, observed, desired)
            return
        if all(isinstance(x, str) for x in [*desired, *have_list]):  # zones, prefixes: sets, that ARM may reorder
            if {x.lower() for x in desired} != {x.lower() for x in have_list}:
                yield Difference(path, observed, desired)
            return
        for i, (want, have_item) in enumerate(zip(desired, have_list, strict=True)):
            yield from differences(want, have_item, f"{path}[{i}]")
    elif not _same(desired, observed, path):
        yield Difference(path, observed, desired)


def _same(desired: Any, observed: Any, path: str) -> bool:
    if isinstance(desired, str) and isinstance(observed, str):
        if path.endswith(("location",)):
            return observed.replace(" ", "").lower() == desired
        return desired.lower() == observed.lower()
    return bool(desired == observed)


def _not_ours(resource: Json) -> str:
    mark = (resource.get("tags") or {}).get(TAG_OWNER)
    who = f"belongs to another controller ({mark})" if mark else "was not made by Homelink"
    return f"{resource.get('name', 'the resource')} {who}: it is read only for us. Adopt it, rename ours, or remove it."
