"""The main job as steps that return what was measured: the demo tells them, the tests assert on them.

`join` is for the documents of one home at one gateway, `join_all` for any number of homes and gateways.

Durations are wall seconds. Azure's part runs `world.factor` times faster until the tunnel is up, and at its real pace
from the address change on; charon, bgpd, the agent, DNS and Homelink itself always run at their real pace.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from lab.client import eventually
from lab.documents import Document, document
from lab.net.pinging import Pinged
from lab.net.pinging import pinging as pinging_to
from lab.net.run import LabNetError
from lab.world import ROOT, World

GATEWAY, HOME = "hub", "home"
"""The names in the two documents that most of the lab plays."""
SECOND_ADDRESS = "198.51.100.77"
UNPIN_AFTER_S = 20

_NOT_TOLD = ("Ready", "InSync", "Recommended")
_MEASURED = {"TunnelUp": "tunnel_up_s", "BgpEstablished": "bgp_up_s", "Ready": "ready_s"}

Tell = Callable[[str], None]


@dataclass
class Joined:
    """What became of one home. Seconds count from the PUT of the documents, at the world's factor."""

    tunnel_up_s: float = 0.0
    bgp_up_s: float = 0.0
    ready_s: float = 0.0
    pings: dict[str, bool] = field(default_factory=dict)


@dataclass
class Recovered:
    """Seconds count from the address change. `detected_s`: the Incident was opened; `recovered_s`: proof was seen;
    `unpinned_s`: it was closed."""

    home: str
    changed_at: datetime
    detected_s: float = 0.0
    pinned_s: float = 0.0
    recovered_s: float = 0.0
    first_ping_s: float = 0.0
    unpinned_s: float = 0.0
    timeline: list[dict[str, str]] = field(default_factory=list)


async def pings(world: World, home: str = HOME, gateway: str = GATEWAY) -> dict[str, bool]:
    """One echo each way, between the machine in the gateway's virtual network and the host in the home's LAN."""
    lan, vm = world.network.topology.home(home), world.network.topology.machine(gateway)
    ping = world.network.ping
    there, back = await asyncio.gather(ping(vm.namespace, lan.lan_host), ping(lan.lan_ns, vm.address))
    return {"vm -> lan": there, "lan -> vm": back}


def quick(name: str = HOME, **overrides: Any) -> Document:
    """An example of a connection whose pin ends soon, so that one may wait for it."""
    return document(name, repair={"unpinAfterSeconds": UNPIN_AFTER_S}, **overrides)


async def put_documents(
    world: World, gateways: Sequence[Document] | None = None, connections: Sequence[Document] | None = None
) -> None:
    """PUTs gateways (as YAML, as a user would) and connections; without any, those of one home."""
    for each in [document("gateway")] if gateways is None else gateways:
        text = yaml.safe_dump(each, sort_keys=False)
        await world.api.call("PUT", f"gateways/{each['metadata']['name']}", text=text)
    for each in [quick()] if connections is None else connections:
        await world.api.call("PUT", f"connections/{each['metadata']['name']}", each)


async def join(world: World, tell: Tell, *, timing: str = "", within: float = 150) -> Joined:
    """Both documents, one agent (`timing`: lines of its [timing]), and everything until the tunnel is proven."""
    joined = await join_all(world, [document("gateway")], [quick()], tell=tell, timing=timing, within=within)
    return joined[HOME]


