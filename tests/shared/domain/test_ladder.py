"""The ladder: a table of situations, and what must hold in all of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain import limits
from shared.domain.ladder import LADDER, Act, Attempt, Down, GiveUp, Rung, Wait, climb, in_maintenance
from shared.domain.reconnect import Hour
from shared.domain.spec import RepairSpec

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def tried(*rungs_and_ages: tuple[Rung, float], incident: str = "I") -> tuple[Attempt, ...]:
    return tuple(Attempt(rung, ago(age), incident) for rung, age in rungs_and_ages)


DOWN = Down(
    spec=RepairSpec(),
    incident="I",
    since=ago(100),
    lacks=("no child SA",),
    mismatch="",
    dead=True,
    connected=False,
    heard=True,
    azure_settled=True,
    attempts=(),
    working=(),
)
JUST_NOW = tried((Rung.INITIATE, 20), incident="J")
TWICE = tried((Rung.INITIATE, 500), (Rung.INITIATE, 300))
LONG = replace(DOWN, since=ago(600), attempts=TWICE)
ONE_RESET = (*tried((Rung.INITIATE, 3000), (Rung.INITIATE, 2800)), *tried((Rung.RESET_CONNECTION, 1500)))
HOURS = replace(DOWN, since=ago(3100), attempts=ONE_RESET)
ALL = (*ONE_RESET, *tried((Rung.RESET_GATEWAY, 6000), (Rung.RESET_GATEWAY, 2800)))

NIGHTLY = replace(DOWN, reconnect=Hour(time(12, 0), 5))

CASES: list[tuple[str, Down, type, Rung | None]] = [
    ("just now", replace(DOWN, since=ago(30)), Wait, None),
    ("after DPD and a planned failover", DOWN, Act, Rung.INITIATE),
    ("the provider's hour: the line may be dialling", NIGHTLY, Wait, None),
    ("the provider's hour, and the line has dialled", replace(NIGHTLY, since=ago(280)), Act, Rung.INITIATE),
    (
        "the provider's hour, dialled twice in vain, the router perhaps still at it",
        replace(LONG, reconnect=NIGHTLY.reconnect, since=ago(590)),
        Wait,
        None,
    ),
    (
        "the provider's hour, dialled twice in vain",
        replace(LONG, reconnect=NIGHTLY.reconnect, since=ago(610)),
        Act,
        Rung.RESET_CONNECTION,
    ),
    ("the provider's hour is another", replace(DOWN, reconnect=Hour(time(15, 0), 5)), Act, Rung.INITIATE),
    ("initiated a moment ago", replace(DOWN, attempts=tried((Rung.INITIATE, 20))), Wait, None),
    (
        "initiated in another Incident",
        replace(DOWN, attempts=tried((Rung.INITIATE, 20), incident="J")),
        Act,
        Rung.INITIATE,
    ),
    ("two initiates did not help", LONG, Act, Rung.RESET_CONNECTION),
    ("the second a moment ago", replace(LONG, attempts=tried((Rung.INITIATE, 300), (Rung.INITIATE, 20))), Wait, None),
    ("repair-only", replace(LONG, spec=RepairSpec(policy="repair-only")), GiveUp, None),
    ("the home is silent", replace(LONG, heard=False), Wait, None),
    ("a mismatch", replace(LONG, mismatch="the ends refuse each other"), GiveUp, None),
    ("only the probe fails", replace(LONG, dead=False, lacks=("the probe fails",)), Wait, None),
    ("Azure says that it came up a moment ago", replace(LONG, connected=True), Wait, None),
    ("Azure says so for hours", replace(LONG, connected=True, since=ago(7200)), Act, Rung.RESET_CONNECTION),
    ("Azure is at work", replace(LONG, azure_settled=False), Wait, None),
    ("a reset of the connection did not help", HOURS, Act, Rung.RESET_GATEWAY),
    ("somebody else works", replace(HOURS, working=("cabin",)), GiveUp, None),
    (
        "somebody else works, with consent",
        replace(HOURS, working=("cabin",), spec=RepairSpec(gateway_reset="always")),
        Act,
        Rung.RESET_GATEWAY,
    ),
    ("never the gateway", replace(HOURS, spec=RepairSpec(gateway_reset="never")), GiveUp, None),
    (
        "another Incident had the gateway reset since",
        replace(HOURS, attempts=(*ONE_RESET, *tried((Rung.RESET_GATEWAY, 100), incident="J"))),
        Wait,
        None,
    ),
    ("everything was tried", replace(HOURS, since=ago(9000), attempts=ALL), GiveUp, None),
    (
        "three resets of the connection today, in other Incidents",
        replace(LONG, attempts=(*TWICE, *tried(*[(Rung.RESET_CONNECTION, 9000)] * 3, incident="J"))),
        GiveUp,
        None,
    ),
]


@pytest.mark.parametrize(("down", "kind", "rung"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_each_situation(down: Down, kind: type, rung: Rung | None) -> None:
    found = climb(down, NOW)
    assert isinstance(found, kind), found
    assert found.reason and (rung is None or (isinstance(found, Act) and found.rung is rung))
    if isinstance(found, Wait):
        assert 0 < found.seconds <= limits.SWEEP_S


attempts = st.lists(
    st.builds(
        Attempt,
        st.sampled_from([s.rung for s in LADDER]),
        st.integers(0, 100_000).map(ago),
        st.sampled_from(["I", "J"]),
    ),
    max_size=12,
).map(tuple)
downs = st.builds(
    Down,
    spec=st.builds(
        RepairSpec,
        policy=st.sampled_from(["repair-only", "full"]),
        gateway_reset=st.sampled_from(["never", "whenAllDown", "always"]),
    ),
    incident=st.just("I"),
    since=st.integers(0, 20_000).map(ago),
    lacks=st.just(("no child SA",)),
    mismatch=st.sampled_from(["", "", "", "the ends refuse each other"]),
    dead=st.sampled_from([True, True, True, False]),
    connected=st.sampled_from([False, False, True]),
    heard=st.sampled_from([True, True, True, False]),
    azure_settled=st.sampled_from([True, True, True, False]),
    attempts=attempts,
    working=st.sampled_from([(), (), ("cabin",)]),
    reconnect=st.sampled_from([None, Hour(time(12, 0), 3), Hour(time(9, 0), 7)]),
)


@given(downs)
@settings(max_examples=500, deadline=None)
def test_what_must_hold_in_all_of_them(d: Down) -> None:
    found = climb(d, NOW)
    if not isinstance(found, Act):
        return
    step = next(s for s in LADDER if s.rung is found.rung)
    today = [a for a in d.attempts if a.rung is found.rung and a.at > NOW - timedelta(days=1)]
    assert len(today) < step.a_day, "never more than the budget"
    assert all(NOW - a.at >= timedelta(seconds=step.cool_s) for a in today if a.incident == "I"), "never again at once"
    redials = limits.RECONNECT_WAIT_S if d.reconnect and d.reconnect.holds(d.since) else 0
    assert NOW - d.since >= timedelta(seconds=step.after_s + redials)
    assert d.heard and d.dead and d.azure_settled and not d.mismatch
    if found.rung is not Rung.INITIATE:
        assert d.spec.policy == "full" and Rung.INITIATE in [a.rung for a in d.attempts]
    if found.rung is Rung.RESET_GATEWAY:
        assert d.spec.gateway_reset == "always" or (d.spec.gateway_reset == "whenAllDown" and not d.working)


def test_a_tunnel_that_stays_down_climbs_to_the_top_and_no_further() -> None:
    now, d, acts = ago(0), replace(DOWN, since=NOW), []
    while now < NOW + timedelta(hours=6):
        found = climb(d, now)
        if isinstance(found, Act):
            acts.append(((now - NOW).total_seconds(), found.rung))
            d = replace(d, attempts=(*d.attempts, Attempt(found.rung, now, "I")))
        now += timedelta(seconds=found.seconds if isinstance(found, Wait) else 60)
    assert [r for _, r in acts] == [Rung.INITIATE] * 2 + [Rung.RESET_CONNECTION] + [Rung.RESET_GATEWAY] * 2
    assert acts[0][0] >= limits.INITIATE_AFTER_S and acts[2][0] >= limits.RESET_CONNECTION_AFTER_S


def test_why_it_waits_at_the_providers_hour_is_told() -> None:
    assert "the provider cuts the line at about 12:00 UTC" in climb(NIGHTLY, NOW).reason
    elsewhere = climb(replace(DOWN, since=ago(30), reconnect=Hour(time(15, 0), 5)), NOW)
    assert "provider" not in elsewhere.reason


@pytest.mark.parametrize(
    ("window", "within"),
    [
        ("11:00-13:00", True),
        ("12:00-12:01", True),
        ("11:00-12:00", False),
        ("23:00-12:01", True),
        ("23:00-01:00", False),
    ],
)
def test_maintenance_windows(window: str, within: bool) -> None:
    assert bool(in_maintenance(RepairSpec(maintenance=(window,)), NOW)) is within
