"""Events: told when their state is stored, never by a stale writer, in order, and gone with the home they speak of."""

from __future__ import annotations

import copy
import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.azure.limits import MAX_TRANSACTION_WRITES
from shared.control.events import EVENT, HISTORY, Asked, Event, Reason, Scribe, Told, key_at, key_of, page
from shared.control.lease import Lease
from shared.control.saving import save
from shared.control.services import AGENTS, NAMES, UNITS
from shared.control.transitions import of_state
from shared.control.unit import CLOSED, LINK, CommandRow, IncidentRow, LinkRow, OperationRow, Refusal, StateRow, load
from shared.domain import limits, parse
from shared.domain.arm import ArmKind
from shared.domain.conditions import Condition
from shared.errors import NotFound, StoreConflict, TemporaryError
from shared.seams import Write, WriteKind
from shared.wire.commands import Kind
from shared.wire.reports import Heartbeat, Result
from tests.examples import CONNECTION, changed
from tests.test_docs import table

from .test_crashes import QUICK, joins, leaves, moves, quick_world
from .world import FIRST, SECOND, World

ALL = Asked(limit=10_000)
NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def world() -> World:
    return World()


async def told(world: World, connection: str | None = None) -> list[Event]:
    """Oldest first."""
    return list(reversed((await page(world.store, "hub", connection, ALL)).items))


def answers(world: World) -> None:
    """From now on the agent tells what became of its commands, as a real one does."""
    real = world.agent.heartbeat

    def heartbeat(**changes: Any) -> Heartbeat:
        done = [
            Result(c.id, c.seq, c.kind.value, c.generation, "home", "done", "", 0.0) for c in world.agent.commands[-1:]
        ]
        return real(results=tuple(done), **changes)

    world.agent.heartbeat = heartbeat  # type: ignore[method-assign]


def reasons(events: list[Event]) -> list[str]:
    return [e.reason for e in events]


# what is told ---------------------------------------------------------------------------------------------------------


async def test_the_story_of_a_join_and_a_repair() -> None:
    world = quick_world()
    answers(world)
    await joins(world)
    joined = await told(world)
    assert reasons(joined)[:2] == ["Created", "Created"] and {e.connection for e in joined[:2]} == {None, "home"}
    started, ended = (sum(e.reason == r for e in joined) for r in ("OperationStarted", "OperationEnded"))
    assert started == ended == sum(r.verb == "put" for r in world.arm.writes()) == 5
    mine = [e for e in joined if e.connection == "home" and e.reason in ("OperationStarted", "OperationEnded")]
    assert {e.message.split()[2] for e in mine} == {"localNetworkGateways/home-lng", "connections/home"}
    assert ("Verified", "Ready is True: Everything holds.") in [(e.reason, e.message) for e in joined if e.connection]
    await world.run(60)
    before = len(await told(world))
    await moves(world)
    story = [e for e in (await told(world))[before:] if e.connection == "home"]
    acts = [r for r in reasons(story) if r in set(Reason) and not r.startswith("Operation")]
    assert acts[:3] == ["IncidentOpened", "PinSet", "CommandIssued"]
    assert set(acts[3:5]) == {"CommandDone", "IncidentVerified"} and acts[5:] == ["PinEnded", "IncidentClosed"]
    assert [e.id for e in await told(world)] == sorted(e.id for e in await told(world))
    assert all(e.at <= world.clock.now() and e.gateway == "hub" for e in story)


async def test_every_transition_of_a_condition_is_told_once(world: World) -> None:
    """What the Conditions were at each moment, and what the Events say they were, is the same."""
    seen: dict[str, tuple[str, str]] = {}
    transitions: Counter[tuple[str, str, str]] = Counter()

    async def watch(table: str, partition: str, writes: Any) -> None:
        for write in writes:
            if write.key == LINK + "home" and write.kind is WriteKind.UPSERT:
                for c in write.data["conditions"]:
                    now = (c["status"], c["reason"])
                    if seen.get(c["type"], now) != now:
                        transitions[(c["type"], *now)] += 1
                    seen[c["type"]] = now

    world.store.after_transact = watch
    await world.joined()
    world.agent.breaks()
    await world.run(200)
    world.agent.alive = False
    await world.run(300)
    found: Counter[tuple[str, str, str]] = Counter()
    for e in await told(world, "home"):
        kind, is_, status = e.message.split(":")[0].split() if e.message.count(" is ") else ("", "", "")
        if is_ == "is" and kind in seen:
            found[(kind, status, e.reason)] += 1
            calm = status == "True" or e.reason in ("Pending", "OperationRunning", "Updating", "Waiting", "Unconfirmed")
            assert e.type == ("Normal" if calm else "Warning")
    assert found == transitions and len(found) > 10


