"""Adoption: an import reads and writes nothing, consent marks and changes nothing else, and what was adopted can go."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from shared.control.events import Asked
from shared.control.unit import load
from shared.domain import limits, parse, plan
from shared.domain.arm import ArmKind
from shared.domain.plan import Action
from shared.domain.problem import InvalidInput
from shared.domain.render import tags
from shared.errors import ArmRejected, NotFound, Precondition, Refused
from tests import existing
from tests.alerts import alert, dimension, raw
from tests.existing import ADDRESS, GATEWAY, KEY, LINK, LOCAL, NETWORK, REFS, REQUEST

from .world import World

HUB, HOME = "vpn-office", "office-home"


def office(kind: type[World] = World) -> World:
    made = kind()
    for ref, body in existing.bodies().items():
        made.arm.seed(ref, body)
    return made


@pytest.fixture
def world() -> World:
    return office()


async def imported(world: World, **request: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The two documents."""
    found = await world.app.adoption.read(parse.import_request({**REQUEST, **request}))
    [connection] = found.connections
    return found.gateway.draft.document, existing.completed(connection.draft.document)


async def adopt(world: World) -> None:
    gateway, connection = (parse.gateway, parse.connection), await imported(world)
    await world.app.specs.put_gateway(HUB, gateway[0](connection[0]), consent=True)
    await world.app.specs.put_connection(HOME, gateway[1](connection[1]), consent=True)


def azure(world: World) -> dict[Any, Any]:
    """Everything that is not a tag or follows from one."""
    found = {r: copy.deepcopy(world.arm.resource(r)) for r in REFS}
    return {
        r: None if b is None else {k: v for k, v in b.items() if k not in ("tags", "etag")} for r, b in found.items()
    }


def marks(world: World) -> list[str | None]:
    return [plan.owner(world.arm.resource(r) or {}) for r in REFS]


async def test_an_import_describes_what_it_finds_and_writes_nothing(world: World) -> None:
    found = await world.app.adoption.read(parse.import_request(REQUEST))
    assert found.gateway.draft.problems == ()
    assert {p.rule for p in found.gateway.draft.findings} == {
        "import-ipv6",
        "import-point-to-site",
        "sku-not-az",
        "gateway-subnet-small",
    }
    spec = parse.gateway(found.gateway.draft.document).spec
    assert (spec.virtual_network.address_space, spec.virtual_network.gateway_subnet) == (
        ("10.20.0.0/16",),
        "10.20.255.0/28",
    )
    assert found.gateway.plan is not None and found.gateway.plan.refused == ""
    assert [(c.action, c.ref) for c in found.gateway.plan.azure] == [
        (Action.ADOPT, r) for r in (NETWORK, ADDRESS, GATEWAY)
    ]
    assert {d.path.partition(".")[0] for c in found.gateway.plan.azure for d in c.differences} == {"tags"}
    [home] = found.connections
    assert [(p.rule, p.path) for p in home.draft.problems] == [("import-unknown", "spec.fqdn")]
    assert {p.rule for p in home.draft.findings} == {"import-address", "import-static-routes"}
    assert home.draft.document["spec"]["home"] == {
        "asn": 65020,
        "bgpAddress": "192.168.1.1",
        "prefixes": ["192.168.1.0/24"],
    }
    assert world.arm.writes() == [] and await world.app.specs.list_gateways() == []


async def test_nothing_is_adopted_without_consent(world: World) -> None:
    gateway, connection = await imported(world)
    with pytest.raises(Precondition) as refused:
        await world.app.specs.put_gateway(HUB, parse.gateway(gateway))
    assert refused.value.status == 428
    await world.app.specs.put_gateway(HUB, parse.gateway(gateway), consent=True)
    with pytest.raises(Precondition):
        await world.app.specs.put_connection(HOME, parse.connection(connection))
    await world.run(200)
    assert marks(world) == ["ctl", "ctl", "ctl", None, None]


async def test_adoption_changes_nothing_but_tags_and_the_plan_after_it_is_empty(world: World) -> None:
    before = azure(world)
    await adopt(world)
    await world.run(400)
    assert azure(world) == before and marks(world) == ["ctl"] * 5
    assert {r.verb for r in world.arm.writes()} == {"tag"} and len(world.arm.writes()) == 5
    network = world.arm.resource(NETWORK) or {}
    assert network["tags"]["costCenter"] == "42", "the owner's tags stay"
    gateway, connection = await imported(world)
    for preview in (
        await world.app.planning.put_gateway(HUB, parse.gateway(gateway)),
        await world.app.planning.put_connection(HOME, parse.connection(connection)),
    ):
        assert preview.azure == ()
    assert [c.reason for c in (await world.app.specs.get_gateway(HUB)).conditions if c.type == "InSync"] == [
        "AsSpecified"
    ]


