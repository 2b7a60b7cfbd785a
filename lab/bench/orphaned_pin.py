"""The worst moment for the control plane to die: it has pinned the home's address, and the address changes again.

While it is away nobody can help, for Azure resolves no name that it was not given. What counts is how soon after its
return the tunnel works again, and that the pin ends.
"""

from __future__ import annotations

from dataclasses import dataclass

from lab.bench.beginning import HOME, NEIGHBOUR, beginning, thaw, warm_up
from lab.bench.changes import LIMIT_S, NEW, STABLE_S
from lab.bench.contenders import Contender, local_gateway, start
from lab.bench.meter import Meter
from lab.model import loop

AGAIN = "198.51.100.78"
AWAY_S = 600.0


@dataclass(frozen=True)
class Orphan:
    """Seconds after the control plane's return: until packets go for good, and until Azure has the name again. None:
    not within LIMIT_S."""

    seed: int
    recover_s: float | None
    unpinned_s: float | None
    collateral_s: float


def play(seed: int) -> Orphan:
    return loop.run(_play(seed), beginning()[1])


async def _play(seed: int) -> Orphan:
    world = thaw(seed)
    start(world, Contender.AGENT)
    await warm_up(world)
    home, host, meter = world.places[HOME].home, world.control.host, Meter(world)

    def pinned() -> bool:
        local = world.azure.store.get(local_gateway(world, HOME).id())
        return local is not None and bool(local.properties.get("gatewayIpAddress"))

    home.move(NEW)
    while not pinned() or meter.up_since is None:
        await meter.step()
    host.stop()
    home.move(AGAIN)
    await meter.run(AWAY_S)
    host.start()
    back = now = world.clock.monotonic()
    unpinned: float | None = None
    while now < back + LIMIT_S and unpinned is None:
        now = await meter.step()
        stable = meter.up_since is not None and now - meter.up_since >= STABLE_S
        if stable and not pinned():
            unpinned = now - back
    recovered = None if meter.up_since is None else max(0.0, meter.up_since - back)
    return Orphan(seed, recovered, unpinned, meter.down_s[NEIGHBOUR])
