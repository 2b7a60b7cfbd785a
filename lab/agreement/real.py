"""The lab's side of the agreement: real charon, bgpd, agent and Functions host (lab.world)."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from lab import scenario
from lab.agreement import DDNS_LAG_S, FACTOR, RESTART_S, SECOND_LAN, TIMING
from lab.client import ApiError
from lab.net import dns
from lab.net.run import Daemon, inside, ip, nft
from lab.net.topology import DNS, RESOLVER
from lab.world import World
from shared.azure.arm import AzureArm
from shared.azure.calls import Http
from shared.azure.credential import credential
from shared.azure.settings import read_settings

LIES_PORT = 5353


class LabSide:
    name = "lab"

    def __init__(self, world: World, arm: AzureArm) -> None:
        self.world, self.arm = world, arm
        self._liar: Daemon | None = None
        self._restart: asyncio.Task[None] | None = None

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        try:
            return await self.world.api.call(method, path, body)
        except aiohttp.ClientError as e:
            raise ApiError(f"{method} {path}: nobody answers ({type(e).__name__})") from None

    async def pings(self) -> bool:
        return all((await scenario.pings(self.world)).values())

    async def pace(self, factor: float) -> None:
        self.world.factor = factor
        await self.world.api.clock(factor, 1)

    async def enrol(self) -> None:
        lines = "\n".join(f"{name} = {value}" for name, value in asdict(TIMING).items())
        await self.world.start_agent("home-fw", timing=lines)

    async def move(self, address: str) -> None:
        await self.world.network.change_public_address(address)

    async def resolvers_say(self, address: str | None) -> None:
        """A second server beside the resolver, to which its questions are redirected."""
        where = self.world.network.topology.dns_ns
        if self._liar is not None:
            await nft(where, "delete table ip liar")
            await self._liar.stop()
            self._liar = None
        if address is None:
            return
        network = self.world.network
        records = {network.name_of(): address}
        config = dns.Config(network.zone, DNS, RESOLVER, records=records, port=LIES_PORT, http_port=8053)
        path = self.world.folder / "liar.json"
        config.save(path)
        argv = (*inside(where), sys.executable, "-m", "lab.net.dns", str(path))
        liar = await Daemon.start("the lying resolver", argv, self.world.folder / "liar.log")

        async def ready() -> bool:
            return "ready" in liar.log.read_text().splitlines()

        await liar.ready(ready)
        lines = ["type nat hook prerouting priority -100"]
        lines += [f"ip daddr {RESOLVER} {p} dport 53 dnat to {RESOLVER}:{LIES_PORT}" for p in ("udp", "tcp")]
        await nft(where, "table ip liar {\nchain questions {\n" + "\n".join(lines) + "\n}\n}\n")
        self._liar = liar

    async def remove_tunnel(self) -> None:
        home = self.world.network.homes["home"]
        await home.frr.configure(["no router bgp"])
        await home.charon.unload("homelink-home")

    async def end_sa(self) -> None:
        await self.world.network.homes["home"].charon.terminate("homelink-home")

    async def kill_agent(self) -> None:
        await self.world.kill_agent()
        self._restart = asyncio.create_task(self._start_agent())

    async def _start_agent(self) -> None:
        await asyncio.sleep(RESTART_S)
        await self.world.run_agent()

    async def stop_control(self) -> None:
        await self.world.kill_host()

    async def start_control(self) -> None:
        await self.world.start_host()
        await self.pace(self.world.factor)

    async def close(self) -> None:
        if self._restart is not None:
            self._restart.cancel()
            with suppress(asyncio.CancelledError):
                await self._restart
        if self._liar is not None:
            await self._liar.stop()


@asynccontextmanager
async def opened(logs: Path, setenv: Callable[[str, str], None]) -> AsyncIterator[LabSide]:
    """A lab in which nothing exists yet; must run in the sandbox. `setenv` gives this process the managed identity."""
    async with World(factor=FACTOR, logs=logs, ddns_lag_s=DDNS_LAG_S) as world:
        world.as_azure_would(setenv)
        await ip(world.network.homes["home"].home.firewall_ns, [f"addr add {SECOND_LAN} dev lan0"])
        settings = read_settings(world.settings)
        http = Http(settings.ca_file)
        identity = credential(http, world.settings)
        side = LabSide(world, AzureArm(settings, http, identity))
        await side.pace(FACTOR)
        try:
            yield side
        finally:
            await side.close()
            await identity.close()
            await http.close()
