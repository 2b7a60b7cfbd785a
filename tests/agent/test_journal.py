"""The journal on its own: durable steps, pruning, and what pruned files still say."""

from __future__ import annotations

import contextlib

import pytest

from agent.journal import Journal
from agent.limits import MAX_CORRUPT, MAX_DONE
from shared.wire.commands import Command, Kind, Target
from shared.wire.reports import Result
from tests.agent.fakes import FakeControl, FakeFiles, Killed, World, desired

ROOT = "journal/a"


class Desk:
    def __init__(self) -> None:
        self.world = World()
        self.files = FakeFiles(self.world)
        self.control = FakeControl(self.world)
        self.journal = Journal(self.files, ROOT)

    def reload(self) -> Journal:
        self.journal = Journal(self.files, ROOT)
        return self.journal

    def initiate(self) -> Command:
        return self.control.command(Kind.INITIATE, Target("home", "id-home"))

    def through(self, command: Command) -> Result:
        result = Result(command.id, command.seq, command.kind.value, command.generation, "home", "done", "", 1.0)
        self.journal.accept(command)
        self.journal.begin(command)
        self.journal.finish(command, result)
        return result

    def folder(self, name: str) -> tuple[str, ...]:
        return self.files.names(f"{ROOT}/{name}")


def test_a_command_is_one_file_that_moves() -> None:
    desk = Desk()
    command = desk.initiate()
    desk.journal.accept(command)
    assert (len(desk.folder("pending")), desk.folder("current"), desk.folder("done")) == (1, (), ())
    desk.journal.begin(command)
    assert (desk.folder("pending"), len(desk.folder("current")), desk.folder("done")) == ((), 1, ())
    assert desk.reload().current()[0].command == command
    desk.journal.finish(command, Result(command.id, 1, "initiate", 1, "home", "done", "", 1.0))
    assert (desk.folder("pending"), desk.folder("current"), len(desk.folder("done"))) == ((), (), 1)
    assert desk.reload().unreported()[0].command_id == command.id
    desk.journal.acknowledge((command.id, "never heard of"))
    assert desk.reload().unreported() == ()


@pytest.mark.parametrize("at", range(1, 12))
def test_a_kill_anywhere_leaves_the_command_in_one_state(at: int) -> None:
    desk = Desk()
    command = desk.initiate()
    desk.world.kill_at = at
    with contextlib.suppress(Killed):
        desk.through(command)
    desk.world.kill_at = None
    journal = desk.reload()
    states = [
        command in journal.pending(),
        command in [b.command for b in journal.current()],
        bool(journal.unreported()),
    ]
    assert sum(states) == (1 if journal.knows(command.id) else 0)
    assert len(desk.folder("pending")) + len(desk.folder("current")) + len(desk.folder("done")) <= 1


def test_done_is_bounded_and_the_marks_outlive_what_was_pruned() -> None:
    desk = Desk()
    first = desk.initiate()
    desk.through(first)
    for _ in range(MAX_DONE + 20):
        desk.through(desk.initiate())
    desk.journal.acknowledge(tuple(r.command_id for r in desk.journal.unreported()))
    assert len(desk.folder("done")) == MAX_DONE
    journal = desk.reload()
    assert journal.high_seq == MAX_DONE + 21
    assert not journal.knows(first.id)
    assert journal.superseded(first)


def test_unacknowledged_results_are_never_pruned() -> None:
    desk = Desk()
    for _ in range(MAX_DONE + 20):
        desk.through(desk.initiate())
    desk.journal.acknowledge(())
    assert len(desk.reload().unreported()) == MAX_DONE + 20


def test_the_newest_of_a_purpose_is_never_pruned_so_its_duplicate_has_its_result() -> None:
    desk = Desk()
    apply = desk.control.apply(desired())
    desk.through(apply)
    for _ in range(MAX_DONE + 20):
        desk.through(desk.initiate())
    desk.journal.acknowledge(tuple(r.command_id for r in desk.journal.unreported()))
    journal = desk.reload()
    assert journal.knows(apply.id)
    journal.accept(apply)
    assert journal.pending() == ()
    assert [r.command_id for r in journal.unreported()] == [apply.id]


def test_refused_messages_are_bounded_and_told_once() -> None:
    desk = Desk()
    for i in range(MAX_CORRUPT + 10):
        desk.journal.refuse(f"message {i}", f"reason {i}")
    desk.journal.refuse("message 70", "reason 70")
    assert len(desk.folder("corrupt")) == MAX_CORRUPT
    told = desk.journal.refusals()
    desk.journal.refusals_told(told[:3])
    assert set(desk.reload().refusals()) == set(told[3:])
