"""The Plan: what must change so that Azure is as the specs say, in an order that Azure can carry out.

Field by field: only the fields that Homelink sets are compared, case is ignored where ARM ignores it, and what somebody
else put beside them (another subnet, another tag) is kept. A resource without our mark is never changed: the Plan says
so instead, or, where the document adopts it, that it is marked; marking and unmarking change nothing but tags. The hash
names the Plan, so that what was shown is what is done.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from shared.wire.seal import canonical

from . import adopted
from .arm import ArmKind, ArmRef
from .render import TAG_CONTROLLER, TAG_OWNER, Desired, Json

Observed = Mapping[ArmRef, Json | None]


class Action(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    ADOPT = "adopt"
    RELEASE = "release"
    BLOCKED = "blocked"


@dataclass(frozen=True)
class Difference:
    """`path` as in properties.bgpSettings.asn; values as JSON."""

    path: str
    observed: Any
    desired: Any


@dataclass(frozen=True)
class Change:
    """One write. `body` is what a PUT sends (empty for a deletion), of ADOPT and RELEASE all `tags` that the resource
    is to have and nothing else; `reason` says why a change is blocked."""

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


def make(
    desired: Iterable[Desired],
    unwanted: Iterable[ArmRef],
    observed: Observed,
    controller: str,
    released: Iterable[ArmRef] = (),
) -> Plan:
    """Creations and updates in the given order, then deletions in the given order (dependants first), then what is let
    go of without being deleted; at the end what is blocked without being in anybody's way."""
    changes: list[Change] = []
    stuck: list[Change] = []
    for wanted in desired:
        have = observed.get(wanted.ref)
        if wanted.adopted:
            for change in _adopted(wanted, have, controller):
                (stuck if _stuck(change, have, controller) else changes).append(change)
            continue
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
    for ref in released:
        have = observed.get(ref)
        if have is not None and owner(have) == controller:
            tags = {k: v for k, v in (have.get("tags") or {}).items() if k not in (TAG_CONTROLLER, TAG_OWNER)}
            changes.append(Change(Action.RELEASE, ref, {"tags": tags}))
    return Plan((*changes, *stuck))


def _adopted(wanted: Desired, have: Json | None, controller: str) -> Iterable[Change]:
    """Marked only where it is as the document says: so the Plan after an adoption is empty. Never made anew."""
    want = Desired(wanted.ref, adopted.as_found(wanted.ref.kind, wanted.body, have), adopted=True)
    if have is None:
        yield Change(Action.BLOCKED, want.ref, want.body, (), _GONE.format(want.ref.name))
        return
    found = tuple(differences(want.body, have))
    edited = [d.path for d in found if not d.path.startswith("tags.")]
    if owner(have) not in (None, controller):
        yield Change(Action.BLOCKED, want.ref, {}, found, _not_ours(have))
    elif found and not edited:
        yield Change(Action.ADOPT, want.ref, {"tags": {**(have.get("tags") or {}), **want.body["tags"]}}, found)
    elif owner(have) is None:
        yield Change(Action.BLOCKED, want.ref, {}, found, _OTHERWISE.format(want.ref.name, ", ".join(edited)))
    elif edited and want.ref.kind is ArmKind.GATEWAY and _has_radius(have):
        yield Change(Action.BLOCKED, want.ref, {}, found, _RADIUS.format(want.ref.name, ", ".join(edited)))
    elif edited or provisioning_state(have) == "failed":
        yield Change(Action.UPDATE, want.ref, adopted.over(have, want.body), found)


def _stuck(change: Change, have: Json | None, controller: str) -> bool:
    """Blocked, but in nobody's way: it is ours and there, or gone and nothing stands on it."""
    if change.action is not Action.BLOCKED:
        return False
    return change.ref.kind in (ArmKind.LOCAL_GATEWAY, ArmKind.CONNECTION) if have is None else owner(have) == controller


def _has_radius(gateway: Json) -> bool:
    clients = (gateway.get("properties") or {}).get("vpnClientConfiguration") or {}
    return bool(clients.get("radiusServerAddress") or clients.get("radiusServers"))


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


_GONE = "{} is to be adopted and does not exist. Correct its name in spec.adopt, or restore it."
_OTHERWISE = (
    "{} is not as the document says ({}), and adoption changes nothing but tags. Take it over as it is (POST "
    "/api/imports writes the document), then change it."
)
_RADIUS = (
    "{} has RADIUS servers, whose secret Azure does not tell, so a write would lose it. Change it there yourself ({}), "
    "or the document."
)


def _not_ours(resource: Json) -> str:
    mark = (resource.get("tags") or {}).get(TAG_OWNER)
    who = f"belongs to another controller ({mark})" if mark else "was not made by Homelink"
    return f"{resource.get('name', 'the resource')} {who}: it is read only for us. Adopt it, rename ours, or remove it."
