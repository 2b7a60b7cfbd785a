"""What a gateway tells of BGP, read: published samples, and anything else is refused with a clear word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.bgp import BgpPeer, BgpQuestion, BgpRoute, PeerState, read
from tests.shared.domain import situations as at

MODELS = Path(__file__).parents[4] / "shared/data/azure/models-api-2026-03-01.json"
PEER = {
    "localAddress": "10.0.4.12",
    "neighbor": "10.0.4.4",
    "asn": 12076,
    "state": "Connected",
    "connectedDuration": "3.03:14:13.1796961",
    "routesReceived": 18,
    "messagesSent": 5157,
    "messagesReceived": 4995,
}
"""As published in an issue of the Azure CLI."""
ROUTE = {
    "localAddress": "10.200.8.30",
    "network": "10.5.32.0/20",
    "nextHop": "10.200.8.30",
    "sourcePeer": "10.200.8.30",
    "origin": "EBgp",
    "asPath": "65525-65020",
    "weight": 32769,
}
"""As published in azure-cli #8544."""
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
NEARLY = st.fixed_dictionaries({}, optional={name: JSON | st.just(value) for name, value in {**PEER, **ROUTE}.items()})


def peer(**changes: Any) -> BgpPeer:
    [found] = read(BgpQuestion.PEERS, {"value": [{**PEER, **changes}]})
    assert isinstance(found, BgpPeer)
    return found


def test_published_samples_are_read() -> None:
    found = peer()
    assert (found.neighbor, found.asn, found.state, found.routes_received) == ("10.0.4.4", 12076, "Connected", 18)
    assert found.connected_duration_s == pytest.approx(3 * 86400 + 3 * 3600 + 14 * 60 + 13.1796961)
    assert (found.messages_sent, found.messages_received, found.local_address) == (5157, 4995, "10.0.4.12")
    for question in (BgpQuestion.LEARNED, BgpQuestion.ADVERTISED):
        [route] = read(question, {"value": [ROUTE]})
        assert isinstance(route, BgpRoute)
        assert (route.network, route.next_hop, route.source_peer) == ("10.5.32.0/20", "10.200.8.30", "10.200.8.30")
        assert (route.as_path, route.origin, route.weight) == ("65525-65020", "EBgp", 32769)


@pytest.mark.skipif(not MODELS.exists(), reason="the recorded models of the API are not here (../shared/data/azure)")
def test_every_field_of_the_recorded_models_is_known() -> None:
    recorded = json.loads(MODELS.read_text(encoding="utf-8"))
    for name, model in (("BgpPeerStatus", BgpPeer), ("GatewayRoute", BgpRoute)):
        assert {f.alias for f in model.model_fields.values()} == set(recorded[name]["fields"])
    assert [s.value for s in PeerState] == recorded["BgpPeerState"]["enum"]


def test_what_is_only_shown_may_lack() -> None:
    found = peer(connectedDuration=None, routesReceived=None, messagesSent="many", localAddress=7, extra={})
    assert (found.connected_duration_s, found.routes_received, found.messages_sent) == (None, None, None)
    assert peer(connectedDuration="soon").connected_duration_s is None
    assert peer(connectedDuration="00:01:02").connected_duration_s == 62
    [route] = read(BgpQuestion.LEARNED, {"value": [{"network": "10.5.32.1/20"}]})
    assert isinstance(route, BgpRoute) and (route.network, route.source_peer) == ("10.5.32.0/20", None)


@pytest.mark.parametrize("state", ["Established", "", None, 7, ["Connected"]])
def test_a_state_that_arm_does_not_name_is_unknown(state: Any) -> None:
    assert peer(state=state).state is PeerState.UNKNOWN


@pytest.mark.parametrize("body", [None, [], "", {}, {"value": None}, {"value": {}}, {"error": {"code": "X"}}])
@pytest.mark.parametrize("question", BgpQuestion)
def test_an_answer_without_a_list_is_not_an_empty_one(question: BgpQuestion, body: Any) -> None:
    with pytest.raises(ValueError, match=f"{question.value}: no list"):
        read(question, body)
    assert read(question, {"value": []}) == ()


@pytest.mark.parametrize("field, value", [("neighbor", "here"), ("neighbor", None), ("asn", -1), ("asn", 2**32)])
def test_what_a_finding_rests_on_must_be_right(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"getBgpPeerStatus: {field}: "):
        peer(**{field: value})


@given(
    st.sampled_from(BgpQuestion), JSON | st.fixed_dictionaries({"value": JSON | st.lists(JSON | NEARLY, max_size=3)})
)
def test_anything_is_read_or_refused(question: BgpQuestion, body: Any) -> None:
    try:
        found = read(question, body)
    except ValueError as e:
        assert str(e).startswith(question.value)
    else:
        assert len(found) == len(body["value"])


def test_of_several_instances_the_connected_one_counts() -> None:
    down = at.PEER.model_copy(update={"state": PeerState.CONNECTING})
    other = at.PEER.model_copy(update={"neighbor": "10.0.1.5", "asn": 65515})
    for peers in ((down, at.PEER, other), (other, at.PEER, down)):
        told = at.AZURE_BGP.model_copy(update={"peers": peers})
        assert told.peer() == at.PEER and told.up() is True
    assert at.AZURE_BGP.model_copy(update={"peers": (other, down)}).up() is False
    assert at.AZURE_BGP.model_copy(update={"peers": (other,)}).up() is None
    assert at.AZURE_BGP.model_copy(update={"peers": None}).up() is None
