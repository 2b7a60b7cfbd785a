"""The gateway's look-ups against a real DNS server in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from lab.azure.resolver import DnsResolver, ResolveError

ANSWERS = {"two.example.": ["198.51.100.7", "198.51.100.3"], "one.example.": ["198.51.100.9"]}


class Server(asyncio.DatagramProtocol):
    """Answers A queries; `broken.example` gets SERVFAIL, `six.example` has no IPv4 address."""

    def __init__(self) -> None:
        self.types: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        [question] = query.question
        self.types.append(dns.rdatatype.to_text(question.rdtype))
        response = dns.message.make_response(query)
        name = question.name.to_text()
        if name == "broken.example.":
            response.set_rcode(dns.rcode.SERVFAIL)
        elif name in ANSWERS:
            # One set per record: dnspython writes the records of one set in a random order.
            response.answer += [dns.rrset.from_text(name, 60, "IN", "A", address) for address in ANSWERS[name]]
        elif name != "six.example.":
            response.set_rcode(dns.rcode.NXDOMAIN)
        self.transport.sendto(response.to_wire(), addr)


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, DnsResolver]]:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(Server, local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    yield protocol, DnsResolver("127.0.0.1", port, timeout_s=2.0)
    transport.close()


async def test_first_a_record_only(server: tuple[Server, DnsResolver]) -> None:
    protocol, resolver = server
    assert await resolver.first_a("one.example") == "198.51.100.9"
    assert await resolver.first_a("two.example.") == "198.51.100.7"
    assert set(protocol.types) == {"A"}


@pytest.mark.parametrize("name", ["six.example", "nowhere.example"])
async def test_no_address_is_none(server: tuple[Server, DnsResolver], name: str) -> None:
    assert await server[1].first_a(name) is None


async def test_servfail_is_an_error(server: tuple[Server, DnsResolver]) -> None:
    with pytest.raises(ResolveError):
        await server[1].first_a("broken.example")


async def test_answers_are_not_cached_here(server: tuple[Server, DnsResolver], monkeypatch: pytest.MonkeyPatch) -> None:
    assert await server[1].first_a("one.example") == "198.51.100.9"
    monkeypatch.setitem(ANSWERS, "one.example.", ["198.51.100.10"])
    assert await server[1].first_a("one.example") == "198.51.100.10"
