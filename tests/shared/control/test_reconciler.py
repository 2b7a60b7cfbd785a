"""From an empty subscription to a proven tunnel, and through everything that a step can meet on the way."""

from __future__ import annotations

import pytest

from shared.control.agents import HEALTH
from shared.control.lease import Lease
from shared.control.services import AGENTS, RECONCILE, UNITS
from shared.control.unit import LINK, STATE, IncidentRow, to_data
from shared.domain import parse, render
from shared.domain.arm import ArmKind
from shared.errors import ArmBusy, ArmRejected, PermanentError, StoreConflict, TemporaryError
from shared.seams import Write, WriteKind
from shared.wire.commands import Kind
from tests.examples import CONNECTION, GATEWAY, changed

from .world import FIRST, NAME, SECOND, World

GW = parse.gateway(GATEWAY).spec
REFS = {**render.gateway_refs("hub", GW), **render.connection_refs("home", GW)}


def kinds(world: World, verb: str) -> list[ArmKind]:
    """What `verb` was asked for, in order."""
    return [next(k for k, r in REFS.items() if r.id() == x.target) for x in world.arm.requests if x.verb == verb]


@pytest.fixture
def world() -> World:
    return World()


async def test_creates_everything_in_order_and_ends_ready() -> None:
    world = World(gateway_takes_s=1440)  # as long as a real one
    await world.joined()
    assert kinds(world, "put") == [
        ArmKind.VIRTUAL_NETWORK,
        ArmKind.PUBLIC_IP,
        ArmKind.GATEWAY,
        ArmKind.LOCAL_GATEWAY,
        ArmKind.CONNECTION,
    ]
    assert (await world.conditions())["Ready"] == ("True", "Verified")
    body = world.arm.resource(REFS[ArmKind.CONNECTION])
    assert body["properties"]["connectionMode"] == "ResponderOnly"
    assert body["properties"]["ipsecPolicies"][0]["ikeEncryption"] == "GCMAES256"
    assert body["tags"][render.TAG_CONTROLLER] == "ctl"


async def test_steady_state_writes_nothing(world: World) -> None:
    await world.joined()
    await world.run(120)
    before, commands = len(world.arm.writes()), len(world.agent.commands)
    await world.run(1800)
    assert len(world.arm.writes()) == before
    assert len(world.agent.commands) == commands
    assert len(world.queue.texts(RECONCILE)) <= 1


async def test_the_psk_is_the_same_in_azure_and_the_vault_and_nowhere_else(world: World) -> None:
    await world.joined()
    psk = world.arm.shared_key(REFS[ArmKind.CONNECTION])
    assert psk in world.vault.values() and len(psk) == 48
    everything = world.store.everything() + "".join(world.queue.texts(RECONCILE)) + repr(world.arm.requests)
    assert "home" in everything
    for secret in world.vault.values():
        assert secret not in everything


async def test_a_new_key_in_the_vault_reaches_both_ends(world: World) -> None:
    await world.joined()
    await world.app.specs.set_psk("home", "NewKey0123456789abcdefghijklmnop")
    await world.run(200)
    assert world.arm.shared_key(REFS[ArmKind.CONNECTION]) == "NewKey0123456789abcdefghijklmnop"
    applies = [c.body.desired.psk.version for c in world.agent.commands if c.kind is Kind.APPLY]
    assert len(set(applies)) == 2
    assert await world.ready()


async def test_a_stale_writer_loses(world: World) -> None:
    await world.joined()
    late = await Lease.acquire(world.store, "hub", "late", world.clock.now())
    world.clock.advance(61)
    await world.app.reconciler.step("hub")  # takes the expired lease, works, and lets go
    before = await world.store.get(UNITS, "hub", STATE)
    with pytest.raises(StoreConflict):
        await late.commit([Write(WriteKind.UPSERT, STATE, {"stale": True})])
    after = await world.store.get(UNITS, "hub", STATE)
    assert before is not None and after is not None and after.data == before.data


