"""A diagnosis of a real tunnel by a real agent: every place tells what it has, and they agree; then one does not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lab import scenario
from lab.client import eventually
from lab.world import World

pytestmark = pytest.mark.lab


async def diagnosed(world: World) -> dict[str, Any]:
    """As a person would: POST until nothing is waited for."""
    for _ in range(20):
        found: dict[str, Any] = await world.api.call("POST", "connections/home/diagnose")
        if found["state"] == "complete":
            return found
        await asyncio.sleep(1)
    raise AssertionError("the agent or the gateway did not answer")


async def test_both_ends_and_what_runs_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    async with World(factor=240, logs=scenario.logs_folder("test-diagnose")) as world:
        world.as_azure_would(monkeypatch.setenv)
        await scenario.join(world, lambda _: None, timing="heartbeat_s = 5\nnudge_s = 5")
        await world.agent_command("pause")

        async def paused() -> bool:
            now = await world.api.call("GET", "connections/home/findings")
            return [f["code"] for f in now["findings"]] == ["agent-paused"]

        await eventually("the pause being told", paused, within=30)
        found = await diagnosed(world)
        assert [f["code"] for f in found["findings"]] == ["agent-paused"], "who is paused answers all the same"
        rows = {r["field"]: r for r in found["bothEnds"]}
        group, asn = rows["ipsec.dhGroup"], rows["azure.asn"]
        assert [group[c] for c in ("azure", "firewall", "runningSa", "desired")] == ["ECP384"] * 4
        assert [asn[c] for c in ("azure", "firewall", "frr", "desired")] == [65515] * 4
        assert {name: (rows[name]["azure"], rows[name]["frr"]) for name in rows if name.startswith("bgp.learned")} == {
            "bgp.learnedByAzure": (["192.168.1.0/24"], ["192.168.1.0/24"])
        }
        assert (rows["bgp.state"]["azure"], rows["bgp.state"]["frr"]) == ("Connected", "Established")
        assert rows["bgp.announcedByAzure"]["azure"] == rows["bgp.announcedByAzure"]["frr"] == ["10.0.0.0/16"]
        assert (rows["bgp.homeAsn"]["azure"], rows["bgp.homeAddress"]["azure"]) == (65010, "192.168.1.1")

        frr = world.network.homes["home"].frr
        await frr.configure(["router bgp 65010", "neighbor 10.0.1.30 remote-as 65016"])

        async def told() -> bool:
            now = await world.api.call("GET", "connections/home/findings")
            after = {f["code"]: f["dependsOn"] for f in now["findings"]}
            return "agent-paused" in after and "bgp-down" in after.get("routes-incomplete", ())

        await eventually("BGP being down, and explaining the missing routes", told, within=30)
