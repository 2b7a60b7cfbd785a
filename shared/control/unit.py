"""A unit: one Gateway with its Connections, as it lies in the store. One partition of table `units`, one lease.

| row | who writes it | holds |
|---|---|---|
| `lease` | reconciler | lease.py |
| `gateway`, `connection:<name>` | API (and the reconciler when it ends a deletion) | spec, generation, id |
| `state`, `link:<name>` | reconciler, under the lease | what it waits for, what it knows, Conditions |
| `incident:<name>:<ulid>` | reconciler, under the lease | the timeline of an open Incident |
| `~incident:<name>:<ulid>` | reconciler, under the lease | the same, closed |
| `~record:<name>:<incident>:<ulid>` | reconciler, under the lease | what was known, and decided: record.py |
| `~event:<complement of ulid>` | both, beside the row that they explain | what happened: events.py |
| `~alert:<digest>` | the webhook, beside its Event | that this alert was delivered: alerts.py |

What begins with `~` is history: `load` does not read it, and retention.py ends it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, TypeVar

from shared.domain.arm import ArmKind, ArmRef
from shared.domain.conditions import Condition
from shared.domain.ladder import Rung
from shared.domain.model import Model
from shared.domain.render import connection_refs
from shared.domain.spec import ConnectionSpec, GatewaySpec
from shared.seams import Row, Store, Write

from .events import HISTORY
from .services import UNITS

GATEWAY, STATE, CONNECTION, LINK, INCIDENT = "gateway", "state", "connection:", "link:", "incident:"
CLOSED = HISTORY + INCIDENT
ALERT = HISTORY + "alert:"


class GatewayRow(Model):
    """`release`: while deleting, Azure's resources are let go of and not deleted."""

    id: str
    generation: int
    spec: GatewaySpec
    deleting: bool = False
    release: bool = False


class ConnectionRow(Model):
    """`orphanHome`: delete without waiting for an agent that is gone for good. `release`: as of a Gateway."""

    id: str
    generation: int
    spec: ConnectionSpec
    deleting: bool = False
    orphan_home: bool = False
    release: bool = False


def psk_name(row: ConnectionRow) -> str:
    """The vault entry of a Connection's pre-shared key."""
    return row.spec.psk.vault_ref or own_psk_name(row)


def own_psk_name(row: ConnectionRow) -> str:
    """The entry that Homelink itself keeps for a Connection."""
    return f"psk-{row.id}"


class OperationRow(Model):
    """An ARM operation that was started and not yet seen to end. `url` None: watch the resource itself."""

    url: str | None
    action: str
    kind: ArmKind
    name: str
    started: datetime
    not_before: datetime


class Refusal(Model):
    """ARM refused a write of `target` (kind/name); it is not tried again before `until`."""

    target: str
    code: str
    message: str
    until: datetime


class ReadRow(Model):
    """ARM was found to be as desired (see reading.py). `basis`: the hash of what was desired; `at`: when it was last
    read or listed; `full`: when every resource was last read."""

    basis: str
    at: datetime
    full: datetime


class AttemptRow(Model):
    """A rung of the ladder that was tried, written before it is: what is not known to have failed counts as tried."""

    rung: Rung
    at: datetime
    incident: str


class CauseRow(Model):
    """What set a unit to work, as a traceparent: what follows belongs to its trace until all is well (telemetry.py)."""

    trace: str
    since: datetime


class StateRow(Model):
    """`last_step`: of one that looked at ARM, or tried. `arm_not_before`: ARM asked for quiet until then.
    `reset_not_before`: a lock was in the way of a reset, and it is not asked for again sooner."""

    last_step: datetime | None = None
    next_wake: datetime | None = None
    read: ReadRow | None = None
    arm_not_before: datetime | None = None
    operation: OperationRow | None = None
    refusal: Refusal | None = None
    gateway_resets: tuple[AttemptRow, ...] = ()
    reset_not_before: datetime | None = None
    cause: CauseRow | None = None
    public_ip: str | None = None
    bgp_address: str | None = None
    conditions: tuple[Condition, ...] = ()


class PinRow(Model):
    address: str
    since: datetime


class CommandRow(Model):
    """A command that was sent, until the step after its `outcome` (the agent's word, or UNANSWERED) is known."""

    UNANSWERED: ClassVar[str] = "unanswered"

    id: str
    agent: str
    kind: str
    generation: int = 0
    expires: datetime
    outcome: str | None = None
    detail: str = ""


