"""What agents call: enrolment, heartbeats, renewals; every answer sealed, every forgery refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from shared.control.agents import queue_of
from shared.control.lease import Lease
from shared.control.services import RECONCILE
from shared.wire import keys
from shared.wire.decode import from_plain, to_plain
from shared.wire.reports import EnrolAnswer, HeartbeatAnswer, QueueGrant, RenewRequest, SecretGrant
from shared.wire.seal import seal, unseal
from tests.shared.control.world import FIRST, NAME, SECOND, World

from .calls import Answer, call

STRANGER = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


async def token(world: World) -> str:
    return str((await call("post_token", route={"name": "home-fw"})).json["token"])


async def test_enrolment(world: World) -> None:
    body = {"token": await token(world), "name": "home-fw", "nonce": "n" * 32, "version": "1", "later": "ignored"}
    answer = await call("enrol", body)
    assert answer.status == 201
    given = from_plain(EnrolAnswer, answer.json)
    assert (await world.app.agents.id_of("home-fw")) == given.agent
    assert (await call("enrol", body)).json["secret"] == given.secret
    other = await call("enrol", {**body, "nonce": "o" * 32})
    assert other.status == 409 and "already used" in other.json["detail"] and body["token"] not in other.text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"\xff", 400),
        (b"[" * 100_000, 400),
        (b'{"token": 1}', 400),
        ({"name": "home-fw"}, 400),
        ({"token": "hle_x", "name": "home-fw", "nonce": "n" * 32}, 409),
        ({"token": "\ud800", "name": "home-fw", "nonce": "n" * 32}, 409),
        ({"token": "x" * 9000, "name": "home-fw", "nonce": "n" * 32}, 400),
    ],
)
async def test_any_other_enrolment_is_refused_in_words(world: World, body: Any, status: int) -> None:
    answer = await call("enrol", body)
    assert answer.status == status and answer.problem() == []


def beat(world: World, **changes: Any) -> str:
    return world.agent.sealed(world.agent.heartbeat(**changes))


async def send(world: World, text: str | bytes, source: str = FIRST) -> Answer:
    return await call("heartbeat", text, {"agent": world.agent.id}, {"X-Forwarded-For": f"1.2.3.4, {source}:4711"})


def opened(world: World, kind: Any, answer: Answer) -> Any:
    payload = unseal(world.agent.key(keys.Purpose.ANSWER), keys.Purpose.ANSWER, answer.text)
    return from_plain(kind, payload)


async def test_a_heartbeat_and_a_repeated_one(world: World) -> None:
    await world.agent.enrol()
    text = beat(world)
    first = await send(world, text)
    assert (first.status, first.mimetype) == (200, "text/plain")
    answer = opened(world, HeartbeatAnswer, first)
    assert (answer.beat, answer.source_address) == (1, FIRST)
    again = await send(world, text)
    assert again.status == 409 and opened(world, HeartbeatAnswer, again).beat == 1, "sealed, so that it can be believed"


async def test_forged_unreadable_and_unknown(world: World) -> None:
    await world.agent.enrol()
    good = beat(world)
    body, dot, mac = good.partition(".")
    forged = seal(b"k" * 32, keys.Purpose.REPORT, to_plain(world.agent.heartbeat()))
    renewal = seal(world.agent.key(keys.Purpose.RENEW), keys.Purpose.REPORT, to_plain(world.agent.heartbeat()))
    for text in (forged, renewal, body + dot + mac[::-1], body, body + dot):
        answer = await send(world, text)
        assert answer.status in (400, 401) and answer.problem() == []
    assert (await send(world, forged)).status == 401
    for junk in (b"", b"\xff\xfe", b"a.b", b"x" * 200_000):
        assert (await send(world, junk)).status in (400, 401)
    for agent in (STRANGER, "x", "", STRANGER.lower(), "../../etc"):
        assert (await call("heartbeat", good, {"agent": agent})).status == 404
    other = seal(
        world.agent.key(keys.Purpose.REPORT),
        keys.Purpose.REPORT,
        to_plain(replace(world.agent.heartbeat(), controller="other")),
    )
    assert (await send(world, other)).status == 400
    assert await world.app.agents.health(world.agent.id) is None, "nothing of it was stored"


async def test_news_wakes_and_nothing_new_does_not(world: World) -> None:
    await world.joined()
    await world.run(60)
    tunnels = (world.agent.tunnel,)
    await send(world, beat(world, tunnels=tunnels))
    before = len(world.queue.texts(RECONCILE))
    await send(world, beat(world, tunnels=tunnels))
    assert len(world.queue.texts(RECONCILE)) == before
    await send(world, beat(world, tunnels=()))
    assert len(world.queue.texts(RECONCILE)) == before + 1
    assert json.loads(world.queue.texts(RECONCILE)[-1])["unit"] == "hub"


async def test_a_new_address_is_acted_upon_in_the_handler(world: World) -> None:
    await world.joined()
    await world.run(60)
    world.resolver.answer(NAME, SECOND)
    world.agent.breaks()
    answer = await send(world, beat(world, tunnels=(world.agent.tunnel,)), SECOND)
    assert answer.status == 200 and opened(world, HeartbeatAnswer, answer).source_address == SECOND
    assert (await world.lng())["gatewayIpAddress"] == SECOND, "before any message was handled"


async def test_a_new_address_while_another_works_on_the_unit_is_put_off(world: World) -> None:
    await world.joined()
    await world.run(60)
    await Lease.acquire(world.store, "hub", "other", world.clock.now())
    before = len(world.queue.texts(RECONCILE))
    answer = await send(world, beat(world, tunnels=(world.agent.tunnel,)), SECOND)
    assert answer.status == 200 and len(world.queue.texts(RECONCILE)) == before + 1


async def test_two_instances_at_once_say_try_again_and_not_409(world: World) -> None:
    """A 409 means a sealed answer with the last number; anything else would be taken for a forgery."""
    await world.agent.enrol()
    one, two = beat(world), beat(world)

    async def rival(*_: object) -> None:
        world.store.before_transact = None
        await send(world, two)

    world.store.before_transact = rival
    assert (await send(world, one)).status == 503


async def renew(world: World, name: str, **changes: Any) -> Answer:
    request = replace(RenewRequest(world.agent.id, "ctl", "nonce-1"), **changes)
    text = seal(world.agent.key(keys.Purpose.RENEW), keys.Purpose.RENEW, to_plain(request))
    return await call(name, text, {"agent": world.agent.id})


async def test_ones_own_queue(world: World) -> None:
    await world.agent.enrol()
    answer = await renew(world, "queue_grant")
    grant = opened(world, QueueGrant, answer)
    assert grant.nonce == "nonce-1" and f"/{queue_of(world.agent.id)}?" in grant.url


async def test_the_secret_of_a_connection_that_it_serves(world: World) -> None:
    await world.joined()
    name = f"psk-{(await world.app.specs.get_connection('home')).id}"
    answer = await renew(world, "secret_grant", secret_name=name)
    grant = opened(world, SecretGrant, answer)
    assert grant.value in world.vault.values() and grant.nonce == "nonce-1"
    assert (await renew(world, "secret_grant", secret_name=f"agent-{world.agent.id}-command")).status == 404
    assert (await renew(world, "secret_grant")).status == 404


@pytest.mark.parametrize("name", ["queue_grant", "secret_grant"])
async def test_renewals_that_prove_nothing(world: World, name: str) -> None:
    await world.agent.enrol()
    assert (await renew(world, name, controller="other")).status == 400
    assert (await renew(world, name, agent=STRANGER)).status == 400
    report = seal(
        world.agent.key(keys.Purpose.REPORT), keys.Purpose.REPORT, to_plain(RenewRequest(world.agent.id, "ctl", "n"))
    )
    for text in (report, b"", b"\xff", b"a.b"):
        assert (await call(name, text, {"agent": world.agent.id})).status in (400, 401)
    assert (await call(name, report, {"agent": STRANGER})).status == 404
    assert world.queue.granted == []


async def test_an_agent_that_was_replaced_gets_nothing(world: World) -> None:
    await world.agent.enrol()
    old = replace(world.agent)
    text = beat(world)
    world.clock.advance(1)
    await world.agent.enrol()
    world.agent.id, world.agent.secret, new = old.id, old.secret, world.agent.id
    assert new != old.id
    assert (await send(world, text)).status == 404
    assert (await renew(world, "queue_grant")).status == 404
    assert (await renew(world, "secret_grant", secret_name="psk-x")).status == 404
