"""The model's side of the agreement: the same world without processes, in virtual time (lab.model.world).

Only Azure's clock is not the model's own: it has the lab's, with its factor, on the virtual loop.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

from lab.agreement import DDNS_LAG_S, DDNS_TTL_S, FACTOR, TIMING
from lab.azure.clock import ScaledClock
from lab.client import ApiError
from lab.model.arm import ModelArm
from lab.model.assumptions import Assumptions
from lab.model.host import Gone
from lab.model.loop import EPOCH, LoopClock
from lab.model.world import World
from shared.seams import Arm


class AzureClock(ScaledClock):
    """The lab's own, but for the date."""

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=asyncio.get_running_loop().time())


class ModelSide:
    """To be made inside a running VirtualLoop."""

    name = "model"

    def __init__(self, seed: int = 1) -> None:
        self._azure_clock = AzureClock(FACTOR)
        assumptions = Assumptions(ddns_ttl_s=DDNS_TTL_S, ddns_lag_s=DDNS_LAG_S)
        self.world = World(seed, 1, assumptions, self._azure_clock)
        self.arm: Arm = ModelArm(self.world.azure, "a person", lambda verb, ref, was: None)
        self._place = self.world.places["home"]
        self._place.service.timing = TIMING
        self.world.start()

    def now(self) -> datetime:
        return LoopClock().now()

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        try:
            status, answer = await self.world.control.call(method, path, body)
        except Gone:
            raise ApiError(f"{method} {path}: nobody answers") from None
        if status >= 400:
            raise ApiError(f"{method} {path} answered {status}: {answer}")
        return answer

    async def pings(self) -> bool:
        tunnels = self._place.firewall.health().tunnels
        return any(t.bgp.state == "Established" and t.probes and all(p.ok for p in t.probes) for t in tunnels)

    async def pace(self, factor: float) -> None:
        self._azure_clock.set_factor(factor)

    async def enrol(self) -> None:
        await self.world.enrol("home")

    async def move(self, address: str) -> None:
        self._place.home.move(address, 0.0)

    async def resolvers_say(self, address: str | None) -> None:
        for cache in self.world.names.caches.values():
            cache.lie = (address,) if address else None

    async def remove_tunnel(self) -> None:
        self._place.firewall.hand_edit("home", "removed")

    async def end_sa(self) -> None:
        self.world.fabric.hang_up(self.world.fabric.ends["home", "home"])

    async def kill_agent(self) -> None:
        self._place.service.kill()

    async def stop_control(self) -> None:
        self.world.control.host.stop()

    async def start_control(self) -> None:
        self.world.control.host.start()