async def test_wakes_for_one_unit_coalesce(world: World) -> None:
    await world.joined()
    for _ in range(20):
        await world.app.specs.put_connection("home", parse.connection(CONNECTION))
        from shared.control.reconciler import wake_unit

        await wake_unit(world.services, "hub", "again")
    reads = len(world.arm.requests)
    await world.handle_messages()
    assert len(world.arm.requests) - reads <= len(REFS)


async def test_steps_that_come_early_leave_one_wake_for_what_is_waited_for(world: World) -> None:
    await world.put()
    while not any(r.target == REFS[ArmKind.GATEWAY].id() and r.verb == "put" for r in world.arm.requests):
        await world.tick()
    polls = [r.verb for r in world.arm.requests].count("poll")
    for _ in range(8):
        world.clock.advance(1)
        await world.app.reconciler.step("hub")
    assert len(world.queue.texts(RECONCILE)) == 1
    assert [r.verb for r in world.arm.requests].count("poll") == polls, "and ARM is not asked before its time"


@pytest.mark.parametrize("after", [False, True], ids=["before its effect", "after its effect"])
@pytest.mark.parametrize("kind", list(ArmKind))
async def test_a_lost_put_is_made_good(world: World, kind: ArmKind, after: bool) -> None:
    world.arm.fail_next("put", ArmBusy("timed out", 5.0, "Timeout"), kind=kind, after=after)
    await world.joined()
    assert world.arm.shared_key(REFS[ArmKind.CONNECTION]) in world.vault.values()


@pytest.mark.parametrize("kind", [ArmKind.LOCAL_GATEWAY, ArmKind.GATEWAY, ArmKind.CONNECTION])
async def test_an_operation_url_that_is_gone_means_read_the_resource(world: World, kind: ArmKind) -> None:
    world.arm.lose_next_operation("put", kind)
    await world.joined()
    assert await world.ready()


async def test_a_refusal_is_told_and_not_hammered(world: World) -> None:
    error = ArmRejected("The subscription may not.", 403, "AuthorizationFailed")
    world.arm.fail_next("put", error, kind=ArmKind.GATEWAY)
    await world.put()
    await world.run(250)
    puts = [k for k in kinds(world, "put") if k is ArmKind.GATEWAY]
    stored = await world.app.specs.get_gateway("hub")
    ready = next(c for c in stored.conditions if c.type == "Ready")
    assert len(puts) == 1
    assert ready.status == "False" and "AuthorizationFailed" in ready.message
    await world.agent.enrol()
    await world.until(world.ready)


async def test_a_failed_gateway_is_put_again(world: World) -> None:
    world.arm.fail_next_operation("put", "GwmOperationTimeOut", "Operation timed out.", ArmKind.GATEWAY)
    await world.joined()
    puts = [k for k in kinds(world, "put") if k is ArmKind.GATEWAY]
    assert len(puts) == 2


async def test_what_is_not_ours_is_never_written(world: World) -> None:
    foreign = {"location": "westeurope", "properties": {"addressSpace": {"addressPrefixes": ["10.9.0.0/16"]}}}
    world.arm.seed(REFS[ArmKind.VIRTUAL_NETWORK], foreign)
    await world.put()
    await world.run(300)
    assert world.arm.writes() == []
    stored = await world.app.specs.get_gateway("hub")
    in_sync = next(c for c in stored.conditions if c.type == "InSync")
    assert in_sync.reason == "Blocked" and "read only" in in_sync.message


async def test_drift_is_corrected_and_a_foreign_subnet_kept(world: World) -> None:
    await world.joined()

    def edit(vnet: dict) -> None:
        vnet["properties"]["subnets"].append({"name": "theirs", "properties": {"addressPrefix": "10.0.7.0/24"}})
        vnet["properties"]["addressSpace"]["addressPrefixes"].append("10.1.0.0/16")

    world.arm.edit(REFS[ArmKind.VIRTUAL_NETWORK], edit)
    await world.run(3600 + 180)  # no list of a cycle shows it
    vnet = world.arm.resource(REFS[ArmKind.VIRTUAL_NETWORK])["properties"]
    assert vnet["addressSpace"]["addressPrefixes"] == ["10.0.0.0/16"]
    assert "theirs" in [s["name"] for s in vnet["subnets"]]


