"""The main job as steps that return what was measured: the demo tells them, the tests assert on them.

Most steps are about the demo's one home; `join_all` joins any number of homes to any number of gateways.

Durations are wall seconds. Azure's part runs `world.factor` times faster until the tunnel is up, and at its real pace
from the address change on; charon, bgpd, the agent, DNS and Homelink itself always run at their real pace.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from lab.client import eventually
from lab.net.run import LabNetError
from lab.world import ROOT, World

EXAMPLES = ROOT / "docs" / "examples"
GATEWAY, HOME = "hub", "home"
"""The names in the two documents that the demo plays."""
SECOND_ADDRESS = "198.51.100.77"
UNPIN_AFTER_S = 20

Tell = Callable[[str], None]
Document = dict[str, Any]


def document(name: str, **overrides: Any) -> Document:
    """An example document, with fields of its spec replaced."""
    loaded: Document = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text(encoding="utf-8"))
    loaded["spec"] |= overrides
    return loaded


@dataclass
class Joined:
    """`tunnel_up_s` and `bgp_up_s` count from the PUT of the Connection, at the world's factor."""

    tunnel_up_s: float = 0.0
    bgp_up_s: float = 0.0
    ready_s: float = 0.0
    pings: dict[str, bool] = field(default_factory=dict)

    @property
    def ping(self) -> bool:
        """True only when both directions worked."""
        return bool(self.pings) and all(self.pings.values())


@dataclass
class Recovered:
    """Seconds count from the address change. `detected_s`: the Incident was opened; `recovered_s`: proof was seen."""

    address_changed_at: str
    broken: bool = False
    detected_s: float = 0.0
    pinned_s: float = 0.0
    recovered_s: float = 0.0
    first_ping_s: float = 0.0
    unpinned_s: float = 0.0
    pings: dict[str, bool] = field(default_factory=dict)
    timeline: list[dict[str, str]] = field(default_factory=list)

    @property
    def ping(self) -> bool:
        return bool(self.pings) and all(self.pings.values())


async def pings(world: World, home: str = HOME, gateway: str = GATEWAY) -> dict[str, bool]:
    """One echo each way, between the machine in the gateway's virtual network and the host in the home's LAN."""
    lan, vm = world.network.topology.home(home), world.network.topology.machine(gateway)
    ping = world.network.ping
    there, back = await asyncio.gather(ping(vm.namespace, lan.lan_host), ping(lan.lan_ns, vm.address))
    return {"vm -> lan": there, "lan -> vm": back}


async def put_documents(world: World, **overrides: Any) -> None:
    """PUTs the gateway (as YAML, as a user would) and the connection."""
    text = (EXAMPLES / "gateway.yaml").read_text(encoding="utf-8")
    await world.api.call("PUT", f"gateways/{GATEWAY}", text=text)
    repair = {"unpinAfterSeconds": UNPIN_AFTER_S}
    await world.api.call("PUT", f"connections/{HOME}", document("home", repair=repair, **overrides))


async def join(world: World, tell: Tell, *, timing: str = "", within: float = 150) -> Joined:
    """Both documents, one agent (`timing`: lines of its [timing]), and everything until the tunnel is proven."""
    began = time.monotonic()
    await put_documents(world)
    tell(f"PUT gateway {GATEWAY}, connection {HOME}: accepted")
    await world.start_agent("home-fw", timing=timing)
    tell("agent home-fw: enrolled with a one-time token, running on the home firewall")
    result, told = Joined(), set[str]()

    async def ready() -> bool:
        now = time.monotonic() - began
        for kind, name in (("gateways", GATEWAY), ("connections", HOME)):
            for condition, (status, reason, message) in (await world.api.conditions(kind, name)).items():
                if condition == "InSync" and message not in told and reason == "Pending":
                    told.add(message)
                    tell(f"Azure: {message}")
                if status != "True" or f"{kind}/{condition}" in told:
                    continue
                told.add(f"{kind}/{condition}")
                if condition not in ("Ready", "InSync"):
                    tell(f"{condition}: {message}")
                if condition == "TunnelUp":
                    result.tunnel_up_s = now
                if condition == "BgpEstablished":
                    result.bgp_up_s = now
                if condition == "Ready" and kind == "connections":
                    result.ready_s = now
        return result.ready_s > 0

    await eventually("the connection becoming Ready", ready, within=within, every=0.3)
    result.pings = await pings(world)
    return result


async def join_all(
    world: World,
    gateways: Sequence[Document],
    connections: Sequence[Document],
    *,
    timing: str = "",
    within: float = 150,
) -> None:
    """Several homes at once; returns when all connections are Ready. Each connection has the name of its home."""
    for kind, documents in (("gateways", gateways), ("connections", connections)):
        for each in documents:
            await world.api.call("PUT", f"{kind}/{each['metadata']['name']}", each)
    names = [each["metadata"]["name"] for each in connections]
    agents = [each["spec"]["agent"] for each in connections]
    await asyncio.gather(*(world.start_agent(a, home, timing=timing) for a, home in zip(agents, names, strict=True)))

    unready: dict[str, str] = {}
    look = functools.partial(world.api.conditions, "connections")

    async def ready() -> bool:
        for name, conditions in zip(names, await asyncio.gather(*map(look, names)), strict=True):
            status, _, message = conditions.get("Ready", ("Unknown", "", "no step has run yet"))
            unready[name] = "" if status == "True" else message
        return not any(unready.values())

    try:
        await eventually("every connection becoming Ready", ready, within=within, every=0.5)
    except LabNetError as error:
        raise LabNetError(f"{error}: {unready}") from None


async def lose_address(world: World, tell: Tell, new: str = SECOND_ADDRESS, within: float = 150) -> Recovered:
    """The ISP gives the home another address; watches Homelink notice, act, verify, and tidy up."""
    at = datetime.now().astimezone()
    began = time.monotonic()
    await world.network.change_public_address(new)
    tell(f"the ISP gives the home another address: {new}")
    result = Recovered(address_changed_at=at.isoformat())
    result.broken = not any((await pings(world)).values())
    if not result.broken:
        raise LabNetError("the tunnel survived the address change, so there is nothing to show")
    tell("the tunnel is dead: no ping goes through")
    seen = 0

    async def closed() -> bool:
        nonlocal seen
        if not result.first_ping_s and (await pings(world))["vm -> lan"]:
            result.first_ping_s = time.monotonic() - began
            tell("first ping through the new tunnel")
        found = (await world.api.call("GET", f"connections/{HOME}/incidents"))["items"]
        if not found:
            return False
        incident = found[0]
        if not result.detected_s:
            result.detected_s = _since(incident["opened"], at)
        for entry in incident["timeline"][seen:]:
            tell(f"Homelink: {entry['what']}")
            if entry["what"].startswith("pin:"):
                result.pinned_s = _since(entry["at"], at)
        seen = len(incident["timeline"])
        result.timeline = incident["timeline"]
        if incident["verified"] and not result.recovered_s:
            result.recovered_s = _since(incident["verified"], at)
            tell("recovery verified: SA, BGP, prefixes both ways, probe")
        if incident["closed"]:
            result.unpinned_s = _since(incident["closed"], at)
            tell("the local network gateway names the FQDN again; the Incident is closed")
        return bool(incident["closed"])

    await eventually("the incident being closed", closed, within=within, every=0.3)
    result.pings = await pings(world)
    return result


def _since(moment: str, start: datetime) -> float:
    return (datetime.fromisoformat(moment) - start).total_seconds()


def logs_folder(name: str) -> Path:
    """Where a run of the lab leaves its logs."""
    return ROOT / "build" / "lab" / name
