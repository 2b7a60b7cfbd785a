"""Each transit mode on the whole lab, and two gateways at once, in networks of their own; one has two instances."""

from __future__ import annotations

from ipaddress import IPv4Interface

import pytest

from lab import scenario
from lab.documents import document
from lab.net.run import ip_json
from lab.world import World
from tests.lab.homes import CABIN, HOME, HOMES, OFFICE

pytestmark = pytest.mark.lab
QUICK = "heartbeat_s = 5\nnudge_s = 5"
TWO = {"gateway": "hub-two", "probe": "10.1.0.4"}


async def transit_of(world: World, home: str) -> tuple[str, str]:
    """The address on the home's tunnel device, and Azure's end of its only BGP session."""
    there = world.network.homes[home]
    (device,) = await ip_json(there.home.firewall_ns, "-4", "addr", "show", "dev", "ipsec0")
    (address,) = [IPv4Interface(f"{a['local']}/{a['prefixlen']}") for a in device["addr_info"]]
    (peer,) = (await there.frr.show("show bgp ipv4 unicast summary json"))["peers"]
    return str(address), str(peer)


async def test_every_transit_mode_at_two_gateways() -> None:
    gateways = [document("gateway"), document("gateway-active-active")]
    apipa = document("home-apipa", **TWO)
    apipa["spec"]["transit"]["remoteSecond"] = "169.254.22.1"
    connections = [
        document("home", transit={"mode": "gatewaySubnet"}),
        document("home-point-to-point", **TWO),
        apipa,
    ]
    async with World(factor=240, logs=scenario.logs_folder("test-transit"), homes=HOMES) as world:
        await scenario.join_all(world, gateways, connections, timing=QUICK)
        for home, gateway in ((HOME, "hub"), (CABIN, "hub-two"), (OFFICE, "hub-two")):
            assert await scenario.pings(world, home.name, gateway) == {"vm -> lan": True, "lan -> vm": True}
        assert await transit_of(world, "home") == ("10.0.1.29/30", "10.0.1.30")
        assert await transit_of(world, "cabin") == ("172.31.255.1/32", "10.1.1.4")
        assert await transit_of(world, "office") == ("169.254.21.2/30", "169.254.21.1")
        second = f"{world.network.topology.machine('hub-two').namespace.replace('vm', 'az')}~1"
        for address in (CABIN.lan, CABIN.lan_host, OFFICE.lan_host):  # no tunnel of its own, so by the first instance
            (route,) = await ip_json(second, "route", "get", address)
            assert route["dev"] == "ib0"
