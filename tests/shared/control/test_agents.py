"""Enrolment, its lost answers and its crashes; what an agent is granted and what not."""

from __future__ import annotations

import base64

import pytest

from shared.control.agents import AGENT_NAMES, key_name, queue_of
from shared.control.services import AGENTS, NAMES
from shared.domain import limits, parse
from shared.errors import NotFound, Refused, TemporaryError
from shared.wire import keys
from shared.wire.reports import EnrolAnswer, EnrolRequest, RenewRequest
from tests.examples import CONNECTION, changed

from .faults import Crash
from .world import World

NONCE, OTHER_NONCE = "n" * 32, "o" * 32
NAME = "home-fw"


@pytest.fixture
def world() -> World:
    return World()


async def enrolled(world: World, token: str, nonce: str = NONCE, name: str = NAME) -> EnrolAnswer:
    return await world.app.agents.enrol(EnrolRequest(token, name, nonce, "1"))


async def token_for(world: World, name: str = NAME) -> str:
    return (await world.app.agents.new_token(name))[0]


def ask(agent: str, name: str | None = None, version: str | None = None) -> RenewRequest:
    return RenewRequest(agent, "ctl", "nonce", name, version)


async def test_both_sides_hold_the_same_keys_afterwards(world: World) -> None:
    token = await token_for(world)
    answer = await enrolled(world, token)
    secret = base64.urlsafe_b64decode(answer.secret + "=")
    assert answer.controller == "ctl" and len(secret) == 32
    for purpose in keys.Purpose:
        assert await world.app.agents.key(answer.agent, purpose) == keys.derive(secret, purpose, answer.agent, "ctl")
    agent, _ = await world.app.agents.load(answer.agent)
    assert (agent.name, agent.next_seq) == (NAME, 1)


async def test_neither_token_nor_secret_is_kept(world: World) -> None:
    token = await token_for(world)
    answer = await enrolled(world, token)
    secret = base64.urlsafe_b64decode(answer.secret + "=")
    kept = world.store.everything()
    assert NAME in kept
    for hidden in (token, token.removeprefix("hle_"), NONCE, answer.secret, *world.vault.values()):
        assert hidden not in kept
    assert base64.b64encode(secret).decode() not in world.vault.values()
    assert token not in repr(EnrolRequest(token)) and answer.secret not in repr(answer)


@pytest.mark.parametrize(
    ("token", "nonce", "name", "said"),
    [
        ("hle_unknown", NONCE, NAME, "not known"),
        ("", NONCE, NAME, "not known"),
        ("hle_\ud800", NONCE, NAME, "not known"),
        (None, NONCE, "office-fw", "another agent"),
        (None, "short", NAME, "nonce"),
        (None, "\ud800" * 32, NAME, "nonce"),
    ],
)
async def test_what_does_not_fit_is_refused(world: World, token: str | None, nonce: str, name: str, said: str) -> None:
    good = await token_for(world)
    with pytest.raises(Refused, match=said):
        await enrolled(world, good if token is None else token, nonce, name)
    await enrolled(world, good)


@pytest.mark.parametrize(("after_s", "valid"), [(limits.TOKEN_VALID_S - 1, True), (limits.TOKEN_VALID_S, False)])
async def test_a_token_runs_out(world: World, after_s: int, valid: bool) -> None:
    token = await token_for(world)
    world.clock.advance(after_s)
    if valid:
        await enrolled(world, token)
    else:
        with pytest.raises(Refused, match="expired"):
            await enrolled(world, token)


async def test_a_lost_answer_is_given_again_and_to_nobody_else(world: World) -> None:
    token = await token_for(world)
    first = await enrolled(world, token)
    world.clock.advance(60)
    again = await enrolled(world, token)
    assert (again.agent, again.secret) == (first.agent, first.secret)
    with pytest.raises(Refused, match="already used"):
        await enrolled(world, token, OTHER_NONCE)
    assert await world.app.agents.id_of(NAME) == first.agent


async def test_a_new_enrolment_voids_the_old_one_even_if_that_asks_again(world: World) -> None:
    first_token = await token_for(world)
    first = await enrolled(world, first_token)
    world.clock.advance(1)
    second = await enrolled(world, await token_for(world), OTHER_NONCE)
    assert second.agent != first.agent and second.secret != first.secret
    await enrolled(world, first_token)  # the old one repeats itself: it gets its answer, and not the name back
    assert await world.app.agents.id_of(NAME) == second.agent
    await world.app.agents.load(second.agent)
    with pytest.raises(NotFound, match="anew"):
        await world.app.agents.load(first.agent)


async def test_two_who_use_one_token_at_once(world: World) -> None:
    token = await token_for(world)

    async def rival(*_: object) -> None:
        world.store.before_transact = None
        await enrolled(world, token, OTHER_NONCE)

    world.store.before_transact = rival
    with pytest.raises(TemporaryError, match="at this moment"):
        await enrolled(world, token)
    with pytest.raises(Refused, match="already used"):
        await enrolled(world, token)
    assert len(await world.store.scan(AGENTS, "agent")) == 1


