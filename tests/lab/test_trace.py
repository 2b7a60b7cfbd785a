"""One cause, one trace, on the real lab: from the request, or the heartbeat that told of trouble, to the agent's answer
and back. And what is written down of it holds no secret."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from lab import scenario, traces
from lab.client import eventually
from lab.documents import document
from lab.world import TELEMETRY, World
from tests.lab.hunt import leaks

pytestmark = pytest.mark.lab
WHOLE = {"http", "queue", "reconciler", "arm", "command", "agent"}


async def test_a_request_and_a_changed_address_are_one_trace_each(monkeypatch: pytest.MonkeyPatch) -> None:
    async with World(factor=240, logs=scenario.logs_folder("test-trace")) as world:
        world.as_azure_would(monkeypatch.setenv)
        await scenario.join(world, lambda _: None, timing="heartbeat_s = 5")
        await world.set_clock(1)

        changed = scenario.quick(ipsec={"ikeEncryption": "AES256", "ikeIntegrity": "SHA256"})
        await world.api.call("PUT", "connections/home", changed)

        async def ready_again() -> bool:
            found = (await world.api.conditions("connections", "home"))["Ready"][0] == "True"
            return found and "agent apply" in {s["span"] for s in await traces.cause(world, "home", "SpecChanged")}

        await eventually("the changed connection being Ready again", ready_again, within=120)
        change = await traces.cause(world, "home", "SpecChanged")
        assert change[0]["span"] == "http put_connection" and set(traces.services(change)) >= WHOLE

        await scenario.lose_address(world, lambda _: None)
        repair = await traces.cause(world, "home", "IncidentOpened")
        assert repair[0]["span"] == "http heartbeat", "it begins with the heartbeat that told of the new address"
        assert set(traces.services(repair)) >= WHOLE
        assert {s["span"] for s in repair} >= {"arm put", "command initiate", "agent initiate"}
        assert f"trace {repair[0]['trace']}: {len(repair)} spans (http " in await traces.told(world, "home")
        initiate = next(s for s in repair if s["span"] == "agent initiate")
        assert initiate["attributes"] == {"homelink.connection": "home", "homelink.outcome": "done"}
        sent = next(s for s in repair if s["id"] == initiate["parent"])
        assert sent["span"] == "command initiate" and sent["start"] <= initiate["start"]

        audit = (await world.api.call("GET", f"audit/{datetime.now(UTC):%Y-%m}"))["items"]
        assert {e["action"] for e in audit if e["trace"] == change[0]["trace"]} >= {"arm-put", "command-apply"}
        agent = (world.logs / "agent-home.log").read_text().splitlines()
        assert any("command-finished" in x and str(change[0]["trace"]) in x for x in agent)
        logged = [json.loads(x) for x in (world.logs / "host.log").read_text().splitlines() if x.startswith("{")]
        mine = [x for x in logged if x.get("trace") == change[0]["trace"]]
        assert mine and {x.get("connection") for x in mine} >= {"home"}

        await world.daemons["host"].stop()  # its last measurements are told when it ends
        up = [m["value"] for m in traces.measured(world.logs, "homelink.tunnel.up")]
        assert 0 in up and up[-1] == 1
        for metric in ("homelink.incident.detection", "homelink.incident.recovery", "homelink.queue.age"):
            assert sum(m["count"] for m in traces.measured(world.logs, metric)) > 0, metric
        puts = [
            m["value"] for m in traces.measured(world.logs, "homelink.arm.calls") if m["attributes"]["verb"] == "put"
        ]
        assert sum(puts) >= 7, "five resources, another policy, a pin"
        text = (world.logs / TELEMETRY).read_text()
        assert not [a for a in ("198.51.100.", document("home")["spec"]["fqdn"]) if a in text], (
            "no address of the home, no name"
        )
        await world.start_host()
        assert await leaks(world) == []
