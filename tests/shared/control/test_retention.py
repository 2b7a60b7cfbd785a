"""Retention: what is old goes, what is current stays, whatever dies or works on beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from shared.control.agents import AGENT, COMMAND, HEALTH, TOKENS, key_name, queue_of
from shared.control.commands import Commands
from shared.control.events import EVENT, Asked, Scribe, Told
from shared.control.lease import KEY, Lease
from shared.control.retention import Pruned
from shared.control.services import AGENTS, AUDIT, NAMES, UNITS, Keep
from shared.control.unit import CLOSED, IncidentRow, load
from shared.domain import limits
from shared.errors import NotFound, TemporaryError
from shared.seams import Row, Write, WriteKind
from shared.wire import keys
from shared.wire.commands import Kind, Target
from shared.wire.reports import RenewRequest
from shared.wiring import build

from .faults import Crash
from .test_crashes import joins, leaves, moves, quick_world
from .world import FIRST, SECOND, World

DAY = 86_400


@pytest.fixture
def world() -> World:
    return World()


async def rows(world: World, table: str, partition: str, prefix: str = "") -> list[Row]:
    return await world.store.query(table, partition, prefix)


async def pruned(world: World) -> Pruned:
    found = await world.app.retention.run()
    assert found.troubles == []
    return found


async def tell(world: World, count: int, unit: str = "hub") -> None:
    scribe = Scribe(world.services, unit)
    for start in range(0, count, 99):
        writes = [scribe.write(Told("Any", str(n)), "home") for n in range(start, min(count, start + 99))]
        await world.store.transact(UNITS, unit, writes)


def closed(number: int, at: datetime) -> Write:
    row = IncidentRow(id=f"{number:026d}", connection="home", finding="tunnel-down", opened=at, closed=at)
    return Write(WriteKind.INSERT, row.key, row.model_dump(mode="json"))


async def test_history_ends_after_its_days_and_what_is_current_stays() -> None:
    world = quick_world()
    await joins(world)
    await world.run(60)
    await moves(world)
    current = await load(world.store, "hub")
    assert await rows(world, UNITS, "hub", EVENT) and await rows(world, UNITS, "hub", CLOSED)
    world.clock.advance(29 * DAY)
    assert (await pruned(world)).rows == {"tokens": 1}
    world.clock.advance(DAY + 3600)
    assert set((await pruned(world)).rows) == {"events", "incidents", "records", "commands"}
    assert await rows(world, UNITS, "hub", "~") == []
    assert FIRST not in world.store.everything(), "the old address is nowhere any more"
    assert (await load(world.store, "hub")).links == current.links and current.links["home"].known_address == SECOND
    assert (await world.app.agents.health(world.agent.id) or {})["source"] == SECOND
    assert (await pruned(world)).rows == {}


@pytest.mark.parametrize("days", [1, 7])
async def test_the_settings_decide(world: World, days: int) -> None:
    app = build(replace(world.services, keep=Keep(events_days=days, audit_days=31)))
    await world.app.audit.record("me", "put", "gateway/hub")
    await world.put()
    await world.run(61)
    world.clock.advance(days * DAY - 3600)
    await tell(world, 1)
    assert "events" not in (await app.retention.run()).rows
    world.clock.advance(7200)
    await app.retention.run()
    assert [r.data["message"] for r in await rows(world, UNITS, "hub", EVENT)] == ["0"]
    world.clock.advance(60 * DAY)
    assert (await app.retention.run()).rows["audit"] > 0 and await rows(world, AUDIT, "2026-11") == []


async def test_only_so_many_are_kept_and_the_newest(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "EVENTS_KEPT", 150)
    monkeypatch.setattr(limits, "INCIDENTS_KEPT", 3)
    await world.put()
    await world.run(61)
    await tell(world, 400)
    now = world.clock.now()
    await world.store.transact(UNITS, "hub", [closed(n, now - timedelta(hours=n)) for n in range(8)])
    await pruned(world)
    kept = [r.data["message"] for r in await rows(world, UNITS, "hub", EVENT)]
    assert kept == [str(n) for n in range(399, 249, -1)]
    assert [r.data["id"] for r in await rows(world, UNITS, "hub", CLOSED)] == [f"{n:026d}" for n in range(3)]


async def test_one_run_has_its_share_and_the_next_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RETENTION_ROWS", 130)
    monkeypatch.setattr(limits, "EVENTS_KEPT", 20)
    await world.put()
    await world.run(61)
    await tell(world, 300)
    there, runs = len(await rows(world, UNITS, "hub", EVENT)), 0
    assert there > 300
    while (found := await pruned(world)).unfinished:
        runs += 1
        left = len(await rows(world, UNITS, "hub", EVENT))
        assert left == max(20, there - 130) and "more at the next run" in str(found)
        there = left
    assert (runs == 2 and there == 20) or len(await rows(world, UNITS, "hub", EVENT)) == 20


async def test_months_of_the_audit_go_whole_and_hold_no_address_of_a_home(world: World) -> None:
    await world.joined()
    await world.app.audit.record(f"function key from {FIRST}", "put", "gateway/hub")
    world.agent.source = SECOND
    world.agent.breaks()
    world.resolver.answer("home.homelink.test", SECOND)
    await world.run(900)
    month = await world.app.audit.month("2026-11")
    assert "arm-put" in {e.action for e in month}, "the pin is among them"
    assert not [e for e in month for a in (FIRST, SECOND) if a in str(e)]
    assert "function key from 198.51.100.0/24" in {e.actor for e in month}
    world.clock.advance(399 * DAY)
    assert "audit" not in (await pruned(world)).rows
    world.clock.advance(31 * DAY)
    await world.app.audit.record("me", "put", "gateway/hub")
    assert (await pruned(world)).rows["audit"] == len(month)
    assert await rows(world, AUDIT, "2026-11") == [] and len(await rows(world, AUDIT, "2028-01")) == 1


async def test_a_replaced_enrolment_goes_a_day_later_with_everything(world: World) -> None:
    await world.joined()
    old = world.agent.id
    await world.app.agents.grant_queue(old, _renew(old))
    assert await rows(world, AGENTS, old, HEALTH) and queue_of(old) in world.queue.names()
    world.clock.advance(60)
    await world.agent.enrol()
    new = world.agent.id
    world.clock.advance(DAY - 1)
    await pruned(world)
    assert len(await rows(world, AGENTS, old)) > 2, "a day of grace"
    world.clock.advance(1)
    assert (await pruned(world)).rows["agent rows"] > 2
    assert await rows(world, AGENTS, old) == [] and queue_of(old) not in world.queue.names()
    assert not [n for n in world.vault.names() if old in n]
    assert await world.app.agents.id_of("home-fw") == new and (await world.app.agents.load(new))[0].id == new
    assert all(key_name(new, p) in world.vault.names() for p in keys.Purpose)
    with pytest.raises(NotFound):
        await world.app.agents.load(old)


def _renew(agent: str) -> RenewRequest:
    return RenewRequest(agent, "ctl", "n" * 32)


async def test_an_enrolment_that_never_ended_goes_too(world: World) -> None:
    """It died after its row was written and before the name led to it, and its token has run out."""
    await world.agent.enrol()
    name = await world.store.get(NAMES, "agent", "home-fw")
    assert name is not None
    await world.store.transact(NAMES, "agent", [Write(WriteKind.DELETE, "home-fw")])
    world.clock.advance(DAY - 1)
    assert (await pruned(world)).rows == {}
    world.clock.advance(1)
    assert (await pruned(world)).rows["agent rows"] == 1 and world.vault.names() == []


async def test_old_records_of_commands_and_tokens_go(world: World) -> None:
    await world.agent.enrol()
    commands = Commands(world.services, world.app.agents)
    for _ in range(3):
        await commands.issue(world.agent.id, Kind.INITIATE, 1, Target("home", "0" * 26), 60)
        world.clock.advance(20 * DAY)
    assert (await pruned(world)).rows == {"commands": 2, "tokens": 1}
    assert len(await rows(world, AGENTS, world.agent.id, COMMAND)) == 1
    assert await rows(world, AGENTS, world.agent.id, AGENT) and await rows(world, NAMES, TOKENS) == []


async def test_the_lease_outlives_its_gateway_until_its_history_has_ended() -> None:
    world = quick_world()
    await joins(world)
    await leaves(world)
    await pruned(world)
    assert [r.key for r in await rows(world, UNITS, "hub", KEY)] == [KEY]
    assert (await world.app.specs.gateway_events("hub", Asked())).items[0].reason == "Deleted"
    world.clock.advance(31 * DAY)
    assert (await pruned(world)).rows["leases"] == 1
    assert await rows(world, UNITS, "hub") == []
    with pytest.raises(NotFound):
        await world.app.specs.gateway_events("hub", Asked())


async def test_a_lease_that_somebody_takes_at_this_moment_stays(world: World) -> None:
    lease = await Lease.acquire(world.store, "hub", "me", world.clock.now())
    assert "leases" not in (await pruned(world)).rows, "it is held"
    await lease.release()

    async def takes(table: str, partition: str, writes: Sequence[Write]) -> None:
        if any(w.key == KEY and w.kind is WriteKind.DELETE for w in writes):
            world.store.before_transact = None
            await Lease.acquire(world.store, "hub", "other", world.clock.now())

    world.store.before_transact = takes
    assert "leases" not in (await pruned(world)).rows
    [row] = await rows(world, UNITS, "hub")
    assert row.data["owner"] == "other"


async def test_one_that_cannot_be_pruned_does_not_stop_the_others(world: World) -> None:
    for unit in ("a", "b"):
        await Lease.acquire(world.store, unit, "me", world.clock.now())
        await tell(world, 5, unit)
    world.clock.advance(31 * DAY)

    async def away(table: str, partition: str, writes: Sequence[Write]) -> None:
        if partition == "a":
            raise TemporaryError("the store is away", 1.0)

    world.store.before_transact = away
    found = await world.app.retention.run()
    assert found.troubles == ["unit a: the store is away"] and found.rows == {"events": 5, "leases": 1}
    world.store.before_transact = None
    await pruned(world)
    assert "units/" not in world.store.everything()


async def test_a_run_that_dies_at_any_call_is_gone_on_with() -> None:
    async def start() -> World:
        made = World()
        await made.joined()
        made.clock.advance(60)
        await made.agent.enrol()
        made.clock.advance(31 * DAY)
        return made

    calm = await start()
    calm.fault.calls, calm.fault.active = [], True
    await pruned(calm)
    calm.fault.active = False
    wanted, calls = calm.store.everything(), calm.fault.calls
    assert len(calls) >= 20
    for number in range(len(calls)):
        for after in (False, True):
            other = await start()
            other.fault.kill(number, after)
            other.fault.active = True
            with pytest.raises(Crash):
                await other.app.retention.run()
            other.fault.revive()
            other.fault.active = False
            await pruned(other)
            assert other.store.everything() == wanted, (number, calls[number], after)
            assert sorted(other.vault.names()) == sorted(calm.vault.names())


async def test_it_prunes_while_the_reconciler_works() -> None:
    """Between any two writes of a step a run of retention takes place: nothing that is current is lost."""
    world = quick_world()
    await joins(world)
    await world.run(60)
    busy = False

    async def meanwhile(*_: object) -> None:
        nonlocal busy
        if not busy:
            busy = True
            await build(replace(world.services, store=world.store)).retention.run()
            busy = False

    world.store.before_transact = meanwhile
    await moves(world)
    world.store.before_transact = None
    unit = await load(world.store, "hub")
    assert unit.links["home"].known_address == SECOND and await world.ready()
    assert [i.finding for i in await world.app.specs.incidents("home")] == ["home-address-changed"]


async def test_an_enrolment_that_is_just_being_made_stays_whoever_has_the_name(world: World) -> None:
    await world.agent.enrol()
    first = world.agent.id
    world.clock.advance(3 * DAY)
    await world.agent.enrol()
    name = await world.store.get(NAMES, "agent", "home-fw")
    assert name is not None
    back = Write(WriteKind.REPLACE, "home-fw", {"agent": first}, name.etag)
    await world.store.transact(NAMES, "agent", [back])  # as if it had died before the name led to it
    await pruned(world)
    assert await rows(world, AGENTS, world.agent.id, AGENT) and await rows(world, AGENTS, first, AGENT)


async def test_the_row_by_which_an_agent_is_found_goes_last(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RETENTION_ROWS", 110)
    await world.agent.enrol()
    old = world.agent.id
    for start in (0, 75):
        writes = [Write(WriteKind.INSERT, f"{COMMAND}{n:026d}", {}) for n in range(start, start + 75)]
        await world.store.transact(AGENTS, old, writes)
    await world.agent.enrol()
    world.clock.advance(DAY)
    assert (await pruned(world)).unfinished and len(await rows(world, AGENTS, old)) == 41
    assert await rows(world, AGENTS, old, AGENT)
    assert (await pruned(world)).rows["agent rows"] == 41 and await rows(world, AGENTS, old) == []
