"""What DNS says of a name, and what of it may be believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from . import addressing

ONLY_IPV6 = "no A record, only AAAA (IPv6)"
"""What a Resolver writes into `note` when it has looked and found nothing else."""


class DnsFault(StrEnum):
    """Why a name does not lead Azure to the home; also the reason of the Condition AddressCurrent."""

    NOT_RESOLVED = "NotResolved"
    NO_ADDRESS = "NoAddress"
    IPV6_ONLY = "Ipv6Only"
    SEVERAL_ADDRESSES = "SeveralAddresses"
    PRIVATE_ADDRESS = "PrivateAddress"
    CGNAT = "Cgnat"


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

    def fault(self) -> DnsFault | None:
        """None: more than half of the authoritative servers give the same one public IPv4 address. NOT_RESOLVED: they
        fail or differ, so that nothing can be said of the name itself."""
        agreed = self.agreed()
        if agreed is not None:
            value = addressing.address(agreed)
            if value is not None and value in addressing.CGNAT:
                return DnsFault.CGNAT
            public = value is not None and addressing.is_public(value)
            return None if public else DnsFault.PRIVATE_ADDRESS
        answers = [a for a in self.authoritative.values() if a is not None]
        if self._most(sum(len(a) > 1 for a in answers)):
            return DnsFault.SEVERAL_ADDRESSES
        if self._most(sum(not a for a in answers)):
            return DnsFault.IPV6_ONLY if ONLY_IPV6 in self.note else DnsFault.NO_ADDRESS
        return DnsFault.NOT_RESOLVED

    def _most(self, count: int) -> bool:
        return count * 2 > len(self.authoritative)

    def settled_on(self, address: str) -> bool:
        """Every server and resolver that answered gives this one address, and at least one of each kind did."""
        return all(
            any(a is not None for a in answers.values()) and all(a in (None, (address,)) for a in answers.values())
            for answers in (self.authoritative, self.recursive)
        )
