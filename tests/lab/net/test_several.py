"""Several homes, several gateways, several instances: what one of them does to the others is measured."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from lab.dataplane import GatewayView
from lab.net.dataplane import NetDataPlane
from lab.net.run import Daemon, LabNetError, inside, ip_json, namespaces, until
from lab.net.topology import Home, interface
from lab.net.world import Network
from tests.lab.net import hand

pytestmark = pytest.mark.lab

SECOND = GatewayView("gw2", 65010, "203.0.113.20", "10.2.1.30", ("10.2.0.0/16",))


class Watch:
    """A ping every 50 ms from the gateway's machine to a home, and what its tunnel and session were at the start."""

    def __init__(self, net: Network, plane: NetDataPlane, home: Home, name: str) -> None:
        self._net, self._plane, self._home, self._name = net, plane, home, name

    async def _facts(self) -> tuple[object, ...]:
        (sa,) = await self._plane.ike_sas(self._name)
        children = [(c["spi-in"], c["spi-out"]) for c in sa["child-sas"].values()]  # type: ignore[attr-defined]
        (peer,) = [p for p in await self._plane.bgp_peers("gw") if p.neighbor == self._home.lan]
        self.sa_age, self.bgp_age = float(str(sa["established"])), peer.uptime_s
        return sa["initiator-spi"], sa["responder-spi"], children, peer.state

    async def start(self) -> None:
        self._before = await self._facts()
        self._ages = self.sa_age, self.bgp_age
        self._began = time.monotonic()
        log = self._net.directory / f"ping-{self._home.name}.log"
        where = self._net.topology.machine("gw").namespace
        words = (*inside(where), "ping", "-n", "-i", "0.05", "-W", "1", self._home.lan_host)
        self._ping = await Daemon.start("ping", words, log)

    async def undisturbed(self) -> None:
        """Not one ping was lost, the SAs are the same and as much older as time has passed, and so is the session."""
        passed = time.monotonic() - self._began
        self._ping._process.send_signal(2)  # it then prints its count
        await self._ping._process.wait()
        (sent,) = re.findall(r"(\d+) packets transmitted", self._ping.tail(4))
        answered = {int(n) for n in re.findall(r"icmp_seq=(\d+) ", self._ping.tail(10_000))}
        lost = set(range(1, max(answered) + 1)) - answered
        assert not lost, f"{self._home.name}: pings {sorted(lost)} were lost"
        assert max(answered) > max(10, int(sent) - 20), f"{self._home.name}: the last answer is a second old"
        assert await self._facts() == self._before
        assert self.sa_age >= self._ages[0] + passed - 1.5
        assert self.bgp_age >= self._ages[1] + passed - 2


@contextlib.asynccontextmanager
async def three_homes(plane_homes: tuple[Home, ...]) -> AsyncIterator[tuple[Network, NetDataPlane]]:
    async with Network(homes=plane_homes) as net:
        plane = NetDataPlane(net.directory)
        await plane.set_gateway(hand.GATEWAY)
        for number, home in enumerate(plane_homes):
            view = hand.connection(
                home.name,
                psk=f"psk.of.{home.name}",
                peer_address=home.public,
                peer_asn=64600 + number,
                peer_bgp_address=home.lan,
            )
            await plane.set_connection(view)
            await hand.configure(net.homes[home.name], psk=view.psk, asn=64600 + number)
        for home in plane_homes:
            await hand.bgp_up(plane, net.homes[home.name])
            await hand.works(net, home)
        yield net, plane
        await plane.close()


async def test_what_happens_to_one_home_never_touches_the_others(_sandbox: None) -> None:
    homes = (Home(), hand.another_home(2), hand.another_home(3))
    assert len({h.wan for h in homes}) == 1
    async with three_homes(homes) as (net, plane):
        watches = [Watch(net, plane, home, home.name) for home in homes[1:]]
        for watch in watches:
            await watch.start()
        victim = net.homes["home"]

        await net.change_public_address("198.51.100.77")  # lost, and found again
        assert not await net.ping("vm", victim.home.lan_host)
        await plane.set_peer("home", "198.51.100.77")
        await victim.charon.terminate("hand")
        assert await victim.charon.initiate("hand") is None
        await hand.works(net, victim.home)

        await plane.reset_connection("home")
        assert await victim.charon.initiate("hand") is None
        await hand.works(net, victim.home)

        view = hand.connection("home", psk="a.new.key", peer_address="198.51.100.77", peer_asn=64999)
        await plane.set_connection(view)  # another key and AS
        with pytest.raises(LabNetError, match="mean one address"):
            await plane.set_peer("home", homes[1].public)
        await plane.set_connection(replace(view, policy=None))  # another policy: its charon starts anew
        await plane.drop_connection("home")
        assert not await net.ping("vm", victim.home.lan_host)
        await plane.set_connection(hand.connection("home", peer_address="198.51.100.77"))

        for watch in watches:
            await watch.undisturbed()


