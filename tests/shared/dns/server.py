"""A small DNS server on loopback addresses, one behaviour per name server; it answers only what a test put into it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset


@dataclass
class Authority:
    """The records of one address. `rcode`, `silent` and `lame` spoil its answers."""

    records: dict[tuple[str, str], tuple[int, list[str]]] = field(default_factory=dict)
    rcode: dns.rcode.Rcode | None = None
    silent: bool = False
    lame: bool = False
    asked: list[tuple[str, str, bool]] = field(default_factory=list)

    def add(self, name: str, kind: str, *values: str, ttl: int = 60) -> None:
        self.records[name, kind] = (ttl, list(values))

    def answer(self, query: dns.message.Message) -> dns.message.Message | None:
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind, bool(query.flags & dns.flags.RD)))
        if self.silent:
            return None
        response = dns.message.make_response(query)
        if not self.lame:
            response.flags |= dns.flags.AA
        if self.rcode is not None:
            response.set_rcode(self.rcode)
            return response
        for _ in range(10):
            if (name, kind) in self.records:
                response.answer.append(self._rrset(name, kind))
                return response
            if (name, "CNAME") not in self.records:
                break
            response.answer.append(self._rrset(name, "CNAME"))
            name = self.records[name, "CNAME"][1][0].rstrip(".")
        if not response.answer and not any(n == name or n.endswith(f".{name}") for n, _ in self.records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response

    def _rrset(self, name: str, kind: str) -> dns.rrset.RRset:
        ttl, values = self.records[name, kind]
        return dns.rrset.from_text(dns.name.from_text(name), ttl, dns.rdataclass.IN, kind, *values)


class DnsWorld:
    """Serves authorities on 127.0.0.x, all on one port."""

    def __init__(self) -> None:
        self.port = 0
        self.at: dict[str, Authority] = {}
        self._transports: list[asyncio.DatagramTransport] = []

    async def serve(self, address: str) -> Authority:
        loop = asyncio.get_running_loop()
        authority = Authority()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _Protocol(authority), local_addr=(address, self.port)
        )
        self.port = transport.get_extra_info("sockname")[1]
        self._transports.append(transport)
        self.at[address] = authority
        return authority

    def close(self) -> None:
        for transport in self._transports:
            transport.close()


class _Protocol(asyncio.DatagramProtocol):
    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        response = self._authority.answer(dns.message.from_wire(data))
        if response is not None:
            self._transport.sendto(response.to_wire(), addr)
