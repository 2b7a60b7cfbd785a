"""The agent's core in virtual time: what becomes of commands, changes and silence. Time is in seconds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.core import PAUSE_FILE
from agent.firewall.contract import Revert
from agent.limits import Timing
from shared.wire.commands import Kind, SecretRef, Target
from tests.agent.fakes import IDENTITY, FakeFiles, Rig, desired


def up_and_confirmed(rig: Rig, *connections: str) -> None:
    for name in connections or ("home",):
        rig.firewall.ready.add(name)
        rig.control.put(rig.control.apply(desired(name, probe="10.0.0.4"), ready=True))
    rig.run(60)
    assert rig.firewall.snapshot is None
    assert set(connections or ("home",)) == rig.firewall.up


def test_a_command_is_applied_confirmed_and_reported() -> None:
    rig = Rig()
    command = rig.control.apply(desired(), generation=4)
    rig.control.put(command)
    rig.run(60)
    assert rig.firewall.installed["home"].psk == "key-of-psk-home-v1"
    assert rig.firewall.read().pending is None
    assert rig.control.outcome(command) == "done"
    assert rig.control.queue == []
    assert rig.files("done")[0].endswith(".acked")
    last = rig.control.beats[-1]
    assert [(t.generation, t.digest, t.confirmed) for t in last.tunnels] == [(4, desired().digest(), True)]
    assert (last.high_seq, last.results, last.refused, last.in_incident) == (command.seq, (), (), False)


def test_idle_is_one_heartbeat_in_thirty_seconds_and_one_poll_in_ten_minutes() -> None:
    rig = Rig()
    rig.run(rig.timing.urgent_for_s)
    beats, polls = len(rig.control.beats), sum("/messages?" in u for u in rig.control.urls)
    assert beats == pytest.approx(rig.timing.urgent_for_s / rig.timing.incident_s, abs=2), "somebody waits at first"
    rig.run(3600)
    assert 119 <= len(rig.control.beats) - beats <= 122
    assert 6 <= sum("/messages?" in u for u in rig.control.urls) - polls <= 8


def test_heartbeat_numbers_grow_with_server_time_and_survive_a_restart() -> None:
    rig = Rig()
    rig.run(60)
    rig.start()
    rig.run(60)
    numbers = [b.beat for b in rig.control.beats]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == pytest.approx(rig.world.server_time() * 1000, abs=31_000)
    assert any("heartbeat-number-behind" in line for line in rig.world.log)


def test_a_queue_url_is_never_logged() -> None:
    rig = Rig()
    up_and_confirmed(rig)
    rig.control.expired_sas = True
    rig.control.queue_down = True
    rig.run(3600)
    assert rig.control.urls
    assert not any("sig=" in line or "SAS" in line or "key-of" in line for line in rig.world.log)


def test_access_to_the_queue_is_renewed_when_it_is_refused() -> None:
    rig = Rig()
    up_and_confirmed(rig)
    rig.control.expired_sas = True
    command = rig.control.command(Kind.DIAGNOSE, Target("home", "id-home"))
    rig.control.put(command)
    rig.run(40)
    assert rig.control.outcome(command) == "done"
    assert rig.control.results[command.id].data == {"owned": True}


def test_an_old_answer_to_a_renewal_is_not_used() -> None:
    rig = Rig()
    rig.control.replay_nonce = "00" * 24
    rig.control.put(rig.control.apply(desired()))
    rig.run(120)
    assert rig.firewall.applied == []
    assert any("another nonce" in text for text in rig.control.beats[-1].refused)
    rig.control.replay_nonce = None
    rig.run(120)
    assert rig.firewall.applied == [("home", 1)]


def test_ten_days_without_control_plane_end_in_one_renewal() -> None:
    rig = Rig(Timing(heartbeat_s=120.0))
    up_and_confirmed(rig)
    rig.control.down = True
    files = len(rig.world.disk)
    rig.run(10 * 86_400)
    assert len(rig.world.disk) == files
    assert len(rig.world.log) < 50
    before, rig.control.down, rig.control.expired_sas = rig.control.sas, False, True
    command = rig.control.apply(desired(mss=1200), generation=2)
    rig.control.put(command)
    rig.run(120)
    assert rig.control.outcome(command) == "done"
    assert rig.control.sas == before + 1


# confirming ----------------------------------------------------------------------------------------------------------


def test_a_tunnel_that_should_be_up_and_is_not_is_rolled_back() -> None:
    rig = Rig()
    command = rig.control.apply(desired(), ready=True)
    rig.control.put(command)
    rig.run(500)
    assert rig.firewall.read().pending is not None
    assert rig.control.outcome(command) is None
    rig.run(200)
    assert rig.firewall.installed == {}
    assert rig.control.outcome(command) == "failed"
    assert "BGP" in rig.control.results[command.id].detail or "no session" in rig.control.results[command.id].detail


def test_an_agent_that_finds_the_dead_man_dead_rolls_back_itself() -> None:
    rig = Rig()
    rig.control.put(rig.control.apply(desired(), ready=True))
    rig.firewall.timer_works = False
    rig.run(700)
    assert rig.firewall.installed == {}


def test_a_change_that_hurts_another_tunnel_is_rolled_back() -> None:
    rig = Rig()
    up_and_confirmed(rig, "home", "office")
    command = rig.control.apply(desired("home", mss=1200), generation=2, ready=True)
    rig.control.put(command)
    rig.firewall.after_apply = lambda: rig.firewall.up.discard("office")
    rig.firewall.ready.discard("office")
    rig.run(700)
    assert rig.firewall.installed["home"].desired.mss == 1350
    assert rig.control.outcome(command) == "failed"


def test_without_control_plane_a_working_tunnel_confirms_itself() -> None:
    rig = Rig()
    rig.firewall.ready.add("home")
    command = rig.control.apply(desired(), ready=True)
    rig.control.put(command)
    rig.firewall.after_apply = rig.control.go_down
    rig.run(700)
    assert "home" in rig.firewall.installed
    assert rig.firewall.read().pending is None


def test_without_control_plane_and_without_tunnel_the_change_goes_back() -> None:
    rig = Rig()
    rig.control.put(rig.control.apply(desired(), ready=False))
    rig.firewall.after_apply = rig.control.go_down
    rig.run(700)
    assert rig.firewall.installed == {}


@pytest.mark.parametrize(("asked", "given"), [(0, 600.0), (10, 420.0), (900, 900.0)])
def test_the_dead_man_has_a_default_and_a_minimum(asked: int, given: float) -> None:
    rig = Rig()
    rig.control.put(rig.control.apply(desired(), revert=asked))
    rig.run(40)
    assert rig.firewall.reverts == [Revert(given, ())]


def test_a_refusal_of_the_firewall_is_the_result() -> None:
    rig = Rig()
    rig.firewall.refuse = "FRR runs BGP with ASN 65001"
    command = rig.control.apply(desired())
    rig.control.put(command)
    rig.run(60)
    assert rig.control.outcome(command) == "failed"
    assert rig.control.results[command.id].detail == "FRR runs BGP with ASN 65001"


# commands ------------------------------------------------------------------------------------------------------------


def test_an_older_generation_never_replaces_a_newer_one() -> None:
    rig = Rig()
    new = rig.control.apply(desired(mss=1300), generation=2, seq=9)
    old = rig.control.apply(desired(mss=1200), generation=1, seq=10)
    rig.control.put(new)
    rig.run(60)
    rig.control.put(old)
    rig.run(60)
    assert rig.firewall.installed["home"].desired.mss == 1300
    assert rig.control.outcome(old) == "superseded"


def test_a_connection_made_anew_is_not_held_back_by_the_old_ones_generation() -> None:
    rig = Rig()
    rig.control.put(rig.control.apply(desired(), generation=7))
    rig.run(60)
    again = rig.control.apply(desired(connection_id="id-anew"), generation=1)
    rig.control.put(again)
    rig.run(60)
    assert rig.control.outcome(again) == "done"
    late = rig.control.command(Kind.REMOVE, Target("home", "id-home"), generation=8, seq=2)
    rig.control.put(late)
    rig.run(60)
    assert "home" in rig.firewall.installed


def test_remove_and_initiate() -> None:
    rig = Rig()
    up_and_confirmed(rig)
    initiate = rig.control.command(Kind.INITIATE, Target("home", "id-home"))
    rig.control.put(initiate)
    rig.run(40)
    assert rig.firewall.initiated == ["home"]
    remove = rig.control.command(Kind.REMOVE, Target("home", "id-home"), generation=2)
    rig.control.put(remove)
    rig.run(40)
    assert rig.firewall.installed == {}
    assert not any(p.startswith("secrets/") for p in rig.world.disk)
    after = rig.control.command(Kind.INITIATE, Target("home", "id-home"))
    rig.control.put(after)
    rig.run(40)
    assert rig.control.outcome(after) == "failed"


def test_a_command_whose_time_is_up_expires_by_server_time_however_wrong_the_clock_is() -> None:
    rig = Rig()
    rig.world.wall_error = -30 * 365 * 86_400.0
    rig.run(5)
    stale = rig.control.apply(desired(), not_after=int(rig.world.server_time()) - 1)
    fresh = rig.control.apply(desired("office"), not_after=int(rig.world.server_time()) + 600)
    rig.control.put(stale)
    rig.control.put(fresh)
    rig.run(60)
    assert (rig.control.outcome(stale), rig.control.outcome(fresh)) == ("expired", "done")
    assert rig.control.beats[-1].clock_skew_s == pytest.approx(rig.world.wall_error)


def test_a_duplicate_is_answered_with_the_stored_result_and_has_no_effect() -> None:
    rig = Rig()
    up_and_confirmed(rig)
    command = rig.control.command(Kind.INITIATE, Target("home", "id-home"))
    rig.control.put(command)
    rig.run(60)
    rig.control.results.clear()
    rig.control.put(command)
    rig.run(60)
    assert rig.firewall.initiated == ["home"]
    assert rig.control.outcome(command) == "done"
    rig.run(120)
    assert rig.control.beats[-1].results == ()


def test_what_cannot_be_accepted_is_kept_reported_and_deleted() -> None:
    rig = Rig()
    good = rig.control.apply(desired())
    rig.control.put(good, key=b"x" * 32)
    rig.control.put(replace(good, audience="01OTHER"))
    rig.control.put(replace(good, controller="another"))
    rig.control.put(rig.control.apply(desired(peer_address="10.0.0.1\n no router bgp 1")))
    rig.control.put_raw("%%% not base64")
    rig.run(60)
    assert rig.control.queue == []
    assert rig.firewall.applied == []
    assert len(rig.files("corrupt")) == 5
    said = [text for b in rig.control.beats for text in b.refused]
    assert len(said) == 5
    for part in ("seal", "agent '01OTHER'", "controller 'another'", "peer_address", "not a sealed message"):
        assert any(part in text for text in said)
    assert rig.control.beats[-1].refused == ()


def test_a_secret_that_is_not_there_fails_the_command_and_an_outage_only_delays_it() -> None:
    rig = Rig()
    missing = rig.control.apply(desired(psk=SecretRef("psk", "v9")))
    rig.control.secrets.clear()
    rig.control.put(missing)
    rig.run(60)
    assert rig.control.outcome(missing) == "failed"
    delayed = rig.control.apply(desired("office"))
    rig.control.secret_status = 503
    rig.control.put(delayed)
    rig.run(60)
    assert rig.control.outcome(delayed) is None
    rig.control.secret_status = 200
    rig.run(60)
    assert rig.control.outcome(delayed) == "done"


def test_no_key_and_no_token_outside_the_secrets_folder() -> None:
    rig = Rig()
    up_and_confirmed(rig)
    rig.run(600)
    holders = [p for p, data in rig.world.disk.items() if b"key-of-" in data]
    assert len(holders) == 1
    assert holders[0].startswith("secrets/")


# the home owner and the host -----------------------------------------------------------------------------------------


def test_paused_means_no_effect_at_all_and_health_all_the_same() -> None:
    rig = Rig()
    up_and_confirmed(rig)
    FakeFiles(rig.world).write(PAUSE_FILE, b"")
    rig.firewall.drifted.add("home")
    rig.firewall.up.clear()
    rig.start()
    applied, started = list(rig.firewall.applied), list(rig.firewall.started)
    commands = [
        rig.control.apply(desired(mss=1200), generation=2),
        rig.control.command(Kind.INITIATE, Target("home", "id-home")),
        rig.control.command(Kind.REMOVE, Target("home", "id-home"), generation=3),
    ]
    looked = rig.control.command(Kind.DIAGNOSE, Target("home", "id-home"), generation=4)
    for command in (*commands, looked):
        rig.control.put(command)
    rig.run(900)
    assert [rig.control.outcome(c) for c in commands] == ["refused"] * 3
    assert rig.control.outcome(looked) == "done", "looking harms nothing"
    assert rig.control.results[commands[0].id].detail == "paused by the home owner"
    assert (rig.firewall.applied, rig.firewall.started, rig.firewall.initiated) == (applied, started, [])
    assert "home" in rig.firewall.installed
    assert rig.control.beats[-1].paused
    assert not rig.control.beats[-1].tunnels[0].child.installed
    FakeFiles(rig.world).delete(PAUSE_FILE)
    rig.run(900)
    assert rig.firewall.drifted == set()
    assert not rig.control.beats[-1].paused


def test_after_a_reboot_the_tunnel_comes_back_without_the_control_plane() -> None:
    rig = Rig()
    up_and_confirmed(rig)
    rig.control.down = True
    rig.firewall.drifted.add("home")
    rig.firewall.up.clear()
    rig.start()
    rig.run(10)
    assert rig.firewall.drifted == set()
    assert rig.firewall.up == {"home"}


def test_a_tunnel_without_any_sa_is_started_again_and_a_live_one_is_left_alone() -> None:
    rig = Rig()
    up_and_confirmed(rig)
    rig.run(600)
    assert rig.firewall.started == []
    rig.firewall.up.clear()
    rig.run(61)
    assert rig.firewall.started
    assert rig.firewall.up == {"home"}


def test_a_full_disk_is_said_and_survived() -> None:
    rig = Rig()
    rig.run(60)
    rig.world.disk_full = True
    command = rig.control.apply(desired())
    rig.control.put(command)
    rig.run(600)
    assert rig.firewall.applied == []
    assert len(rig.control.queue) == 1
    assert any("No space left on device" in text for text in rig.control.beats[-1].refused)
    assert rig.control.beats[-1].firewall.reachable
    rig.world.disk_full = False
    rig.run(900)
    assert rig.control.outcome(command) == "done"


def test_an_unreachable_firewall_is_reported_and_delays_nothing_else() -> None:
    rig = Rig()
    up_and_confirmed(rig)
    rig.firewall.reachable = False
    rig.run(120)
    last = rig.control.beats[-1]
    assert (last.firewall.reachable, last.firewall.error) == (False, "away")


def test_a_defect_in_the_driver_is_a_result_and_not_a_crash_loop() -> None:
    rig = Rig()
    command = rig.control.apply(desired())
    rig.control.put(command)
    rig.firewall.defect = ZeroDivisionError()
    rig.run(120)
    assert rig.control.outcome(command) == "failed"
    assert "ZeroDivisionError" in rig.control.results[command.id].detail
    assert "ZeroDivisionError" in (rig.control.beats[-1].firewall.error or "")


# incidents -----------------------------------------------------------------------------------------------------------


def pace(rig: Rig, seconds: float = 60) -> float:
    before = len(rig.control.beats)
    rig.run(seconds)
    return seconds / max(1, len(rig.control.beats) - before)


@pytest.mark.parametrize("what", ["sa", "probe"])
def test_what_worked_and_stopped_is_an_incident(what: str) -> None:
    rig = Rig()
    up_and_confirmed(rig)
    assert pace(rig) > 20
    rig.firewall.ready.clear()
    if what == "sa":
        rig.firewall.up.clear()
    else:
        rig.firewall.probe_ok = False
    rig.run(31)
    assert rig.control.beats[-1].in_incident
    polls = sum("/messages?" in u for u in rig.control.urls)
    assert pace(rig) < 7
    assert sum("/messages?" in u for u in rig.control.urls) - polls >= 10
    rig.firewall.up.add("home")
    rig.firewall.probe_ok = True
    rig.run(10)
    assert not rig.control.beats[-1].in_incident


def test_what_never_worked_is_no_incident() -> None:
    rig = Rig()
    rig.run(700)  # the agent's own start is long ago
    rig.control.put(rig.control.apply(desired()))
    rig.run(120)
    assert not rig.control.beats[-1].in_incident
    assert pace(rig) < 10, "who sent a change waits for it"
    rig.run(600)
    assert not rig.control.beats[-1].in_incident
    assert pace(rig) > 20, "but not for ever"


def test_a_new_wan_address_is_an_incident_until_the_tunnels_are_whole() -> None:
    rig = Rig()
    up_and_confirmed(rig)
    rig.firewall.wan = "192.168.178.77"
    rig.firewall.up.clear()
    rig.firewall.ready.clear()
    rig.run(35)
    assert rig.control.beats[-1].in_incident
    assert rig.control.beats[-1].firewall.wan_address == "192.168.178.77"
    rig.firewall.up.add("home")
    rig.run(35)
    assert not rig.control.beats[-1].in_incident


def test_silence_of_the_control_plane_quickens_the_pace_for_a_while_only() -> None:
    rig = Rig()
    rig.run(60)
    rig.control.down = True
    rig.run(60)
    before = len(rig.control.urls)
    rig.run(60)
    assert len(rig.control.urls) - before >= 10
    rig.run(3600)
    before = len(rig.control.urls)
    rig.run(60)
    assert len(rig.control.urls) - before <= 6
    rig.control.down = False
    rig.run(60)
    assert rig.control.beats[-1].results == ()
    assert rig.control.beats[-1].agent == IDENTITY.agent


@pytest.mark.parametrize("remove_first", [False, True])
def test_a_session_that_was_removed_on_purpose_need_not_come_back(remove_first: bool) -> None:
    rig = Rig()
    up_and_confirmed(rig)
    rig.firewall.ready.add("office")
    apply = rig.control.apply(desired("office"))
    remove = rig.control.command(Kind.REMOVE, Target("home", "id-home"), generation=2)
    for command in (remove, apply) if remove_first else (apply, remove):
        rig.control.put(command)
    rig.run(1000)
    assert (rig.control.outcome(apply), rig.control.outcome(remove)) == ("done", "done")
    assert set(rig.firewall.installed) == {"office"}


def test_without_server_time_the_queue_is_not_even_asked_for() -> None:
    rig = Rig()
    rig.control.down = True
    rig.run(120)
    assert rig.control.urls
    assert all(url.endswith("/heartbeat") for url in rig.control.urls)


def test_the_end_of_a_change_is_told_with_what_is_true_from_then_on() -> None:
    """The tunnel comes up some beats after the apply: the beat that finds it confirms, and says so itself."""
    rig = Rig()
    rig.control.put(rig.control.apply(desired(), ready=True))
    rig.run(40)
    assert not rig.control.beats[-1].tunnels[0].confirmed, "it waits for Azure's end"
    rig.firewall.ready.add("home")
    rig.firewall.start("home")
    rig.run(6)
    assert rig.firewall.snapshot is None
    assert rig.control.beats[-1].tunnels[0].confirmed and rig.control.beats[-1].results