async def test_two_gateways_in_two_networks_and_a_home_on_each(_sandbox: None) -> None:
    homes = (Home(), hand.another_home(2))
    async with Network(homes=homes) as net:
        plane = NetDataPlane(net.directory)
        await asyncio.gather(plane.set_gateway(hand.GATEWAY), plane.set_gateway(SECOND))
        with pytest.raises(LabNetError, match="is the public address of gateway `gw2`"):
            await plane.set_gateway(replace(SECOND, name="gw3"))
        await plane.set_connection(hand.connection("home"))
        # the same home's address may be meant by two gateways: they are called by different addresses
        await plane.set_connection(hand.connection("also", gateway="gw2"))
        await plane.drop_connection("also")
        second = hand.connection(
            "home2", gateway="gw2", peer_address=homes[1].public, psk="its.own", peer_bgp_address=homes[1].lan
        )
        await plane.set_connection(second)
        with pytest.raises(LabNetError, match="carried by another gateway, `gw2`"):
            await plane.set_connection(replace(second, gateway="gw"))
        await hand.configure(net.homes["home"])
        firewall = net.homes["home2"]
        await hand.configure(firewall, psk="its.own", gateway=SECOND)
        await firewall.frr.configure(
            [f"router bgp {hand.ASN}", f"neighbor {SECOND.bgp_address} remote-as {SECOND.asn}"]
        )
        await hand.bgp_up(plane, net.homes["home"])
        await hand.bgp_up(plane, firewall, SECOND)
        await hand.works(net, homes[0])
        await hand.works(net, homes[1], SECOND)
        here, there = net.topology.machine("gw"), net.topology.machine("gw2")
        assert (here.address, there.address) == ("10.0.0.4", "10.2.0.4")
        assert not await net.ping(there.namespace, homes[0].lan_host)
        assert not await net.ping(here.namespace, homes[1].lan_host)
        assert {r.network for r in await plane.learned_routes("gw2")} == {"10.2.0.0/16", homes[1].lan_prefix}

        await plane.reset_gateway("gw2", outage_s=600)  # and while that one is away, nothing waits for it here
        assert await plane.bgp_peers("gw2") == []
        await plane.set_connection(hand.connection("home", dpd_timeout_s=30))
        assert await net.homes["home"].charon.initiate("hand") is None
        await hand.works(net, homes[0])
        await plane.drop_gateway("gw2")
        assert not any(n.startswith(("az-", "vm-")) for n in await namespaces())
        with pytest.raises(LabNetError, match="`gw2` is not in"):
            net.topology.machine("gw2")
        await hand.works(net, homes[0])
        await plane.close()


async def test_an_active_active_gateway_survives_the_reset_of_an_instance(_sandbox: None) -> None:
    async with Network(homes=(Home(second_tunnel=True),)) as net:
        plane = NetDataPlane(net.directory)
        home = net.homes["home"]
        await plane.set_gateway(hand.ACTIVE_ACTIVE)
        await plane.set_connection(hand.connection(peer_address=home.home.public))
        await hand.configure(home, gateway=hand.ACTIVE_ACTIVE)

        async def complete() -> bool:
            ends = {(p.local_address, p.neighbor) for p in await plane.bgp_peers("gw") if p.state == "Established"}
            learned = {(r.local_address, r.source_peer) for r in await plane.learned_routes("gw") if r.as_path}
            both = {("10.0.1.4", "192.168.1.1"), ("10.0.1.5", "192.168.1.1")}
            siblings = {("10.0.1.4", "10.0.1.5"), ("10.0.1.5", "10.0.1.4")}
            return ends == both | siblings and both <= learned

        await until("four sessions and the home's prefix at both instances", complete, within=30)
        status = await plane.tunnel("home-link")
        assert [(t.public_ip, t.connected) for t in status.instances] == [
            ("203.0.113.10", True),
            ("203.0.113.20", True),
        ]
        assert status.ingress_bytes == sum(t.ingress_bytes for t in status.instances) > 0
        await hand.works(net, home.home)

        with pytest.raises(LabNetError, match=r"has no instance at 203\.0\.113\.99"):
            await plane.reset_gateway("gw", "203.0.113.99")
        for public_ip, bgp_address, left in (
            ("203.0.113.10", "10.0.1.4", [False, True]),
            ("203.0.113.20", "10.0.1.5", [True, False]),
        ):
            await plane.reset_gateway("gw", public_ip, outage_s=1.5)
            status = await plane.tunnel("home-link")
            assert status.connected
            assert [t.connected for t in status.instances] == left
            assert {p.local_address for p in await plane.bgp_peers("gw")} == {"10.0.1.4", "10.0.1.5"} - {bgp_address}
            await hand.works(net, home.home)
            charon = home.charon if public_ip == hand.GATEWAY.public_ip else home.second
            assert charon is not None
            await charon.terminate("hand")
            await plane.set_peer("home-link", home.home.public)  # waits for the instance
            assert await charon.initiate("hand") is None
            await until("all of it being back", complete, within=30)
        await plane.close()


