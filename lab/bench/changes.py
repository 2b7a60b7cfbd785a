"""One change of a home's address, at a moment that no clock knows, under one contender.

All times but the outage count from "usable": the authoritative servers answer the new address. Before it nobody who
follows the name can know, and how long it takes is the ISP's and the router's matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from lab.bench.beginning import HOME, NEIGHBOUR, beginning, thaw, warm_up
from lab.bench.contenders import Contender, start
from lab.bench.meter import Meter, azure_has
from lab.model import loop
from lab.model.loop import EPOCH
from lab.model.world import World
from shared.control.services import UNITS
from shared.control.unit import CLOSED, INCIDENT, IncidentRow

NEW = "198.51.100.77"
STABLE_S = 60.0
"""A tunnel that has carried packets that long has recovered."""
LIMIT_S = 1800.0
OUTAGE_S, LAG_S = (5.0, 60.0), (2.0, 30.0)
"""Assumptions, drawn evenly: how long the line is away, and how long the router then takes to tell DNS."""


@dataclass(frozen=True)
class Change:
    """Seconds, to the second. `downtime_s`: without packets, from the loss of the old address on. From usable on:
    `detect_s` until Azure has the new address (told by the contender, or found out by itself), `recover_s` until
    packets go again for good, `verified_s` until Homelink has proven it. None: not within LIMIT_S, or nobody proves.
    `collateral_s`: downtime of the other home on the gateway."""

    contender: Contender
    seed: int
    detect_s: float | None
    recover_s: float | None
    verified_s: float | None
    downtime_s: float
    collateral_s: float
    resets: int


def play(contender: Contender, seed: int) -> Change:
    frozen_at = beginning()[1]
    return loop.run(_play(contender, seed), frozen_at)


async def _play(contender: Contender, seed: int) -> Change:
    world = thaw(seed)
    start(world, contender)
    await warm_up(world)
    home, meter, chance = world.places[HOME].home, Meter(world), Random(f"change {seed}")
    home.lag_s = chance.uniform(*LAG_S)
    began = world.clock.monotonic()
    home.move(NEW, chance.uniform(*OUTAGE_S))
    usable = detected = verified = None
    now = began
    while now < began + LIMIT_S:
        now = await meter.step()
        record = world.names.truth(home.fqdn)
        if usable is None and record is not None and record.addresses == (NEW,):
            usable = now
        if detected is None and azure_has(world, HOME, NEW):
            detected = now
        if meter.up_since is not None and now - meter.up_since >= STABLE_S:
            verified = await _verified(world)
            if verified is not None or contender is not Contender.AGENT:
                break
    assert usable is not None, "the router tells DNS sooner or later"
    return Change(
        contender=contender,
        seed=seed,
        detect_s=None if detected is None else max(0.0, detected - usable),
        recover_s=None if meter.up_since is None else max(0.0, meter.up_since - usable),
        verified_s=None if verified is None else max(0.0, verified - usable),
        downtime_s=meter.down_s[HOME],
        collateral_s=meter.down_s[NEIGHBOUR],
        resets=len(world.watch.resets),
    )


async def _verified(world: World) -> float | None:
    """When Homelink had its last Incident of the home proven."""
    rows = [r for p in (INCIDENT, CLOSED) for r in await world.control.store.query(UNITS, "hub", f"{p}{HOME}:")]
    times = [i.verified for i in (IncidentRow.model_validate(r.data) for r in rows)]
    if not times or None in times:
        return None
    return max((t - EPOCH).total_seconds() for t in times if t is not None)