async def test_at_rest_nothing_is_told(world: World) -> None:
    await world.joined()
    await world.run(180)
    before = len(await told(world))
    await world.run(1800)
    assert len(await told(world)) == before


async def test_documents_and_deletions(world: World) -> None:
    await world.joined()
    await world.app.specs.put_connection("home", parse.connection(CONNECTION))
    await world.app.specs.put_connection("home", parse.connection(QUICK))
    mine = [e for e in await told(world, "home") if e.reason in ("Created", "SpecChanged")]
    assert [e.message.rsplit(" ", 1)[1] for e in mine] == ["1.", "2."], "a PUT that changes nothing tells nothing"
    await leaves(world)
    left = await told(world)
    assert {e.connection for e in left} == {None}
    assert reasons(left)[-1] == "Deleted" and reasons(left).count("Deleted") == 2
    assert "DeletionRequested" in reasons(left)
    for address in (FIRST, SECOND):
        assert address not in "".join(e.message for e in left)
    assert (await world.app.specs.gateway_events("hub", Asked())).items, "what is left of a Gateway can be read"
    with pytest.raises(NotFound):
        await world.app.specs.connection_events("home", Asked())
    with pytest.raises(NotFound):
        await world.app.specs.gateway_events("nowhere", Asked())


async def test_what_became_of_a_command(world: World) -> None:
    answers(world)
    await world.joined()
    await world.run(61)
    link = (await load(world.store, "hub")).links["home"]
    assert link.commands == (), "what was told is forgotten"
    world.agent.take_commands = lambda: None  # type: ignore[method-assign]
    await world.app.specs.put_connection("home", parse.connection(changed(CONNECTION, "spec.home.asn", 65012)))
    await world.until(lambda: _pending(world), 300)
    [command] = (await load(world.store, "hub")).links["home"].commands
    row = await world.store.get(AGENTS, world.agent.id, f"command:{command.id}")
    assert row is not None
    failed = {**row.data, "outcome": "failed", "detail": "disk full"}
    await world.store.transact(AGENTS, world.agent.id, [Write(WriteKind.REPLACE, row.key, failed, row.etag)])
    await world.run(61)
    [answer] = [e for e in await told(world, "home") if e.reason == "CommandFailed"]
    assert answer.message == f"apply {command.id}: failed: disk full" and answer.type == "Warning"
    await world.run(limits.APPLY_TTL_S + 300)
    assert "CommandUnanswered" in reasons(await told(world, "home"))
    assert len((await load(world.store, "hub")).links["home"].commands) <= limits.APPLY_TTL_S / limits.APPLY_AGAIN_S + 1


async def _pending(world: World) -> bool:
    return bool((await load(world.store, "hub")).links["home"].commands)


async def test_a_refused_and_a_failed_operation_speak_for_their_connection() -> None:
    op = OperationRow(url="u", action="update", kind=ArmKind.LOCAL_GATEWAY, name="a-lng", started=NOW, not_before=NOW)
    refusal = Refusal(target="localNetworkGateways/a-lng", code="C", message="M", until=NOW)

    def changes(old: StateRow, new: StateRow) -> list[tuple[str | None, Told]]:
        return list(of_state(old, new, lambda kind, name: {"a-lng": "a"}.get(name)))

    failed = changes(StateRow(operation=op), StateRow(refusal=refusal))
    assert [(n, t.reason, t.type) for n, t in failed] == [("a", "OperationFailed", "Warning")]
    refused = changes(StateRow(), StateRow(refusal=refusal))
    assert [(n, t.reason, t.message) for n, t in refused] == [("a", "AzureRefused", "localNetworkGateways/a-lng: C: M")]
    later = op.model_copy(update={"not_before": NOW + timedelta(seconds=10)})
    assert not changes(StateRow(operation=op), StateRow(operation=later)), "it still runs"
    other = op.model_copy(
        update={"url": "v", "started": NOW + timedelta(seconds=1), "kind": ArmKind.GATEWAY, "name": "g"}
    )
    both = changes(StateRow(operation=op), StateRow(operation=other))
    assert [(n, t.reason) for n, t in both] == [("a", "OperationEnded"), (None, "OperationStarted")]