async def test_the_key_moves_into_the_vault_and_is_seen_nowhere_else(world: World, caplog: Any) -> None:
    caplog.set_level("DEBUG")
    await adopt(world)
    await world.run(400)
    unit = await load(world.store, HUB)
    link = unit.links[HOME]
    entry = await world.vault.get(link.psk_name or "")
    assert entry is not None and (entry.value, entry.version) == (KEY, link.azure_psk_version)
    assert world.arm.shared_key(LINK) == KEY
    stored = repr(vars(world.store)) + repr(vars(world.queue)) + repr(unit)
    assert link.psk_name is not None and link.psk_name in stored, "this is where it would be"
    assert KEY not in stored + repr(world.arm.requests) + caplog.text
    told = await world.app.specs.connection_events(HOME, Asked())
    [taken] = [e for e in told.items if e.reason == "KeyTaken"]
    assert taken.type == "Warning"
    [remark] = [c for c in (await world.app.specs.get_connection(HOME)).conditions if c.type == "Recommended"]
    assert "key" in remark.message and remark.status == "False"


async def test_an_address_without_a_name_becomes_a_pin(world: World) -> None:
    await adopt(world)
    await world.run(120)
    pin = (await load(world.store, HUB)).links[HOME].pin
    assert pin is not None and pin.address == existing.HOME_ADDRESS


async def test_a_key_that_cannot_be_read_is_told_and_read_later(world: World) -> None:
    refused = ArmRejected("no right to sharedKey/read", 403, "AuthorizationFailed")
    for _ in range(20):
        world.arm.fail_next("move_shared_key", refused)
    await adopt(world)
    await world.run(300)
    told = (await world.app.specs.get_connection(HOME)).conditions
    assert [c.reason for c in told if c.type == "FirewallReady" and "sharedKey/read" in c.message] == ["Impossible"]
    await world.run(1500)
    assert (await load(world.store, HUB)).links[HOME].azure_psk_version is not None
    assert world.arm.shared_key(LINK) == KEY


async def test_a_key_of_the_users_own_is_compared_and_not_drawn_or_overwritten(world: World) -> None:
    gateway, connection = await imported(world)
    connection["spec"]["psk"] = {"generate": False, "vaultRef": "mine"}
    await world.vault.set("mine", KEY)
    await world.app.specs.put_gateway(HUB, parse.gateway(gateway), consent=True)
    await world.app.specs.put_connection(HOME, parse.connection(connection), consent=True)
    await world.run(400)
    assert {r.verb for r in world.arm.writes()} == {"tag"}
    assert (await load(world.store, HUB)).links[HOME].azure_psk_version is not None


async def test_what_is_adopted_cannot_be_exchanged(world: World) -> None:
    await adopt(world)
    gateway, connection = await imported(world)
    gateway["spec"]["adopt"]["virtualNetworkGateway"] = "other-gw"
    with pytest.raises(InvalidInput) as refused:
        await world.app.specs.put_gateway(HUB, parse.gateway(gateway), consent=True)
    assert [(p.rule, p.path) for p in refused.value.problems] == [("immutable", "spec.adopt")]
    connection["spec"]["adopt"]["connection"] = "other"
    with pytest.raises(Refused, match="release"):
        await world.app.specs.put_connection(HOME, parse.connection(connection), consent=True)


async def test_an_alert_finds_what_was_adopted_by_its_names_in_azure(world: World) -> None:
    await adopt(world)

    async def about(target: str, context: Any = None) -> tuple[str, ...]:
        return (await world.app.alerts.take(raw(alert(target, context=context, alertId=target)))).targets

    assert await about(LINK.id()) == await about(LOCAL.id()) == (f"connection/{HOME}",)
    assert await about(ADDRESS.id()) == (f"gateway/{HUB}",)
    assert await about(GATEWAY.id(), dimension("ConnectionName", LINK.name)) == (f"connection/{HOME}",)


async def test_a_document_that_says_otherwise_is_refused_at_consent(world: World) -> None:
    gateway, _ = await imported(world)
    gateway["spec"]["sku"] = "VpnGw2"
    gateway["spec"]["generation"] = "Generation1"
    preview = await world.app.planning.put_gateway(HUB, parse.gateway(gateway))
    assert "properties.sku" in preview.refused
    with pytest.raises(Refused):
        world.app.planning.consented(preview, preview.hash)


