"""What the core asks of a firewall driver, whichever firewall it is.

A driver owns what it marked as its own and nothing else. It remembers durably which tunnels it applied, so `read`
tells the truth after a crash of the agent, a rollback by the dead-man, or a restored backup.

Commit-confirm: `apply(..., revert=Revert(...))` takes a snapshot of what Homelink owns, arms a dead-man timer outside
the agent's process, then makes the change. Until `confirm`, the timer (or `rollback`) restores the snapshot. A second
apply before that keeps the first snapshot and arms the timer anew. `apply(..., revert=None)` repairs drift: it makes
the firewall carry what is owned already, takes no snapshot and needs no confirmation.

One contract suite (tests/agent/firewall/contract_suite.py) runs over every driver.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from shared.wire.commands import DesiredTunnel
from shared.wire.reports import FirewallHealth, TunnelHealth


@dataclass(frozen=True)
class OwnedTunnel:
    """A tunnel that the driver applied; `confirmed` is false while a pending change covers it."""

    desired: DesiredTunnel
    generation: int
    confirmed: bool


@dataclass(frozen=True)
class Pending:
    """An unconfirmed change. `deadline` is monotonic seconds; `connections` are all that changed since the snapshot;
    `up_before` are the Connections whose session was up when the snapshot was taken."""

    connections: tuple[str, ...]
    up_before: tuple[str, ...]
    deadline: float


@dataclass(frozen=True)
class State:
    tunnels: tuple[OwnedTunnel, ...]
    pending: Pending | None

    def tunnel(self, connection: str) -> OwnedTunnel | None:
        return next((t for t in self.tunnels if t.desired.connection == connection), None)


@dataclass(frozen=True)
class Change:
    """One difference between the firewall and a desired tunnel, for a person."""

    what: str
    detail: str


@dataclass(frozen=True)
class Revert:
    after_s: float
    up_before: tuple[str, ...]


@dataclass(frozen=True)
class Health:
    firewall: FirewallHealth
    tunnels: tuple[TunnelHealth, ...]

    def up(self) -> frozenset[str]:
        """Connections with an installed SA and an established BGP session."""
        return frozenset(t.connection for t in self.tunnels if t.child.installed and t.bgp.state == "Established")


class Firewall(Protocol):
    """Every method may raise FirewallBusy (try later) or FirewallError (refused; the text is the firewall's reason)."""

    @property
    def driver(self) -> str: ...

    def read(self) -> State:
        """What the driver owns, from its own records; cheap, changes nothing."""
        ...

    def diff(self, desired: DesiredTunnel) -> tuple[Change, ...]:
        """What `apply` would change on the running firewall; empty when it is so already."""
        ...

    def apply(self, desired: DesiredTunnel, generation: int, psk: str, revert: Revert | None) -> None:
        """Idempotent. When it raises, what was there before has been put back as far as the firewall let it."""
        ...

    def confirm(self) -> None:
        """Keep what is applied. Nothing pending is fine."""
        ...

    def rollback(self) -> None:
        """Back to the snapshot. Nothing pending is fine."""
        ...

    def health(self) -> Health:
        """Observes, probes included (seconds at most); changes nothing."""
        ...

    def start(self, connection: str) -> None:
        """Initiate where no IKE SA exists at all; otherwise nothing. A refusal shows up in `health`, it is no error."""
        ...

    def initiate(self, connection: str) -> str:
        """Close the SAs by force, then initiate. Returns what came of it in one line; FirewallError if not owned."""
        ...

    def remove(self, connection: str) -> None:
        """Take away what is owned of a Connection, also from a pending snapshot. Not owned is fine."""
        ...

    def diagnose(self, connection: str) -> dict[str, Any]:
        """Evidence for a person: JSON values of at most a few kilobytes, no secret."""
        ...