class LinkRow(Model):
    """`psk_version`: the vault's current, first seen `psk_since`; `azure_psk_version`: the one that Azure was last
    given; `psk_taken`: the one that came from Azure at adoption, `psk_unusual` if a new Connection would be refused it.
    `azure_status`: the connectionStatus that ARM last told.
    `applied`: the desired tunnel that the agent was last sent, which names its key by version only.
    `generation`: the least that a command may have for the agent not to take it for an old one.
    `down_since`: since when the home is heard and the tunnel is down; `gave_up`: since when nothing more is tried.
    `moves`: when the home's address changed, lately; times only (shared/domain/reconnect.py)."""

    generation: int = 0
    psk_name: str | None = None
    psk_version: str | None = None
    psk_since: datetime | None = None
    down_since: datetime | None = None
    gave_up: datetime | None = None
    azure_psk_version: str | None = None
    psk_taken: str | None = None
    psk_unusual: bool = False
    azure_status: str | None = None
    pin: PinRow | None = None
    known_address: str | None = None
    moves: tuple[datetime, ...] = ()
    healthy_since: datetime | None = None
    agrees_since: datetime | None = None
    apply_digest: str | None = None
    applied: dict[str, object] | None = None
    apply_issued: datetime | None = None
    last_initiate: datetime | None = None
    attempts: tuple[AttemptRow, ...] = ()
    remove_issued: datetime | None = None
    incident: str | None = None
    recorded: datetime | None = None
    commands: tuple[CommandRow, ...] = ()
    conditions: tuple[Condition, ...] = ()


class IncidentEntry(Model):
    at: datetime
    what: str


class IncidentRow(Model):
    """`opened` is when Homelink noticed, `verified` when the tunnel was proven, `closed` when nothing was left; from
    then on it is history and never changed. `finding`: the code of the root cause, as far as it was known before
    `verified` (incidents.py). `exhausted`: why nothing more is tried, once that was so."""

    id: str
    connection: str
    finding: str
    opened: datetime
    verified: datetime | None = None
    closed: datetime | None = None
    timeline: tuple[IncidentEntry, ...] = ()
    exhausted: str | None = None

    @property
    def key(self) -> str:
        return f"{INCIDENT if self.closed is None else CLOSED}{self.connection}:{self.id}"


M = TypeVar("M", bound=Model)


@dataclass
class Unit:
    """Loaded by `load`; changed in memory by a step; saving.py stores it. `stored_...`: the rows as the store has them
    (they are never changed in place). `records`: what a step has to add to the records of a Connection's Incidents.
    `detected_s`: of Incidents that it opened, by id, how long the trouble may have been there."""

    name: str
    gateway: GatewayRow | None = None
    state: StateRow = field(default_factory=StateRow)
    connections: dict[str, ConnectionRow] = field(default_factory=dict)
    links: dict[str, LinkRow] = field(default_factory=dict)
    incidents: dict[str, IncidentRow] = field(default_factory=dict)
    etags: dict[str, str] = field(default_factory=dict)
    records: dict[str, list[Write]] = field(default_factory=dict)
    detected_s: dict[str, float] = field(default_factory=dict)
    stored_state: StateRow = field(default_factory=StateRow)
    stored_links: dict[str, LinkRow] = field(default_factory=dict)
    stored_incidents: dict[str, IncidentRow] = field(default_factory=dict)

    def at_work(self) -> bool:
        """Whether something was begun here that is not done: then its trace goes on."""
        told = [self.state.conditions, *(link.conditions for link in self.links.values())]
        ready = all(c.status == "True" for cs in told for c in cs if c.type == "Ready")
        waits = any(link.incident or any(c.outcome is None for c in link.commands) for link in self.links.values())
        return not ready or waits or self.state.operation is not None

    def add(self, name: str, row: ConnectionRow) -> None:
        """Puts a Connection into the unit in memory, in place of one of that name."""
        self.connections[name] = row
        self.links.setdefault(name, LinkRow())

    def refs(self, connection: str) -> dict[ArmKind, ArmRef]:
        """A Connection's resources in Azure, in order of creation; none without a Gateway."""
        if self.gateway is None:
            return {}
        return connection_refs(connection, self.gateway.spec, self.connections[connection].spec)

    def connection_of(self, kind: str, name: str) -> str | None:
        """The Connection whose local network gateway or connection it is."""
        owners = {(ref.kind.value, ref.name): c for c in self.connections for ref in self.refs(c).values()}
        return owners.get((kind, name))

    def drop(self, name: str) -> None:
        """Takes a Connection and what was known of it out of the unit in memory."""
        del self.connections[name], self.links[name]
        self.stored_links.pop(name, None)
        for incidents in (self.incidents, self.stored_incidents):
            for key in [k for k, i in incidents.items() if i.connection == name]:
                del incidents[key]


def to_data(row: Model) -> dict[str, object]:
    return row.model_dump(mode="json")


def _read(model: type[M], row: Row) -> M:
    return model.model_validate(row.data)


async def load(store: Store, name: str) -> Unit:
    unit = Unit(name)
    for row in await store.query(UNITS, name, end=HISTORY):
        unit.etags[row.key] = row.etag
        if row.key == GATEWAY:
            unit.gateway = _read(GatewayRow, row)
        elif row.key == STATE:
            unit.state = _read(StateRow, row)
        elif row.key.startswith(CONNECTION):
            unit.connections[row.key.removeprefix(CONNECTION)] = _read(ConnectionRow, row)
        elif row.key.startswith(LINK):
            unit.links[row.key.removeprefix(LINK)] = _read(LinkRow, row)
        elif row.key.startswith(INCIDENT):
            unit.incidents[row.key.rsplit(":", 1)[1]] = _read(IncidentRow, row)
    for name_ in unit.connections:
        unit.links.setdefault(name_, LinkRow())
    unit.stored_state, unit.stored_links = unit.state, dict(unit.links)
    unit.stored_incidents = dict(unit.incidents)
    return unit