async def test_a_later_change_leaves_everything_else_as_it_was(world: World) -> None:
    await adopt(world)
    await world.run(400)
    before = azure(world)
    _, connection = await imported(world)
    connection["spec"]["dpdTimeoutSeconds"] = 60
    await world.app.specs.put_connection(HOME, parse.connection(connection))
    await world.run(200)
    after = azure(world)
    assert after[LINK]["properties"].pop("dpdTimeoutSeconds") == 60
    assert before[LINK]["properties"].pop("dpdTimeoutSeconds") == 0
    assert after == before and world.arm.shared_key(LINK) == KEY


async def test_release_takes_the_marks_off_and_leaves_everything(world: World) -> None:
    before = azure(world)
    await adopt(world)
    await world.run(400)
    preview = await world.app.planning.delete_connection(HOME, release=True)
    assert [(c.action, c.ref) for c in preview.azure] == [(Action.RELEASE, LINK), (Action.RELEASE, LOCAL)]
    await world.app.specs.delete_connection(HOME, release=True)
    await world.run(300)
    assert await world.app.specs.list_connections() == [] and marks(world) == ["ctl", "ctl", "ctl", None, None]
    await world.app.specs.delete_gateway(HUB, release=True)
    await world.run(300)
    assert await world.app.specs.list_gateways() == [] and marks(world) == [None] * 5
    assert azure(world) == before and world.arm.shared_key(LINK) == KEY
    assert (world.arm.resource(NETWORK) or {})["tags"] == {"costCenter": "42"}
    assert {r.verb for r in world.arm.writes()} == {"tag"}


async def test_a_deletion_takes_what_its_plan_lists_and_never_the_network(world: World) -> None:
    await adopt(world)
    await world.run(400)
    await world.app.specs.delete_connection(HOME)
    await world.run(300)
    preview = await world.app.planning.delete_gateway(HUB)
    wanted = [(Action.DELETE, GATEWAY), (Action.DELETE, ADDRESS), (Action.RELEASE, NETWORK)]
    assert [(c.action, c.ref) for c in preview.azure] == wanted
    await world.app.specs.delete_gateway(HUB)
    await world.run(2000)
    assert [world.arm.resource(r) is None for r in REFS] == [False, True, True, True, True]
    assert marks(world)[0] is None and await world.app.specs.list_gateways() == []


async def test_what_was_adopted_and_is_gone_is_told_and_not_made_anew(world: World) -> None:
    await adopt(world)
    await world.run(400)
    world.arm.remove(LINK)
    count = len(world.arm.writes())
    await world.run(4000)
    assert len(world.arm.writes()) == count
    [sync] = [c for c in (await world.app.specs.get_gateway(HUB)).conditions if c.type == "InSync"]
    assert sync.reason == "Blocked" and LINK.name in sync.message


async def test_another_controllers_gateway_stays_its_own(world: World) -> None:
    world.arm.edit(GATEWAY, lambda body: body["tags"].update(tags("other", "gateway/hub")))
    gateway, _ = await imported(world)
    preview = await world.app.planning.put_gateway(HUB, parse.gateway(gateway))
    assert "another controller" in preview.refused


async def test_a_second_import_finds_its_own_names_again(world: World) -> None:
    await adopt(world)
    await world.run(400)
    found = await world.app.adoption.read(parse.import_request(REQUEST))
    assert found.gateway.draft.document["metadata"]["name"] == HUB and found.gateway.plan is not None
    assert [c.draft.document["metadata"]["name"] for c in found.connections] == [HOME]


async def test_connections_that_are_not_ours_are_left_alone(world: World) -> None:
    body = existing.bodies()[LINK]
    body["properties"] |= {"connectionType": "Vnet2Vnet", "virtualNetworkGateway2": {"id": GATEWAY.id()}}
    world.arm.seed(existing.ref(ArmKind.CONNECTION, "peer"), body)
    found = await world.app.adoption.read(parse.import_request(REQUEST))
    assert [(a.resource.rpartition("/")[2], "Vnet2Vnet" in a.reason) for a in found.left_alone] == [("peer", True)]
    assert len(found.connections) == 1


@pytest.mark.parametrize(("status", "error"), [(403, Refused), (404, NotFound), (400, NotFound), (500, ArmRejected)])
async def test_what_cannot_be_read_is_told_with_azures_words(world: World, status: int, error: type[Exception]) -> None:
    with pytest.raises(NotFound):
        await imported(world, gateway=GATEWAY.id() + "x")
    world.arm.fail_next("get", ArmRejected("no role there", status, "Code"))
    with pytest.raises(error, match="no role there"):
        await imported(world)


