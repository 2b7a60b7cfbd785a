"""What must hold when the faults are over: both ends as the specs say, and as if every command had happened once.

The judge reads the documents that the user sent, the ARM resources, the firewall and the fabric itself; of the product
it asks only what the product says of itself (the status), so that a mistake is not forgiven by its own repetition.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from lab.azure.store import Resource
from shared.control.agents import queue_of
from shared.control.services import RECONCILE

if TYPE_CHECKING:
    from lab.model.world import Place, World

DEAD_LETTERS = f"{RECONCILE}-poison"


async def unfinished(world: World) -> list[str]:
    """1: why the world is not as its documents say; empty when both ends are and every tunnel carries packets. What
    can be seen without asking is looked at first: most looks end there."""
    wanted = {name: place for name, place in world.places.items() if place.wanted}
    lacks = [f"{n}: {what}" for n, p in wanted.items() for what in (*_azure(world, p, n), *_home(world, p, n))]
    return lacks or await _untold(world)


async def _untold(world: World) -> list[str]:
    """What the product itself says is not so, or does not say."""
    lacks = []
    for name, place in world.places.items():
        status, told = await world.control.call("GET", f"connections/{name}/status")
        if not place.wanted:
            lacks += [f"{name}: is still known"] if status != 404 else []
            lacks += _left_over(world, place, name)
            continue
        if status != 200:
            lacks.append(f"{name}: its status answers {status}")
            continue
        verdicts = {c["type"]: c for c in told["conditions"]}
        for kind in ("Ready", "AddressCurrent"):
            found = verdicts.get(kind, {"status": "", "reason": "unknown"})
            lacks += [f"{name}: {kind} is {found['reason']}"] if found["status"] != "True" else []
        _, incidents = await world.control.call("GET", f"connections/{name}/incidents")
        lacks += [f"{name}: Incident {i['finding']} is open" for i in incidents["items"] if not i["closed"]]
    return lacks


def end(world: World) -> None:
    """3 and 9, once the world has come to rest."""
    for name, place in world.places.items():
        # An initiate may be repeated only if its result was not journalled: after a death, or when a seam failed it.
        excused = place.service.lives - 1 + sum(where == name for _, where, _, _ in world.injector.done)
        issued = world.watch.initiates.get(name, 0)
        if place.firewall.initiated > issued + excused:
            world.watch.violate(3, f"{name}: initiated {place.firewall.initiated} times by {issued} commands")
    for where, text in world.watch.garbage:
        if not _kept(world, where, text):
            world.watch.violate(9, f"garbage for {where} is nowhere to be seen")


def _kept(world: World, where: str, text: str) -> bool:
    if where == RECONCILE:
        return any(text == kept for kept in world.control.queue.texts(DEAD_LETTERS))
    place, queue = world.places[where], queue_of(world.places[where].service.identity())
    if text in world.control.queue.texts(queue) or queue not in world.control.queue.names():
        return True  # not polled yet, or the agent was replaced
    forms = {json.dumps(t)[1:-1] for t in (text, base64.b64encode(text.encode()).decode())}
    kept = [data.decode() for path, data in place.service.disk.files.items() if "/corrupt/" in path]
    return any(form in data for form in forms for data in kept)


def _resource(world: World, kind: str, name: str) -> Resource | None:
    found = [r for r in world.azure.store.of_type(kind) if r.name == name]
    return found[0] if found else None


def _azure(world: World, place: Place, name: str) -> list[str]:
    spec = place.document["spec"]
    local, connection = _resource(world, "localNetworkGateways", f"{name}-lng"), _resource(world, "connections", name)
    if local is None or connection is None or "Failed" in (local.state, connection.state):
        return ["Azure lacks its resources"]
    bgp = local.properties.get("bgpSettings", {})
    wanted: dict[str, tuple[Any, Any]] = {
        "fqdn": (local.properties.get("fqdn"), spec["fqdn"]),
        "a pinned address": (local.properties.get("gatewayIpAddress") or "", ""),
        "the ASN": (bgp.get("asn"), spec["home"]["asn"]),
        "the BGP address": (bgp.get("bgpPeeringAddress"), spec["home"]["bgpAddress"]),
        "the mode": (connection.properties["connectionMode"], "ResponderOnly"),
        "BGP": (connection.properties["enableBgp"], True),
    }
    lacks = [f"Azure: {what} is {found!r}" for what, (found, want) in wanted.items() if found != want]
    if connection.secret != world.control.psk(place.connection_id):
        lacks.append("Azure: another key than the vault's")
    return lacks


def _home(world: World, place: Place, name: str) -> list[str]:
    spec, runs = place.document["spec"], place.firewall.canonical().get(name)
    if runs is None:
        return ["the firewall carries no tunnel"]
    desired, _key = runs
    wanted: dict[str, tuple[Any, Any]] = {
        "the ASN": (desired.bgp.local_asn, spec["home"]["asn"]),
        "what it advertises": (sorted(desired.bgp.advertise), sorted(spec["home"]["prefixes"])),
        "the probe": (desired.probe, spec["probe"]),
    }
    lacks = [f"firewall: {what} is {found!r}" for what, (found, want) in wanted.items() if found != want]
    # What runs may hold a key that the owner changed by hand: it shows at the next IKE, and is then set again.
    if place.firewall.records[name].psk != world.control.psk(place.connection_id):
        lacks.append("firewall: another key than the vault's")
    if place.firewall.others != place.others:
        lacks.append("firewall: what is not ours was changed")
    health = next((t for t in place.firewall.health().tunnels if t.connection == name), None)
    if health is None or health.bgp.state != "Established" or not all(p.ok for p in health.probes):
        lacks.append("no packets pass")
    return lacks


def _left_over(world: World, place: Place, name: str) -> list[str]:
    lacks = [f"Azure still has {kind}" for kind in ("connections",) if _resource(world, kind, name) is not None]
    if name in place.firewall.canonical():
        lacks.append("the firewall still carries the tunnel")
    return [f"{name}: {what}" for what in lacks]
