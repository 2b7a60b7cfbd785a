"""Whatever is duplicated, reordered, dropped, or killed between any two seam calls: each accepted command takes effect
as if once. Seeded histories with an oracle that knows only which commands were delivered."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.wire.commands import Command, Kind, Target
from tests.agent.fakes import Killed, Rig, desired

MAX_RUNS = 150


@dataclass(frozen=True)
class Step:
    """A command and what happens to it on the way."""

    kind: Kind
    connection: str
    bump: bool  # whether this command is of a new generation
    copies: int  # 0: dropped
    kills: tuple[int, ...]  # the agent dies at the so-many-th seam call after each start
    wait: int
    lose: int


steps = st.builds(
    Step,
    kind=st.sampled_from([Kind.APPLY, Kind.APPLY, Kind.REMOVE, Kind.INITIATE]),
    connection=st.sampled_from(["home", "office"]),
    bump=st.booleans(),
    copies=st.integers(0, 2),
    kills=st.lists(st.integers(1, 60), max_size=2).map(tuple),
    wait=st.sampled_from([0, 0, 7, 40, 130]),
    lose=st.sampled_from([0, 0, 0, 1, 2]),
)


def run_with_kills(rig: Rig, seconds: float, kills: tuple[int, ...]) -> int:
    """Virtual seconds pass; after each kill the agent is started again, as systemd would."""
    end, killed = rig.world.mono + seconds, 0
    left = list(kills)
    while rig.world.mono < end or left:
        rig.world.touches = 0
        rig.world.kill_at = left.pop(0) if left else None
        try:
            rig.run(max(0.0, end - rig.world.mono))
        except Killed:
            killed += 1
        rig.world.kill_at = None
        if rig.world.mono < end or killed:
            restart(rig)
        if not left:
            rig.run(max(0.0, end - rig.world.mono))
            break
    return killed


def restart(rig: Rig) -> None:
    rig.world.mono += 5
    rig.start()


@settings(max_examples=MAX_RUNS, deadline=None)
@given(history=st.lists(steps, min_size=1, max_size=7), order=st.randoms(use_true_random=False))
def test_each_accepted_command_takes_effect_as_if_once(history: list[Step], order: object) -> None:
    rig = Rig()
    rig.firewall.ready |= {"home", "office"}
    generation = {"home": 0, "office": 0}
    issued: list[tuple[Step, Command]] = []
    for number, step in enumerate(history):
        if step.bump or step.kind is Kind.REMOVE or not generation[step.connection]:
            generation[step.connection] += 1
        g = generation[step.connection]
        target = Target(step.connection, f"id-{step.connection}")
        if step.kind is Kind.APPLY:
            wanted = desired(step.connection, mss=1000 + g)
            issued.append((step, rig.control.apply(wanted, generation=g, ready=bool(number % 2))))
        else:
            issued.append((step, rig.control.command(step.kind, target, generation=g)))
    shuffled = list(issued)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    killed = 0
    for step, command in shuffled:
        for _ in range(step.copies):
            rig.control.put(command)
        rig.control.lose_answers = step.lose
        killed += run_with_kills(rig, step.wait, step.kills)
    rig.control.lose_answers = 0
    rig.run(3000)

    delivered = [c for s, c in issued if s.copies]
    for command in delivered:
        assert rig.control.outcome(command) is not None, "a delivered command has no result"
    assert set(rig.control.results) == {c.id for c in delivered}
    assert rig.control.queue == []
    assert rig.files("pending") == rig.files("current") == rig.files("corrupt") == ()
    assert rig.firewall.snapshot is None
    for connection in ("home", "office"):
        check_final(rig, connection, [c for c in delivered if _about(c) == connection], bool(killed))


def _about(command: Command) -> str:
    body = command.body
    return body.connection if isinstance(body, Target) else body.desired.connection


def check_final(rig: Rig, connection: str, delivered: list[Command], killed: bool) -> None:
    declared = [c for c in delivered if c.kind in (Kind.APPLY, Kind.REMOVE)]
    newest = max(declared, key=lambda c: (c.generation, c.seq), default=None)
    installed = rig.firewall.installed.get(connection)
    if newest is None or newest.kind is Kind.REMOVE:
        assert installed is None
    else:
        assert installed is not None
        assert installed.generation == newest.generation
        assert installed.desired.mss == 1000 + newest.generation
        assert rig.control.outcome(newest) == "done"
    done = [c for c in delivered if c.kind is Kind.INITIATE and rig.control.outcome(c) == "done"]
    effects = rig.firewall.initiated.count(connection)
    assert effects >= len(done)
    if not killed:
        assert effects == len(done)


@settings(max_examples=40, deadline=None)
@given(junk=st.lists(st.one_of(st.text(max_size=300), st.binary(max_size=300)), min_size=1, max_size=5))
def test_whatever_lies_in_the_queue_is_kept_and_never_stops_the_agent(junk: list[str | bytes]) -> None:
    rig = Rig()
    for item in junk:
        data = item.encode(errors="replace") if isinstance(item, str) else item
        rig.control.put_raw(base64.b64encode(data).decode())
    good = rig.control.apply(desired())
    rig.control.put(good)
    rig.run(200)
    assert rig.control.queue == []
    assert rig.control.outcome(good) == "done"
    assert 1 <= len(rig.files("corrupt")) <= len(junk)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_damaged_state_directory_is_survived(data: st.DataObject) -> None:
    rig = Rig()
    rig.firewall.ready.add("home")
    rig.control.acknowledge = False
    rig.control.put(rig.control.apply(desired()))
    rig.run(60)
    victim = data.draw(st.sampled_from(sorted(p for p in rig.world.disk if p.startswith("journal/"))))
    rig.world.disk[victim] = data.draw(st.sampled_from([b"", b"{", b"[]", b"null", b'{"command": 3}', b"\xff\xfe"]))
    rig.start()
    again = rig.control.apply(desired(mss=1200), generation=2)
    rig.control.put(again)
    rig.run(120)
    assert rig.control.outcome(again) == "done"
    assert any(name.startswith("journal-") for name in rig.files("corrupt"))