async def test_one_tunnel_to_an_active_active_gateway_serves_the_whole_network(_sandbox: None) -> None:
    """What a home with a single tunnel gets: the second instance reaches it through the first one."""
    async with Network() as net:
        plane = NetDataPlane(net.directory)
        home = net.homes["home"]
        await plane.set_gateway(hand.GATEWAY)
        await plane.set_connection(hand.connection())
        await plane.set_gateway(hand.ACTIVE_ACTIVE)  # as a PUT that makes it active-active
        await hand.configure(home, gateway=hand.ACTIVE_ACTIVE)
        await hand.bgp_up(plane, home, hand.ACTIVE_ACTIVE)
        await hand.works(net, home.home)
        assert [t.connected for t in (await plane.tunnel("home-link")).instances] == [True, False]

        async def handed_over() -> bool:
            routes = [r for r in await plane.learned_routes("gw") if r.network == home.home.lan_prefix]
            found = {(r.local_address, r.origin, r.next_hop) for r in routes}
            return {("10.0.1.4", "EBgp", "192.168.1.1"), ("10.0.1.5", "IBgp", "10.0.1.4")} == found

        await until("the second instance having the home's prefix from the first", handed_over, within=10)
        (route,) = await ip_json("az~1", "route", "show", home.home.lan_prefix)
        assert route["dev"] == "ib0"
        sent = {r.network: r.next_hop for r in await plane.advertised_routes("gw", "10.0.1.5")}
        assert sent[home.home.lan_prefix] == "10.0.1.4"
        await plane.set_gateway(hand.GATEWAY)
        assert "az~1" not in await namespaces()
        assert len((await plane.tunnel("home-link")).instances) == 1
        await plane.close()


async def test_apipa_is_the_address_of_both_ends_and_the_home_opens_the_session(
    net: Network, plane: NetDataPlane
) -> None:
    home = net.homes["home"]
    await plane.set_gateway(hand.GATEWAY)
    view = hand.connection(peer_bgp_address="169.254.21.2", apipa=("169.254.21.1",))
    await plane.set_connection(view)
    await hand.configure_apipa(home, mine="169.254.21.2", azure="169.254.21.1")
    await hand.bgp_up(plane, home, peer="169.254.21.2")
    await hand.works(net, home.home)
    (peer,) = await plane.bgp_peers("gw")
    assert (peer.local_address, peer.neighbor, peer.state) == ("169.254.21.1", "169.254.21.2", "Established")
    (route,) = [r for r in await plane.learned_routes("gw") if r.as_path]
    assert (route.network, route.next_hop, route.local_address) == ("192.168.1.0/24", "169.254.21.2", "10.0.1.30")
    (sent,) = [r for r in await plane.advertised_routes("gw", "169.254.21.2") if r.network == "10.0.0.0/16"]
    assert sent.next_hop == "169.254.21.1"
    shown = await home.frr.show("show bgp neighbors 169.254.21.1 json")
    assert shown["169.254.21.1"]["portForeign"] == 179  # the home called Azure
    await plane.set_connection(
        replace(view, peer_bgp_address=home.home.lan, apipa=())
    )  # and back to transit (a) or (b)
    assert [p.neighbor for p in await plane.bgp_peers("gw")] == [home.home.lan]
    (addresses,) = await ip_json("az", "addr", "show", "dev", "lo")
    assert "169.254.21.1" not in {a["local"] for a in addresses["addr_info"]}


async def test_a_planned_failover_interrupts_for_as_long_as_it_is_told(net: Network, plane: NetDataPlane) -> None:
    home = net.homes["home"]
    await plane.set_gateway(hand.GATEWAY)
    await plane.set_connection(hand.connection())
    await hand.configure(home)
    await hand.bgp_up(plane, home)
    await hand.works(net, home.home)
    began = time.monotonic()
    await plane.reset_gateway("gw", outage_s=2)
    assert time.monotonic() - began < 2
    assert not (await plane.tunnel("home-link")).connected
    assert not await net.ping("vm", home.home.lan_host)
    assert await home.charon.sas() == []  # it was told

    waiting = asyncio.create_task(plane.reset_connection("home-link"))  # a change of the gateway waits
    while not waiting.done():
        assert not (await plane.tunnel("home-link")).connected
        await asyncio.wait([waiting], timeout=0.1)
    assert time.monotonic() - began >= 2
    await waiting
    assert await home.charon.initiate("hand") is None
    await hand.works(net, home.home)


def test_interface_names_fit_and_differ() -> None:
    names = [interface(f"to-a-home-with-a-long-name-{n}") for n in range(50)]
    assert max(map(len, names)) <= 15
    assert len(set(names)) == 50
    assert interface("to-home") == "to-home"
