"""The lab's DNS: an authoritative server, a caching resolver in front of it, and the dyndns2 door that changes names.

`python -m lab.net.dns CONFIG.json` runs all three in one process. The names of homes are written by dyndns2 alone, so
what the product reads is what a router said, after its lag; a cache keeps serving the old answer until its TTL is over.
The server is the whole tree down to its zone (root and parents included), which is enough for a client that looks for
the zone of a name and then asks its name servers directly. No DNSSEC, no transfers.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import json
import secrets
import signal
import struct
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from aiohttp import web

_UDP_MAX = 1232


@dataclass(frozen=True)
class Account:
    """Who may change which names by dyndns2."""

    user: str
    password: str = field(repr=False)
    hosts: tuple[str, ...]


@dataclass(frozen=True)
class Config:
    """`records` are fixed A records (absolute names). The file holds passwords: it is written for the owner alone."""

    zone: str
    authoritative: str
    recursive: str
    accounts: tuple[Account, ...] = ()
    records: Mapping[str, str] = field(default_factory=dict)
    ttl: int = 60
    port: int = 53
    http_port: int = 80

    def save(self, path: Path) -> None:
        path.touch(mode=0o600)
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> Config:
        raw = json.loads(path.read_text())
        accounts = tuple(Account(a["user"], a["password"], tuple(a["hosts"])) for a in raw.pop("accounts"))
        return cls(**raw, accounts=accounts)


class Zones:
    """The zone and its parents up to the root, all served with authority. Names are absolute."""

    def __init__(self, zone: str, server: str, *, ttl: int = 60, records: Mapping[str, str] | None = None) -> None:
        self.zone = dns.name.from_text(zone)
        self.ttl = ttl
        self.serial = 1
        self._server = server
        self._zones = [self.zone]
        while self._zones[-1] != dns.name.root:
            self._zones.append(self._zones[-1].parent())
        self._records: dict[tuple[dns.name.Name, dns.rdatatype.RdataType], dns.rrset.RRset] = {}
        for apex in self._zones:
            self._put(apex, "NS", str(self._ns(apex)), 3600)
            self._put(self._ns(apex), "A", server, 3600)
        for name, address in (records or {}).items():
            self.set_address(name, address)

    def set_address(self, name: str, address: str | None) -> bool:
        """Give a name its one A (or AAAA) record, or take it away with None; whether that changed anything."""
        owner = dns.name.from_text(name)
        if not owner.is_subdomain(self.zone):
            raise ValueError(f"{name} is not in the zone {self.zone}")
        before = self._records.get((owner, dns.rdatatype.A)), self._records.get((owner, dns.rdatatype.AAAA))
        for kind in (dns.rdatatype.A, dns.rdatatype.AAAA):
            self._records.pop((owner, kind), None)
        if address is not None:
            self._put(owner, "AAAA" if ":" in address else "A", address, self.ttl)
        after = self._records.get((owner, dns.rdatatype.A)), self._records.get((owner, dns.rdatatype.AAAA))
        if before == after:
            return False
        self.serial += 1
        return True

    def answer(self, query: dns.message.Message) -> dns.message.Message:
        """The authoritative answer to one query."""
        response = dns.message.make_response(query, our_payload=_UDP_MAX)
        if query.opcode() != dns.opcode.QUERY:
            response.set_rcode(dns.rcode.NOTIMP)
            return response
        if len(query.question) != 1:
            response.set_rcode(dns.rcode.FORMERR)
            return response
        question = query.question[0]
        if question.rdclass != dns.rdataclass.IN:
            response.set_rcode(dns.rcode.REFUSED)
            return response
        response.flags |= dns.flags.AA
        name = question.name
        apex = next(zone for zone in self._zones if name.is_subdomain(zone))
        found = self._soa(apex) if (name, question.rdtype) == (apex, dns.rdatatype.SOA) else None
        found = found or self._records.get((name, question.rdtype))
        if found is not None:
            response.answer.append(found)
            if question.rdtype == dns.rdatatype.NS:
                response.additional.append(self._records[(self._ns(name), dns.rdatatype.A)])
            return response
        response.authority.append(self._soa(apex))
        if not any(owner.is_subdomain(name) for owner, _ in self._records):  # an empty node still exists
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response

    def _ns(self, apex: dns.name.Name) -> dns.name.Name:
        return dns.name.from_text("ns1", apex)

    def _soa(self, apex: dns.name.Name) -> dns.rrset.RRset:
        text = f"{self._ns(apex)} {dns.name.from_text('hostmaster', apex)} {self.serial} 3600 600 86400 {self.ttl}"
        return dns.rrset.from_text(apex, self.ttl, "IN", "SOA", text)

    def _put(self, owner: dns.name.Name, kind: str, text: str, ttl: int) -> None:
        self._records[(owner, dns.rdatatype.from_text(kind))] = dns.rrset.from_text(owner, ttl, "IN", kind, text)


class Resolver:
    """A caching resolver: it asks `zones` once per TTL and counts down what it hands out. `now` is in seconds."""

    def __init__(self, zones: Zones, now: Callable[[], float]) -> None:
        self._zones = zones
        self._now = now
        self._cache: dict[tuple[dns.name.Name, dns.rdatatype.RdataType], tuple[float, dns.message.Message]] = {}

    def answer(self, query: dns.message.Message) -> dns.message.Message:
        if query.opcode() != dns.opcode.QUERY or len(query.question) != 1:
            return self._zones.answer(query)
        key = (query.question[0].name, query.question[0].rdtype)
        stored_at, stored = self._cache.get(key, (0.0, None))
        age = int(self._now() - stored_at)
        if stored is None or age >= _shortest(stored):
            stored, age = self._zones.answer(query), 0
            self._cache[key] = (self._now(), stored)
        response = dns.message.make_response(query, recursion_available=True, our_payload=_UDP_MAX)
        response.set_rcode(stored.rcode())
        for section, source in ((response.answer, stored.answer), (response.authority, stored.authority)):
            for rrset in source:
                section.append(dns.rrset.from_rdata_list(rrset.name, max(0, rrset.ttl - age), list(rrset)))
        return response


def _shortest(message: dns.message.Message) -> int:
    return min((rrset.ttl for rrset in (*message.answer, *message.authority)), default=0)


Answerer = Callable[[dns.message.Message], dns.message.Message]


def respond(wire: bytes, answer: Answerer, limit: int = 65535) -> bytes | None:
    """Answer a message on the wire; None where not even an error can be addressed to anyone."""
    try:
        query = dns.message.from_wire(wire)
    except dns.exception.DNSException:
        if len(wire) < 12:
            return None
        return wire[:2] + struct.pack("!HHHHH", 0x8000 | dns.rcode.FORMERR, 0, 0, 0, 0)
    if query.flags & dns.flags.QR:
        return None
    response = answer(query)
    size = limit if limit > _UDP_MAX else min(limit, max(512, query.payload))
    try:
        return response.to_wire(max_size=size)
    except dns.exception.TooBig:
        short = dns.message.make_response(query)
        short.flags |= dns.flags.TC
        return short.to_wire()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, answer: Answerer) -> None:
        self._answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio's own datagram transport is not a subclass of what it implements
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        response = respond(data, self._answer, _UDP_MAX)
        if response is not None:
            self._transport.sendto(response, addr)


async def _listen(address: str, port: int, answer: Answerer) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                (length,) = struct.unpack("!H", await asyncio.wait_for(reader.readexactly(2), 10))
                response = respond(await asyncio.wait_for(reader.readexactly(length), 10), answer)
                if response is None:
                    break
                writer.write(struct.pack("!H", len(response)) + response)
                await writer.drain()
        except (asyncio.IncompleteReadError, TimeoutError, ConnectionError):
            pass
        finally:
            writer.close()

    await asyncio.get_running_loop().create_datagram_endpoint(lambda: _Udp(answer), local_addr=(address, port))
    await asyncio.start_server(serve, address, port)


def dyndns2(
    zones: Zones, accounts: tuple[Account, ...], say: Callable[[str], None] = lambda _line: None
) -> web.Application:
    """The update endpoint, as dyndns2 clients know it: `/nic/update?hostname=&myip=` with Basic authentication."""

    def authenticate(header: str) -> Account | None:
        scheme, _, given = header.partition(" ")
        try:
            login, _, password = base64.b64decode(given, validate=True).decode().partition(":")
        except ValueError:
            return None
        for account in accounts:
            if login == account.user and secrets.compare_digest(password.encode(), account.password.encode()):
                return account if scheme.lower() == "basic" else None
        return None

    async def update(request: web.Request) -> web.Response:
        account = authenticate(request.headers.get("Authorization", ""))
        if account is None:
            return web.Response(status=401, text="badauth", headers={"WWW-Authenticate": 'Basic realm="dyndns2"'})
        names = [n.strip().rstrip(".").lower() for n in request.query.get("hostname", "").split(",") if n.strip()]
        if not names:
            return web.Response(text="notfqdn")
        address = request.query.get("myip") or request.remote or ""
        try:
            ipaddress.ip_address(address)
        except ValueError:
            return web.Response(text="dnserr")
        answers = []
        for name in names:
            if name not in account.hosts:
                answers.append("nohost")
                continue
            word = "good" if zones.set_address(name, address) else "nochg"
            say(f"{name} {word} {address}")
            answers.append(f"{word} {address}")
        return web.Response(text="\n".join(answers))

    app = web.Application()
    app.router.add_get("/nic/update", update)
    return app


async def serve(config: Config, *, now: Callable[[], float], say: Callable[[str], None]) -> None:
    """Serve until cancelled; says `ready` when every socket listens."""
    records = {f"{n}." if not n.endswith(".") else n: a for n, a in config.records.items()}
    zones = Zones(config.zone, config.authoritative, ttl=config.ttl, records=records)
    resolver = Resolver(zones, now)
    await _listen(config.authoritative, config.port, zones.answer)
    await _listen(config.recursive, config.port, resolver.answer)
    runner = web.AppRunner(dyndns2(zones, config.accounts, say), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, config.authoritative, config.http_port).start()
    say("ready")
    try:
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


async def _main(path: Path) -> None:
    task = asyncio.create_task(serve(Config.load(path), now=time.monotonic, say=lambda line: print(line, flush=True)))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1])))
