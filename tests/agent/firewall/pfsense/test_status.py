"""What a firewall answers, read; also when it is damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.errors import FirewallError
from agent.firewall.linux.notified import Notified
from agent.firewall.linux.rekeys import Rekeys
from agent.firewall.pfsense import status
from agent.firewall.pfsense.box import Box
from agent.firewall.pfsense.driver import PfSense
from agent.seams import Clock, Random
from shared.wire.decode import to_plain
from shared.wire.reports import TunnelHealth
from tests.agent import fakes

SA: dict[str, Any] = {
    "con-id": "con1",
    "state": "ESTABLISHED",
    "remote-host": "203.0.113.10",
    "established": "42",
    "nat-any": "yes",
    "child-sas": [{"name": "con1", "state": "INSTALLED", "bytes-in": "7", "bytes-out": "8", "install-time": "40"}],
}


def answer(**changes: Any) -> dict[str, Any]:
    one = {"desired": to_plain(fakes.desired()), "generation": 3, "wanted": {}, "drift": [], "con": "con1"}
    return {"connections": {"home": one}, "unapplied": False, "pending": None, "sas": [SA], **changes}


def health(said: dict[str, Any], rekeys: Rekeys | None = None, notified: Notified | None = None) -> TunnelHealth:
    parsed = status.parse(said, 100.0)
    memory = rekeys or Rekeys(), notified or Notified()
    return status.tunnel_health(parsed.tunnels[0], parsed, "AUTHENTICATION_FAILED", *memory)


def test_the_best_of_two_sas_counts() -> None:
    rekeying = {"con-id": "con1", "state": "CONNECTING", "child-sas": []}
    t = health(answer(sas=[rekeying, SA, {**SA, "con-id": "con2", "remote-host": "198.51.100.1"}]))
    assert (t.ike.remote_address, t.ike.established_s, t.child.bytes_in, t.child.bytes_out) == (
        "203.0.113.10",
        42,
        7,
        8,
    )
    assert t.ike_error is None


def test_without_an_sa_the_last_reason_is_told() -> None:
    t = health(answer(sas=None))
    assert (t.ike.state, t.child.installed, t.ike_error) == ("NONE", False, "AUTHENTICATION_FAILED")


def test_rekeyings_are_counted_and_the_newest_sa_counts() -> None:
    rekeys = Rekeys()

    def sa(ike: str, child: str, established: str = "42") -> dict[str, Any]:
        (one,) = SA["child-sas"]
        return {**SA, "uniqueid": ike, "established": established, "child-sas": [{**one, "uniqueid": child}]}

    def counts(*sas: dict[str, Any]) -> tuple[int | None, int | None]:
        t = health(answer(sas=list(sas)), rekeys)
        return t.ike.rekeys, t.child.rekeys

    assert counts(sa("1", "1")) == (0, 0)
    assert counts(sa("1", "2")) == (0, 1)
    assert counts(sa("1", "2"), sa("2", "2")) == (1, 1)
    assert health(answer(sas=[sa("1", "2"), sa("2", "2", "3")]), rekeys).ike.established_s == 3
    assert counts(sa("3", "3")) == (0, 0)  # another tunnel
    assert counts() == (None, None)
    assert counts(sa("3", "4")) == (0, 0)  # it was gone in between


def test_a_lasting_notification_is_remembered_until_a_session_stands() -> None:
    """As the Linux driver does: bgpd names a wrong AS for 10 s only."""
    notified, peer = Notified(), fakes.desired().bgp.peer_address

    def hears(state: str, **reason: str) -> str | None:
        said = answer()
        said["connections"]["home"]["bgp"] = json.dumps({peer: {"bgpState": state, **reason}})
        return health(said, notified=notified).bgp.last_error

    waiting = {"lastResetDueTo": "Waiting for peer OPEN"}
    assert hears("Active", **waiting) == "Waiting for peer OPEN"
    assert hears("Idle", lastNotificationReason="OPEN Message Error/Bad Peer AS") == "OPEN Message Error/Bad Peer AS"
    assert hears("Active", **waiting) == "OPEN Message Error/Bad Peer AS"
    assert hears("Established") is None
    assert hears("Active", **waiting) == "Waiting for peer OPEN"


class Answers(Box):
    """A firewall that answers each action with what is set for it."""

    def __init__(self, clock: Clock, random: Random) -> None:
        super().__init__([], clock, random)
        self.said: dict[str, dict[str, Any]] = {"key": {"n": "f" * 512, "e": "10001"}}

    def call(self, action: str, request: dict[str, Any], timeout_s: float = 0) -> dict[str, Any]:
        return self.said[action]


def test_a_neighbour_that_is_configured_anew_is_heard_anew() -> None:
    """What bgpd said of the old one is no more true; a change of something else leaves it as it is."""
    clock, random, d = fakes.FakeClock(fakes.World()), fakes.FakeRandom(), fakes.desired()
    box = Answers(clock, random)
    driver = PfSense(box, "wan", False, clock, random)

    def hears(reason: str) -> str | None:
        said = answer()
        neighbour = {"bgpState": "Idle", "lastNotificationReason": reason}
        said["connections"]["home"]["bgp"] = json.dumps({d.bgp.peer_address: neighbour})
        box.said["status"] = said
        return driver.health().tunnels[0].bgp.last_error

    for changed, then in (([], "OPEN Message Error/Bad Peer AS"), (["filter", "frr"], "Cease/Connection Rejected")):
        hears("OPEN Message Error/Bad Peer AS")
        box.said["apply"] = {"changed": changed}
        driver.apply(d, 1, "key", None)
        assert hears("Cease/Connection Rejected") == then


def test_a_session_without_policy_is_no_health() -> None:
    path = Path(__file__).parents[5] / "shared" / "data" / "pfsense" / "transcripts" / "frr-8.4-show-bgp-summary.json"
    if not path.exists():
        pytest.skip("the recorded data are not here")
    assert status.bgp_health("10.0.0.1", "", path.read_text()).last_error == status.POLICY
    of_family = json.dumps(json.loads(path.read_text())["ipv4Unicast"])
    assert status.bgp_health("10.0.0.1", "", of_family).last_error == status.POLICY
    assert status.bgp_health("10.0.0.2", "", of_family).last_error is None


@pytest.mark.parametrize("summary", ["", "[]", "{", '{"peers": []}', '{"ipv4Unicast": 1}'])
def test_a_summary_of_another_form_is_no_error(summary: str) -> None:
    assert status.bgp_health("10.0.0.1", "% error", summary).state == "NONE"


def test_after_a_boot_the_time_is_up() -> None:
    pending = {"connections": ["home"], "up_before": ["b"], "left_s": None}
    parsed = status.parse(answer(pending=pending), 100.0)
    assert parsed.pending is not None
    assert (parsed.pending.deadline, parsed.pending.up_before) == (float("-inf"), ("b",))
    later = status.parse(answer(pending={**pending, "left_s": 50.5}), 100.0)
    assert later.pending is not None
    assert later.pending.deadline == 150.5
    assert not later.state().tunnels[0].confirmed


@pytest.mark.parametrize(
    "change", [{"desired": {}}, {"generation": "x"}, {"drift": 5}, {"wanted": None, "desired": None}]
)
def test_a_damaged_record_is_said_to_be_one(change: dict[str, Any]) -> None:
    said = answer()
    said["connections"]["home"].update(change)
    with pytest.raises(FirewallError, match="Connection home is damaged"):
        status.parse(said, 0.0)


def test_no_connection_is_no_error() -> None:
    assert status.parse({"connections": []}, 0.0).state().tunnels == ()