async def test_a_gateway_that_may_not_be_written_is_in_nobodys_way(world: World) -> None:
    world.arm.edit(GATEWAY, lambda b: b["properties"]["vpnClientConfiguration"].update({"radiusServers": [{"id": 1}]}))
    await adopt(world)
    await world.run(400)
    world.arm.edit(GATEWAY, lambda b: b["properties"]["bgpSettings"].update({"asn": 65011}))
    _, connection = await imported(world)
    connection["spec"]["dpdTimeoutSeconds"] = 60
    await world.app.specs.put_connection(HOME, parse.connection(connection))
    await world.run(400)
    assert (world.arm.resource(LINK) or {})["properties"]["dpdTimeoutSeconds"] == 60
    [sync] = [c for c in (await world.app.specs.get_gateway(HUB)).conditions if c.type == "InSync"]
    assert sync.reason == "Blocked" and "RADIUS" in sync.message


async def test_the_pin_of_an_adoption_ends_and_a_later_address_by_hand_is_drift(world: World) -> None:
    await adopt(world)
    await world.run(limits.PIN_UNHEARD_S + 600)
    named = (world.arm.resource(LOCAL) or {})["properties"]
    assert named["fqdn"] == "home.homelink.test" and "gatewayIpAddress" not in named
    assert named["localNetworkAddressSpace"] == existing.bodies()[LOCAL]["properties"]["localNetworkAddressSpace"]

    def by_hand(body: dict[str, Any]) -> None:
        del body["properties"]["fqdn"]
        body["properties"]["gatewayIpAddress"] = "198.51.100.99"

    world.arm.edit(LOCAL, by_hand)
    await world.run(400)
    assert (world.arm.resource(LOCAL) or {})["properties"].get("fqdn") == "home.homelink.test"
    assert (await load(world.store, HUB)).links[HOME].pin is None


class Joined(World):
    """The agent's tunnel is one of the adopted gateway."""

    def azure_accepts(self) -> str | None:
        named = (self.arm.resource(LOCAL) or {})["properties"]
        return named.get("gatewayIpAddress") or self.resolver.last.agreed()

    def azure_sees(self, status: str) -> None:
        self.arm.set_connection_status(LINK, status)


async def test_the_home_joins_and_azure_follows_its_name_from_then_on() -> None:
    world = office(Joined)
    await adopt(world)
    await world.run(200)
    await world.agent.enrol()

    async def ready() -> bool:
        told = (await world.app.specs.get_connection(HOME)).conditions
        return any(c.type == "Ready" and c.status == "True" for c in told)

    assert await world.until(ready) < 300
    assert world.agent.tunnel is not None
    await world.run(limits.UNPIN_AFTER.default + 200)
    assert (world.arm.resource(LOCAL) or {})["properties"].get("fqdn") == "home.homelink.test"
    assert await ready() and world.arm.shared_key(LINK) == KEY and world.arm.resets == {}
    assert [(r.verb, r.target) for r in world.arm.writes() if r.verb != "tag"] == [("put", LOCAL.id())]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_step_may_die_anywhere_and_still_nothing_but_tags_is_changed(after: bool) -> None:
    """One world for every other call of the steps, in which the process dies there."""
    calm = office()
    await adopt(calm)
    calm.fault.kill(10**6, after)
    await calm.run(80)
    calls = len(calm.fault.calls)
    assert marks(calm) == ["ctl"] * 5 and calls > 40
    for at in range(int(after), calls, 2):
        world = office()
        before = azure(world)
        await adopt(world)
        world.fault.kill(at, after)
        await world.run(310)
        assert world.crashes == 1 and azure(world) == before and marks(world) == ["ctl"] * 5, at
        link = (await load(world.store, HUB)).links[HOME]
        secret = await world.vault.get(link.psk_name or "")
        assert secret is not None and (secret.value, secret.version) == (KEY, link.azure_psk_version), at
        assert link.pin is not None, at


async def test_what_lies_elsewhere_is_told_and_not_read(world: World) -> None:
    def moved(body: dict[str, Any]) -> None:
        peer = body["properties"]["localNetworkGateway2"]
        peer["id"] = peer["id"].replace(existing.GROUP, "rg-other")

    world.arm.edit(LINK, moved)
    found = await world.app.adoption.read(parse.import_request(REQUEST))
    assert "import-elsewhere" in {p.rule for p in found.connections[0].draft.problems}
    assert not [r.target for r in world.arm.requests if "rg-other" in r.target]


async def test_a_key_that_another_controller_was_faster_to_mark_is_not_taken(world: World) -> None:
    await adopt(world)
    world.arm.edit(LINK, lambda body: body.update(tags=tags("another", "connection/theirs")))
    await world.run(600)
    assert KEY not in world.vault.values()