def test_every_reason_is_documented() -> None:
    assert set(table("reference.md", "Events")) == {r.value for r in Reason}


async def test_no_secret_is_told(world: World) -> None:
    await world.joined()
    await world.app.specs.set_psk("home", "NewKey0123456789abcdefghijklmnop")
    await world.run(300)
    events = await told(world)
    assert "KeyChanged" in reasons(events)
    text = "".join(e.model_dump_json() for e in events)
    assert len(world.vault.values()) > 4 and not [s for s in world.vault.values() if s in text]


# how it is stored -----------------------------------------------------------------------------------------------------


async def test_a_stale_writer_leaves_no_event(world: World) -> None:
    await world.joined()
    unit = await load(world.store, "hub")
    world.clock.advance(61)
    mine = await Lease.acquire(world.store, "hub", "me", world.clock.now())
    world.clock.advance(61)
    await Lease.acquire(world.store, "hub", "other", world.clock.now())
    before = world.store.everything()
    unit.links["home"] = unit.links["home"].model_copy(update={"psk_version": "another"})
    with pytest.raises(StoreConflict):
        await save(unit, mine, Scribe(world.services, "hub"))
    assert world.store.everything() == before


def _crowd(world: World, size: int) -> dict[str, LinkRow]:
    def conditions(status: str) -> tuple[Condition, ...]:
        kinds = [f"Kind{n}" for n in range(11)]
        return tuple(
            Condition(type=k, status=status, reason=f"R{status}", message="m", last_transition_time=NOW) for k in kinds
        )

    return {f"home-{n:03}": LinkRow(conditions=conditions("True")) for n in range(size)}


async def _all_turn(world: World, size: int) -> tuple[Any, Lease]:
    """A unit of so many Connections of which every Condition turns at once, with an Incident each."""
    unit = await load(world.store, "hub")
    unit.links = _crowd(world, size)
    unit.stored_links = dict(unit.links)
    for name, link in unit.links.items():
        turned = tuple(c.model_copy(update={"status": "False"}) for c in link.conditions)
        incident = IncidentRow(id=world.services.ulid(), connection=name, finding="tunnel-down", opened=NOW)
        unit.links[name] = link.model_copy(update={"conditions": turned, "incident": incident.id})
        unit.incidents[incident.id] = incident
    unit.state = unit.state.model_copy(update={"public_ip": "203.0.113.1"})
    return unit, await Lease.acquire(world.store, "hub", "me", world.clock.now())


@pytest.mark.parametrize("size", [1, 30, 100])
async def test_a_crowd_is_stored_whole_and_each_with_its_events(world: World, size: int) -> None:
    unit, lease = await _all_turn(world, size)
    before = len(world.store.transactions)
    await save(unit, lease, Scribe(world.services, "hub"))
    sent = world.store.transactions[before:]
    assert all(len(w) <= MAX_TRANSACTION_WRITES and w[0].key == "lease" for _, _, w in sent)
    assert sent[-1][2][-1].key == "state", "the state is the last"
    events = await told(world)
    assert len(events) == size * 12
    for _, _, writes in sent:
        links = {w.key.removeprefix(LINK) for w in writes if w.key.startswith(LINK)}
        assert {w.data["connection"] for w in writes if w.key.startswith(EVENT)} == links, "torn apart"
    await save(unit, lease, Scribe(world.services, "hub"))
    assert len(await told(world)) == size * 12, "told once"


async def test_trouble_of_the_store_in_between_loses_nothing_and_repeats_nothing(world: World) -> None:
    unit, lease = await _all_turn(world, 30)
    sent = 0

    async def fails_once(*_: object) -> None:
        nonlocal sent
        sent += 1
        if sent == 2:
            raise TemporaryError("away", 1.0)

    world.store.before_transact = fails_once
    scribe = Scribe(world.services, "hub")
    with pytest.raises(TemporaryError):
        await save(unit, lease, scribe)
    assert 0 < len(await told(world)) < 30 * 12
    await save(unit, lease, scribe)
    assert Counter(e.connection for e in await told(world)) == Counter(dict.fromkeys(unit.links, 12))
    stored = (await load(world.store, "hub")).links
    assert stored == unit.links and len(stored) == 30


