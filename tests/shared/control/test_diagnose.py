"""A diagnosis reads both ends and asks the agent; what it tells is what the world is."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from shared.control.ask_azure import BGP
from shared.control.diagnose import Diagnosis, Heard
from shared.control.services import UNITS
from shared.domain import parse, render
from shared.domain.arm import ArmKind
from shared.domain.bgp import BgpQuestion
from shared.domain.both_ends import Row
from shared.errors import ArmBusy, ArmRejected, NotFound
from shared.seams import Json
from shared.wire.commands import Command, DesiredTunnel, Kind
from shared.wire.decode import from_plain, to_plain
from shared.wire.reports import Result
from tests.examples import GATEWAY

from .world import SECOND, World

SPEC = parse.gateway(GATEWAY).spec
LINK = render.connection_refs("home", SPEC)[ArmKind.CONNECTION]


def codes(found: Diagnosis) -> list[str]:
    return [f.code for f in found.findings]


def row(found: Diagnosis, field: str) -> Row:
    return next(r for r in found.both_ends if r.field == field)


def asked(world: World) -> list[Command]:
    world.agent.take_commands()
    return [c for c in world.agent.commands if c.kind is Kind.DIAGNOSE]


async def answer(world: World, data: dict[str, Any], outcome: str = "done", detail: str = "") -> None:
    """The agent reports what became of the newest question."""
    command = asked(world)[-1]
    told = Result(
        command.id, command.seq, "diagnose", command.generation, "home", outcome, detail, 0.0, data  # type: ignore[arg-type]
    )  # fmt: skip
    beat = world.agent.heartbeat(results=(told,))
    await world.app.heartbeats.receive(world.agent.id, world.agent.sealed(beat), world.agent.source)


async def joined() -> World:
    world = World()
    await world.joined()
    await world.run(60)
    return world


async def test_a_connection_that_works_has_no_findings_and_ends_that_agree() -> None:
    world = await joined()
    for found in (await world.app.diagnose.ask("home", "me"), await world.app.diagnose.known("home")):
        assert codes(found) == []
        assert not [r for r in found.both_ends if r.differs]
    assert row(found, "ipsec.dhGroup").azure is None, "what is stored says nothing of Azure"
    assert row(await world.app.diagnose.ask("home", "me"), "ipsec.dhGroup").azure == "ECP384"


async def test_looking_reads_no_arm_and_asking_writes_nothing_there() -> None:
    world = await joined()
    before = len(world.arm.requests)
    await world.app.diagnose.known("home")
    assert len(world.arm.requests) == before
    writes = len(world.arm.writes())
    await world.app.diagnose.ask("home", "me")
    assert len(world.arm.requests) > before and len(world.arm.writes()) == writes


async def test_the_agent_is_asked_once_and_its_answer_is_told() -> None:
    world = await joined()
    first = await world.app.diagnose.ask("home", "me")
    again = await world.app.diagnose.ask("home", "me")
    assert first.asked and again.asked == first.asked
    assert [c.id for c in asked(world)] == [first.asked]
    await answer(world, {"drift": ["frr: neighbor 10.0.1.30 remote-as 65515"]})
    told = await world.app.diagnose.ask("home", "me")
    assert told.asked is None and len(asked(world)) == 1
    assert codes(told) == ["firewall-drift"]
    assert next(w.at for w in told.witnesses if w.witness == "diagnosis") == world.clock.now()
    world.clock.advance(61)
    assert (await world.app.diagnose.ask("home", "me")).asked, "what is older is asked for again"


async def test_an_answer_that_is_old_counts_for_nothing() -> None:
    world = await joined()
    await world.app.diagnose.ask("home", "me")
    await answer(world, {"drift": ["frr: x"]})
    assert codes(await world.app.diagnose.known("home")) == ["firewall-drift"]
    await world.run(1000)
    assert codes(await world.app.diagnose.known("home")) == []


async def test_what_the_firewall_was_given_is_compared_in_full() -> None:
    world = await joined()
    wanted = to_plain(world.agent.commands[0].body)["desired"]
    await world.app.diagnose.ask("home", "me")
    world.agent.take_commands()
    assert world.agent.tunnel is not None
    other = from_plain(DesiredTunnel, {**wanted, "mss": 1300})
    world.agent.tunnel = replace(world.agent.tunnel, digest=other.digest())
    await answer(world, {"applied": to_plain(other)})
    found = await world.app.diagnose.ask("home", "me")
    mss = row(found, "mss")
    assert (mss.firewall, mss.desired, mss.change) == (1300, 1350, "firewall")
    assert {"mss-differs", "firewall-pending"} <= set(codes(found))


async def test_an_edit_in_azure_names_field_and_side() -> None:
    world = await joined()

    def edit(body: dict[str, Any]) -> None:
        body["properties"]["ipsecPolicies"][0]["dhGroup"] = "ECP256"

    world.arm.edit(LINK, edit)
    found = await world.app.diagnose.ask("home", "me")
    assert codes(found)[:2] == ["connection-edited", "ike-policy-differs"]
    assert found.findings[1].depends_on == ("connection-edited",)
    assert (row(found, "ipsec.dhGroup").azure, row(found, "ipsec.dhGroup").change) == ("ECP256", "azure")


async def test_while_arm_asks_for_quiet_the_rest_is_told() -> None:
    world = await joined()
    world.arm.fail_next("get", ArmBusy("429: TooManyRequests", 30.0, "TooManyRequests"))
    found = await world.app.diagnose.ask("home", "me")
    note = next(w.note for w in found.witnesses if w.witness == "azure")
    assert "429" in note and found.asked and codes(found) == []
    assert row(found, "ipsec.dhGroup").firewall == "ECP384"


async def test_a_home_that_is_offline() -> None:
    world = await joined()
    world.agent.alive = False
    world.azure_sees("NotConnected")
    await world.run(200)
    assert codes(await world.app.diagnose.known("home"))[:2] == ["home-offline", "agent-silent"]
    world.azure_sees("Connected")
    assert codes(await world.app.diagnose.ask("home", "me")) == ["agent-silent"]


async def test_a_home_that_moved_before_its_name_did() -> None:
    world = await joined()
    world.agent.source = SECOND
    world.agent.breaks()
    await world.run(35)
    found = codes(await world.app.diagnose.known("home"))
    assert found[:2] == ["home-address-changed", "ddns-not-updated"]


async def test_a_command_that_failed_is_told_with_the_agents_words() -> None:
    world = await joined()
    await world.app.diagnose.ask("home", "me")
    await answer(world, {}, "refused", "paused by the home owner")
    found = await world.app.diagnose.known("home")
    assert codes(found) == ["agent-paused"] and found.asked is None


async def test_who_asks_is_in_the_audit() -> None:
    world = await joined()
    await world.app.diagnose.ask("home", "me")
    told = await world.app.audit.month(f"{world.clock.now():%Y-%m}")
    assert (told[0].actor, told[0].action) == ("me", "command-diagnose")


async def test_tables_from_a_backup() -> None:
    world = await joined()
    assert world.agent.tunnel is not None
    world.agent.tunnel = replace(world.agent.tunnel, generation=7)
    await world.run(120)
    assert "tables-restored" in codes(await world.app.diagnose.known("home"))


async def test_before_anything_exists() -> None:
    world = World()
    with pytest.raises(NotFound):
        await world.app.diagnose.ask("home", "me")
    await world.put()
    found = await world.app.diagnose.ask("home", "me")
    assert found.asked is None, "nobody is there to be asked"
    assert {"gateway-missing", "azure-missing", "agent-not-enrolled"} <= set(codes(found))


# what Azure's gateway says of BGP -------------------------------------------------------------------------------------


def gateway_tells(world: World, state: str = "Connected", learned: tuple[str, ...] = ("192.168.1.0/24",)) -> None:
    """The neighbour at home as said, and another home of the gateway."""

    def neighbour(address: str, state: str) -> Json:
        return {"neighbor": address, "asn": 65010, "state": state, "connectedDuration": "00:05:00"}

    def tells(question: BgpQuestion, peer: str) -> list[Json]:
        if question is BgpQuestion.PEERS:
            return [neighbour("172.30.0.1", "Connected"), neighbour("192.168.1.1", state)]
        if question is BgpQuestion.LEARNED:
            own = {"network": "10.0.0.0/16", "sourcePeer": None}
            other = {"network": "172.30.0.0/24", "sourcePeer": "172.30.0.1"}
            return [own, other, *({"network": n, "sourcePeer": "192.168.1.1"} for n in learned)]
        return [{"network": "10.0.0.0/16"}] if peer == "192.168.1.1" else []

    world.arm.tells = tells


def told_by_gateway(found: Diagnosis) -> Heard:
    return next(w for w in found.witnesses if w.witness == "azure-bgp")


def questions(world: World, verb: str = "ask_bgp") -> list[str]:
    return [r.target.rpartition("/")[2] for r in world.arm.requests if r.verb == verb]


async def gateway_asked(world: World) -> Diagnosis:
    """Asked, answered, and a heartbeat later."""
    await world.app.diagnose.ask("home", "me")
    await world.run(30)
    return await world.app.diagnose.ask("home", "me")


async def test_the_gateway_is_asked_once_and_its_answer_is_told() -> None:
    world = await joined()
    gateway_tells(world)
    first = await world.app.diagnose.ask("home", "me")
    assert first.azure_asked and first.pending and told_by_gateway(first).at is None
    assert sorted(questions(world)) == sorted(q.value for q in BgpQuestion)
    assert (await world.app.diagnose.ask("home", "me")).azure_asked
    assert questions(world, "bgp_answer") == [], "ARM said when to come back"
    world.clock.advance(10)
    told = await world.app.diagnose.ask("home", "me")
    assert not told.azure_asked and told.pending and codes(told) == [], "the agent has not answered"
    assert told_by_gateway(told) == Heard("azure-bgp", world.clock.now())
    assert (row(told, "bgp.state").azure, row(told, "bgp.state").frr) == ("Connected", "Established")
    assert row(told, "bgp.learnedByAzure").azure == ["192.168.1.0/24"]
    assert row(told, "bgp.announcedByAzure").azure == ["10.0.0.0/16"]
    world.clock.advance(50)
    assert not (await world.app.diagnose.ask("home", "me")).azure_asked and len(questions(world)) == 3
    world.clock.advance(1)
    assert (await world.app.diagnose.ask("home", "me")).azure_asked, "what is older is asked for again"
    assert len(questions(world)) == 6


async def test_nobody_asks_the_gateway_but_who_wants_a_diagnosis() -> None:
    world = await joined()
    world.agent.breaks()
    await world.run(2000)
    await world.app.diagnose.known("home")
    assert questions(world) == []


async def test_what_the_gateway_said_is_found_until_it_is_old() -> None:
    world = await joined()
    gateway_tells(world, learned=("192.168.7.0/24",))
    found = await gateway_asked(world)
    assert codes(found) == ["azure-lacks-prefixes", "prefix-leaked"]
    assert codes(await world.app.diagnose.known("home")) == codes(found)
    await world.run(900)
    known = await world.app.diagnose.known("home")
    assert codes(known) == [] and told_by_gateway(known).at is None


async def test_a_session_that_only_the_home_has() -> None:
    world = await joined()
    assert world.agent.tunnel is not None
    world.agent.tunnel = replace(world.agent.tunnel, bgp=replace(world.agent.tunnel.bgp, uptime_s=300.0))
    gateway_tells(world, "Connecting")
    found = await gateway_asked(world)
    assert codes(found) == ["bgp-half-open"] and row(found, "bgp.state").differs


async def test_one_question_that_fails_spoils_no_other() -> None:
    world = await joined()
    gateway_tells(world)
    world.arm.fail_next("ask_bgp", ArmBusy("429: TooManyRequests", 30.0, "TooManyRequests"))
    await world.app.diagnose.ask("home", "me")
    world.clock.advance(30)
    world.arm.fail_next("bgp_answer", ArmRejected("400: GatewayDown", 400, "GatewayDown"))
    told = await world.app.diagnose.ask("home", "me")
    assert not told.azure_asked
    assert "TooManyRequests" in told_by_gateway(told).note and "GatewayDown" in told_by_gateway(told).note
    assert [r.field for r in told.both_ends if r.field.startswith("bgp.") and r.field.endswith("ByAzure")] == [
        "bgp.learnedByAzure", "bgp.announcedByAzure",
    ]  # fmt: skip
    assert row(told, "bgp.learnedByAzure").azure is None, "whose session stands was not told"


async def test_a_poll_that_arm_puts_off_is_made_again() -> None:
    world = await joined()
    gateway_tells(world)
    await world.app.diagnose.ask("home", "me")
    world.clock.advance(10)
    for _ in BgpQuestion:
        world.arm.fail_next("bgp_answer", ArmBusy("503", 20.0, "503"))
    assert (await world.app.diagnose.ask("home", "me")).azure_asked
    world.clock.advance(10)
    polls = len(questions(world, "bgp_answer"))
    assert (await world.app.diagnose.ask("home", "me")).azure_asked and len(questions(world, "bgp_answer")) == polls
    world.clock.advance(10)
    assert not (await world.app.diagnose.ask("home", "me")).azure_asked and len(questions(world)) == 3


async def test_an_answer_that_never_comes_is_not_waited_for() -> None:
    world = await joined()
    world.arm.takes_s["ask_bgp"] = 100_000
    assert (await world.app.diagnose.ask("home", "me")).azure_asked
    world.clock.advance(290)
    assert (await world.app.diagnose.ask("home", "me")).azure_asked and len(questions(world)) == 3
    world.clock.advance(20)
    late = await world.app.diagnose.known("home")
    assert not late.azure_asked and told_by_gateway(late).note == "asked, and not answered"
    assert (await world.app.diagnose.ask("home", "me")).azure_asked and len(questions(world)) == 6


async def test_a_gateway_that_is_not_ready_is_not_asked() -> None:
    world = await joined()

    def updating(body: dict[str, Any]) -> None:
        body["properties"]["provisioningState"] = "Updating"

    world.arm.edit(render.gateway_refs("hub", SPEC)[ArmKind.GATEWAY], updating)
    found = await world.app.diagnose.ask("home", "me")
    assert not found.azure_asked and "not ready" in told_by_gateway(found).note and questions(world) == []


async def test_of_other_homes_no_route_is_kept_and_nothing_for_long() -> None:
    world = await joined()
    gateway_tells(world)
    await gateway_asked(world)
    [kept] = await world.store.query(UNITS, "hub", BGP)
    assert kept.data["told"]["learned"] == ["192.168.1.0/24"] and "172.30.0.0/24" not in json.dumps(kept.data)
    assert "operations" not in json.dumps(kept.data), "no URL that is of no use"
    await world.run(1000)
    await world.app.retention.run()
    assert await world.store.query(UNITS, "hub", BGP) == []
