"""DNS of the model world: one zone on several servers, and the caches that stand before it.

Two seams read it: `look` is the control plane's (every authoritative server and both recursive resolvers), `first_a`
is the simulated gateway's. Azure's resolver is a cache of its own that keeps to the TTL; that a gateway asks it only
for disconnected tunnels and every five minutes is lab.azure.plumbing's business. Faults are data on the servers.
Nothing takes time here: a server that times out answers nothing, at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from lab.azure.resolver import ResolveError
from lab.model.assumptions import Assumptions
from shared.domain.dns import ONLY_IPV6, DnsView

SERVERS = ("ns1.dyn.example", "ns2.dyn.example")
RECURSIVES = ("192.0.2.53", "192.0.2.54")
AZURE = "168.63.129.16"


@dataclass(frozen=True)
class Record:
    """`addresses` in the order in which servers give them; `ipv6`: there is an AAAA, too."""

    addresses: tuple[str, ...]
    ttl_s: int
    ipv6: bool = False


@dataclass
class Server:
    """A DNS server with its faults: `fault` is what it does instead of answering, `lie` what it says instead of the
    truth, `lag_s` how old its copy of the zone is (a secondary that does not transfer)."""

    fault: Literal["", "SERVFAIL", "timeout"] = ""
    lie: tuple[str, ...] | None = None
    lag_s: float = 0.0


@dataclass
class Cache(Server):
    """A resolver that keeps what it heard until its TTL is over. `lag_s` means nothing for it."""

    kept: dict[str, tuple[float, Record | None]] = field(default_factory=dict)
    """Name -> until when, and what (None: NXDOMAIN)."""


class Names:
    """`now` gives monotonic seconds. Names are compared without case and trailing dot."""

    def __init__(self, now: Callable[[], float], assumptions: Assumptions | None = None) -> None:
        self._now = now
        self._assumptions = assumptions or Assumptions()
        self._zone: dict[str, list[tuple[float, Record | None]]] = {}
        self.servers = {name: Server() for name in SERVERS}
        self.caches = {name: Cache() for name in (*RECURSIVES, AZURE)}

    def write(self, name: str, record: Record | None, at: float) -> None:
        """The zone holds this from `at` on; None: the name is gone. Times never go back."""
        self._zone.setdefault(_key(name), []).append((at, record))

    def truth(self, name: str) -> Record | None:
        """What the zone itself holds at this moment."""
        return self._record(_key(name), self._now())

    def forget(self) -> None:
        """Empty every cache, as after their restart."""
        for cache in self.caches.values():
            cache.kept.clear()

    # the seams -------------------------------------------------------------------------------------------------

    async def look(self, name: str) -> DnsView:
        """What shared.dns.resolver would find, note and all."""
        key, now = _key(name), self._now()
        said = {at: self._ask(server, key, now) for at, server in self.servers.items()}
        heard = {at: self._from_cache(n, self.caches[at], key, now) for n, at in enumerate(RECURSIVES)}
        found = [r for r in said.values() if isinstance(r, Record)]
        problems = {at: r or "NXDOMAIN" for at, r in said.items() if not isinstance(r, Record)}
        notes = []
        if found and not problems and not any(r.addresses for r in found):
            notes.append(ONLY_IPV6 if any(r.ipv6 for r in found) else "no A record")
        for problem in sorted(set(problems.values())):
            where = [at for at, p in problems.items() if p == problem]
            notes.append(problem if len(where) == len(said) else f"{problem}: {', '.join(where)}")
        return DnsView(
            name,
            {at: _addresses(r) for at, r in said.items()},
            {at: _addresses(r) for at, r in heard.items()},
            min((r.ttl_s for r in found if r.addresses), default=0),
            note="; ".join(notes),
        )

    async def first_a(self, name: str) -> str | None:
        """As Azure sees it: the first address as it came, None if there is none, ResolveError if nobody answered."""
        answer = self._from_cache(0, self.caches[AZURE], _key(name), self._now())
        if isinstance(answer, str):
            raise ResolveError(f"{name}: {answer}")
        return answer.addresses[0] if answer is not None and answer.addresses else None

    # inside: a Record, None for NXDOMAIN, or a text for what went wrong ------------------------------------------

    def _record(self, key: str, at: float) -> Record | None:
        return next((record for since, record in reversed(self._zone.get(key, [])) if since <= at), None)

    def _ask(self, server: Server, key: str, now: float) -> Record | str | None:
        if server.fault:
            return server.fault
        record = self._record(key, now - server.lag_s)
        if server.lie is not None:
            return Record(server.lie, record.ttl_s if record else self._assumptions.ddns_ttl_s)
        return record

    def _from_cache(self, first: int, cache: Cache, key: str, now: float) -> Record | str | None:
        if cache.fault:
            return cache.fault
        if cache.lie is not None:
            return Record(cache.lie, self._assumptions.ddns_ttl_s)
        until, kept = cache.kept.get(key, (now, None))
        if now < until:
            return kept
        servers = list(self.servers.values())
        for n in range(len(servers)):
            answer = self._ask(servers[(first + n) % len(servers)], key, now)
            if not isinstance(answer, str):
                ttl = answer.ttl_s if answer is not None and answer.addresses else self._assumptions.negative_ttl_s
                cache.kept[key] = (now + ttl, answer)
                return answer
        return "SERVFAIL"


def _key(name: str) -> str:
    return name.rstrip(".").lower()


def _addresses(answer: Record | str | None) -> tuple[str, ...] | None:
    if isinstance(answer, str):
        return None
    return () if answer is None else tuple(sorted(answer.addresses))
