"""charon's words without charon: what is loaded, and how its answers are read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import FirewallBusy
from agent.firewall.linux.charon import Charon, connection, evidence, sa_health, why
from tests.agent.fakes import desired


def test_the_connection_is_what_azure_expects() -> None:
    loaded = connection(desired(), None)
    child = loaded["children"]["homelink-home"]
    assert loaded["proposals"] == ["aes256gcm16-prfsha384-ecp384"]
    assert child["esp_proposals"] == ["aes256gcm16-ecp384"]
    assert (loaded["rekey_time"], loaded["over_time"], loaded["dpd_delay"]) == ("25920s", "2880s", "10s")
    assert (child["life_time"], child["rekey_time"]) == ("27000s", "24300s")
    assert child["dpd_action"] == "restart"
    assert "if_id_in" not in child
    assert loaded["remote"] == {"auth": "psk", "id": "203.0.113.10"}


def test_a_home_that_does_not_initiate_does_not_restart_either() -> None:
    child = connection(replace(desired(), initiates=False), None)["children"]["homelink-home"]
    assert (child["dpd_action"], child["close_action"], child["start_action"]) == ("clear", "none", "none")


def test_xfrm_binds_both_directions_to_its_interface() -> None:
    child = connection(desired(), 77)["children"]["homelink-home"]
    assert (child["if_id_in"], child["if_id_out"]) == ("77", "77")


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("received AUTHENTICATION_FAILED notify error", "AUTHENTICATION_FAILED"),
        ("received NO_PROPOSAL_CHOSEN notify, no CHILD_SA built", "NO_PROPOSAL_CHOSEN"),
        ("tried 1 shared key for '192.168.178.2' - '203.0.113.10', but MAC mismatched", "AUTHENTICATION_FAILED"),
        ("giving up after 5 retransmits", "PEER_NOT_RESPONDING"),
        ("received INVALID_KE_PAYLOAD notify", None),
        ("generating IKE_SA_INIT request 0", None),
    ],
)
def test_charons_reason(message: str, reason: str | None) -> None:
    assert why(["initiating IKE_SA", message, "establishing CHILD_SA failed"]) == reason


def test_an_sa_as_vici_reports_it() -> None:
    raw: dict[str, Any] = {
        "state": b"ESTABLISHED", "remote-host": b"203.0.113.10", "established": b"12", "nat-local": b"yes",
        "child-sas": {
            "homelink-home-1": {"state": b"REKEYED", "bytes-in": b"5", "bytes-out": b"6", "install-time": b"9"},
            "homelink-home-2": {"state": b"INSTALLED", "bytes-in": b"1", "bytes-out": b"1", "install-time": b"1"},
        },
    }  # fmt: skip
    health = sa_health(raw)
    assert (health.ike.state, health.ike.established_s, health.ike.nat_traversal) == ("ESTABLISHED", 12.0, True)
    assert (health.child.installed, health.child.bytes_in, health.child.bytes_out) == (True, 6, 7)


def test_of_two_children_the_newest_tells_its_age_and_what_was_negotiated() -> None:
    old = {"state": b"REKEYED", "uniqueid": b"9", "install-time": b"900", "local-ts": [b"10.0.0.0/8"]}
    new = {"state": b"INSTALLED", "uniqueid": b"10", "install-time": b"3", "local-ts": [b"0.0.0.0/0", b"::/0"]}
    raw: dict[str, Any] = {"state": b"ESTABLISHED", "uniqueid": b"4", "child-sas": {"a-9": old, "a-10": new}}
    assert (sa_health(raw).child.installed_s, sa_health(raw).numbers) == (3.0, (4, 10))
    assert evidence(raw)["child"] == {"state": "INSTALLED", "install-time": "3", "local-ts": "0.0.0.0/0, ::/0"}


@given(
    st.dictionaries(
        st.sampled_from(["state", "remote-host", "established", "child-sas", "nat-any"]),
        st.none() | st.binary(max_size=6) | st.dictionaries(st.text(max_size=3), st.none() | st.binary(max_size=4)),
    )
)
def test_any_answer_of_vici_can_be_read(raw: dict[str, Any]) -> None:
    assert not sa_health(raw).child.installed


def test_a_charon_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(FirewallBusy, match="is strongSwan running"):
        Charon(str(tmp_path / "charon.vici")).version()
