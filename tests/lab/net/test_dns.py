"""The DNS server's answers, its cache's ageing, and its update door; then all of it in the real network."""

from __future__ import annotations

import base64
import struct
from pathlib import Path

import dns.asyncquery
import dns.asyncresolver
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.resolver
import pytest
from aiohttp.test_utils import TestClient, TestServer

from lab.net.dns import Account, Config, Resolver, Zones, dyndns2, respond
from lab.net.topology import DNS, RESOLVER
from lab.net.world import Network

ZONE = "homelink.test"


@pytest.fixture
def zones() -> Zones:
    return Zones(ZONE, "192.0.2.53", records={f"api.{ZONE}.": "192.0.2.80", f"a.deep.{ZONE}.": "192.0.2.1"})


def _ask(zones: Zones, name: str, kind: str) -> dns.message.Message:
    return zones.answer(dns.message.make_query(name, kind))


def test_an_address_is_answered_with_authority(zones: Zones) -> None:
    answer = _ask(zones, f"API.{ZONE}.", "A")
    assert answer.flags & dns.flags.AA
    assert not answer.flags & dns.flags.RA
    assert [str(r) for r in answer.answer[0]] == ["192.0.2.80"]
    assert answer.answer[0].ttl == 60


@pytest.mark.parametrize(
    ("name", "kind", "code", "apex"),
    [
        (f"api.{ZONE}.", "AAAA", dns.rcode.NOERROR, f"{ZONE}."),
        (f"deep.{ZONE}.", "A", dns.rcode.NOERROR, f"{ZONE}."),
        (f"nobody.{ZONE}.", "A", dns.rcode.NXDOMAIN, f"{ZONE}."),
        ("other.test.", "A", dns.rcode.NXDOMAIN, "test."),
        ("example.com.", "A", dns.rcode.NXDOMAIN, "."),
    ],
)
def test_what_is_not_there_comes_with_the_soa(zones: Zones, name: str, kind: str, code: int, apex: str) -> None:
    answer = _ask(zones, name, kind)
    assert answer.rcode() == code
    assert not answer.answer
    (soa,) = answer.authority
    assert (str(soa.name), soa.ttl, soa[0].minimum) == (apex, 60, 60)
    assert answer.flags & dns.flags.AA


@pytest.mark.parametrize("apex", [".", "test.", f"{ZONE}."])
def test_zone_and_parents_have_soa_and_ns_with_glue(zones: Zones, apex: str) -> None:
    assert str(_ask(zones, apex, "SOA").answer[0].name) == apex
    answer = _ask(zones, apex, "NS")
    (glue,) = answer.additional
    assert str(glue.name) == str(answer.answer[0][0].target)
    assert [str(r) for r in glue] == ["192.0.2.53"]


def test_addresses_change_and_the_serial_with_them(zones: Zones) -> None:
    serial = zones.serial
    assert zones.set_address(f"home.{ZONE}.", "198.51.100.1")
    assert not zones.set_address(f"home.{ZONE}.", "198.51.100.1")
    assert _ask(zones, ZONE, "SOA").answer[0][0].serial == serial + 1
    assert zones.set_address(f"home.{ZONE}.", "2001:db8::1")
    assert _ask(zones, f"home.{ZONE}.", "A").answer == []
    assert [str(r) for r in _ask(zones, f"home.{ZONE}.", "AAAA").answer[0]] == ["2001:db8::1"]
    assert zones.set_address(f"home.{ZONE}.", None)
    assert _ask(zones, f"home.{ZONE}.", "AAAA").rcode() == dns.rcode.NXDOMAIN
    with pytest.raises(ValueError, match="not in the zone"):
        zones.set_address("elsewhere.test.", "192.0.2.1")


def test_strange_messages_are_refused_in_form(zones: Zones) -> None:
    assert respond(b"short", zones.answer) is None
    garbage = respond(b"\x12\x34" + b"\xff" * 20, zones.answer)
    assert garbage is not None
    assert dns.message.from_wire(garbage).rcode() == dns.rcode.FORMERR
    notify = dns.message.make_query(ZONE, "SOA")
    notify.set_opcode(dns.opcode.NOTIFY)
    assert zones.answer(notify).rcode() == dns.rcode.NOTIMP
    assert _ask_class(zones, "CH").rcode() == dns.rcode.REFUSED
    assert respond(zones.answer(dns.message.make_query(ZONE, "SOA")).to_wire(), zones.answer) is None


def _ask_class(zones: Zones, rdclass: str) -> dns.message.Message:
    return zones.answer(dns.message.make_query(ZONE, "TXT", rdclass))


