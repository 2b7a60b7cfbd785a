"""The main job as assertions, on the real lab with a pfSense: join, lose the address, come back, and leak nothing
meanwhile. tests/lab/test_several_homes.py does it with Linux firewalls."""

from __future__ import annotations

import pytest

from lab import scenario
from lab.net.pfsense import Pfsense
from lab.net.topology import Home
from lab.world import World
from tests.lab.hunt import leaks

pytestmark = pytest.mark.lab
QUICK = "heartbeat_s = 5"


async def test_a_home_joins_loses_its_address_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    homes = (Home(firewall="pfsense"),)
    async with World(factor=240, logs=scenario.logs_folder("test-main-job"), homes=homes) as world:
        world.as_azure_would(monkeypatch.setenv)
        joined = await scenario.join(world, told.append, timing=QUICK)
        assert joined.pings == {"vm -> lan": True, "lan -> vm": True}
        assert 0 < joined.tunnel_up_s <= joined.ready_s
        firewall = world.network.homes["home"].firewall
        assert isinstance(firewall, Pfsense)
        assert "homelink-home" in (firewall.root / "cf/conf/config.xml").read_text()
        await world.set_clock(1)
        before = await world.api.metrics()
        recovered = await scenario.lose_address(world, told.append)
        await scenario.end_pin(world, told.append, recovered)
        assert await scenario.pings(world) == {"vm -> lan": True, "lan -> vm": True}
        assert 0 < recovered.detected_s <= recovered.pinned_s < recovered.recovered_s < recovered.unpinned_s
        metrics = await world.api.metrics()
        assert metrics["resets"] == {"connection": 0, "gateway": 0}
        assert metrics["arm_writes"] - before["arm_writes"] == 2, "one PUT to pin, one to go back to the name"
        conditions = await world.api.conditions("connections", "home")
        assert conditions["Ready"][0] == "True" and conditions["AddressCurrent"][1] == "Agrees"
        assert await leaks(world) == []
