"""The resolver against real DNS messages from servers on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import dns.rcode
import pytest

from shared.dns.resolver import DnsResolver
from tests.shared.dns.server import Authority, DnsWorld

CACHE, NS1, NS2, OTHER = "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"
HOME = "home.example.org"
SOA = "ns1.example.org. admin.example.org. 1 3600 600 86400 60"


@dataclass
class Zone:
    """example.org with two servers, found by way of one cache, which holds the infrastructure and no other record."""

    cache: Authority
    ns1: Authority
    ns2: Authority
    world: DnsWorld

    def both(self, kind: str, *values: str, name: str = HOME, ttl: int = 60) -> None:
        for server in (self.ns1, self.ns2):
            server.add(name, kind, *values, ttl=ttl)

    def resolver(self) -> DnsResolver:
        return DnsResolver([CACHE], port=self.world.port, question_s=0.4)

    def delegate(self, zone: str, **servers: str) -> None:
        soa = SOA
        self.cache.add(zone, "SOA", soa)
        self.cache.add(zone, "NS", *(f"{name}.{zone}." for name in servers))
        for name, address in servers.items():
            self.cache.add(f"{name}.{zone}", "A", address)


@pytest.fixture
async def zone() -> AsyncIterator[Zone]:
    world = DnsWorld()
    made = Zone(await world.serve(CACHE), await world.serve(NS1), await world.serve(NS2), world)
    made.delegate("example.org", ns1=NS1, ns2=NS2)
    yield made
    world.close()


S1, S2 = f"ns1.example.org@{NS1}", f"ns2.example.org@{NS2}"


async def test_every_server_of_the_zone_is_asked_without_recursion(zone: Zone) -> None:
    zone.both("A", "198.51.100.23", ttl=300)
    zone.ns2.add(HOME, "A", "198.51.100.23", ttl=60)
    zone.cache.add(HOME, "A", "198.51.100.7")
    view = await zone.resolver().look(HOME)
    assert view.authoritative == {S1: ("198.51.100.23",), S2: ("198.51.100.23",)}
    assert view.recursive == {CACHE: ("198.51.100.7",)}
    assert (view.name, view.ttl_s, view.note, view.agreed()) == (HOME, 60, "", "198.51.100.23")
    assert {recursive for _, _, recursive in zone.ns1.asked + zone.ns2.asked} == {False}
    assert {recursive for _, _, recursive in zone.cache.asked} == {True}


async def test_the_closest_zone_is_asked_and_not_its_parent(zone: Zone) -> None:
    zone.delegate("dyn.example.org", a=OTHER)
    other = await zone.world.serve(OTHER)
    other.add("home.dyn.example.org", "A", "198.51.100.23")
    view = await zone.resolver().look("home.dyn.example.org.")
    assert view.authoritative == {f"a.dyn.example.org@{OTHER}": ("198.51.100.23",)}
    assert zone.ns1.asked == []


async def test_two_servers_that_disagree_agree_on_nothing(zone: Zone) -> None:
    zone.ns1.add(HOME, "A", "198.51.100.23")
    zone.ns2.add(HOME, "A", "198.51.100.99")
    view = await zone.resolver().look(HOME)
    assert view.authoritative == {S1: ("198.51.100.23",), S2: ("198.51.100.99",)}
    assert view.agreed() is None


async def test_several_addresses_are_all_told(zone: Zone) -> None:
    zone.both("A", "198.51.100.24", "198.51.100.23")
    view = await zone.resolver().look(HOME)
    assert view.authoritative[S1] == ("198.51.100.23", "198.51.100.24")
    assert view.agreed() is None


async def test_servfail_is_no_answer_rather_than_an_empty_one(zone: Zone) -> None:
    zone.both("A", "198.51.100.23")
    zone.ns1.rcode = dns.rcode.SERVFAIL
    view = await zone.resolver().look(HOME)
    assert view.authoritative == {S1: None, S2: ("198.51.100.23",)}
    assert view.note == f"SERVFAIL: {S1}" and view.agreed() is None
    zone.ns2.rcode = dns.rcode.SERVFAIL
    view = await zone.resolver().look(HOME)
    assert view.authoritative == {S1: None, S2: None} and view.note == "SERVFAIL"


async def test_a_name_that_does_not_exist(zone: Zone) -> None:
    view = await zone.resolver().look(HOME)
    assert view.authoritative == {S1: (), S2: ()}
    assert view.recursive == {CACHE: ()}
    assert (view.note, view.ttl_s, view.agreed()) == ("NXDOMAIN", 0, None)


async def test_ipv6_only_is_said(zone: Zone) -> None:
    zone.both("AAAA", "2001:db8::1")
    view = await zone.resolver().look(HOME)
    assert view.authoritative == {S1: (), S2: ()}
    assert "AAAA" in view.note and view.agreed() is None


async def test_a_name_without_any_address(zone: Zone) -> None:
    zone.both("TXT", '"hello"')
    assert (await zone.resolver().look(HOME)).note == "no A record"


async def test_a_silent_server_is_given_up_and_the_other_counts(zone: Zone) -> None:
    zone.both("A", "198.51.100.23")
    zone.ns2.silent = True
    view = await zone.resolver().look(HOME)
    assert view.authoritative == {S1: ("198.51.100.23",), S2: None}
    assert view.note == f"timeout: {S2}"
    assert len(zone.ns2.asked) == 2, "one packet may get lost"


async def test_a_server_that_is_not_authoritative_is_not_believed(zone: Zone) -> None:
    zone.both("A", "198.51.100.23")
    zone.ns1.lame = True
    view = await zone.resolver().look(HOME)
    assert view.authoritative == {S1: None, S2: ("198.51.100.23",)} and "lame" in view.note


async def test_a_server_whose_own_name_has_no_address_is_counted(zone: Zone) -> None:
    zone.both("A", "198.51.100.23")
    del zone.cache.records["ns2.example.org", "A"]
    view = await zone.resolver().look(HOME)
    assert view.authoritative == {S1: ("198.51.100.23",), "ns2.example.org": None}
    assert view.agreed() is None, "one of two is not more than half"


async def test_a_cname_within_the_zone(zone: Zone) -> None:
    zone.both("CNAME", "router.example.org.", ttl=30)
    zone.both("A", "198.51.100.23", name="router.example.org", ttl=300)
    view = await zone.resolver().look(HOME)
    assert view.authoritative == {S1: ("198.51.100.23",), S2: ("198.51.100.23",)} and view.ttl_s == 30


async def test_a_cname_out_of_the_zone_is_followed_to_its_own_servers(zone: Zone) -> None:
    zone.both("CNAME", "me.ddns.example.net.", ttl=20)
    zone.both("A", "203.0.113.66", name="me.ddns.example.net")  # not theirs to say
    zone.delegate("ddns.example.net", ns=OTHER)
    other = await zone.world.serve(OTHER)
    other.add("me.ddns.example.net", "A", "198.51.100.23", ttl=60)
    view = await zone.resolver().look(HOME)
    assert view.authoritative == {f"ns.ddns.example.net@{OTHER}": ("198.51.100.23",)}
    assert (view.ttl_s, view.agreed()) == (20, "198.51.100.23")


async def test_a_cname_to_where_nothing_is_delegated(zone: Zone) -> None:
    zone.both("CNAME", "gone.example.net.")
    view = await zone.resolver().look(HOME)
    assert view.authoritative == {} and "no delegation found for gone.example.net" in view.note


async def test_a_cname_loop_ends(zone: Zone) -> None:
    zone.both("CNAME", "b.example.org.", name=HOME)
    zone.both("CNAME", f"{HOME}.", name="b.example.org")
    view = await zone.resolver().look(HOME)
    assert view.authoritative == {S1: (), S2: ()} and view.note == "CNAME loop"


async def test_servers_that_point_to_different_names(zone: Zone) -> None:
    zone.ns1.add(HOME, "CNAME", "a.example.net.")
    zone.ns2.add(HOME, "CNAME", "b.example.net.")
    view = await zone.resolver().look(HOME)
    assert view.authoritative == {S1: (), S2: ()} and "disagree" in view.note


async def test_no_delegation(zone: Zone) -> None:
    zone.cache.rcode = dns.rcode.SERVFAIL
    view = await zone.resolver().look(HOME)
    assert (view.authoritative, view.recursive) == ({}, {CACHE: None})
    assert "no delegation found" in view.note and view.agreed() is None


@pytest.mark.parametrize("name", ["a" * 64 + ".example.org", "a..b", "", "."])
async def test_a_name_that_is_none_is_reported_like_any_other(zone: Zone, name: str) -> None:
    view = await zone.resolver().look(name)
    assert view.agreed() is None and view.note
