"""What DNS and the firewall say of a home's address reaches its Conditions; a working tunnel stays Ready."""

from __future__ import annotations

import copy

import pytest

from shared.domain import parse
from tests.examples import CONNECTION

from .world import FIRST, NAME, World


@pytest.fixture
async def world() -> World:
    made = World()
    await made.joined()
    return made


@pytest.mark.parametrize(
    ("addresses", "reason", "remark"),
    [
        ((FIRST,), "Agrees", "AsRecommended"),
        ((), "NoAddress", "AsRecommended"),
        ((FIRST, "198.51.100.99"), "SeveralAddresses", "AsRecommended"),
        (("192.168.178.2",), "PrivateAddress", "DoubleNat"),
        (("100.64.3.4",), "Cgnat", "DoubleNat"),
    ],
)
async def test_what_the_name_says(world: World, addresses: tuple[str, ...], reason: str, remark: str) -> None:
    world.resolver.answer(NAME, *addresses)
    await world.run(120)
    found = await world.conditions()
    assert (found["AddressCurrent"][1], found["Recommended"][1]) == (reason, remark)
    assert found["Ready"] == ("True", "Verified")


async def test_servers_that_fail_say_nothing_of_the_name(world: World) -> None:
    world.resolver.servfail(NAME)
    await world.run(120)
    assert (await world.conditions())["AddressCurrent"] == ("False", "NotResolved")


async def test_two_homes_at_one_address_are_told(world: World) -> None:
    other = copy.deepcopy(CONNECTION)
    other["metadata"]["name"] = "office"
    other["spec"] |= {
        "agent": "office-fw",
        "fqdn": "office.homelink.test",
        "home": {"asn": 65011, "bgpAddress": "192.168.2.1", "prefixes": ["192.168.2.0/24"]},
    }
    world.resolver.answer("office.homelink.test", FIRST)
    await world.app.specs.put_connection("office", parse.connection(other))
    await world.run(240)
    stored = await world.app.specs.get_connection("office")
    [told] = [c for c in stored.conditions if c.type == "AddressCurrent"]
    assert (told.status, told.reason) == ("False", "Shared") and "home" in told.message
    assert (await world.conditions())["AddressCurrent"] == ("True", "Agrees"), "the first at an address keeps it"
