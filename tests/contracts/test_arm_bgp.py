"""What every Arm must do with a question of BGP: the fake, the model world's, and the SDK against the lab's ARM.

Behind all three stands the same gateway with one neighbour, so that their answers must be the same, too.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from lab.azure.clock import VirtualClock
from lab.azure.gateway import shown_peer, shown_route
from lab.azure.resolver import DnsResolver
from lab.dataplane import BgpPeer, NullDataPlane, Route
from lab.model.arm import Azure, ModelArm
from shared.azure.arm import AzureArm
from shared.domain.bgp import BgpAnswer, BgpQuestion, BgpRoute, PeerState
from shared.domain.bgp import BgpPeer as Told
from shared.errors import ArmBusy, ArmRejected, PermanentError
from shared.seams import Asked
from tests.contracts.conftest import RealAzure
from tests.contracts.test_arm import PSK, World, link_body
from tests.fakes import FakeArm, FakeClock

HOME, OWN = "192.168.1.1", "10.0.255.30"
NEIGHBOUR = BgpPeer(HOME, 65010, "Established", 62.5, 1, 12, 13)
LEARNED = (
    Route("10.0.0.0/16", OWN, "", None, "Network", 32768),
    Route("192.168.1.0/24", HOME, "65010", HOME, "EBgp", 32768),
)
ADVERTISED = (Route("10.0.0.0/16", OWN, "65515", None, "Igp", 0),)


class OneNeighbour(NullDataPlane):
    async def bgp_peers(self, gateway: str) -> list[BgpPeer]:
        return [NEIGHBOUR]

    async def learned_routes(self, gateway: str) -> list[Route]:
        return list(LEARNED)

    async def advertised_routes(self, gateway: str, peer: str) -> list[Route]:
        return list(ADVERTISED) if peer == HOME else []


@pytest.fixture
def fake() -> World:
    clock = FakeClock()
    arm = FakeArm(clock)

    def tells(question: BgpQuestion, peer: str) -> list[dict[str, Any]]:
        if question is BgpQuestion.PEERS:
            return [shown_peer(NEIGHBOUR, OWN)]
        routes = LEARNED if question is BgpQuestion.LEARNED else ADVERTISED if peer == HOME else ()
        return [shown_route(r, OWN) for r in routes]

    async def advance(seconds: float) -> None:
        clock.advance(seconds)

    arm.tells = tells
    return World(arm, "sub", advance, lambda: len(arm.requests))


@pytest.fixture
def model() -> World:
    clock = VirtualClock(datetime(2026, 11, 1, 12, tzinfo=UTC))
    ids = iter(f"00000000-0000-0000-0000-{n:012d}" for n in range(10_000))
    azure = Azure("sub", ["203.0.113.10"], clock, OneNeighbour(), DnsResolver(), lambda: next(ids))
    arm = ModelArm(azure, "controller", lambda verb, ref, was: None)
    return World(arm, "sub", clock.advance, lambda: azure.metrics.reads + azure.metrics.writes)


@pytest.fixture
async def lab(real: RealAzure, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(real.lab.plumbing, "dataplane", OneNeighbour())
    arm = AzureArm(real.settings, real.http, real.credential)
    metrics = real.lab.metrics
    yield World(arm, real.lab.config.subscription, real.clock.advance, lambda: metrics.reads + metrics.writes)
    await arm.close()


@pytest.fixture(params=["fake", "model", "lab"])
def world(request: pytest.FixtureRequest) -> World:
    found: World = request.getfixturevalue(request.param)
    return found


async def answer(world: World, question: BgpQuestion, peer: str = "") -> BgpAnswer:
    asked = await world.arm.ask_bgp(world.gateway, question, peer)
    for _ in range(20):
        if asked.answer is not None:
            return asked.answer
        assert asked.operation_url is not None and asked.retry_after_s > 0
        await world.advance(asked.retry_after_s)
        asked = await world.arm.bgp_answer(question, asked.operation_url)
    raise AssertionError("no answer")


async def test_a_question_is_started_and_polled_once_at_a_time(world: World) -> None:
    await world.with_gateway()
    before = world.requests()
    asked = await world.arm.ask_bgp(world.gateway, BgpQuestion.PEERS)
    assert asked.operation_url and asked.operation_url.startswith("https://")
    assert asked.answer is None and asked.retry_after_s > 0 and world.requests() == before + 1
    early = await world.arm.bgp_answer(BgpQuestion.PEERS, asked.operation_url)
    assert (early.answer, early.operation_url, world.requests()) == (None, asked.operation_url, before + 2)
    await world.advance(early.retry_after_s)
    told = await world.arm.bgp_answer(BgpQuestion.PEERS, asked.operation_url)
    assert told == Asked(None, 0.0, told.answer) and told.answer
    assert (await world.arm.bgp_answer(BgpQuestion.PEERS, asked.operation_url)) == told, "it may be read again"


async def test_every_question_has_its_answer(world: World) -> None:
    await world.with_gateway()
    [peer] = await answer(world, BgpQuestion.PEERS)
    assert peer == Told(
        neighbor=HOME, asn=65010, state=PeerState.CONNECTED, connected_duration_s=62.5, routes_received=1,
        messages_sent=12, messages_received=13, local_address=OWN,
    )  # fmt: skip
    own, learned = await answer(world, BgpQuestion.LEARNED)
    assert isinstance(own, BgpRoute) and isinstance(learned, BgpRoute)
    assert (own.network, own.source_peer) == ("10.0.0.0/16", None)
    assert (learned.network, learned.source_peer, learned.next_hop) == ("192.168.1.0/24", HOME, HOME)
    assert (learned.as_path, learned.origin, learned.weight) == ("65010", "EBgp", 32768)
    [announced] = await answer(world, BgpQuestion.ADVERTISED, HOME)
    assert isinstance(announced, BgpRoute) and announced.network == "10.0.0.0/16"
    assert await answer(world, BgpQuestion.ADVERTISED, "192.168.9.9") == ()


async def test_asking_locks_nothing_and_waits_for_nobody(world: World) -> None:
    await world.with_connection()
    started = await world.arm.set_shared_key(world.link, PSK)
    asked = await world.arm.ask_bgp(world.gateway, BgpQuestion.LEARNED)
    assert asked.operation_url is not None
    await world.done(started)
    again = await world.arm.ask_bgp(world.gateway, BgpQuestion.LEARNED)
    assert again.answer is None
    assert (await world.arm.put(world.link, link_body(world))).operation_url, "no lock, while the question runs"


async def test_what_is_not_there_cannot_be_asked(world: World) -> None:
    await world.arm.ensure_resource_group(world.subscription, "rg", "westeurope")
    for question in BgpQuestion:
        with pytest.raises(ArmRejected) as refused:
            await world.arm.ask_bgp(world.gateway, question, HOME)
        assert refused.value.status == 404
    await world.with_gateway()
    with pytest.raises(ArmRejected) as refused:
        await world.arm.ask_bgp(world.gateway, BgpQuestion.ADVERTISED)
    assert refused.value.status == 400


async def test_a_question_that_nobody_knows_is_refused(world: World) -> None:
    await world.with_gateway()
    asked = await world.arm.ask_bgp(world.gateway, BgpQuestion.PEERS)
    assert asked.operation_url is not None
    head, _, query = asked.operation_url.partition("?")
    unknown = f"{head.rpartition('/')[0]}/{'9' * 8}-0000-0000-0000-{'9' * 12}?{query}"
    with pytest.raises(ArmRejected) as refused:
        await world.arm.bgp_answer(BgpQuestion.PEERS, unknown)
    assert refused.value.status == 404


async def test_a_question_elsewhere_is_not_asked(world: World) -> None:
    await world.with_gateway()
    asked = await world.arm.ask_bgp(world.gateway, BgpQuestion.PEERS)
    assert asked.operation_url is not None
    host, before = asked.operation_url.split("/")[2], world.requests()
    for bad in (
        asked.operation_url.replace("https://", "http://"),
        asked.operation_url.replace(host, f"{host}.example.org"),
        asked.operation_url.replace(host, f"user@{host}"),
        "/subscriptions/x",
        "",
    ):
        with pytest.raises(PermanentError):
            await world.arm.bgp_answer(BgpQuestion.PEERS, bad)
    assert world.requests() == before


async def test_a_question_is_no_operation_on_the_gateway(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing changed, and no key is in any answer."""
    caplog.set_level(logging.DEBUG)
    await world.with_connection()
    before = await world.arm.get(world.gateway)
    told = [await answer(world, q, HOME) for q in BgpQuestion]
    assert await world.arm.get(world.gateway) == before
    assert PSK not in repr(told) + caplog.text


async def test_quota_is_told_with_its_wait(fake: World) -> None:
    await fake.with_gateway()
    assert isinstance(fake.arm, FakeArm)
    fake.arm.throttle(60, 17)
    with pytest.raises(ArmBusy) as busy:
        await fake.arm.ask_bgp(fake.gateway, BgpQuestion.PEERS)
    assert (busy.value.delay_s, busy.value.locked) == (17, False)
