"""Three homes on one gateway, each with an agent of its own. What happens to one of them does nothing to the others,
and that is measured at both ends: the same SAs and BGP sessions, as much older as time has passed, and no ping lost."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from contextlib import AsyncExitStack
from typing import Any

import pytest
from azure.mgmt.network.aio import NetworkManagementClient

from lab import scenario
from lab.client import ApiError, eventually
from lab.documents import Document, document
from lab.net import charon, frr, tables
from lab.net.run import Daemon, inside, namespaces, until
from lab.world import SUBSCRIPTION, World
from shared.azure.calls import Http
from shared.azure.credential import credential
from shared.azure.settings import read_settings
from tests.lab.homes import HOMES
from tests.lab.hunt import leaks

pytestmark = pytest.mark.lab
QUICK = "heartbeat_s = 5\nnudge_s = 5"
EVERY_S = 0.2
NEW_KEY = "ANewKeyForBothEnds9876543210"
LOOK_S = 2.0
"""How far two looks at an age in whole seconds may be off, on a busy machine."""


async def azure_sas(world: World, public: str) -> list[dict[str, Any]]:
    """The IKE SAs of all charons of the gateway with a home at this public address."""
    sas: list[dict[str, Any]] = []
    for path in sorted((world.folder / "azure").glob("gw*/charon.vici")):
        with contextlib.suppress(ConnectionRefusedError):  # that of a deleted connection
            found = charon.plain(await charon.call(path, lambda session: list(session.list_sas())))
            sas += [sa for entry in found for sa in entry.values()]
    return [sa for sa in sas if sa["remote-host"] == public]


async def key_in_azure(world: World) -> str:
    settings = read_settings(world.settings)
    http = Http(settings.ca_file)
    try:
        client = NetworkManagementClient(
            credential(http, world.settings),
            SUBSCRIPTION,
            base_url=settings.arm_url,
            credential_scopes=[settings.arm_scope],
            transport=http.transport(),
        )
        found = await client.virtual_network_gateway_connections.get_shared_key("rg-homelink", "home")
        return str(found.value)
    finally:
        await http.close()


class Watch:
    """A ping each EVERY_S from the gateway's machine to a home's LAN, and both ends of its tunnel and session."""

    def __init__(self, world: World, connection: Document) -> None:
        self._world, self.home = world, str(connection["metadata"]["name"])
        self._speaker = connection["spec"]["home"]["bgpAddress"]
        self._ages: dict[str, float] = {}

    async def _facts(self) -> dict[str, object]:
        """What stays the same while nothing happens; the ages go to `_ages`."""
        there, summary = self._world.network.homes[self.home], "show bgp ipv4 unicast summary json"
        azure = tables.peers(await frr.vtysh_json(self._world.folder / "azure" / "frr0", summary), "", {})
        sessions = {
            "home": tables.peers(await there.frr.show(summary), "", {}),
            "azure": [peer for peer in azure if peer.neighbor == self._speaker],
        }
        sas = {"home": await there.charon.sas(), "azure": await azure_sas(self._world, there.home.public)}
        facts: dict[str, object] = {}
        for end in ("home", "azure"):
            ((sa,), (session,)) = sas[end], sessions[end]
            children = [(c["spi-in"], c["spi-out"], c["state"]) for c in sa["child-sas"].values()]
            facts[end] = (sa["initiator-spi"], sa["responder-spi"], sa["state"], children, session.state)
            self._ages |= {f"{end}'s SA": float(sa["established"]), f"{end}'s session": session.uptime_s}
        return facts

    async def start(self, stack: AsyncExitStack) -> None:
        self._before, self._began = await self._facts(), time.monotonic()
        self._aged = dict(self._ages)
        home, machine = self._world.network.topology.home(self.home), self._world.network.topology.machine("hub")
        words = (*inside(machine.namespace), "ping", "-n", "-i", str(EVERY_S), home.lan_host)
        self._ping = await Daemon.start("ping", words, self._world.folder / f"ping-{self.home}.log")
        stack.push_async_callback(self._ping.stop)

    async def undisturbed(self) -> None:
        passed = time.monotonic() - self._began
        assert await self._facts() == self._before, f"{self.home}: another SA, or no session"
        for what, age in self._ages.items():
            assert age >= self._aged[what] + passed - LOOK_S, f"{self.home}: the {what} is not as old as it should be"

    async def lost_nothing(self) -> None:
        """Ends the ping; requests of the last second may still be on their way then."""
        passed = time.monotonic() - self._began
        os.kill(self._ping.pid, signal.SIGINT)  # it then prints its counts

        async def ended() -> bool:
            return not self._ping.running

        await until(f"the ping of {self.home} ending", ended, within=5)
        text = self._ping.log.read_text()
        (sent,) = map(int, re.findall(r"(\d+) packets transmitted", text))
        answered = {int(n) for n in re.findall(r"icmp_seq=(\d+) ", text)}
        assert sent > passed / EVERY_S / 2, f"{self.home}: only {sent} pings in {passed:.0f} s"
        missing = set(range(1, sent - round(1 / EVERY_S))) - answered
        assert not missing, f"{self.home}: pings {sorted(missing)} of {sent} were lost"


async def ready(world: World, within: float = 60) -> None:
    async def holds() -> bool:
        return (await world.api.conditions("connections", "home"))["Ready"][0] == "True"

    await eventually("the connection `home` being Ready", holds, within=within)


async def lose_the_address(world: World) -> None:
    await world.network.change_public_address(scenario.SECOND_ADDRESS)
    assert not any((await scenario.pings(world)).values())

    async def recovered() -> bool:
        found = (await world.api.call("GET", "connections/home/incidents"))["items"]
        return bool(found and found[0]["verified"])

    await eventually("the recovery being verified", recovered, within=90)


async def rotate_the_key(world: World) -> None:
    """A live SA proves no key, so it is ended once Azure has the new one: the next one needs it at both ends."""
    home = world.network.homes["home"]
    before = {sa["initiator-spi"] for sa in await home.charon.sas()}
    await world.api.call("PUT", "connections/home/psk", {"value": NEW_KEY})

    async def given() -> bool:
        return await key_in_azure(world) == NEW_KEY

    await eventually("Azure having the new key", given, within=60)
    assert {sa["initiator-spi"] for sa in await home.charon.sas()} == before
    await home.charon.terminate("homelink-home")

    async def proven() -> bool:
        sas = await home.charon.sas()
        new = [sa for sa in sas if sa["state"] == "ESTABLISHED" and sa["initiator-spi"] not in before]
        return bool(new) and all((await scenario.pings(world)).values())

    await eventually("a tunnel with the new key", proven, within=60)


async def delete(world: World) -> None:
    plan = await world.api.call("POST", "connections/home/plan?delete=true")
    await world.api.call("DELETE", f"connections/home?plan={plan['hash']}")

    async def gone() -> bool:
        return "home" not in (await world.api.call("GET", "connections"))["items"]

    await eventually("the connection `home` being deleted", gone, within=60)
    with pytest.raises(ApiError, match="answered 404"):
        await world.api.call("GET", "connections/home")
    assert "gw-home" not in await namespaces()
    assert await world.network.homes["home"].charon.sas() == []


async def test_what_happens_to_one_home_never_touches_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    connections = [document(name) for name in ("home", "home-apipa", "home-point-to-point")]
    assert len({home.wan for home in HOMES}) == 1
    async with (
        World(factor=240, logs=scenario.logs_folder("test-several-homes"), homes=HOMES) as world,
        AsyncExitStack() as stack,
    ):
        world.as_azure_would(monkeypatch.setenv)
        await scenario.join_all(world, [document("gateway")], connections, timing=QUICK)
        for home in HOMES:
            assert all((await scenario.pings(world, home.name)).values()), home.name
        await world.set_clock(10)
        others = [Watch(world, each) for each in connections[1:]]
        for watch in others:
            await watch.start(stack)
        for change in (lose_the_address, rotate_the_key, delete):
            await change(world)
            if change is not delete:
                await ready(world)
                assert all((await scenario.pings(world)).values())
            for watch in others:
                await watch.undisturbed()
        for watch in others:
            await watch.lost_nothing()
        assert (await world.api.metrics())["resets"] == {"connection": 0, "gateway": 0}
        assert await leaks(world) == []
