"""What a user can do with documents, and what is refused, also when two do it at once."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from shared.control.services import NAMES
from shared.control.specs import CONNECTIONS, Stored
from shared.domain import limits, parse
from shared.domain.problem import InvalidInput
from shared.errors import NotFound, Refused, StoreConflict
from tests.examples import CONNECTION, GATEWAY, changed

from .faults import Crash
from .world import World


@pytest.fixture
def world() -> World:
    return World()


def gateway(name: str = "hub", **spec: Any) -> dict[str, Any]:
    document = changed(GATEWAY, "metadata.name", name)
    if name != "hub":  # Azure allows one VPN gateway in each virtual network
        document = changed(document, "spec.virtualNetwork.name", f"vnet-{name}")
    document["spec"] |= spec
    return document


def connection(name: str = "home", **spec: Any) -> dict[str, Any]:
    document = changed(CONNECTION, "metadata.name", name)
    document["spec"] |= spec
    return document


def office(**spec: Any) -> dict[str, Any]:
    home = {"asn": 65011, "bgpAddress": "192.168.2.1", "prefixes": ["192.168.2.0/24"]}
    return connection("office", **{"agent": "office-fw", "fqdn": "office.homelink.test", "home": home, **spec})


async def put(world: World, document: dict[str, Any]) -> Stored:
    name = document["metadata"]["name"]
    if document["kind"] == "Gateway":
        return await world.app.specs.put_gateway(name, parse.gateway(document))
    return await world.app.specs.put_connection(name, parse.connection(document))


async def test_put_get_list(world: World) -> None:
    specs = world.app.specs
    assert await specs.list_gateways() == [] and await specs.list_connections() == []
    made = await put(world, gateway())
    await put(world, gateway("zub"))
    linked = await put(world, connection())
    await put(world, office())
    assert await specs.list_gateways() == ["hub", "zub"]
    assert await specs.list_connections() == ["home", "office"]
    got, link = await specs.get_gateway("hub"), await specs.get_connection("home")
    assert (got.id, got.spec, got.generation, got.deleting) == (made.id, parse.gateway(GATEWAY).spec, 1, False)
    assert (link.id, link.spec, link.generation) == (linked.id, parse.connection(CONNECTION).spec, 1)
    assert await specs.incidents("home") == []


async def test_a_generation_counts_changes_and_the_id_stays(world: World) -> None:
    first = await put(world, gateway())
    assert (await put(world, gateway())).generation == 1
    more = await put(world, gateway(asn=64512))
    assert (more.generation, more.id) == (2, first.id)
    linked = await put(world, connection())
    assert (await put(world, connection())).generation == 1
    again = await put(world, connection(mss=1300))
    assert (again.generation, again.id) == (2, linked.id)


@pytest.mark.parametrize("call", ["get_gateway", "delete_gateway", "get_connection", "delete_connection", "incidents"])
async def test_what_does_not_exist(world: World, call: str) -> None:
    with pytest.raises(NotFound):
        await getattr(world.app.specs, call)("none")
    with pytest.raises(NotFound):
        await world.app.specs.set_psk("none", "x" * 20)
    with pytest.raises(NotFound, match="PUT it first"):
        await put(world, connection())


async def test_the_url_and_the_document_agree_on_the_name(world: World) -> None:
    with pytest.raises(InvalidInput) as caught:
        await world.app.specs.put_gateway("other", parse.gateway(GATEWAY))
    assert [p.rule for p in caught.value.problems] == ["name-differs"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.subscriptionId", "33333333-3333-3333-3333-333333333333"),
        ("spec.resourceGroup", "rg-other"),
        ("spec.location", "northeurope"),
        ("spec.virtualNetwork.name", "vnet-other"),
        ("spec.virtualNetwork.gatewaySubnet", "10.0.1.0/26"),
    ],
)
async def test_what_azure_cannot_move_is_immutable(world: World, path: str, value: str) -> None:
    await put(world, gateway())
    with pytest.raises(InvalidInput) as caught:
        await put(world, changed(GATEWAY, path, value))
    assert [(p.path, p.rule) for p in caught.value.problems] == [(path, "immutable")]
    assert (await world.app.specs.get_gateway("hub")).generation == 1


async def test_a_gateway_is_judged_together_with_its_connections(world: World) -> None:
    await put(world, gateway())
    await put(world, connection())
    await put(world, office())
    wider = copy.deepcopy(GATEWAY)
    wider["spec"]["virtualNetwork"]["addressSpace"] = ["10.0.0.0/16", "192.168.0.0/22"]
    with pytest.raises(InvalidInput) as caught:
        await put(world, wider)
    found = [(p.path.split()[1], p.rule) for p in caught.value.problems if p.rule.endswith(("overlap", "vnet"))]
    assert sorted(set(found)) == [
        ("home)", "bgp-address-in-vnet"),
        ("home)", "prefix-overlap"),
        ("office)", "bgp-address-in-vnet"),
        ("office)", "prefix-overlap"),
    ]


async def test_names_of_connections_are_unique_across_gateways(world: World) -> None:
    await put(world, gateway())
    await put(world, gateway("zub"))
    await put(world, connection())
    with pytest.raises(Refused, match="exists on Gateway hub"):
        await put(world, connection(gateway="zub"))
    assert (await world.app.specs.get_connection("home")).spec.gateway == "hub"  # type: ignore[union-attr]


async def test_a_connection_stays_with_its_agent(world: World) -> None:
    await put(world, gateway())
    await put(world, connection())
    with pytest.raises(Refused, match="belongs to agent home-fw"):
        await put(world, connection(agent="other-fw"))


async def test_two_that_would_not_get_along_are_told_at_once(world: World) -> None:
    await put(world, gateway())
    await put(world, connection())
    with pytest.raises(InvalidInput) as caught:
        await put(world, office(fqdn="home.homelink.test", agent="home-fw"))
    assert {p.rule for p in caught.value.problems} == {"fqdn-shared", "asn-per-firewall"}


async def test_a_gateway_with_connections_is_not_deleted(world: World) -> None:
    await put(world, gateway())
    await put(world, connection())
    with pytest.raises(Refused, match="home"):
        await world.app.specs.delete_gateway("hub")
    assert not (await world.app.specs.get_gateway("hub")).deleting


async def test_while_it_is_being_deleted(world: World) -> None:
    await put(world, gateway())
    await put(world, connection())
    assert await world.app.specs.delete_connection("home") == "hub"
    assert (await world.app.specs.get_connection("home")).deleting
    with pytest.raises(Refused, match="being deleted"):
        await put(world, connection())
    await world.run(120)
    await world.app.specs.delete_gateway("hub")
    assert (await world.app.specs.get_gateway("hub")).deleting
    with pytest.raises(NotFound):
        await put(world, connection())
    revived = await put(world, gateway())
    assert not revived.deleting and revived.generation == 2


async def test_a_name_can_be_used_again_anywhere_once_it_is_gone(world: World) -> None:
    await put(world, gateway())
    await put(world, gateway("zub"))
    first = await put(world, connection())
    await world.app.specs.delete_connection("home")
    await world.run(120)
    assert await world.app.specs.list_connections() == []
    again = await put(world, connection(gateway="zub"))
    assert again.id != first.id and again.generation == 1


async def rival_puts(world: World, document: dict[str, Any], table: str) -> None:
    """Before the next transaction on `table`, somebody else PUTs `document`."""

    async def rival(at: str, partition: str, writes: object) -> None:
        if at == table:
            world.store.before_transact = None
            await put(world, document)

    world.store.before_transact = rival


async def test_two_puts_at_once_of_one_document(world: World) -> None:
    await put(world, gateway())
    await rival_puts(world, gateway(asn=64513), "units")
    with pytest.raises(StoreConflict):
        await put(world, gateway(asn=64512))
    assert (await world.app.specs.get_gateway("hub")).spec.asn == 64513  # type: ignore[union-attr]


async def test_two_connections_at_once_that_would_not_get_along(world: World) -> None:
    await put(world, gateway())
    await rival_puts(world, connection(), "units")
    with pytest.raises(StoreConflict):
        await put(world, office(fqdn="home.homelink.test"))
    assert await world.app.specs.list_connections() == ["home"]
    with pytest.raises(InvalidInput):
        await put(world, office(fqdn="home.homelink.test"))


async def test_a_connection_while_its_gateway_is_deleted(world: World) -> None:
    await put(world, gateway())

    async def rival(table: str, partition: str, writes: object) -> None:
        if table == "units":
            world.store.before_transact = None
            await world.app.specs.delete_gateway("hub")

    world.store.before_transact = rival
    with pytest.raises(StoreConflict):
        await put(world, connection())
    assert await world.app.specs.list_connections() == []


async def test_a_put_that_died_anywhere_can_be_repeated_or_the_name_used_elsewhere() -> None:
    async def start() -> World:
        world = World()
        await put(world, gateway())
        await put(world, gateway("zub"))
        world.fault.active, world.fault.calls = True, []
        return world

    calm = await start()
    await put(calm, connection())
    assert len(calm.fault.calls) >= 4
    for number in range(len(calm.fault.calls)):
        for after in (False, True):
            for elsewhere in (False, True):
                world = await start()
                world.fault.kill(number, after)
                with pytest.raises(Crash):
                    await put(world, connection())
                world.fault.revive()
                world.fault.active = False
                stored = "home" in await world.app.specs.list_connections()
                world.clock.advance(limits.CLAIM_S)
                if elsewhere and stored:
                    with pytest.raises(Refused):
                        await put(world, connection(gateway="zub"))
                    continue
                await put(world, connection(gateway="zub" if elsewhere else "hub"))
                assert await world.app.specs.list_connections() == ["home"]
                assert len(await world.store.query(NAMES, CONNECTIONS)) == 1


async def test_a_claim_that_is_being_made_is_respected(world: World) -> None:
    await put(world, gateway())
    await put(world, gateway("zub"))
    calls = 0

    async def rival(table: str, partition: str, writes: object) -> None:
        nonlocal calls
        if table == "units":
            world.store.before_transact = None
            calls += 1
            with pytest.raises(Refused, match="is being made on Gateway hub"):
                await put(world, connection(gateway="zub"))

    world.store.before_transact = rival
    await put(world, connection())
    assert calls == 1 and (await world.app.specs.get_connection("home")).spec.gateway == "hub"  # type: ignore[union-attr]


GOOD = "abcDEF0123456789!#$%&()*+,./:;<=>?@[]^_`{|}"


@pytest.mark.parametrize("value", ["x" * 16, "x" * 128, GOOD])
async def test_a_key_of_ones_own(world: World, value: str) -> None:
    await put(world, gateway())
    stored = await put(world, connection())
    await world.app.specs.set_psk("home", value)
    secret = await world.vault.get(f"psk-{stored.id}")
    assert secret is not None and secret.value == value
    assert value not in world.store.everything()


@pytest.mark.parametrize(
    "value",
    [
        "x" * 15,
        "x" * 129,
        "",
        "with space 1234567",
        "with-hyphen-12345",
        "with~tilde~12345",
        "ümlaut1234567890",
        "newline123456789\n",
        "x" * 16 + "\x7f",
        "x" * 16 + "\0",
    ],
)
async def test_a_key_that_one_end_would_not_take(world: World, value: str) -> None:
    await put(world, gateway())
    await put(world, connection())
    with pytest.raises(InvalidInput) as caught:
        await world.app.specs.set_psk("home", value)
    assert [p.rule for p in caught.value.problems] == ["psk-form"]
    assert not value or value not in str(caught.value)
    assert world.vault.values() == []


async def test_a_key_that_is_the_users_own_entry_is_not_overwritten(world: World) -> None:
    await put(world, gateway())
    await put(world, connection(psk={"generate": False, "vaultRef": "mine"}))
    with pytest.raises(Refused, match="mine"):
        await world.app.specs.set_psk("home", "x" * 20)
    assert world.vault.values() == []


async def test_the_users_own_entry_is_used_and_outlives_the_connection(world: World) -> None:
    await world.put(connection=connection(psk={"generate": False, "vaultRef": "mine"}))
    await world.agent.enrol()
    await world.run(600)
    ready = await world.conditions()
    assert ready["AzureReady"][0] == "False", "there is no such entry yet"
    await world.vault.set("mine", "TheUsersOwnKey0123456789")
    await world.until(world.ready, 1200)
    assert "TheUsersOwnKey0123456789" not in world.store.everything()
    await world.app.specs.delete_connection("home")
    await world.run(300)
    assert await world.app.specs.list_connections() == []
    assert await world.vault.get("mine") is not None
