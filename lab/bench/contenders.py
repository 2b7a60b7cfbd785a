"""Who looks after the tunnels: nobody but Azure, a script, or Homelink with and without its agent.

All four begin with the same tunnels. The local network gateways hold the homes' names, which is Azure's own remedy;
only the script keeps addresses in them, as the scripts that people run do.
"""

from __future__ import annotations

import asyncio
import copy
from enum import StrEnum

from lab.bench.beginning import HOME, NEIGHBOUR
from lab.model.arm import ModelArm
from lab.model.names import RECURSIVES
from lab.model.world import World
from shared.errors import ArmBusy
from shared.seams import ArmKind, ArmRef

SCRIPT_S = 300.0
SETTLE_S = 40.0
"""Longer than any recorded write of a local network gateway: Azure takes one at a time on a gateway."""


class Contender(StrEnum):
    AZURE = "azure-alone"
    SCRIPT = "script-5-min"
    DNS_ONLY = "homelink-dns-only"
    AGENT = "homelink-with-agent"

    @property
    def is_homelink(self) -> bool:
        return self in (Contender.DNS_ONLY, Contender.AGENT)


def start(world: World, contender: Contender) -> None:
    """Azure's own clockwork runs in any case."""
    spawn = asyncio.get_running_loop().create_task
    spawn(world.azure.plumbing.run())
    if contender.is_homelink:
        spawn(world.control.host.run())
    if contender is Contender.AGENT:
        for place in world.places.values():
            spawn(place.service.run())
    if contender is Contender.SCRIPT:
        spawn(_script(world))


async def _script(world: World) -> None:
    """Puts the address that a resolver gives into the local network gateway if it is another one than last time, and
    never looks whether it helped. Its timer stands in a random phase."""
    arm = ModelArm(world.azure, "a script", lambda verb, ref, was: None)
    copied: dict[str, str] = {}
    for name in (HOME, NEIGHBOUR):  # it has run for long: both addresses are in place before anything happens
        await _copy(world, arm, name, copied)
        await asyncio.sleep(SETTLE_S)
    await asyncio.sleep(SCRIPT_S * world.chance.random())
    while True:
        for name in (HOME, NEIGHBOUR):
            await _copy(world, arm, name, copied)
        await asyncio.sleep(SCRIPT_S)


async def _copy(world: World, arm: ModelArm, name: str, copied: dict[str, str]) -> bool:
    """Whether Azure has been told what the resolver says."""
    heard = (await world.names.look(f"{name}.homelink.test")).recursive[RECURSIVES[0]]
    if not heard:
        return False
    if copied.get(name) == heard[0]:
        return True
    body = copy.deepcopy(await arm.get(local_gateway(world, name)))
    assert body is not None, "nobody deletes it"
    body["properties"].pop("fqdn", None)
    body["properties"]["gatewayIpAddress"] = heard[0]
    try:
        await arm.put(local_gateway(world, name), body)
    except ArmBusy:
        return False
    copied[name] = heard[0]
    return True


def local_gateway(world: World, name: str) -> ArmRef:
    spec = world.gateway["spec"]
    return ArmRef(spec["subscriptionId"], spec["resourceGroup"], ArmKind.LOCAL_GATEWAY, f"{name}-lng")