def test_the_resolver_serves_the_old_answer_until_its_ttl_is_over(zones: Zones) -> None:
    now = 1000.0
    resolver = Resolver(zones, lambda: now)
    name = f"home.{ZONE}."
    query = dns.message.make_query(name, "A")
    assert resolver.answer(query).rcode() == dns.rcode.NXDOMAIN
    zones.set_address(name, "198.51.100.1")
    assert resolver.answer(query).rcode() == dns.rcode.NXDOMAIN  # negative answers are kept too
    now += 60
    first = resolver.answer(query)
    assert first.flags & dns.flags.RA
    assert not first.flags & dns.flags.AA
    assert (str(first.answer[0][0]), first.answer[0].ttl) == ("198.51.100.1", 60)
    zones.set_address(name, "198.51.100.2")
    now += 59
    assert (str(resolver.answer(query).answer[0][0]), resolver.answer(query).answer[0].ttl) == ("198.51.100.1", 1)
    now += 1
    assert str(resolver.answer(query).answer[0][0]) == "198.51.100.2"


async def test_dyndns2_speaks_as_its_clients_expect(zones: Zones) -> None:
    account = Account("user", "secret", (f"home.{ZONE}", f"second.{ZONE}"))
    assert "secret" not in repr(account)
    said: list[str] = []
    async with TestClient(TestServer(dyndns2(zones, (account,), said.append))) as client:

        async def update(auth: str | None, **query: str) -> tuple[int, str]:
            headers = {"Authorization": "Basic " + base64.b64encode(auth.encode()).decode()} if auth else {}
            async with client.get("/nic/update", params=query, headers=headers) as response:
                return response.status, await response.text()

        good = "user:secret"
        host = f"home.{ZONE}"
        assert await update(None, hostname=host, myip="198.51.100.1") == (401, "badauth")
        assert await update("user:wrong", hostname=host, myip="198.51.100.1") == (401, "badauth")
        assert _ask(zones, f"{host}.", "A").rcode() == dns.rcode.NXDOMAIN
        assert await update(good, hostname=host, myip="198.51.100.1") == (200, "good 198.51.100.1")
        assert await update(good, hostname=host, myip="198.51.100.1") == (200, "nochg 198.51.100.1")
        assert await update(good, hostname=f"api.{ZONE}", myip="198.51.100.1") == (200, "nohost")
        assert await update(good, hostname=host, myip="here") == (200, "dnserr")
        assert await update(good) == (200, "notfqdn")
        assert await update(good, hostname=f"second.{ZONE}") == (200, "good 127.0.0.1")
        assert await update(good, hostname=f"{host},nobody.{ZONE}", myip="198.51.100.2") == (
            200,
            "good 198.51.100.2\nnohost",
        )
    assert [str(r) for r in _ask(zones, f"{host}.", "A").answer[0]] == ["198.51.100.2"]
    assert not any("secret" in line for line in said)


def test_the_configuration_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "dns.json"
    config = Config(ZONE, "192.0.2.53", "192.0.2.54", (Account("u", "p", ("h",)),), {"api.homelink.test": "192.0.2.80"})
    config.save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert Config.load(path) == config


@pytest.mark.lab
async def test_a_client_finds_the_zone_and_its_servers_from_the_name(net: Network) -> None:
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers = [DNS]
    name = net.name_of()
    zone = await dns.asyncresolver.zone_for_name(name, resolver=resolver)
    assert str(zone) == f"{ZONE}."
    server = str((await resolver.resolve(zone, "NS"))[0].target)
    address = str((await resolver.resolve(server, "A"))[0])
    for ask in (dns.asyncquery.udp, dns.asyncquery.tcp):
        answer = await ask(dns.message.make_query(name, "A"), address, timeout=2)
        assert answer.flags & dns.flags.AA
        assert [str(r) for r in answer.answer[0]] == ["198.51.100.23"]
    default = dns.asyncresolver.Resolver()  # the sandbox's /etc/resolv.conf names the lab's resolver
    assert default.nameservers == [RESOLVER]
    assert str((await default.resolve(f"api.{ZONE}", "A"))[0]) == "203.0.113.80"
    with pytest.raises(dns.resolver.NXDOMAIN):
        await default.resolve("www.example.com", "A")


def test_udp_answers_fit_the_asker(zones: Zones) -> None:
    query = dns.message.make_query(f"{ZONE}.", "NS")
    wire = respond(query.to_wire(), zones.answer, 40)
    assert wire is not None
    assert len(wire) <= 512
    assert struct.unpack("!H", wire[:2])[0] == query.id
