"""A Resolver that says what the test put in it."""

from __future__ import annotations

from shared.seams import DnsView

SERVERS = ("ns1.test", "ns2.test")
RECURSIVES = ("192.0.2.53", "192.0.2.54")


class FakeResolver:
    """A name that nobody set is an NXDOMAIN. `looked` lists the names asked for."""

    def __init__(self) -> None:
        self._views: dict[str, DnsView] = {}
        self.looked: list[str] = []

    async def look(self, name: str) -> DnsView:
        self.looked.append(name)
        return self._views.get(name.rstrip(".").lower()) or self._view(name, (), (), 0, "NXDOMAIN")

    def put(self, view: DnsView) -> None:
        self._views[view.name.rstrip(".").lower()] = view

    def answer(self, name: str, *addresses: str, ttl_s: int = 60, recursive: tuple[str, ...] | None = None) -> None:
        """All authoritative servers give `addresses`; the recursive ones the same, or `recursive` (a stale cache)."""
        stale = addresses if recursive is None else recursive
        self.put(self._view(name, addresses, stale, ttl_s, "" if addresses else "no A record"))

    def nxdomain(self, name: str) -> None:
        self.put(self._view(name, (), (), 0, "NXDOMAIN"))

    def servfail(self, name: str) -> None:
        self.put(self._view(name, None, None, 0, "SERVFAIL"))

    def _view(
        self, name: str, authoritative: tuple[str, ...] | None, recursive: tuple[str, ...] | None, ttl_s: int, note: str
    ) -> DnsView:
        return DnsView(
            name, dict.fromkeys(SERVERS, authoritative), dict.fromkeys(RECURSIVES, recursive), ttl_s, note=note
        )
