"""What a history is made of: everything that may happen to a world, each with a name and plain arguments.

A deed is done at once; what lasts is ended by `heal`. Deeds are data (name, arguments), so a history can be saved,
shortened and replayed. Users, owners, ISPs, Azure and bad luck all speak through this module.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from agent.errors import AgentError
from lab.azure.faults import Fault
from lab.model.arm import ModelArm
from lab.model.faults import Strike
from lab.model.host import Gone
from lab.model.queue import Mishap
from shared.control.agents import queue_of
from shared.control.services import RECONCILE
from shared.domain import limits
from shared.seams import ArmKind, ArmRef

if TYPE_CHECKING:
    from lab.model.world import World

Deed = Callable[..., Awaitable[None]]
DEEDS: dict[str, Deed] = {}
TRIES = 40
"""Of a person who wants something done, five seconds apart."""
GARBAGE = ("", "{}", "not JSON", '{"unit": 5}', '{"unit":"hub","due":"yesterday"}', "\ud7ff" * 3, "[" * 200)


def deed(function: Deed) -> Deed:
    DEEDS[function.__name__] = function
    return function


# -- the ISP, the router, DNS


@deed
async def move(world: World, home: str, address: str, outage_s: float) -> None:
    """The line comes back with another address."""
    taken = {p.home.address for p in world.places.values()}
    world.places[home].home.move(address if address not in taken else f"{address[:-1]}9", outage_s)


@deed
async def reconnect(world: World, home: str, outage_s: float) -> None:
    """The line comes back with the same address."""
    place = world.places[home]
    if place.home.address is not None:
        place.home.move(place.home.address, outage_s)


@deed
async def offline(world: World, home: str, seconds: float) -> None:
    await reconnect(world, home, seconds)


@deed
async def cgnat(world: World, home: str, address: str) -> None:
    """The ISP puts the home behind carrier-grade NAT: the router knows another address than the world does."""
    world.places[home].home.move(address, 10.0, wan="100.64.7.7")


@deed
async def router_forgets_ddns(world: World, home: str, lag_s: float) -> None:
    """Its dyndns client works again, and late, when the faults are over."""
    place = world.places[home].home
    place.stuck, place.lag_s = True, lag_s


@deed
async def dns(world: World, server: int, fault: str, lie: str, lag_s: float) -> None:
    """One server or cache fails, lies or lags."""
    everyone = [*world.names.servers.values(), *world.names.caches.values()]
    chosen: Any = everyone[server % len(everyone)]
    chosen.fault, chosen.lag_s = fault, lag_s
    chosen.lie = (lie,) if lie else None


@deed
async def servfail_everywhere(world: World) -> None:
    for server in (*world.names.servers.values(), *world.names.caches.values()):
        server.fault = "SERVFAIL"


# -- Azure


@deed
async def arm_trouble(
    world: World, kind: str, method: str, path: str, times: int, status: int, code: str, seconds: float
) -> None:
    """ARM refuses, fails, loses or delays."""
    fault = Fault(kind, method, path, times, status, code, "an answer of the model", None, seconds)
    world.azure.faults.add(fault)


@deed
async def failover(world: World, planned: bool, seconds: float) -> None:
    for name in sorted(world.fabric.gateways):
        world.fabric.outage(name, 0, seconds, keeps=planned)
        if planned:
            world.watch.planned_until = world.clock.monotonic() + seconds + limits.HEARTBEAT_FRESH_S
    world.watch.tell("azure", f"{'planned' if planned else 'unplanned'} failover")


@deed
async def edit_azure(world: World, home: str, what: str) -> None:
    """Somebody changes our resources in the portal."""
    person = ModelArm(world.azure, "a person", lambda verb, ref, was: None)
    local = _ref(world, ArmKind.LOCAL_GATEWAY, f"{home}-lng")
    connection = _ref(world, ArmKind.CONNECTION, home)
    try:
        if what == "delete":
            await person.delete(connection)
        elif what == "key":
            await person.set_shared_key(connection, "somebodyElsesIdeaOfAKey")
        else:
            ref = local if what in ("asn", "address") else connection
            body = copy.deepcopy(await person.get(ref))
            if body is None:
                return
            if what == "asn":
                body["properties"]["bgpSettings"]["asn"] = 65123
            elif what == "address":
                body["properties"].pop("fqdn", None)
                body["properties"]["gatewayIpAddress"] = "192.0.2.99"
            elif what == "policy":
                body["properties"]["ipsecPolicies"] = []
            await person.put(ref, body)
    except Exception as e:  # ARM refused the person, too
        world.watch.tell("a person", f"{what}: {type(e).__name__}")


@deed
async def second_controller(world: World, home: str) -> None:
    """Somebody sets up another Homelink with the same documents."""
    other = world.second()
    for path, body in (("gateways/hub", world.gateway), (f"connections/{home}", world.places[home].document)):
        with suppress(Gone):
            await other.call("PUT", path, body)


@deed
async def wedge(world: World, home: str, whole: bool) -> None:
    """Something in Azure hangs until it is reset; the end of the faults does not end it."""
    world.fabric.wedge("hub" if whole else home)


# -- messages and processes


@deed
async def mishap(world: World, home: str, kind: str, seconds: float) -> None:
    """The next message of a queue is lost, doubled or late; `home` empty: the reconciler's queue."""
    queue = RECONCILE if not home else _agent_queue(world, home)
    if queue:
        world.control.queue.mishaps.append(Mishap(queue, kind, seconds))  # type: ignore[arg-type]


