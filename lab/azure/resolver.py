"""How the simulated gateway looks up the names of homes.

It asks one DNS server, takes the first A record of the answer as it came and never asks for IPv6 addresses, as
documented for Azure. Caching is the caller's, because Azure refreshes by its own clock and not by the record's TTL.
"""

from __future__ import annotations

from typing import Protocol

import dns.asyncresolver
import dns.exception
import dns.resolver


class ResolveError(Exception):
    """The server gave no usable answer (SERVFAIL, refused, timeout): nothing is known, try again later."""


class Resolver(Protocol):
    async def first_a(self, name: str) -> str | None:
        """The first IPv4 address, None if the name has none; ResolveError if nobody answered."""
        ...


class DnsResolver:
    """Asks the given server, or the system's if there is none."""

    def __init__(self, server: str | None = None, port: int = 53, timeout_s: float = 3.0) -> None:
        self._resolver = dns.asyncresolver.Resolver(configure=server is None)
        if server is not None:
            self._resolver.nameservers = [server]
            self._resolver.port = port
        self._resolver.lifetime = timeout_s
        self._resolver.timeout = timeout_s
        self._resolver.cache = None

    async def first_a(self, name: str) -> str | None:
        try:
            answer = await self._resolver.resolve(name.rstrip(".") + ".", "A", search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return None
        except dns.exception.DNSException as error:
            raise ResolveError(f"{name}: {error}") from error
        return next((record.address for record in answer), None)
