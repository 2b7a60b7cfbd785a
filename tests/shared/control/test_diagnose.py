"""A diagnosis reads both ends and asks the agent; what it tells is what the world is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shared.control.diagnose import Diagnosis
from shared.domain import parse, render
from shared.domain.arm import ArmKind
from shared.domain.both_ends import Row
from shared.errors import ArmBusy, NotFound
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
