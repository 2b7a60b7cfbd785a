"""The Resolver on dnspython: what a name means to its own servers, and what the caches say.

The authoritative servers are found through the recursive ones (zone by SOA, servers by NS, addresses by A) and each is
asked directly without recursion, as a cache may be a TTL behind the address change that this project is about. That
trusts the recursive resolvers for the delegation only; a repair never acts on DNS alone. Nothing here raises
for what DNS answers: a broken zone is something to report, not an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import dns.asyncquery
import dns.asyncresolver
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.resolver

from shared.domain.dns import ONLY_IPV6, DnsView

QUESTION_S = 3.0
TOTAL_S = 20.0
MAX_CHAIN = 8
MAX_SERVERS = 16


@dataclass(frozen=True)
class _Answer:
    """One server's word on one name: addresses, or the name to look at next, or what is wrong."""

    addresses: tuple[str, ...] = ()
    target: dns.name.Name | None = None
    ttl_s: int | None = None
    failed: bool = False
    problem: str = ""


@dataclass
class _Found:
    answers: dict[str, _Answer] = field(default_factory=dict)
    ttls: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class DnsResolver:
    """`recursives` are addresses; without any, the system's. `port` is for tests, every server is asked there."""

    def __init__(self, recursives: Sequence[str] = (), *, port: int = 53, question_s: float = QUESTION_S) -> None:
        self._recursives = tuple(recursives)
        self._port = port
        self._question_s = question_s

    async def look(self, name: str) -> DnsView:
        try:
            absolute = dns.name.from_text(name)
        except (dns.exception.DNSException, UnicodeError):
            return DnsView(name, {}, {}, 0, "not a DNS name")
        try:
            recursives = self._recursives or tuple(str(s) for s in dns.asyncresolver.Resolver().nameservers)
        except (dns.exception.DNSException, OSError):
            return DnsView(name, {}, {}, 0, "the system has no resolver; set HOMELINK_RESOLVERS")
        found = _Found()
        recursive, _ = await asyncio.gather(self._ask_caches(absolute, recursives), self._walk(absolute, found))
        return DnsView(
            name,
            {server: None if a.failed else a.addresses for server, a in found.answers.items()},
            {server: None if a.failed else a.addresses for server, a in recursive.items()},
            min(found.ttls, default=0),
            note="; ".join([*found.notes, *_summary(found.answers)]),
        )

    async def _ask_caches(self, name: dns.name.Name, recursives: tuple[str, ...]) -> dict[str, _Answer]:
        async def one(server: str) -> _Answer:
            response = await self._ask(server, name, "A", recurse=True)
            return response if isinstance(response, _Answer) else _read(name, response, zone=dns.name.root)

        answers = await asyncio.gather(*(one(server) for server in recursives))
        return dict(zip(recursives, answers, strict=True))

    async def _walk(self, name: dns.name.Name, found: _Found) -> None:
        """Fills `found` with the answers of the servers at the end of the CNAME chain."""
        try:
            async with asyncio.timeout(TOTAL_S):
                await self._follow(name, found)
        except TimeoutError:
            found.notes.append(f"gave up after {TOTAL_S:.0f} s")

    async def _follow(self, name: dns.name.Name, found: _Found) -> None:
        seen = [name]
        while True:
            try:
                zone, servers = await self._delegation(name)
            except (dns.exception.DNSException, OSError) as e:
                found.answers = {}
                found.notes.append(f"no delegation found for {_shown(name)} ({type(e).__name__})")
                return
            found.answers = await self._ask_servers(name, zone, servers)
            found.ttls += [a.ttl_s for a in found.answers.values() if a.ttl_s is not None]
            target = _common_target(found)
            if target is None:
                break
            if target in seen or len(seen) > MAX_CHAIN:
                found.answers = dict.fromkeys(found.answers, _Answer(problem="CNAME loop"))
                return
            seen.append(target)
            name = target
        if found.answers and all(not a.addresses and not a.failed and not a.problem for a in found.answers.values()):
            found.notes.append(await self._why_empty(name, servers))

    async def _delegation(self, name: dns.name.Name) -> tuple[dns.name.Name, dict[str, str | None]]:
        """The zone, and its servers as {shown name: address, or None when the server's name has none}."""
        resolver = dns.asyncresolver.Resolver(configure=not self._recursives)
        if self._recursives:
            resolver.nameservers = list(self._recursives)
        resolver.port = self._port
        resolver.timeout = self._question_s / 2
        resolver.lifetime = self._question_s
        zone = await dns.asyncresolver.zone_for_name(name, resolver=resolver)
        names = sorted(str(r.target) for r in await resolver.resolve(zone, "NS"))

        async def addresses(server: str) -> list[str]:
            for kind in ("A", "AAAA"):  # IPv6 last: a Function app often has no route for it
                try:
                    return sorted(str(r) for r in await resolver.resolve(server, kind))
                except (dns.exception.DNSException, OSError):
                    continue
            return []

        servers: dict[str, str | None] = {}
        for server, found in zip(names, await asyncio.gather(*map(addresses, names)), strict=True):
            shown = server.rstrip(".")
            servers |= {f"{shown}@{a}": a for a in found} if found else {shown: None}
        return zone, dict(list(servers.items())[:MAX_SERVERS])

    async def _ask_servers(
        self, name: dns.name.Name, zone: dns.name.Name, servers: dict[str, str | None]
    ) -> dict[str, _Answer]:
        async def one(address: str | None) -> _Answer:
            if address is None:
                return _Answer(failed=True, problem="server has no address")
            response = await self._ask(address, name, "A", recurse=False)
            if isinstance(response, _Answer):
                return response
            if response.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN) and not response.flags & dns.flags.AA:
                return _Answer(failed=True, problem="lame (no authoritative answer)")
            return _read(name, response, zone)

        answers = await asyncio.gather(*(one(address) for address in servers.values()))
        return dict(zip(servers, answers, strict=True))

    async def _why_empty(self, name: dns.name.Name, servers: dict[str, str | None]) -> str:
        for address in servers.values():
            if address is not None:
                response = await self._ask(address, name, "AAAA", recurse=False)
                if not isinstance(response, _Answer) and response.get_rrset(
                    response.answer, name, dns.rdataclass.IN, dns.rdatatype.AAAA
                ):
                    return ONLY_IPV6
        return "no A record"

    async def _ask(self, server: str, name: dns.name.Name, kind: str, recurse: bool) -> dns.message.Message | _Answer:
        """The response, or a failed _Answer. UDP twice within the time, TCP when truncated."""
        flags = dns.flags.RD if recurse else dns.flags.Flag(0)
        problem = "timeout"
        for _ in range(2):
            query = dns.message.make_query(name, kind, flags=flags)
            try:
                response, _tcp = await dns.asyncquery.udp_with_fallback(
                    query, server, timeout=self._question_s / 2, port=self._port, ignore_unexpected=True
                )
                return response
            except dns.exception.Timeout:
                continue
            except (dns.exception.DNSException, OSError, EOFError, ValueError) as e:
                problem = f"unreachable ({type(e).__name__})"
                break
        return _Answer(failed=True, problem=problem)


