"""What Findings are made from: every witness of one Connection at one moment, with the time of each.

A witness that was not asked is None and proves nothing; what it said long ago is handed in by nobody. The same `Link`
goes into the Conditions, so that both tell one story.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Literal

from shared.wire.reports import Heartbeat

from .both_ends import Ends, Row, table
from .conditions import Condition, Link
from .model import Model
from .plan import Plan

Witness = Literal["azure", "azure-bgp", "dns", "heartbeat", "diagnosis", "document", "control-plane"]


class Evidence(Model):
    """`heartbeat` is the agent's own report, `diagnosis` its answer to a question; `azure` is ARM, `azure-bgp` what the
    gateway itself answered. `at`: when it was true, as far as the control plane knows; None where that does not matter.
    """

    witness: Witness
    what: str
    at: datetime | None = None


@dataclass(frozen=True)
class Seen:
    """A Finding before it is known what explains it."""

    code: str
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True)
class CommandSeen:
    """A command of the last hour; `outcome` None: nothing was heard. `over`: its time is up."""

    kind: str
    issued: datetime
    outcome: str | None
    detail: str
    over: bool


@dataclass(frozen=True)
class Witnesses:
    """`report`: of a fresh heartbeat, heard at `heard`. `azure_at`: when ARM was last read. `azure_status`: the
    connectionStatus told then. `plan`: what would be changed in Azure, None unless everything was read.
    `gateway`: the Gateway's Conditions. `known_address`: where the tunnel was last proven. `down_since`: of TunnelUp.
    `down_elsewhere`: the gateway's other Connections that are down, `others`: how many it has. `refusal`: ARM's last
    words, while they hold. `operation`: what runs in ARM. `commands`: newest last. `restored`: the agent knows newer
    generations than the tables."""

    name: str
    now: datetime
    link: Link
    ends: Ends
    heard: datetime | None = None
    report: Heartbeat | None = None
    azure_at: datetime | None = None
    azure_status: str | None = None
    plan: Plan | None = None
    gateway: tuple[Condition, ...] = ()
    known_address: str | None = None
    pinned_since: datetime | None = None
    down_since: datetime | None = None
    down_elsewhere: tuple[str, ...] = ()
    others: int = 0
    refusal: str = ""
    operation: str = ""
    commands: tuple[CommandSeen, ...] = ()
    restored: bool = False

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        return table(self.ends)

    def differing(self, *fields: str) -> Iterator[Row]:
        """The rows of these fields that differ."""
        return (r for r in self.rows if r.differs and r.field in fields)

    def seen(self, code: str, witness: Witness, what: str) -> Seen:
        return Seen(code, (Evidence(witness=witness, what=what, at=self.time_of(witness)),))

    def time_of(self, witness: Witness) -> datetime | None:
        diagnosed = self.ends.evidence.at if self.ends.evidence else None
        times: dict[Witness, datetime | None] = {
            "azure": self.azure_at,
            "azure-bgp": self.ends.azure_bgp.at if self.ends.azure_bgp else None,
            "dns": self.now,
            "heartbeat": self.heard,
            "diagnosis": diagnosed,
            "control-plane": self.now,
        }
        return times.get(witness)
