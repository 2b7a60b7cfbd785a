"""decide: a table of situations, and what must hold in all of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain import limits, repair
from shared.domain.dns import DnsView
from shared.domain.reconnect import Hour
from shared.domain.repair import Act, Attempt, GiveUp, Pin, Rung, Situation, Wait, decide
from shared.domain.spec import RepairSpec

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
OLD, NEW, THIRD = "198.51.100.23", "198.51.100.77", "198.51.100.99"
DOWN = ("no child SA",)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def dns(*authoritative: str, ttl_s: int = 60) -> DnsView:
    return DnsView("home.test", {"a": authoritative, "b": authoritative}, {"r": authoritative}, ttl_s)


UNHEARD = DnsView("home.test", {"a": None, "b": None}, {"r": None}, 0, "SERVFAIL")
HEALTHY = Situation(
    spec=RepairSpec(),
    dns=dns(OLD),
    reported_address=OLD,
    known_address=OLD,
    lacks=(),
    probe_ok=True,
    azure_settled=True,
    pin=None,
    healthy_since=ago(3600),
    agrees_since=None,
    last_initiate=None,
    taken=frozenset(),
    open_since=None,
)
MOVED = replace(HEALTHY, reported_address=NEW, dns=dns(NEW), lacks=DOWN, probe_ok=False, healthy_since=None)
PINNED = replace(MOVED, pin=Pin(NEW, ago(30)))
PROVEN = replace(
    PINNED,
    lacks=(),
    probe_ok=True,
    known_address=NEW,
    last_initiate=ago(20),
    healthy_since=ago(700),
    agrees_since=ago(700),
)

DIALLED = tuple(Attempt(Rung.INITIATE, ago(s), "1") for s in (430, 370, 310))
STUCK = replace(
    PINNED, pin=Pin(NEW, ago(440)), last_initiate=ago(310), attempts=DIALLED, incident="1", open_since=ago(500)
)

UNHEARD_AND_LOST = replace(
    HEALTHY,
    dns=dns(NEW),
    reported_address=None,
    lacks=("no fresh heartbeat",),
    probe_ok=False,
    azure_status="NotConnected",
)
UNHEARD_PIN = replace(UNHEARD_AND_LOST, pin=Pin(NEW, ago(700)), agrees_since=ago(300), azure_status="Connected")

CASES: list[tuple[str, Situation, type, Rung | None]] = [
    ("healthy", HEALTHY, Wait, None),
    ("moved and confirmed", MOVED, Act, Rung.PIN),
    (
        "moved at the provider's hour: at once all the same",
        replace(MOVED, open_since=ago(5), reconnect=Hour(time(12, 0), 5)),
        Act,
        Rung.PIN,
    ),
    (
        "pinned at the provider's hour: dialled at once",
        replace(PINNED, open_since=ago(40), reconnect=Hour(time(12, 0), 5)),
        Act,
        Rung.INITIATE,
    ),
    (
        "down at the provider's hour",
        replace(HEALTHY, lacks=DOWN, probe_ok=False, open_since=ago(100), reconnect=Hour(time(12, 0), 5)),
        Wait,
        None,
    ),
    ("down at another hour", replace(HEALTHY, lacks=DOWN, probe_ok=False, open_since=ago(100)), Act, Rung.INITIATE),
    ("moved, SA and BGP still look alive, no probe asked for", replace(MOVED, lacks=()), Act, Rung.PIN),
    ("moved, but traffic goes", replace(MOVED, lacks=(), probe_ok=True), Wait, None),
    ("moved, DNS lags", replace(MOVED, dns=dns(OLD)), Wait, None),
    ("moved, DNS silent", replace(MOVED, dns=UNHEARD), Wait, None),
    ("moved, two A records", replace(MOVED, dns=dns(NEW, OLD)), Wait, None),
    ("moved, servers differ", replace(MOVED, dns=DnsView("h", {"a": (NEW,), "b": (OLD,)}, {}, 60)), Wait, None),
    ("moved to another home's address", replace(MOVED, taken=frozenset({NEW})), GiveUp, None),
    ("moved, pinning off", replace(MOVED, spec=RepairSpec(pin=False)), Wait, None),
    ("moved, observe", replace(MOVED, spec=RepairSpec(policy="observe")), GiveUp, None),
    ("DNS alone", replace(HEALTHY, dns=dns(NEW)), Wait, None),
    ("DNS alone, and down", replace(HEALTHY, dns=dns(NEW), lacks=DOWN, probe_ok=False), Wait, None),
    (
        "DNS alone, agent silent",
        replace(HEALTHY, dns=dns(NEW), reported_address=None, lacks=("no fresh heartbeat",), probe_ok=False),
        Wait,
        None,
    ),
    ("unheard, Azure has lost it, all DNS servers agree", UNHEARD_AND_LOST, Act, Rung.PIN),
    ("unheard, Azure says nothing", replace(UNHEARD_AND_LOST, azure_status="Unknown"), Wait, None),
    (
        "unheard, a cache says otherwise",
        replace(UNHEARD_AND_LOST, dns=replace(dns(NEW), recursive={"r": (OLD,)})),
        Wait,
        None,
    ),
    ("unheard, of another home's address", replace(UNHEARD_AND_LOST, taken=frozenset({NEW})), Wait, None),
    ("unheard, pinning off", replace(UNHEARD_AND_LOST, spec=RepairSpec(pin=False)), Wait, None),
    ("pinned, unheard, Azure has it", UNHEARD_PIN, Act, Rung.UNPIN),
    ("pinned a moment ago, unheard, Azure has it", replace(UNHEARD_PIN, pin=Pin(NEW, ago(60))), Wait, None),
    (
        "pinned for an hour, unheard",
        replace(UNHEARD_PIN, pin=Pin(NEW, ago(3700)), azure_status="NotConnected"),
        Act,
        Rung.UNPIN,
    ),
    ("never proven", replace(MOVED, known_address=None), Wait, None),
    ("down, same address", replace(HEALTHY, lacks=DOWN, probe_ok=False), Wait, None),
    ("pinned, Azure busy", replace(PINNED, azure_settled=False), Wait, None),
    ("pinned, Azure ready", PINNED, Act, Rung.INITIATE),
    ("pinned, and it works already", replace(PINNED, lacks=(), probe_ok=True), Wait, None),
    ("pinned, initiated a moment ago", replace(PINNED, last_initiate=ago(20)), Wait, None),
    ("pinned, initiated before the pin", replace(PINNED, last_initiate=ago(31)), Act, Rung.INITIATE),
    (
        "pinned, initiated a minute ago",
        replace(PINNED, pin=Pin(NEW, ago(90)), last_initiate=ago(60)),
        Act,
        Rung.INITIATE,
    ),
    ("pinned, dialled in vain: Azure hangs", STUCK, Act, Rung.RESET_CONNECTION),
    (
        "pinned, dialled in vain, anew",
        replace(STUCK, pin=Pin(NEW, ago(410)), attempts=DIALLED[1:] + DIALLED[2:]),
        Wait,
        None,
    ),
    ("pinned, dialled in vain, repair-only", replace(STUCK, spec=RepairSpec(policy="repair-only")), GiveUp, None),
    (
        "pinned, dialled in vain, in maintenance",
        replace(STUCK, spec=RepairSpec(maintenance=("11:00-13:00",))),
        Wait,
        None,
    ),
    ("pinned, and the ends refuse each other", replace(STUCK, mismatch="PSK"), GiveUp, None),
    ("pinned, moved on", replace(PINNED, reported_address=THIRD, dns=dns(THIRD)), Act, Rung.PIN),
    ("pinned, moved back", replace(PINNED, reported_address=OLD, dns=dns(OLD)), Act, Rung.PIN),
    ("pinned, not healthy for long", replace(PROVEN, healthy_since=ago(599)), Wait, None),
    ("pinned, caches old", replace(PROVEN, agrees_since=None), Wait, None),
    ("pinned, caches agree since a moment", replace(PROVEN, agrees_since=ago(59)), Wait, None),
    ("pinned, caches agree for less than a long TTL", replace(PROVEN, dns=dns(NEW, ttl_s=701)), Wait, None),
    ("pinned, unheard, a long TTL", replace(UNHEARD_PIN, dns=dns(NEW, ttl_s=301)), Wait, None),
    ("pinned, all well", PROVEN, Act, Rung.UNPIN),
    ("pinned, all well, observe", replace(PROVEN, spec=RepairSpec(policy="observe")), Act, Rung.UNPIN),
    ("pinned, down, observe", replace(PINNED, lacks=DOWN, spec=RepairSpec(policy="observe")), GiveUp, None),
    (
        "pinned, Azure at work, observe",
        replace(PROVEN, azure_settled=False, spec=RepairSpec(policy="observe")),
        Wait,
        None,
    ),
    ("pinned, all well, pinning switched off since", replace(PROVEN, spec=RepairSpec(pin=False)), Act, Rung.UNPIN),
]


@pytest.mark.parametrize(("situation", "kind", "rung"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_table(situation: Situation, kind: type, rung: Rung | None) -> None:
    decision = decide(situation, NOW)
    assert type(decision) is kind and decision.reason
    assert (decision.rung if isinstance(decision, Act) else None) == rung


def test_a_pin_names_the_address_both_say() -> None:
    assert decide(MOVED, NOW) == Act(Rung.PIN, decide(MOVED, NOW).reason, NEW)


def test_what_is_steady_is_told_by_identity() -> None:
    assert decide(HEALTHY, NOW) is repair.STEADY


def test_the_reason_of_an_unpin_names_the_time_waited() -> None:
    day = replace(PROVEN, spec=RepairSpec(unpin_after_seconds=86400), healthy_since=ago(90000), agrees_since=ago(90000))
    assert "86400 s" in decide(day, NOW).reason


@pytest.mark.parametrize("situation", [replace(MOVED, dns=dns(OLD)), replace(PINNED, azure_settled=False)])
def test_an_old_incident_is_looked_at_less_often(situation: Situation) -> None:
    young, old = (replace(situation, open_since=ago(s)) for s in (limits.WATCH_FOR_S - 1, limits.WATCH_FOR_S))
    paces = [d.seconds for d in (decide(young, NOW), decide(old, NOW)) if isinstance(d, Wait)]
    assert paces == [limits.WATCH_S, limits.SWEEP_S]


ADDRESSES = st.sampled_from([OLD, NEW, THIRD])
ANSWERS = st.none() | st.lists(ADDRESSES, max_size=2).map(tuple)
TIMES = st.none() | st.floats(0, 3600).map(ago)
VIEWS = st.builds(
    lambda a, r, ttl: DnsView("home.test", dict(enumerate_(a)), dict(enumerate_(r)), ttl),
    st.lists(ANSWERS, max_size=3),
    st.lists(ANSWERS, max_size=2),
    st.integers(0, 7200),
)


def enumerate_(answers: list[Any]) -> list[tuple[str, Any]]:
    return [(f"s{i}", a) for i, a in enumerate(answers)]


SITUATIONS = st.builds(
    Situation,
    spec=st.builds(RepairSpec, policy=st.sampled_from(["observe", "full"]), pin=st.booleans()),
    dns=VIEWS,
    reported_address=st.none() | ADDRESSES,
    known_address=st.none() | ADDRESSES,
    lacks=st.sampled_from([(), DOWN, ("no fresh heartbeat",)]),
    probe_ok=st.booleans(),
    azure_settled=st.booleans(),
    pin=st.none() | st.builds(Pin, ADDRESSES, st.floats(0, 3600).map(ago)),
    healthy_since=TIMES,
    agrees_since=TIMES,
    last_initiate=TIMES,
    taken=st.frozensets(ADDRESSES, max_size=2),
    open_since=TIMES,
    incident=st.just("I"),
    azure_status=st.sampled_from([None, "Connected", "NotConnected", "Unknown"]),
    mismatch=st.sampled_from(["", "", "the ends refuse each other"]),
    dead=st.booleans(),
    reconnect=st.sampled_from([None, Hour(time(12, 0), 3)]),
)


@given(SITUATIONS)
@settings(derandomize=True, database=None, deadline=None, max_examples=400)
def test_what_must_hold_in_every_situation(s: Situation) -> None:
    decision = decide(s, NOW)
    assert decide(s, NOW) == decision, "the same situation, the same decision"
    assert decision.reason
    if isinstance(decision, Wait):
        assert 0 < decision.seconds <= 60
    if not isinstance(decision, Act):
        return
    assert s.spec.policy != "observe" or decision.rung is Rung.UNPIN, "what it had done itself is undone, no more"
    if decision.rung is Rung.PIN:
        assert decision.address == s.dns.agreed(), "a witness"
        lost = s.reported_address is None and s.azure_status == "NotConnected" and s.dns.settled_on(decision.address)
        assert decision.address == s.reported_address or lost, "and another one"
        assert decision.address not in s.taken
        assert s.spec.pin and decision.address != (s.pin.address if s.pin else s.known_address)
        assert s.lacks or not s.probe_ok, "a tunnel that works is left alone"
    else:
        assert s.azure_settled and (s.pin is not None or (s.lacks and s.dead and s.known_address))
    if decision.rung is Rung.UNPIN and s.reported_address is not None:
        assert not s.lacks and s.healthy_since and s.agrees_since
    if decision.rung is Rung.INITIATE and s.last_initiate and s.pin and s.last_initiate >= s.pin.since:
        assert NOW - s.last_initiate >= timedelta(seconds=60), "a tunnel is not bounced again and again"


@given(SITUATIONS, VIEWS)
@settings(derandomize=True, database=None, deadline=None, max_examples=150)
def test_dns_alone_moves_nothing(s: Situation, lie: DnsView) -> None:
    """With no fresh heartbeat, and Azure not saying that it lost the home, no answer of DNS makes us act."""
    silent = replace(s, reported_address=None, azure_status="Unknown")
    one, two = decide(silent, NOW), decide(replace(silent, dns=lie), NOW)
    assert not (isinstance(two, Act) and two.rung is Rung.PIN)
    if s.pin is None or NOW - s.pin.since < timedelta(seconds=limits.PIN_UNHEARD_S):
        assert not isinstance(one, Act) and not isinstance(two, Act)