async def test_deletion_removes_both_ends_in_reverse_and_forgets(world: World) -> None:
    await world.joined()
    await world.app.specs.delete_connection("home")

    async def gone() -> bool:
        return await world.app.specs.list_connections() == []

    await world.until(gone)
    assert world.agent.tunnel is None
    await world.app.specs.delete_gateway("hub")

    async def all_gone() -> bool:
        return await world.app.specs.list_gateways() == []

    await world.until(all_gone)
    deleted = kinds(world, "delete")
    assert deleted[:2] == [ArmKind.CONNECTION, ArmKind.LOCAL_GATEWAY]
    assert deleted[2:] == [ArmKind.GATEWAY, ArmKind.PUBLIC_IP, ArmKind.VIRTUAL_NETWORK]
    assert not [v for v in world.vault.names() if v.startswith("psk-")]


async def test_repair_ends_back_on_the_name(world: World) -> None:
    await world.joined()
    await world.run(60)
    world.agent.source = SECOND
    world.agent.breaks()
    await world.run(31)
    assert "fqdn" in await world.lng(), "DNS has not confirmed: nothing may be done yet"
    incidents = await world.app.specs.incidents("home")
    assert incidents[0].finding == "home-address-changed" and incidents[0].verified is None
    world.resolver.answer(NAME, SECOND)
    await world.until(lambda: _pinned(world), 60)
    await world.until(world.ready, 120)
    assert [c.kind for c in world.agent.commands].count(Kind.INITIATE) == 1

    async def closed() -> bool:
        return (await world.app.specs.incidents("home"))[0].closed is not None

    await world.until(closed, 1200)
    assert "fqdn" in await world.lng()
    assert (await world.app.specs.incidents("home"))[0].verified is not None
    assert not [r for r in world.arm.requests if r.verb.startswith("reset")]


async def _pinned(world: World) -> bool:
    return (await world.lng()).get("gatewayIpAddress") == SECOND


@pytest.mark.parametrize("lie", ["dns alone", "heartbeat alone", "servfail", "policy observe"])
async def test_one_witness_is_not_enough(world: World, lie: str) -> None:
    if lie == "policy observe":
        await world.put(connection=changed(CONNECTION, "spec.repair", {"policy": "observe"}))
        await world.agent.enrol()
        await world.until(world.ready)
    else:
        await world.joined()
    await world.run(60)
    writes = len(world.arm.writes())
    if lie in ("dns alone", "policy observe"):
        world.resolver.answer(NAME, SECOND)
    if lie == "servfail":
        world.resolver.servfail(NAME)
    if lie in ("heartbeat alone", "servfail", "policy observe"):
        world.agent.source = SECOND
        world.agent.breaks()
    await world.run(600)
    assert len(world.arm.writes()) == writes
    assert world.azure_accepts() == FIRST


async def test_a_planned_change_opens_no_incident(world: World) -> None:
    await world.joined()
    await world.run(60)
    await world.app.specs.put_connection("home", parse.connection(changed(CONNECTION, "spec.mss", 1300)))
    await world.app.reconciler.step("hub")
    row = await world.store.get(UNITS, "hub", LINK + "home")
    assert row is not None and row.data["applied"]["mss"] == 1300, "the agent has not applied it yet"
    await world.app.reconciler.step("hub")
    await world.run(120)
    assert await world.ready() and await world.app.specs.incidents("home") == []


async def test_a_pinned_home_that_moves_again_is_followed(world: World) -> None:
    await world.joined()
    await world.run(60)
    for address in (SECOND, "198.51.100.99"):
        world.agent.source = address
        world.agent.breaks()
        world.resolver.answer(NAME, address)
        await world.until(lambda a=address: _pinned_to(world, a), 120)
        await world.until(world.ready, 120)
    assert world.arm.resets == {} and world.azure_accepts() == "198.51.100.99"


async def _pinned_to(world: World, address: str) -> bool:
    return (await world.lng()).get("gatewayIpAddress") == address