@deed
async def garbage(world: World, home: str, what: int) -> None:
    """Something that nobody of us wrote, in a queue."""
    text = GARBAGE[what % len(GARBAGE)]
    queue = RECONCILE if not home else _agent_queue(world, home)
    if queue and text not in [t for _, t in world.watch.garbage]:
        world.watch.garbage.append((home or RECONCILE, text))
        world.control.queue.plant(queue, text)


@deed
async def strike(
    world: World, kind: str, where: str, call: str, skip: int, after: bool, times: int, seconds: float
) -> None:
    """A process dies, or a call fails, or hangs, at one of its next calls."""
    world.injector.waiting.append(Strike(kind, where, call, skip, after, times, seconds))  # type: ignore[arg-type]


@deed
async def kill_agent(world: World, home: str) -> None:
    world.places[home].service.kill()


@deed
async def reboot_firewall(world: World, home: str, seconds: float) -> None:
    """With the agent on it."""
    world.places[home].firewall.reboot(seconds)
    world.places[home].service.kill()


@deed
async def control_down(world: World, seconds: float) -> None:
    """The Function app is gone, and comes back."""
    host = world.control.host
    host.stop()
    asyncio.get_running_loop().call_later(seconds, host.start)


@deed
async def standstill(world: World, seconds: float) -> None:
    """Days pass in which nobody's work could change anything: the control plane is down, the agents take no step."""
    host, was_up = world.control.host, world.control.host.up
    host.stop()
    for place in world.places.values():
        place.service.still_until = world.clock.monotonic() + seconds
    await asyncio.sleep(seconds)
    if was_up:
        host.start()


@deed
async def rest(world: World) -> None:
    """Nothing: it holds off the end of the faults."""


@deed
async def disk_full(world: World, home: str) -> None:
    world.places[home].service.disk.full = True


@deed
async def clock(world: World, home: str, error_s: float) -> None:
    world.places[home].service.clock.error_s = error_s


@deed
async def restore_tables(world: World) -> None:
    """The tables go back to what they were when the history began."""
    world.restore()


# -- the home's owner and the user


@deed
async def hand_edit(world: World, home: str, what: str) -> None:
    world.places[home].firewall.hand_edit(home, what)  # type: ignore[arg-type]


@deed
async def owner_works(world: World, home: str, number: int) -> None:
    """On what is not ours."""
    place = world.places[home]
    place.others[f"rule {number}"] = place.firewall.others[f"rule {number}"] = "the owner's"


@deed
async def rotate_key(world: World, home: str, number: int) -> None:
    await world.ask("PUT", f"connections/{home}/psk", {"value": f"aKeyThatAPersonThoughtOf{number}"})