async def test_loading_reads_no_history(world: World) -> None:
    await joins(quick := quick_world())
    await moves(quick)
    rows = await quick.store.query(UNITS, "hub")
    assert [r for r in rows if r.key.startswith(EVENT)] and [r for r in rows if r.key.startswith(CLOSED)]
    read: list[str] = []
    real = quick.store.query

    async def watched(*args: Any, **named: Any) -> Any:
        found = await real(*args, **named)
        read.extend(r.key for r in found)
        return found

    quick.store.query = watched  # type: ignore[method-assign]
    unit = await load(quick.store, "hub")
    assert set(read) == {r.key for r in rows if not r.key.startswith(HISTORY)} and len(unit.links) == 1
    assert unit.incidents == {}
    assert [i.finding for i in await quick.app.specs.incidents("home")] == ["home-address-changed"]


async def test_a_connection_is_forgotten_step_by_step_with_all_its_history(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FORGET_ROWS", 120)
    await world.joined()
    for n in range(5):
        scribe = Scribe(world.services, "hub")
        more = [scribe.write(Told("Old", f"from {FIRST} {n}"), "home") for _ in range(99)]
        await world.store.transact(UNITS, "hub", more)
    incident = IncidentRow(id="0" * 26, connection="home", finding="tunnel-down", opened=NOW, closed=NOW)
    await world.store.transact(UNITS, "hub", [Write(WriteKind.INSERT, incident.key, incident.model_dump(mode="json"))])
    await world.app.specs.delete_connection("home")
    await world.run(400)
    assert await world.app.specs.list_connections() == []
    rows = await world.store.query(UNITS, "hub")
    assert not [r for r in rows if r.key.startswith(CLOSED) or r.data.get("connection") == "home"]
    assert FIRST not in "".join(str(r.data) for r in rows)
    assert await world.store.get(NAMES, "connection", "home") is None


# reading --------------------------------------------------------------------------------------------------------------


async def _some(world: World, chance: random.Random, count: int) -> list[Event]:
    """Newest first, as they were written."""
    made = []
    for _ in range(count):
        world.clock.advance(chance.choice([0, 0, 0.0004, 1, 3600]))
        scribe = Scribe(world.services, "hub")
        writes = [
            scribe.write(Told("Any", "m"), chance.choice([None, "a", "b"])) for _ in range(chance.randrange(1, 4))
        ]
        await world.store.transact(UNITS, "hub", writes)
        made += [Event.model_validate(w.data) for w in writes]
    return sorted(made, key=lambda e: e.id, reverse=True)


@pytest.mark.parametrize("seed", range(6))
async def test_pages_are_the_whole_in_order_whatever_is_added_meanwhile(
    world: World, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr("shared.control.events._BATCH", chance.choice([1, 3, 7, 500]))
    made = await _some(world, chance, 60)
    for connection in (None, "a", "nobody"):
        since = chance.choice([None, chance.choice(made).at])
        asked = Asked(since, chance.randrange(1, 20))
        wanted = [e for e in made if connection in (None, e.connection) and (since is None or e.at >= since)]
        found: list[Event] = []
        while True:
            answer = await page(world.store, "hub", connection, asked)
            assert len(answer.items) <= asked.limit
            found += answer.items
            if answer.next is None:
                break
            assert len(answer.items) == asked.limit and answer.next == answer.items[-1].id
            asked = replace(asked, after=answer.next)
            made = sorted([*await _some(world, chance, 1), *made], key=lambda e: e.id, reverse=True)
        assert [e for e in found if e in wanted] == wanted, "what was there is there once, in order"
        assert len({e.id for e in found}) == len(found)


def test_keys_sort_newest_first_and_behind_everything() -> None:
    ids = [f"01M6{c}" + "0" * 21 for c in "0123456789ABCDEFGHJKMNPQRSTVWXYZ"]
    assert sorted(map(key_of, ids)) == [key_of(i) for i in reversed(ids)]
    assert all(k > "link:zz" for k in map(key_of, ids))
    assert key_at(NOW) > key_at(NOW + timedelta(milliseconds=1)) and key_at(datetime.min.replace(tzinfo=UTC))


def test_a_message_of_pages_is_cut_and_a_gateways_own_holds_no_address(world: World) -> None:
    scribe = Scribe(world.services, "hub")
    assert len(scribe.write(Told("R", "x" * 5000)).data["message"]) == limits.EVENT_CHARS
    assert FIRST not in scribe.write(Told("R", f"taken: {FIRST}.")).data["message"]
    assert FIRST in scribe.write(Told("R", f"taken: {FIRST}."), "home").data["message"]


# what else a step must survive ----------------------------------------------------------------------------------------


async def test_an_enrolment_that_is_gone_marks_its_connection_and_no_other(world: World) -> None:
    await world.joined()
    other = copy.deepcopy(CONNECTION)
    other["metadata"]["name"] = "attic"
    other["spec"] |= {"agent": "attic-fw", "fqdn": "attic.homelink.test"}
    other["spec"]["home"] = {"asn": 65011, "bgpAddress": "192.168.2.1", "prefixes": ["192.168.2.0/24"]}
    world.resolver.answer("attic.homelink.test", SECOND)
    await world.store.transact(NAMES, "agent", [Write(WriteKind.INSERT, "attic-fw", {"agent": "0" * 26})])
    await world.app.specs.put_connection("attic", parse.connection(other))
    await world.app.specs.put_connection("home", parse.connection(changed(CONNECTION, "spec.home.asn", 65012)))
    await world.run(300)
    stored = await world.app.specs.get_connection("attic")
    assert [(c.status, c.reason) for c in stored.conditions if c.type == "AgentConnected"] == [("False", "NotEnrolled")]
    applied = [c.kind for c in world.agent.commands if c.kind is Kind.APPLY]
    assert len(applied) == 2, "the other was served in the same steps"


async def test_an_initiate_that_could_not_be_sent_is_sent_as_soon_as_possible(world: World) -> None:
    await world.joined()
    await world.run(60)
    world.agent.source = SECOND
    world.agent.breaks()
    world.resolver.answer("home.homelink.test", SECOND)
    real, failed = world.queue.send, 0

    async def away(queue: str, *args: Any, **named: Any) -> None:
        nonlocal failed
        if queue.startswith("agent-") and failed < 1:
            failed += 1
            raise TemporaryError("the queue is away", 2.0)
        await real(queue, *args, **named)

    world.queue.send = away  # type: ignore[method-assign]
    await world.until(lambda: _failed(lambda: failed), 300)
    link = (await load(world.store, "hub")).links["home"]
    assert link.pin is not None and (link.last_initiate is None or link.last_initiate < link.pin.since)
    await world.run(15)
    assert [c.kind for c in world.agent.commands].count(Kind.INITIATE) == 1


async def _failed(count: Any) -> bool:
    return bool(count())


async def test_a_pin_from_before_ends_although_the_policy_only_observes(world: World) -> None:
    await world.put(connection=QUICK)
    await world.agent.enrol()
    await world.until(world.ready)
    await world.run(60)
    world.agent.source = SECOND
    world.agent.breaks()
    world.resolver.answer("home.homelink.test", SECOND)

    async def pinned() -> bool:
        return (await load(world.store, "hub")).links["home"].pin is not None and await world.ready()

    await world.until(pinned, 300)
    watching = changed(CONNECTION, "spec.repair", {"policy": "observe", "unpinAfterSeconds": 15})
    await world.app.specs.put_connection("home", parse.connection(watching))
    await world.run(400)
    assert (await load(world.store, "hub")).links["home"].pin is None and "fqdn" in await world.lng()
    assert [c.kind for c in world.agent.commands].count(Kind.INITIATE) == 1
    assert CommandRow.UNANSWERED not in str(await told(world)) and await world.ready()


async def test_since_is_exact_within_a_millisecond(world: World) -> None:
    scribe = Scribe(world.services, "hub")
    first = scribe.write(Told("First", "m"))
    world.clock.advance(0.0004)
    await world.store.transact(UNITS, "hub", [first, scribe.write(Told("Second", "m"))])
    found = await page(world.store, "hub", None, Asked(since=world.clock.now()))
    assert reasons(list(found.items)) == ["Second"]