async def join_all(
    world: World,
    gateways: Sequence[Document],
    connections: Sequence[Document],
    *,
    tell: Tell = lambda _: None,
    timing: str = "",
    within: float = 150,
) -> dict[str, Joined]:
    """Several homes at once; returns when all connections are Ready. Each connection has the name of its home, and the
    result too."""
    began = time.monotonic()
    await put_documents(world, gateways, connections)
    gateway_of = {each["metadata"]["name"]: each["spec"]["gateway"] for each in connections}
    names = [each["metadata"]["name"] for each in gateways]
    tell(f"PUT of gateway {', '.join(names)} and connection {', '.join(gateway_of)}: accepted")

    async def enrol(home: str, agent: str) -> None:
        await world.start_agent(agent, home, timing=timing)
        there = world.network.topology.home(home)
        tell(f"{home}: agent {agent} enrolled with a one-time token, runs on `{there.agent_ns}`")

    await asyncio.gather(*(enrol(each["metadata"]["name"], each["spec"]["agent"]) for each in connections))
    result = {home: Joined() for home in gateway_of}
    watched = [("gateways", name) for name in names] + [("connections", home) for home in result]
    waiting: dict[str, str] = {}
    told = set[str]()

    async def ready() -> bool:
        now = time.monotonic() - began
        looks = await asyncio.gather(*(world.api.conditions(kind, name) for kind, name in watched))
        for (kind, name), conditions in zip(watched, looks, strict=True):
            for condition, (status, reason, message) in conditions.items():
                if condition == "InSync" and reason == "Pending" and message not in told:
                    told.add(message)
                    tell(f"Azure: {message}")
                if condition == "Ready" and kind == "connections":
                    waiting[name] = message
                if status != "True" or f"{kind}/{name}/{condition}" in told:
                    continue
                told.add(f"{kind}/{name}/{condition}")
                if condition not in _NOT_TOLD:
                    tell(f"{name}: {condition}: {message}")
                if kind == "connections" and condition in _MEASURED:
                    setattr(result[name], _MEASURED[condition], now)
        return all(joined.ready_s for joined in result.values())

    try:
        await eventually("every connection becoming Ready", ready, within=within, every=0.3)
    except LabNetError as error:
        raise LabNetError(f"{error}: {waiting}") from None
    for home, joined in result.items():
        joined.pings = await pings(world, home, gateway_of[home])
    return result


def pinging(world: World, home: str, gateway: str = GATEWAY) -> AbstractAsyncContextManager[Pinged]:
    """Pings a home's LAN host from the gateway's machine while the block runs (once per home)."""
    machine, lan_host = world.network.topology.machine(gateway), world.network.topology.home(home).lan_host
    return pinging_to(machine.namespace, lan_host, world.folder / f"ping-{home}.log")


async def lose_address(
    world: World, tell: Tell, new: str = SECOND_ADDRESS, *, home: str = HOME, within: float = 150
) -> Recovered:
    """The ISP gives a home another address; watches Homelink notice, act and verify. Raises LabNetError where the
    tunnel survives that, because then there is nothing to repair."""
    result = Recovered(home, datetime.now().astimezone())
    await world.network.change_public_address(new, home)
    tell(f"{home}: the ISP gives it another address: {new}")
    if any((await pings(world, home)).values()):
        raise LabNetError(f"the tunnel of {home} survived the address change, so there is nothing to show")
    tell(f"{home}: the tunnel is dead, no ping goes through")

    async def recovered() -> bool:
        if not result.first_ping_s and (await pings(world, home))["vm -> lan"]:
            result.first_ping_s = (datetime.now().astimezone() - result.changed_at).total_seconds()
            tell(f"{home}: first ping through the new tunnel")
        await _look(world, tell, result)
        return result.recovered_s > 0 and result.first_ping_s > 0

    await eventually(f"the recovery of {home} being verified", recovered, within=within, every=0.3)
    tell(f"{home}: recovery verified: SA, BGP, prefixes both ways, probe")
    return result


async def end_pin(world: World, tell: Tell, result: Recovered, within: float = 120) -> None:
    """Watches Homelink tidy up after `lose_address`, and adds that to its result."""

    async def closed() -> bool:
        await _look(world, tell, result)
        return result.unpinned_s > 0

    await eventually(f"the incident of {result.home} being closed", closed, within=within, every=0.3)
    tell(f"{result.home}: the local network gateway names the FQDN again; the Incident is closed")


async def _look(world: World, tell: Tell, result: Recovered) -> None:
    """What the home's Incident says by now; earlier ones are another story."""
    items = (await world.api.call("GET", f"connections/{result.home}/incidents"))["items"]
    found = [i for i in items if datetime.fromisoformat(i["opened"]) >= result.changed_at]
    if not found:
        return
    incident = found[0]

    def since(moment: str | None) -> float:
        return (datetime.fromisoformat(moment) - result.changed_at).total_seconds() if moment else 0.0

    for entry in incident["timeline"][len(result.timeline) :]:
        tell(f"{result.home}: Homelink: {entry['what']}")
        if entry["what"].startswith("pin:"):
            result.pinned_s = since(entry["at"])
    result.timeline = incident["timeline"]
    result.detected_s = since(incident["opened"])
    result.recovered_s, result.unpinned_s = since(incident["verified"]), since(incident["closed"])


def logs_folder(name: str) -> Path:
    """Where a run of the lab leaves its logs."""
    return ROOT / "build" / "lab" / name
