"""Everything a use case may reach, in one value that is passed in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from shared.domain import limits
from shared.domain.model import ControllerId
from shared.seams import Arm, Clock, Queue, Random, Resolver, Store, Vault
from shared.wire.ulid import ulid

UNITS, AGENTS, NAMES, AUDIT, ALERTS = "units", "agents", "names", "audit", "alerts"  # tables
RECONCILE = "reconcile"  # queue


@dataclass(frozen=True)
class Keep:
    """How many days history is kept (retention.py)."""

    events_days: int = limits.EVENTS_DAYS.default
    audit_days: int = limits.AUDIT_DAYS.default


@dataclass(frozen=True)
class Services:
    """`controller` marks what is ours in Azure and binds agents to this control plane."""

    arm: Arm
    resolver: Resolver
    store: Store
    queue: Queue
    vault: Vault
    clock: Clock
    random: Random
    controller: ControllerId
    keep: Keep = Keep()

    def now(self) -> datetime:
        return self.clock.now()

    def ulid(self) -> str:
        return ulid(self.clock.now().timestamp(), self.random.token(10))