async def test_an_agent_that_never_came_is_told_as_such(world: World) -> None:
    await world.put()
    await world.run(4000)
    found = await world.conditions()
    assert found["AzureReady"][0] == "True"
    assert found["AgentConnected"] == ("False", "NotEnrolled")


UNASKABLE = [PermanentError("not on ARM's host"), ArmRejected("no", 403, "AuthorizationFailed")]


@pytest.mark.parametrize("error", UNASKABLE, ids=lambda e: type(e).__name__)
async def test_operations_that_may_not_be_asked_about_do_not_stop_the_unit(world: World, error: Exception) -> None:
    async def refused(operation_url: str) -> None:
        raise error

    world.arm.poll = refused  # type: ignore[assignment, method-assign]
    await world.joined()
    assert kinds(world, "put") == list(ArmKind), "and nothing is written twice"


async def test_azure_keeps_its_half_until_the_home_has_removed_its_own(world: World) -> None:
    await world.joined()
    world.agent.alive = False
    await world.app.specs.delete_connection("home")
    await world.run(600)
    assert kinds(world, "delete") == []
    world.agent.alive = True
    await world.run(300)
    assert kinds(world, "delete") == [ArmKind.CONNECTION, ArmKind.LOCAL_GATEWAY] and world.agent.tunnel is None


async def test_trouble_of_the_vault_is_told_and_passes(world: World) -> None:
    await world.joined()
    real = world.vault.get

    async def away(name: str, version: str | None = None) -> None:
        raise TemporaryError("the vault is away", 20.0)

    world.vault.get = away  # type: ignore[assignment, method-assign]
    await world.run(61)
    stored = await world.app.specs.get_gateway("hub")
    ready = next(c for c in stored.conditions if c.type == "Ready")
    assert ready.status == "False" and "the vault is away" in ready.message
    world.vault.get = real  # type: ignore[method-assign]
    writes = len(world.arm.writes())
    await world.run(61)
    stored = await world.app.specs.get_gateway("hub")
    assert next(c for c in stored.conditions if c.type == "Ready").status == "True" and await world.ready()
    assert len(world.arm.writes()) == writes


async def test_a_connection_with_years_of_incidents_can_be_forgotten(world: World) -> None:
    await world.joined()
    now = world.clock.now()
    for n in range(1200):
        row = IncidentRow(id=f"{n:026d}", connection="home", finding="tunnel-down", opened=now, closed=now)
        await world.store.transact(UNITS, "hub", [Write(WriteKind.INSERT, row.key, to_data(row))])
    await world.app.specs.delete_connection("home")
    await world.run(300)
    assert await world.app.specs.list_connections() == []
    assert [r.key for r in await world.store.query(UNITS, "hub") if "home" in r.key] == []


async def test_a_name_that_was_reused_while_the_forgetting_step_slept_keeps_its_rows(world: World) -> None:
    """The step that forgets a Connection sleeps after its last fenced write; meanwhile the name is used anew."""
    await world.joined()
    await world.app.specs.delete_connection("home")

    async def reuse(table: str, partition: str, writes: object) -> None:
        if table == UNITS and not await world.app.specs.list_connections():
            world.store.after_transact = None
            world.clock.advance(61)
            await world.app.specs.put_connection("home", parse.connection(CONNECTION))

    world.store.after_transact = reuse
    await world.run(300)
    assert world.store.after_transact is None, "the moment came"
    assert (await world.app.specs.get_connection("home")).generation == 1
    assert [r.key for r in await world.app.agents.served("home-fw")] == ["home"]
    await world.until(world.ready, 600)


async def test_a_report_that_this_version_cannot_read_does_not_stop_the_unit(world: World) -> None:
    await world.joined()
    row = await world.store.get(AGENTS, world.agent.id, HEALTH)
    assert row is not None
    unreadable = {**row.data, "report": {"v": 99}}
    await world.store.transact(AGENTS, world.agent.id, [Write(WriteKind.REPLACE, HEALTH, unreadable, row.etag)])
    world.agent.alive = False
    await world.run(120)
    assert (await world.conditions())["Ready"][0] != "True"
    world.agent.alive = True
    await world.until(world.ready, 120)
