"""Is this an Incident, as far as the agent can tell? Pure.

An Incident quickens heartbeat and queue to 5 s: something that worked stopped working (SA, BGP, probe), the WAN
address changed and the tunnels have not been seen whole since, or the control plane is silent. What never worked is
not an Incident: while Azure's gateway is being created nothing needs to hurry.
"""

from __future__ import annotations

from agent.firewall.contract import Health
from shared.wire.reports import TunnelHealth


class Vigil:
    def __init__(self) -> None:
        self._was_healthy: set[str] = set()
        self._wan: str | None = None
        self._moved = False
        self.broken: frozenset[str] = frozenset()

    def look(self, health: Health) -> None:
        """Take in one observation."""
        present = {t.connection for t in health.tunnels}
        if health.firewall.reachable:
            self._was_healthy &= present
        whole = {t.connection for t in health.tunnels if healthy(t)}
        self._was_healthy |= whole
        wan = health.firewall.wan_address
        if wan is not None:
            self._moved = self._moved or (self._wan is not None and wan != self._wan)
            self._wan = wan
        self.broken = frozenset(self._was_healthy - whole)
        if not self.broken:
            self._moved = self._moved and bool(present - whole)

    def incident(self, heartbeat_failing: bool) -> bool:
        return heartbeat_failing or bool(self.broken) or self._moved


def healthy(t: TunnelHealth) -> bool:
    return t.child.installed and t.bgp.state == "Established" and all(p.ok for p in t.probes)
