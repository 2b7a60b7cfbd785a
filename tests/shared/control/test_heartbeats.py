"""What a heartbeat must prove, what it changes, and whom it wakes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shared.control.agents import AGENT, COMMAND, HEALTH
from shared.control.commands import Commands
from shared.control.heartbeats import Received
from shared.control.services import AGENTS
from shared.errors import NotFound, TemporaryError
from shared.seams import Write, WriteKind
from shared.wire import keys
from shared.wire.commands import Command, Kind, Target
from shared.wire.decode import from_plain, to_plain
from shared.wire.errors import BadSeal, Malformed, WireError
from shared.wire.reports import Heartbeat, HeartbeatAnswer, Result
from shared.wire.seal import seal, unseal

from .faults import Crash
from .world import FIRST, SECOND, World


@pytest.fixture
async def world() -> World:
    world = World()
    await world.joined()
    await world.run(60)
    return world


async def receive(world: World, beat: Heartbeat, source: str = FIRST) -> Received:
    return await world.app.heartbeats.receive(world.agent.id, world.agent.sealed(beat), source)


def opened(world: World, received: Received) -> HeartbeatAnswer:
    key = world.agent.key(keys.Purpose.ANSWER)
    return from_plain(HeartbeatAnswer, unseal(key, keys.Purpose.ANSWER, received.answer))


async def health(world: World) -> dict[str, Any]:
    row = await world.store.get(AGENTS, world.agent.id, HEALTH)
    assert row is not None
    return row.data


async def issued(world: World) -> Command:
    commands = Commands(world.services, world.app.agents)
    return await commands.issue(world.agent.id, Kind.DIAGNOSE, 1, Target("home", "ID"), 120)


async def outcome(world: World, command: Command) -> Any:
    row = await world.store.get(AGENTS, world.agent.id, COMMAND + command.id)
    assert row is not None
    return row.data["outcome"]


def result_of(command: Command, outcome: Any = "done") -> Result:
    return Result(command.id, command.seq, command.kind.value, command.generation, "home", outcome, "detail", 1.0)


async def test_it_is_stored_and_answered_with_server_time(world: World) -> None:
    beat = world.agent.heartbeat()
    received = await receive(world, beat)
    answer = opened(world, received)
    assert received.accepted and not received.moved
    assert (answer.time, answer.beat, answer.source_address) == (world.clock.now().timestamp(), beat.beat, FIRST)
    stored = await health(world)
    assert from_plain(Heartbeat, stored["report"]) == beat and stored["source"] == FIRST


@pytest.mark.parametrize("back", [0, 1])
async def test_one_that_is_not_newer_is_answered_but_changes_nothing(world: World, back: int) -> None:
    beat = world.agent.heartbeat()
    await receive(world, beat)
    before = await health(world)
    world.clock.advance(10)
    old = replace(beat, beat=beat.beat - back, tunnels=(), paused=True)
    received = await receive(world, old, SECOND)
    assert not received.accepted and not received.moved and received.units == ()
    assert opened(world, received).beat == beat.beat, "the last one that was seen"
    assert await health(world) == before


@pytest.mark.parametrize(
    ("purpose", "whose"),
    [
        (keys.Purpose.REPORT, "stranger"),
        (keys.Purpose.RENEW, "own"),
        (keys.Purpose.ANSWER, "own"),
        (keys.Purpose.COMMAND, "own"),
    ],
)
async def test_a_forged_seal_is_refused(world: World, purpose: keys.Purpose, whose: str) -> None:
    before = await health(world)
    key = b"k" * 32 if whose == "stranger" else world.agent.key(purpose)
    text = seal(key, purpose, to_plain(world.agent.heartbeat()))
    with pytest.raises(BadSeal):
        await world.app.heartbeats.receive(world.agent.id, text, SECOND)
    assert await health(world) == before


async def test_any_flipped_character_is_refused(world: World) -> None:
    text = world.agent.sealed(world.agent.heartbeat())
    before = await health(world)
    for at in (0, 10, len(text) // 2, text.index("."), text.index(".") + 1, len(text) - 2):
        other = "A" if text[at] != "A" else "B"
        with pytest.raises(WireError):
            await world.app.heartbeats.receive(world.agent.id, text[:at] + other + text[at + 1 :], SECOND)
    assert await health(world) == before


@pytest.mark.parametrize("wrong", [{"controller": "other"}, {"agent": "01ARZ3NDEKTSV4RRFFQ69G5FAV"}])
async def test_one_meant_for_somebody_else_is_refused(world: World, wrong: dict[str, str]) -> None:
    before = await health(world)
    with pytest.raises(Malformed, match="another"):
        await receive(world, replace(world.agent.heartbeat(), **wrong))  # type: ignore[arg-type]
    assert await health(world) == before


@pytest.mark.parametrize("payload", [{}, {"beat": "x"}, {"agent": 1}])
async def test_one_that_cannot_be_read_says_why(world: World, payload: dict[str, Any]) -> None:
    text = seal(world.agent.key(keys.Purpose.REPORT), keys.Purpose.REPORT, payload)
    with pytest.raises(Malformed, match=r"Heartbeat: .*missing"):
        await world.app.heartbeats.receive(world.agent.id, text, FIRST)


async def test_an_agent_that_was_replaced_is_not_heard_any_more(world: World) -> None:
    old_id, old_beat = world.agent.id, world.agent.sealed(world.agent.heartbeat())
    world.clock.advance(1)
    await world.agent.enrol()
    with pytest.raises(NotFound, match="anew"):
        await world.app.heartbeats.receive(old_id, old_beat, SECOND)


@pytest.mark.parametrize("ahead", [0, 1, 100])
async def test_after_a_backup_the_sequence_goes_on_above_the_agents(world: World, ahead: int) -> None:
    row = await world.store.get(AGENTS, world.agent.id, AGENT)
    assert row is not None
    assert row.data["next_seq"] > 1
    await world.store.transact(AGENTS, world.agent.id, [Write(WriteKind.UPSERT, AGENT, {**row.data, "next_seq": 1})])
    high = 50 + ahead
    received = await receive(world, world.agent.heartbeat(high_seq=high))
    assert opened(world, received).high_seq == high
    assert (await issued(world)).seq == high + 1


async def test_a_mark_below_changes_no_sequence(world: World) -> None:
    first = await issued(world)
    await receive(world, world.agent.heartbeat(high_seq=0))
    assert (await issued(world)).seq == first.seq + 1


async def test_waiting_commands_are_told_until_fetched_or_run_out(world: World) -> None:
    assert not opened(world, await receive(world, world.agent.heartbeat())).commands_waiting
    command = await issued(world)
    answer = opened(world, await receive(world, world.agent.heartbeat()))
    assert answer.commands_waiting and answer.high_seq == command.seq
    fetched = opened(world, await receive(world, world.agent.heartbeat(high_seq=command.seq)))
    assert not fetched.commands_waiting
    world.clock.advance(3601)
    late = opened(world, await receive(world, world.agent.heartbeat(high_seq=0)))
    assert not late.commands_waiting, "nothing of it is left in the queue"


async def test_results_are_recorded_once_and_acknowledged(world: World) -> None:
    command = await issued(world)
    unknown = replace(result_of(command), command_id="01ARZ3NDEKTSV4RRFFQ69G5FAV")
    received = await receive(world, world.agent.heartbeat(results=(result_of(command), unknown)))
    assert set(opened(world, received).acknowledged) == {command.id, unknown.command_id}
    assert await outcome(world, command) == "done"
    await receive(world, world.agent.heartbeat(results=(result_of(command, "failed"),)))
    assert await outcome(world, command) == "done", "the first word stands"


async def test_what_is_acknowledged_is_recorded_even_from_a_repeated_heartbeat(world: World) -> None:
    command = await issued(world)
    beat = world.agent.heartbeat()
    await receive(world, beat)
    received = await receive(world, replace(beat, results=(result_of(command),)))
    assert not received.accepted
    assert (command.id in opened(world, received).acknowledged) is (await outcome(world, command) == "done")


async def test_a_crash_at_any_call_loses_no_result() -> None:
    async def run(world: World, beat: Heartbeat) -> Received:
        world.fault.active, world.fault.calls = True, []
        try:
            return await receive(world, beat)
        finally:
            world.fault.active = False

    async def start() -> tuple[World, Command]:
        world = World()
        await world.joined()
        return world, await issued(world)

    calm, command = await start()
    await run(calm, calm.agent.heartbeat(results=(result_of(command),)))
    assert len(calm.fault.calls) > 5
    for number, _ in enumerate(calm.fault.calls):
        for after in (False, True):
            world, command = await start()
            beat = world.agent.heartbeat(results=(result_of(command),))
            world.fault.kill(number, after)
            with pytest.raises(Crash):
                await run(world, beat)
            world.fault.revive()
            again = await receive(world, beat)  # the same bytes, as a proxy on the way may repeat them
            assert opened(world, again).acknowledged == (command.id,)
            assert await outcome(world, command) == "done"


async def test_another_instance_that_stores_at_the_same_time_means_try_again(world: World) -> None:
    one, two = world.agent.heartbeat(), world.agent.heartbeat()

    async def rival(*_: object) -> None:
        world.store.before_transact = None
        await receive(world, two)

    world.store.before_transact = rival
    with pytest.raises(TemporaryError):
        await receive(world, one)
    assert (await health(world))["beat"] == two.beat


async def quiet(world: World) -> Received:
    return await receive(world, world.agent.heartbeat(tunnels=(world.agent.tunnel,)))


async def test_only_news_wakes_the_units(world: World) -> None:
    tunnel = world.agent.tunnel
    assert tunnel is not None
    await quiet(world)
    assert (await quiet(world)).units == ()
    counters = replace(
        tunnel,
        child=replace(tunnel.child, bytes_in=10**6, installed_s=999.0),
        bgp=replace(tunnel.bgp, uptime_s=999.0),
        ike=replace(tunnel.ike, established_s=999.0),
    )
    assert (await receive(world, world.agent.heartbeat(tunnels=(counters,)))).units == ()
    reordered = replace(tunnel, bgp=replace(tunnel.bgp, received=tuple(reversed(tunnel.bgp.received))))
    assert (await receive(world, world.agent.heartbeat(tunnels=(reordered,)))).units == ()


NEWS: list[tuple[str, Any]] = [
    ("child", lambda t: replace(t, child=replace(t.child, installed=False))),
    ("bgp", lambda t: replace(t, bgp=replace(t.bgp, state="Active"))),
    ("reason", lambda t: replace(t, bgp=replace(t.bgp, last_error="Bad Peer AS"))),
    ("received", lambda t: replace(t, bgp=replace(t.bgp, received=()))),
    ("sent", lambda t: replace(t, bgp=replace(t.bgp, sent=()))),
    ("probe", lambda t: replace(t, probes=tuple(replace(p, ok=False) for p in t.probes))),
    ("digest", lambda t: replace(t, digest="other")),
    ("confirmed", lambda t: replace(t, confirmed=False)),
    ("ike error", lambda t: replace(t, ike_error="AUTHENTICATION_FAILED")),
]


@pytest.mark.parametrize("change", [n[1] for n in NEWS], ids=[n[0] for n in NEWS])
async def test_each_kind_of_news(world: World, change: Any) -> None:
    await quiet(world)
    received = await receive(world, world.agent.heartbeat(tunnels=(change(world.agent.tunnel),)))
    assert received.units == ("hub",)


async def test_other_news(world: World) -> None:
    await quiet(world)
    tunnels = (world.agent.tunnel,)
    command = await issued(world)
    for changes in ({"tunnels": ()}, {"paused": True}, {"in_incident": True}, {"results": (result_of(command),)}):
        await quiet(world)
        beat = world.agent.heartbeat(**{"tunnels": tunnels, **changes})
        assert (await receive(world, beat)).units == ("hub",), changes


async def test_a_new_source_is_urgent_news(world: World) -> None:
    await quiet(world)
    beat = world.agent.heartbeat(tunnels=(world.agent.tunnel,))
    received = await receive(world, beat, SECOND)
    assert received.moved and received.units == ("hub",)
    assert (await health(world))["source"] == SECOND


async def test_the_first_heartbeat_is_news_but_no_move() -> None:
    world = World()
    await world.put()
    await world.agent.enrol()
    received = await receive(world, world.agent.heartbeat())
    assert received.units == ("hub",) and not received.moved