def _read(name: dns.name.Name, response: dns.message.Message, zone: dns.name.Name) -> _Answer:
    """`zone` bounds what the server may speak for: addresses of a name outside it are looked up there instead."""
    rcode = response.rcode()
    if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return _Answer(failed=True, problem=dns.rcode.to_text(rcode))
    at, ttls, seen = name, [], {name}
    while at.is_subdomain(zone):
        chain = response.get_rrset(response.answer, at, dns.rdataclass.IN, dns.rdatatype.CNAME)
        if chain is None:
            break
        ttls.append(chain.ttl)
        at = chain[0].target
        if at in seen:
            return _Answer(problem="CNAME loop")
        seen.add(at)
    found = response.get_rrset(response.answer, at, dns.rdataclass.IN, dns.rdatatype.A)
    if found is not None and at.is_subdomain(zone):
        return _Answer(tuple(sorted(str(r) for r in found)), ttl_s=min([*ttls, found.ttl]))
    if at != name and zone != dns.name.root:
        return _Answer(target=at, ttl_s=min(ttls))
    return _Answer(problem="NXDOMAIN" if rcode == dns.rcode.NXDOMAIN else "")


def _common_target(found: _Found) -> dns.name.Name | None:
    """The name that every server which answered points to. Servers that differ are left as they are, with a note."""
    answered = [a for a in found.answers.values() if not a.failed]
    targets = {a.target for a in answered}
    if len(targets) == 1:
        return answered[0].target
    if any(targets):
        found.notes.append("servers disagree about a CNAME")
    return None


def _summary(answers: dict[str, _Answer]) -> list[str]:
    """`NXDOMAIN` when all say so, else the servers of each problem."""
    by_problem: dict[str, list[str]] = {}
    for server, answer in answers.items():
        if answer.problem:
            by_problem.setdefault(answer.problem, []).append(server)
    return [p if len(s) == len(answers) else f"{p}: {', '.join(s)}" for p, s in sorted(by_problem.items())]


def _shown(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True)
