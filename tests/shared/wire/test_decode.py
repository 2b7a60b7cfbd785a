"""The decoder: everything wrong at once, by path; nothing crashes it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.wire.commands import Apply, Command, DesiredTunnel, parse_command
from shared.wire.decode import MAX_ITEMS, MAX_TEXT, from_plain, to_plain
from shared.wire.errors import Malformed
from shared.wire.reports import EnrolAnswer, EnrolRequest, Heartbeat, HeartbeatAnswer, QueueGrant, Result, SecretGrant
from tests.agent.fakes import Rig, desired

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
TYPES = [DesiredTunnel, Apply, Heartbeat, HeartbeatAnswer, QueueGrant, SecretGrant, EnrolRequest, EnrolAnswer, Result]


def real_heartbeat() -> Heartbeat:
    rig = Rig()
    rig.firewall.ready.add("home")
    rig.control.acknowledge = False
    rig.control.put(rig.control.apply(desired(probe="10.0.0.4"), ready=True))
    rig.control.put_raw("junk")
    rig.run(120)
    return next(b for b in reversed(rig.control.beats) if b.tunnels and b.results)


def test_a_real_heartbeat_survives_json() -> None:
    beat = real_heartbeat()
    assert from_plain(Heartbeat, json.loads(json.dumps(to_plain(beat)))) == beat


@given(st.sampled_from(TYPES), json_values, st.booleans())
def test_any_json_is_accepted_or_malformed(cls: type[Any], data: object, strict: bool) -> None:
    with contextlib.suppress(Malformed):
        from_plain(cls, data, strict=strict)


@given(st.data())
def test_one_replaced_value_in_a_good_document_never_crashes(data: st.DataObject) -> None:
    plain: Any = to_plain(desired())
    path = plain
    while True:
        key = data.draw(st.sampled_from(sorted(path)))
        if isinstance(path[key], dict) and data.draw(st.booleans()):
            path = path[key]
            continue
        path[key] = data.draw(json_values)
        break
    try:
        again = from_plain(DesiredTunnel, plain, strict=True)
        assert to_plain(again) == plain
    except Malformed as e:
        assert f"{key}" in str(e) or "$" in str(e)


def test_every_error_is_named_at_once() -> None:
    plain = to_plain(desired())
    plain["mss"], plain["bgp"]["local_asn"], plain["extra"] = "big", True, 1
    plain["ike"]["encryption"] = "DES3"
    del plain["peer_id"]
    plain["transit"]["mode"] = "magic"
    with pytest.raises(Malformed) as caught:
        from_plain(DesiredTunnel, plain, strict=True)
    said = str(caught.value)
    for part in (
        "$.mss: expected int, got str",
        "$.bgp.local_asn: expected int, got bool",
        "$.extra: not known to this version",
        "'DES3' is not one of",
        "$.peer_id: missing",
        "$.transit.mode: expected one of",
    ):
        assert part in said


def test_a_reader_of_reports_ignores_what_it_does_not_know() -> None:
    plain = to_plain(HeartbeatAnswer(1.0, 2, 3, False, (), "198.51.100.23"))
    assert from_plain(HeartbeatAnswer, {**plain, "news": 1}).beat == 2
    with pytest.raises(Malformed, match="news"):
        from_plain(HeartbeatAnswer, {**plain, "news": 1}, strict=True)


@dataclasses.dataclass(frozen=True)
class _Sample:
    text: str
    number: float
    count: int
    words: tuple[str, ...]
    mode: Literal["a", "b"]


@pytest.mark.parametrize(
    "change",
    [
        {"text": "x" * (MAX_TEXT + 1)},
        {"number": float("nan")},
        {"number": float("inf")},
        {"number": 10**400},
        {"count": 2**63},
        {"count": 1.0},
        {"words": ["a"] * (MAX_ITEMS + 1)},
        {"words": "abc"},
        {"mode": ["a"]},
    ],
)
def test_bounds(change: dict[str, object]) -> None:
    good = {"text": "x", "number": 1, "count": 1, "words": ["a"], "mode": "a"}
    assert from_plain(_Sample, good) == _Sample("x", 1.0, 1, ("a",), "a")
    with pytest.raises(Malformed):
        from_plain(_Sample, {**good, **change})


def test_no_secret_in_a_repr() -> None:
    for value in (
        QueueGrant("n", 1.0, "https://q/?sig=hidden", 2.0),
        SecretGrant("n", 1.0, "a", "b", "hidden"),
        EnrolRequest("hidden", "n", "o", "v"),
        EnrolAnswer("a", "c", 1.0, "hidden"),
    ):
        assert "hidden" not in repr(value)


def commands() -> list[Command]:
    rig = Rig()
    return [rig.control.apply(desired())]


def test_a_command_round_trips_and_its_version_is_checked() -> None:
    (command,) = commands()
    plain = json.loads(json.dumps(command.to_payload()))
    assert parse_command(plain) == command
    with pytest.raises(Malformed, match="version 2"):
        parse_command({**plain, "v": 2})
    with pytest.raises(Malformed, match="kind"):
        parse_command({**plain, "kind": "shell"})
    with pytest.raises(Malformed, match="surprise"):
        parse_command({**plain, "body": {**plain["body"], "surprise": 1}})
    with pytest.raises(Malformed):
        parse_command({**plain, "kind": "remove"})


def test_a_digest_is_of_the_content() -> None:
    assert desired().digest() == desired().digest()
    assert desired().digest() != desired(mss=1300).digest()
