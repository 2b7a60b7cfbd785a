"""What a firewall answers, read; also when it is damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.errors import FirewallError
from agent.firewall.pfsense import status
from shared.wire.decode import to_plain
from tests.agent import fakes

SA = {
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


def health(said: dict[str, Any]) -> Any:
    parsed = status.parse(said, 100.0)
    return status.tunnel_health(parsed.tunnels[0], parsed, "AUTHENTICATION_FAILED")


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