@deed
async def change_spec(world: World, home: str, number: int) -> None:
    """Another prefix behind the home."""
    place, n = world.places[home], list(world.places).index(home) + 1
    before = copy.deepcopy(place.document)
    place.document["spec"]["home"]["prefixes"] = [f"192.168.{n}.0/24", f"172.16.{n * 16 + number % 16}.0/24"]
    if not place.wanted:
        place.document = before
    elif not await world.ask("PUT", f"connections/{home}", place.document):
        place.uncertain = True


@deed
async def dead_man_fails(world: World, home: str) -> None:
    """The firewall's timer, which ends an unconfirmed change, does not run."""
    world.places[home].firewall.timer_works = False


@deed
async def pause_agent(world: World, home: str) -> None:
    """The home owner's kill switch, until the faults are over."""
    world.places[home].service.pause(True)


@deed
async def reinstall_agent(world: World, home: str) -> None:
    """A new disk and a new enrolment; the firewall keeps what it has."""
    service = world.places[home].service
    service.disk.files.clear()
    world.watch.garbage = [g for g in world.watch.garbage if g[0] != home]  # it went with the disk
    service.kill()
    with suppress(AgentError, AssertionError, Gone):
        await world.enrol(home)


@deed
async def delete_connection(world: World, home: str) -> None:
    place = world.places[home]
    with suppress(Gone):
        status, preview = await world.control.call("POST", f"connections/{home}/plan?delete=true")
        if status == 200 and place.wanted:
            done = await world.ask("DELETE", f"connections/{home}?plan={preview['hash']}")
            place.wanted, place.uncertain = not done, not done


@deed
async def connect_again(world: World, home: str) -> None:
    """The user wants a Connection that was deleted; refused while the old one is being taken down."""
    place = world.places[home]
    if place.wanted or place.uncertain:
        return
    place.uncertain = True
    with suppress(Gone):
        status, answer = await world.control.call("PUT", f"connections/{home}", place.document)
        place.wanted, place.uncertain = status in (200, 201), status >= 500
        place.connection_id = answer["metadata"]["id"] if place.wanted else place.connection_id


@deed
async def release(world: World, home: str) -> None:
    """The user lets a Connection go; Azure keeps its resources."""
    place = world.places[home]
    for _ in range(TRIES):
        with suppress(Gone):
            status, preview = await world.control.call("POST", f"connections/{home}/plan?delete=true&release=true")
            if status == 404:
                place.wanted = False
                return
            if status == 200:
                await world.control.call("DELETE", f"connections/{home}?release=true&plan={preview['hash']}")
        await asyncio.sleep(5.0)


@deed
async def adopt(world: World, home: str) -> None:
    """And takes it over again, as something that was made by hand."""
    place = world.places[home]
    place.document["spec"]["adopt"] = {"localNetworkGateway": f"{home}-lng", "connection": home}
    world.watch.consented |= {f"{home}-lng", home}
    for _ in range(TRIES):
        with suppress(Gone):
            status, preview = await world.control.call("POST", f"connections/{home}/plan", place.document)
            if status == 200:
                asked = f"connections/{home}?plan={preview['hash']}"
                status, answer = await world.control.call("PUT", asked, place.document)
            if status in (200, 201):
                place.wanted, place.connection_id = True, answer["metadata"]["id"]
                return
        await asyncio.sleep(5.0)


@deed
async def diagnose(world: World, home: str) -> None:
    await world.ask("POST", f"connections/{home}/diagnose")


@deed
async def delete_gateway(world: World) -> None:
    status, preview = await world.control.call("POST", "gateways/hub/plan?delete=true")
    if status == 200:
        await world.ask("DELETE", f"gateways/hub?plan={preview['hash']}")


@deed
async def put_gateway(world: World) -> None:
    await world.ask("PUT", "gateways/hub", world.gateway)


def _ref(world: World, kind: ArmKind, name: str) -> ArmRef:
    spec = world.gateway["spec"]
    return ArmRef(spec["subscriptionId"], spec["resourceGroup"], kind, name)


def _agent_queue(world: World, home: str) -> str:
    agent_id = world.places[home].service.identity()
    return queue_of(agent_id) if agent_id else ""
