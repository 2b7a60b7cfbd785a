"""A home: its public address, its router, and the router's dyndns client.

The router is as dumb as a router: it drops every NAT mapping with its address (a tunnel of the old one is dead, unless
Azure follows), and tells DNS its own WAN address after a lag, or never (`stuck`). Behind carrier-grade NAT that is not
the address that the world sees, and nobody can call in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.model.names import Names, Record

if TYPE_CHECKING:
    from lab.model.fabric import Fabric


class Home:
    """`address` is what the world sees, None without Internet; `wan` the router's own (another one behind CGNAT).

    `inside` is the firewall's WAN address behind the router's NAT, None if the firewall itself has the public one.
    `port_forward`: UDP 500 and 4500 are forwarded, so that Azure can call. `lag_s` and `stuck` are the dyndns client's.
    It registers with the fabric, and the first address is in DNS at once, as after the router's start.
    """

    def __init__(
        self,
        fabric: Fabric,
        names: Names,
        name: str,
        fqdn: str,
        address: str,
        *,
        inside: str | None = "192.168.178.2",
        port_forward: bool = False,
        ttl_s: int | None = None,
    ) -> None:
        self.name = name
        self.fqdn = fqdn
        self.address: str | None = address
        self.wan: str | None = address
        self.line = 0
        """Goes up each time that the Internet access is lost, and every NAT mapping with it."""
        self.inside = inside
        self.port_forward = port_forward
        self.lag_s = fabric.assumptions.ddns_lag_s
        self.stuck = False
        self.firewall_on = True
        """Kept by the home's firewall: off while it boots."""
        self._ttl_s = fabric.assumptions.ddns_ttl_s if ttl_s is None else ttl_s
        self._fabric = fabric
        self._names = names
        self._next: tuple[float, str, str] | None = None
        """When the Internet is back, with which address and which WAN address."""
        self._told: str | None = None
        self._tell_at: float | None = None
        with fabric.change() as now:
            fabric.homes[name] = self
            fabric.watch(self)
            self._tell(now)

    @property
    def firewall_wan(self) -> str | None:
        return self.inside or self.address

    @property
    def callable(self) -> bool:
        """Whether a call from Azure reaches the firewall."""
        return self.port_forward and self.address == self.wan

    # what happens to it ----------------------------------------------------------------------------------------

    def move(self, address: str, outage_s: float | None = None, *, wan: str | None = None) -> None:
        """The line drops and comes back with this address (the same one: a mere reconnect) after the outage, by default
        the usual one. `wan`: the router's own address where it is another one (CGNAT, 100.64.0.0/10)."""
        with self._fabric.change() as now:
            self._lose()
            outage = self._fabric.assumptions.isp_outage_s if outage_s is None else outage_s
            self._next = (now + outage, address, wan or address)

    def mend(self) -> None:
        """A plain line again, at once, with whatever address the home has, or is about to get."""
        with self._fabric.change() as now:
            address = self._next[1] if self._next is not None else self.address
            if address is not None and (self._next is not None or self.wan != address):
                self._next = (now, address, address)

    def lose_internet(self) -> None:
        """Until the next `move`."""
        with self._fabric.change():
            self._lose()
            self._next = None

    def unstick(self) -> None:
        """The router's client works again, and reports after its lag."""
        with self._fabric.change() as now:
            self.stuck = False
            if self.wan is not None:
                self._tell_at = now + self.lag_s

    def _lose(self) -> None:
        self.address = self.wan = None
        self.line += 1

    # by itself -------------------------------------------------------------------------------------------------

    def due(self) -> float | None:
        times = [t for t in (self._next and self._next[0], self._tell_at) if t is not None]
        return min(times, default=None)

    def fire(self, now: float) -> None:
        if self._next is not None and self._next[0] <= now:
            _, self.address, self.wan = self._next
            self._next = None
            self._tell_at = now + self.lag_s
        if self._tell_at is not None and self._tell_at <= now:
            self._tell(now)

    def _tell(self, now: float) -> None:
        self._tell_at = None
        if self.wan is not None and self.wan != self._told and not self.stuck:
            self._names.write(self.fqdn, Record((self.wan,), self._ttl_s), now)
            self._told = self.wan
