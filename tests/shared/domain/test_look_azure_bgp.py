"""What Azure's gateway says of BGP, against the home's own words: found where it is so, and only there."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.domain.bgp import PeerState
from shared.domain.both_ends import Row
from shared.domain.findings import findings
from shared.domain.witnesses import Witnesses
from shared.wire.reports import BgpHealth
from tests.shared.domain import situations as at

HERE, THERE = ("10.0.0.0/16",), ("192.168.1.0/24",)


def codes(s: Witnesses) -> list[str]:
    return [f.code for f in findings(s)]


def said(s: Witnesses, code: str) -> list[str]:
    [found] = [f for f in findings(s) if f.code == code]
    return [e.what for e in found.evidence if e.witness == "azure-bgp"]


def row(s: Witnesses, name: str) -> Row:
    return next(r for r in s.rows if r.field == name)


def test_both_views_stand_side_by_side() -> None:
    state, asn, address = (row(at.FINE, f"bgp.{x}") for x in ("state", "homeAsn", "homeAddress"))
    assert (state.azure, state.frr, state.differs) == ("Connected", "Established", False)
    assert (asn.azure, asn.desired, address.azure, address.desired) == (65010, 65010, "192.168.1.1", "192.168.1.1")
    learned, announced = row(at.FINE, "bgp.learnedByAzure"), row(at.FINE, "bgp.announcedByAzure")
    assert (learned.azure, learned.frr, announced.azure, announced.frr) == ([*THERE], [*THERE], [*HERE], [*HERE])
    assert not any(r.differs for r in at.FINE.rows)


def test_what_comes_back_to_the_home_is_no_difference() -> None:
    echoed = row(at.with_azure_bgp(advertised=(*HERE, *THERE)), "bgp.announcedByAzure")
    assert (echoed.azure, echoed.differs) == ([*HERE], False)
    more = row(at.with_azure_bgp(advertised=(*HERE, "172.16.0.0/16")), "bgp.announcedByAzure")
    assert (more.differs, more.change) == (True, None)


def test_without_a_session_azure_has_nobodys_routes() -> None:
    down = (at.PEER.model_copy(update={"state": PeerState.CONNECTING, "connected_duration_s": None}),)
    s = at.with_azure_bgp(at.bgp(), peers=down, learned=("192.168.7.0/24",), advertised=())
    assert (row(s, "bgp.state").azure, row(s, "bgp.state").differs) == ("Connecting", False)
    assert not [r for r in s.rows if r.field in ("bgp.learnedByAzure", "bgp.announcedByAzure")]
    assert not {"azure-lacks-prefixes", "prefix-leaked", "bgp-half-open"} & set(codes(s))
    assert said(s, "routes-incomplete") == []


def test_a_filter_at_home_is_told_apart_from_one_elsewhere() -> None:
    filtered = at.with_azure_bgp(at.with_health(bgp=replace(at.HEALTH.bgp, sent=())), learned=())
    assert codes(filtered) == ["routes-incomplete", "azure-lacks-prefixes"]
    assert said(filtered, "azure-lacks-prefixes") == ["not learned: 192.168.1.0/24; the home sends nothing"]
    on_the_way = at.with_azure_bgp(learned=())
    assert codes(on_the_way) == ["azure-lacks-prefixes"]
    assert said(on_the_way, "azure-lacks-prefixes") == ["not learned: 192.168.1.0/24; the home sends 192.168.1.0/24"]
    assert row(on_the_way, "bgp.learnedByAzure").differs


def test_a_leak_names_the_first_prefixes_and_how_many_more() -> None:
    many = tuple(f"172.16.{n}.0/24" for n in range(14))
    [what] = said(at.with_azure_bgp(learned=(*THERE, *many)), "prefix-leaked")
    assert "172.16.0.0/24" in what and what.endswith(" and 4 more") and "192.168.1.0/24" not in what


def test_what_the_home_lacks_is_announced_or_not() -> None:
    none = at.with_health(bgp=replace(at.HEALTH.bgp, received=()))
    assert said(none, "routes-incomplete") == ["Azure announces, and the home has not taken 10.0.0.0/16"]
    assert said(at.with_azure_bgp(none, advertised=()), "routes-incomplete") == ["Azure does not announce 10.0.0.0/16"]
    assert said(at.with_azure_bgp(none, advertised=None), "routes-incomplete") == []


def test_a_neighbour_of_another_address() -> None:
    other = at.PEER.model_copy(update={"neighbor": "192.168.1.254"})
    configured = at.with_azure_bgp(home="192.168.1.254", peers=(other,))
    assert codes(configured) == ["bgp-peer-address-wrong"]
    assert row(configured, "bgp.homeAddress").change == "azure"
    [what] = said(at.with_azure_bgp(peers=(other,)), "bgp-peer-address-wrong")
    assert what == "Azure's gateway has no BGP neighbour 192.168.1.1; it has 192.168.1.254 (AS 65010)"
    assert codes(at.with_azure_bgp(peers=())) == [], "an instance may be on its way back"


def test_a_neighbour_of_another_asn() -> None:
    s = at.with_peer(asn=65011)
    assert codes(s) == ["home-asn-differs"] and row(s, "bgp.homeAsn").change == "azure"


@pytest.mark.parametrize("routes, found", [(3999, []), (4000, ["prefix-limit"]), (None, [])])
def test_the_limit_as_azure_counts(routes: int | None, found: list[str]) -> None:
    assert codes(at.with_peer(routes_received=routes)) == found


def half_open(home: BgpHealth, **peer: Any) -> bool:
    return "bgp-half-open" in codes(at.with_peer(at.with_health(bgp=home), **peer))


def test_a_session_counts_as_half_open_only_where_it_stood_when_it_was_denied() -> None:
    """The question was asked 8 s before the heartbeat, and answered 4 s after it."""
    down = {"state": PeerState.CONNECTING, "connected_duration_s": None}
    assert half_open(BgpHealth("Established", 60, HERE, THERE), **down)
    assert half_open(BgpHealth("Established", 60, HERE, THERE), state=PeerState.IDLE)
    assert not half_open(BgpHealth("Established", 7, HERE, THERE), **down), "it came up after the question"
    gone = BgpHealth("Active", 0, (), ())
    assert half_open(gone, connected_duration_s=60.0)
    assert not half_open(gone, connected_duration_s=3.0), "it came up after the heartbeat"
    assert not half_open(gone, state=PeerState.UNKNOWN) and not half_open(gone, **down)


def test_a_heartbeat_from_before_the_question_proves_nothing() -> None:
    late = at.AZURE_BGP.model_copy(update={"asked": at.HEARD + timedelta(seconds=1)})
    s = at.with_peer(state=PeerState.CONNECTING)
    assert s.ends.azure_bgp is not None
    asked = s.ends.azure_bgp.model_copy(update={"asked": late.asked})
    assert "bgp-half-open" in codes(s) and "bgp-half-open" not in codes(at.with_ends(s, azure_bgp=asked))
