"""Why no BGP session will stand, kept for as long as it is true.

bgpd names a wrong AS only until its next attempt, 10 s later, and then says that it waits for an OPEN. A heartbeat
comes every 30 s, so the reason would mostly be missed. It is remembered until a session stands, or the neighbour is
configured anew; a reason that somebody removed at the far end is therefore told until then.
"""

from __future__ import annotations

from dataclasses import replace

from shared.wire.reports import BgpHealth

_LASTING = ("OPEN Message Error/", "Cease/Maximum Number of Prefixes")
"""Notifications that say why no session will stand until somebody changes something."""


class Notified:
    """The last lasting notification per neighbour, by address."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}

    def told(self, peer: str, health: BgpHealth) -> BgpHealth:
        """What bgpd says now, with what it said before in place of a lesser reason."""
        if health.state == "Established":
            self._last.pop(peer, None)
        elif health.last_error and health.last_error.startswith(_LASTING):
            self._last[peer] = health.last_error
        return replace(health, last_error=self._last.get(peer, health.last_error))

    def forget(self, peer: str) -> None:
        """The neighbour is configured anew."""
        self._last.pop(peer, None)
