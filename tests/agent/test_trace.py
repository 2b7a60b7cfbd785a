"""What the agent tells of the trace that a command belongs to: ids in its log, and when the effect was begun."""

from __future__ import annotations

from shared.wire.commands import Kind, Target
from tests.agent.fakes import Rig, desired

TRACE = "0af7651916cd43dd8448eb211c80319c"


def test_the_log_names_the_trace_and_the_result_when_it_was_begun() -> None:
    rig = Rig()
    rig.run(60)
    rig.firewall.ready.add("home")
    command = rig.control.apply(desired(), ready=True, trace=f"00-{TRACE}-b7ad6b7169203331-01")
    issued = rig.world.server_time()
    rig.control.put(command)
    rig.run(120)
    result = rig.control.results[command.id]
    assert result.began is not None and issued <= result.began <= result.at <= rig.world.server_time()
    said = [line for line in rig.world.log if TRACE in line]
    assert [line.split()[1] for line in said] == ["command-accepted", "command-finished"]


def test_a_trace_survives_a_restart_in_the_journal() -> None:
    rig = Rig()
    rig.run(60)
    command = rig.control.apply(desired(), ready=True, trace=f"00-{TRACE}-b7ad6b7169203331-01")
    rig.control.put(command)
    rig.run(40)
    assert command.id not in rig.control.results, "it waits to be confirmed"
    rig.start()
    rig.firewall.ready.add("home")
    rig.run(60)
    assert rig.control.results[command.id].began is None, "the one that began it is gone"
    assert any("command-finished" in line and TRACE in line for line in rig.world.log)


def test_what_was_never_begun_has_no_beginning() -> None:
    rig = Rig()
    rig.run(60)
    late = rig.control.command(Kind.INITIATE, Target("home", "id"), not_after=1)
    rig.control.put(late)
    rig.run(60)
    assert rig.control.outcome(late) == "expired" and rig.control.results[late.id].began is None