async def test_enrolment_survives_a_crash_at_every_call() -> None:
    async def attempt(world: World, token: str) -> EnrolAnswer:
        world.fault.active = True
        try:
            return await enrolled(world, token)
        finally:
            world.fault.active = False

    calm = World()
    await attempt(calm, await token_for(calm))
    assert len(calm.fault.calls) > 10
    for number in range(len(calm.fault.calls)):
        for after in (False, True):
            world = World()
            token = await token_for(world)
            world.fault.kill(number, after)
            with pytest.raises(Crash):
                await attempt(world, token)
            world.fault.revive()
            answer = await enrolled(world, token)
            where = f"{calm.fault.calls[number]} {number} {'after' if after else 'before'}"
            assert await world.app.agents.id_of(NAME) == answer.agent, where
            await world.app.agents.load(answer.agent)
            assert len(await world.store.query(NAMES, AGENT_NAMES)) == 1
            secret = base64.urlsafe_b64decode(answer.secret + "=")
            key = await world.app.agents.key(answer.agent, keys.Purpose.REPORT)
            assert key == keys.derive(secret, keys.Purpose.REPORT, answer.agent, "ctl"), where


async def test_unknown_agents(world: World) -> None:
    with pytest.raises(NotFound):
        await world.app.agents.load("01ARZ3NDEKTSV4RRFFQ69G5FAV")
    with pytest.raises(NotFound):
        await world.app.agents.key("01ARZ3NDEKTSV4RRFFQ69G5FAV", keys.Purpose.REPORT)


async def test_a_queue_is_granted_for_an_hour_and_is_ones_own(world: World) -> None:
    answer = await enrolled(world, await token_for(world))
    grant = await world.app.agents.grant_queue(answer.agent, ask(answer.agent))
    assert world.queue.granted == [(queue_of(answer.agent), limits.QUEUE_GRANT_S)]
    assert grant.nonce == "nonce" and grant.expires - grant.time == limits.QUEUE_GRANT_S
    assert grant.url not in repr(grant)


async def other_home(world: World) -> None:
    """A second Connection, of another agent, on the same gateway."""
    other = changed(CONNECTION, "metadata.name", "office")
    other["spec"] |= {
        "agent": "office-fw",
        "fqdn": "office.homelink.test",
        "home": {"asn": 65011, "bgpAddress": "192.168.2.1", "prefixes": ["192.168.2.0/24"]},
    }
    world.resolver.answer("office.homelink.test", "198.51.100.50")
    await world.app.specs.put_connection("office", parse.connection(other))


async def test_only_keys_of_connections_that_it_serves_are_granted(world: World) -> None:
    await world.joined()
    await other_home(world)
    await world.run(120)
    agent, _ = await world.app.agents.load(world.agent.id)
    mine, theirs = [f"psk-{(await world.app.specs.get_connection(n)).id}" for n in ("home", "office")]
    given = await world.vault.get(mine)
    assert given is not None
    for version in (None, given.version):
        grant = await world.app.agents.grant_secret(agent, ask(agent.id, mine, version))
        assert (grant.name, grant.version, grant.value) == (mine, given.version, given.value)
        assert given.value not in repr(grant)
    assert await world.vault.get(theirs) is not None
    for name in (theirs, key_name(agent.id, keys.Purpose.COMMAND), "psk-unknown", "", None):
        with pytest.raises(NotFound):
            await world.app.agents.grant_secret(agent, ask(agent.id, name))
    with pytest.raises(NotFound):
        await world.app.agents.grant_secret(agent, ask(agent.id, mine, "f" * 32))


async def test_a_key_is_granted_whatever_the_index_lost_in_a_race(world: World) -> None:
    """Two first PUTs of one Connection at once: each draws an id, one of them wins, and its key must be granted."""
    await world.app.specs.put_gateway("hub", parse.gateway(_gateway()))

    async def rival(table: str, partition: str, writes: object) -> None:
        if table == "units":
            world.store.before_transact = None
            await world.app.specs.put_connection("home", parse.connection(CONNECTION))

    world.store.before_transact = rival
    with pytest.raises(Exception, match="Row units/hub"):
        await world.app.specs.put_connection("home", parse.connection(CONNECTION))
    await world.agent.enrol()
    await world.until(world.ready, 1200)
    agent, _ = await world.app.agents.load(world.agent.id)
    name = f"psk-{(await world.app.specs.get_connection('home')).id}"
    assert (await world.app.agents.grant_secret(agent, ask(agent.id, name))).name == name


def _gateway() -> dict[str, object]:
    from tests.examples import GATEWAY

    return GATEWAY


async def test_nothing_is_granted_after_the_connection_is_gone(world: World) -> None:
    await world.joined()
    agent, _ = await world.app.agents.load(world.agent.id)
    name = f"psk-{(await world.app.specs.get_connection('home')).id}"
    await world.app.specs.delete_connection("home")
    await world.run(300)
    assert await world.app.specs.list_connections() == [] and await world.app.agents.served(NAME) == []
    with pytest.raises(NotFound):
        await world.app.agents.grant_secret(agent, ask(agent.id, name))


async def test_temporary_trouble_of_the_vault_passes_through(world: World) -> None:
    token = await token_for(world)

    async def away(*_: object) -> None:
        raise TemporaryError("the store is away", 5.0)

    world.store.before_transact = away
    with pytest.raises(TemporaryError):
        await enrolled(world, token)
    world.store.before_transact = None
    await enrolled(world, token)
