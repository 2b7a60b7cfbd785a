"""The network without Azure and without an agent: who reaches whom, and that closing leaves nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.net.charon import TUN
from lab.net.run import LabNetError, ip_json, namespaces, run
from lab.net.topology import CLOUD, DNS, HOMES_ROUTER, Home, Topology
from lab.net.world import Network

pytestmark = pytest.mark.lab


async def test_everybody_reaches_whom_they_should(net: Network) -> None:
    assert await net.ping("home", CLOUD)
    assert await net.ping("lan", CLOUD)
    assert await net.ping("lan", DNS)
    assert await net.ping(None, "198.51.100.23")
    assert await net.ping("lan", CLOUD, source="192.168.1.50")
    assert await net.ping("vm", "10.0.0.1")
    assert not await net.ping(None, "192.168.178.2")
    assert not await net.ping("vm", "192.168.1.50")
    assert not await net.ping("lan", "10.0.0.4")
    assert not await net.ping("dns", "198.51.100.99")


async def test_a_home_is_ready_for_an_agent_and_unconfigured(net: Network) -> None:
    home = net.homes["home"]
    assert await home.charon.sas() == []
    assert await home.charon.call(lambda session: list(session.list_conns())) == []
    assert "router bgp" not in await home.frr.vtysh("show running-config")
    assert await home.frr.show("show bgp summary json") == {}
    with pytest.raises(LabNetError, match="Unknown command"):
        await home.frr.configure(["router bgp 64600", "nonsense"])
    assert home.vici == net.directory / "home" / "charon.vici"
    assert home.vty_socket == net.directory / "home" / "frr"
    (tun,) = await ip_json("home", "link", "show", "dev", TUN)
    assert "UP" in tun["flags"]


async def test_a_changed_address_is_where_everybody_finds_it(net: Network) -> None:
    await net.change_public_address("198.51.100.90")
    assert await net.ping("lan", CLOUD)
    assert await net.ping(None, "198.51.100.90")
    assert not await net.ping(None, "198.51.100.23")
    assert Topology.load(net.directory) == net.topology
    assert net.topology.home().public == "198.51.100.90"
    with pytest.raises(LabNetError, match="public address of a home already"):
        await net.change_public_address("198.51.100.90")
    with pytest.raises(LabNetError, match="no home `cellar`"):
        await net.change_public_address("198.51.100.91", "cellar")
    assert await net.ping("nat", HOMES_ROUTER)


async def test_closing_leaves_nothing_and_it_can_be_built_again(_sandbox: None) -> None:
    links = len(await ip_json(None, "link", "show"))
    for _ in range(2):
        async with Network(homes=(Home(), Home(name="cabin", public="198.51.100.40"))) as net:
            assert {"home", "nat", "lan", "cabin", "nat-cabin", "lan-cabin"} <= await namespaces()
            with pytest.raises(LabNetError, match="holds a network already"):
                await Network(Path("/var/tmp/second")).start()
            assert await net.ping("lan-cabin", CLOUD)
        assert await namespaces() == set()
        assert len(await ip_json(None, "link", "show")) == links
        running = (await run("ps", "-eo", "comm=")).split()
        assert not {"charon", "bgpd", "zebra"} & set(running)
    with pytest.raises(LabNetError, match="not running"):
        _ = net.topology


async def test_passwords_stay_in_files_of_their_owner(_sandbox: None) -> None:
    async with Network(token=lambda: "hush.hush") as net:
        holders = [p for p in net.directory.rglob("*") if p.is_file() and b"hush.hush" in p.read_bytes()]
        assert {p.name for p in holders} == {"dns.json", "router.json"}
        assert all(p.stat().st_mode & 0o077 == 0 for p in holders)
        assert "hush.hush" not in await run("ps", "-eo", "args=")
