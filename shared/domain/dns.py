"""What DNS says of a name, and what of it may be believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class DnsView:
    """What a name means. `authoritative`: one entry per server that was asked, the A records it gave (empty: none), or
    None if it failed. `recursive` likewise per resolver. `ttl_s` is the smallest authoritative TTL. `note` explains
    an empty view (NXDOMAIN, SERVFAIL, no delegation found)."""

    name: str
    authoritative: Mapping[str, tuple[str, ...] | None]
    recursive: Mapping[str, tuple[str, ...] | None]
    ttl_s: int
    note: str = ""

    def agreed(self) -> str | None:
        """The single IPv4 address on which more than half of all authoritative servers agree, else None."""
        votes = [a[0] for a in self.authoritative.values() if a is not None and len(a) == 1]
        for address in set(votes):
            if votes.count(address) * 2 > len(self.authoritative):
                return address
        return None

    def settled_on(self, address: str) -> bool:
        """Every server and resolver that answered gives this one address, and at least one of each kind did."""
        return all(
            any(a is not None for a in answers.values()) and all(a in (None, (address,)) for a in answers.values())
            for answers in (self.authoritative, self.recursive)
        )
