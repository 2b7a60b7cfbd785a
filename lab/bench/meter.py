"""What really happened to the packets, looked at from outside once a second, without asking any contender."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from lab.bench.beginning import HOME, NEIGHBOUR
from lab.bench.contenders import local_gateway
from lab.model.world import World

STEP_S = 1.0


def carries(world: World, name: str) -> bool:
    """SA and BGP session are held by both ends, and packets go both ways."""
    fabric = world.fabric
    fabric.clock()
    end = fabric.ends.get((name, name))
    session = end.session if end is not None else None
    return session is not None and session.held and fabric.carries(session)


def azure_has(world: World, name: str, address: str) -> bool:
    """Azure has been told the address, or has found it out by itself."""
    local = world.azure.store.get(local_gateway(world, name).id())
    told = local is not None and local.properties.get("gatewayIpAddress") == address
    return told or any(e.view.name == name and e.view.peer_address == address for e in world.fabric.azure.values())


@dataclass
class Meter:
    """`down_s`: seconds without packets, by home; `up_since`: since when the home's tunnel has carried them, None while
    it does not."""

    world: World
    down_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys((HOME, NEIGHBOUR), 0.0))
    up_since: float | None = None

    async def step(self) -> float:
        """One second later; returns the time."""
        await asyncio.sleep(STEP_S)
        now = self.world.clock.monotonic()
        for name in self.down_s:
            up = carries(self.world, name)
            self.down_s[name] += 0.0 if up else STEP_S
            if name == HOME:
                self.up_since = (now if self.up_since is None else self.up_since) if up else None
        return now

    async def run(self, seconds: float) -> None:
        until = self.world.clock.monotonic() + seconds
        while await self.step() < until:
            pass
