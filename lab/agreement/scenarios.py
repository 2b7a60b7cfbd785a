"""The scenarios, each once for both worlds. One begins where the one before ended: joined, healthy, at rest."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from copy import deepcopy

from lab.agreement import FACTOR, MEASURED_FACTOR, SECOND_NETWORK, UNPIN_AFTER_S
from lab.agreement.story import Teller
from lab.documents import document
from shared.domain.arm import ArmKind, ArmRef
from shared.seams import OperationState, Started

Scenario = Callable[[Teller], Awaitable[None]]
NEW_ADDRESS, LIE = "198.51.100.77", "198.51.100.99"
BEAT_S = 6.0
"""Longer than a heartbeat: what is to be seen has been seen, or what is not to happen has not."""
GATEWAY = document("gateway")
HOME = document("home", repair={"unpinAfterSeconds": UNPIN_AFTER_S})
LARGER = deepcopy(HOME)
LARGER["spec"]["home"]["prefixes"].append(SECOND_NETWORK)


def _ref(kind: ArmKind, name: str) -> ArmRef:
    return ArmRef(GATEWAY["spec"]["subscriptionId"], GATEWAY["spec"]["resourceGroup"], kind, name)


CONNECTION, LOCAL = _ref(ArmKind.CONNECTION, "home"), _ref(ArmKind.LOCAL_GATEWAY, "home-lng")


async def _over(t: Teller, started: Started) -> None:
    async def over() -> bool:
        url = started.operation_url
        return url is None or (await t.side.arm.poll(url)).state is OperationState.SUCCEEDED

    await t.until("the person's operation ending", over)


async def join(t: Teller) -> None:
    await t.side.call("PUT", "gateways/hub", GATEWAY)
    await t.side.call("PUT", "connections/home", HOME)
    await t.side.enrol()
    await t.settled()


async def address_change(t: Teller) -> None:
    await t.side.pace(MEASURED_FACTOR)
    t.begin()
    await t.side.move(NEW_ADDRESS)
    assert not await t.side.pings(), "the address change must break the tunnel"
    await t.told("IncidentClosed")
    await t.settled()
    await t.side.pace(FACTOR)


async def wrong_key_in_azure(t: Teller) -> None:
    """A live SA proves no key, so the person resets the connection, too. Homelink sets the vault's key again."""
    await _over(t, await t.side.arm.set_shared_key(CONNECTION, "SomebodyElsesKey0123456789"))
    await _over(t, await t.side.arm.reset_connection(CONNECTION))
    await t.holds("home/TunnelUp", "False AuthenticationFailed")
    assert not await t.side.pings()
    await t.told("IncidentClosed")
    await t.settled()


async def key_rotation(t: Teller) -> None:
    """Nothing breaks; the SA is then closed, because the next one proves that both ends have the new key."""
    await t.side.call("PUT", "connections/home/psk", {"value": "AnotherKeyForBothEnds12345678"})
    await t.told("CommandDone")
    await t.settled()
    await t.side.end_sa()
    await t.holds("home/TunnelUp", "False Down")
    await t.settled()


async def wrong_asn_in_azure(t: Teller) -> None:
    body = await t.side.arm.get(LOCAL)
    assert body is not None
    body["properties"]["bgpSettings"]["asn"] = 65123
    await _over(t, await t.side.arm.put(LOCAL, body))
    await t.told("IncidentClosed")
    await t.settled()


async def tunnel_removed_by_hand(t: Teller) -> None:
    await t.side.remove_tunnel()
    assert not await t.side.pings()
    await t.told("IncidentClosed")
    await t.settled()


async def connection_reset_by_a_person(t: Teller) -> None:
    await _over(t, await t.side.arm.reset_connection(CONNECTION))
    await asyncio.sleep(BEAT_S)
    await t.settled()


async def resolver_lies_while_the_spec_changes(t: Teller) -> None:
    """The change makes Homelink look at the name; of the lie nothing comes."""
    await t.side.resolvers_say(LIE)
    await t.side.call("PUT", "connections/home", LARGER)
    await t.told("CommandDone")
    await t.settled()
    await t.side.resolvers_say(None)


async def agent_killed_while_the_spec_changes(t: Teller) -> None:
    await t.side.kill_agent()
    await t.side.call("PUT", "connections/home", HOME)
    await t.told("CommandDone")
    await t.settled()


async def control_plane_away(t: Teller) -> None:
    """The owner takes the tunnel away meanwhile: the agent puts it back by itself, and nobody need hear of it."""
    await t.side.stop_control()
    await t.side.remove_tunnel()
    assert not await t.side.pings()
    await t.until("the agent repairing the tunnel alone", t.side.pings)
    await t.side.start_control()
    await asyncio.sleep(BEAT_S)
    await t.settled()


async def deletion(t: Teller) -> None:
    plan = await t.side.call("POST", "connections/home/plan?delete=true")
    await t.side.call("DELETE", f"connections/home?plan={plan['hash']}")

    async def gone() -> bool:
        return "home" not in (await t.side.call("GET", "connections"))["items"]

    await t.until("the Connection being gone", gone)
    await t.holds("hub/Ready", "True Verified")
    assert not await t.side.pings()


SCENARIOS: tuple[Scenario, ...] = (
    join,
    address_change,
    wrong_key_in_azure,
    key_rotation,
    wrong_asn_in_azure,
    tunnel_removed_by_hand,
    connection_reset_by_a_person,
    resolver_lies_while_the_spec_changes,
    agent_killed_while_the_spec_changes,
    control_plane_away,
    deletion,
)
