"""Findings and diagnosis over HTTP."""

from __future__ import annotations

from tests.functions.calls import call, world
from tests.shared.control.test_diagnose import answer
from tests.shared.control.world import World

__all__ = ["world"]
HOME = {"name": "home"}


async def test_202_until_the_agent_and_the_gateway_have_answered(world: World) -> None:
    await world.joined()
    first = await call("diagnose", route=HOME)
    assert first.status == 202 and int(first.headers["Retry-After"]) >= 30
    assert first.json["asked"] and {w["witness"] for w in first.json["witnesses"]} == {
        "azure", "azure-bgp", "dns", "heartbeat", "diagnosis",
    }  # fmt: skip
    await answer(world, {"drift": ["mss: no clamp to 1350"]})
    second = await call("diagnose", route=HOME)
    assert (second.status, second.json["asked"], second.json["state"]) == (202, None, "pending"), "Azure is still asked"
    assert 1 <= int(second.headers["Retry-After"]) <= 30
    world.clock.advance(10)
    second = await call("diagnose", route=HOME)
    assert (second.status, second.json["asked"], second.json["state"]) == (200, None, "complete")
    assert [f["code"] for f in second.json["findings"]] == ["firewall-drift"]
    ages = {w["witness"]: w["ageSeconds"] for w in second.json["witnesses"]}
    assert ages["azure"] == ages["azure-bgp"] == 0.0 and ages["diagnosis"] == 10.0


async def test_findings_ask_nobody(world: World) -> None:
    await world.joined()
    before = len(world.arm.requests)
    found = await call("get_findings", route=HOME)
    assert found.status == 200 and found.json["findings"] == []
    assert len(world.arm.requests) == before
    world.agent.take_commands()
    assert "diagnose" not in {c.kind.value for c in world.agent.commands}


async def test_neither_shows_a_key_or_what_does_not_exist(world: World) -> None:
    assert (await call("get_findings", route=HOME)).status == 404
    assert (await call("diagnose", route=HOME)).status == 404
    assert (await call("diagnose", route={"name": "No!"})).status == 422
    await world.joined()
    key = "AKeyOfMyOwn0123456789"
    await call("put_psk", {"value": key}, HOME)
    await world.run(120)
    for name in ("get_findings", "diagnose"):
        assert key not in (await call(name, route=HOME)).text
