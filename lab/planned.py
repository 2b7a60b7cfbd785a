"""A planned change in the lab: what its Plan says that it will cost, and what it cost in pings.

The Plan's figures are simulated (shared.domain.outage), the pings are real: here both stand side by side.
"""

from __future__ import annotations

from dataclasses import dataclass

from lab import scenario
from lab.client import eventually
from lab.documents import Document
from lab.net.pinging import EVERY_S, pinging
from lab.net.run import LabNetError
from lab.scenario import GATEWAY, Tell
from lab.world import World


@dataclass(frozen=True)
class Planned:
    """Seconds without packets: `p50` and `p95` as the Plan expected them, `measured_s` from the pings that were lost.
    `factor`: how much faster than real Azure ran meanwhile."""

    connection: str
    kind: str
    p50: float
    p95: float
    measured_s: float
    factor: float


async def change(world: World, tell: Tell, document: Document, within: float = 90) -> Planned:
    """PUTs the document of a Connection that is up, with its Plan; returns when both ends carry it and pings go
    through. Raises LabNetError where its Plan has no figure."""
    name = document["metadata"]["name"]
    plan = await world.api.call("POST", f"connections/{name}/plan", document)
    (outage,) = (o for o in plan["outages"] if o["connection"] == name)
    kind, expected = ", ".join(outage["kinds"]), outage["expectedOutageS"]
    if expected is None:
        raise LabNetError(f"the Plan of {name} expects no outage in seconds: {outage['reason']}")
    tell(f"{name}: the Plan ({kind}): expected outage p50 {expected['p50']:g} s, p95 {expected['p95']:g} s, simulated")

    async def carried() -> bool:
        left = await world.api.call("POST", f"connections/{name}/plan", document)
        at_both_ends = not left["azure"] and all(h["action"] == "none" for h in left["home"])
        return at_both_ends and all((await scenario.pings(world, name)).values())

    topology, log = world.network.topology, world.folder / f"ping-{name}-planned.log"
    async with pinging(topology.machine(GATEWAY).namespace, topology.home(name).lan_host, log) as pinged:
        await world.api.call("PUT", f"connections/{name}?plan={plan['hash']}", document)
        await eventually(f"the change of {name} being carried by both ends", carried, within=within, every=1.5)
    measured = round(pinged.lost * EVERY_S, 1)
    tell(f"{name}: changed at both ends; {pinged.lost} pings lost: {measured:g} s without packets")
    return Planned(name, kind, expected["p50"], expected["p95"], measured, world.factor)
