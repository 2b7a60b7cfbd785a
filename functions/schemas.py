"""The shapes of what the API answers, beside the documents of shared.domain.spec. The OpenAPI description is made of
these, and a test holds every real answer against them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field, RootModel

from shared.domain import limits
from shared.domain.both_ends import Row
from shared.domain.conditions import Condition
from shared.domain.findings import Finding
from shared.domain.model import NAME_PATTERN, Model
from shared.domain.outage import Kind
from shared.domain.spec import ConnectionSpec, GatewaySpec
from shared.wire.seal import MAX_BYTES

_ULID = {"type": "string", "pattern": "^[0-9A-HJKMNP-TV-Z]{26}$"}
PARAMETERS: dict[str, dict[str, Any]] = {
    "name": {"type": "string", "pattern": NAME_PATTERN, "minLength": 3, "maxLength": 40},
    "agent": _ULID,
    "month": {"type": "string", "pattern": "^20[0-9]{2}-(0[1-9]|1[0-2])$"},
    "plan": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    "delete": {"type": "boolean"},
    "orphanHome": {"type": "boolean"},
    "release": {"type": "boolean"},
    "since": {"type": "string", "format": "date-time"},
    "limit": {
        "type": "integer",
        "default": limits.EVENT_PAGE.default,
        "minimum": limits.EVENT_PAGE.least,
        "maximum": limits.EVENT_PAGE.most,
    },
    "next": _ULID,
}
"""JSON Schemas of the parameters in path and query, by name; others are any text."""


class StoredMetadata(Model):
    name: str
    id: str
    generation: int
    deleting: bool


class Status(Model):
    conditions: tuple[Condition, ...]


class StoredGateway(Model):
    api_version: Literal["homelink/v1"]
    kind: Literal["Gateway"]
    metadata: StoredMetadata
    spec: GatewaySpec
    status: Status


class StoredConnection(Model):
    api_version: Literal["homelink/v1"]
    kind: Literal["Connection"]
    metadata: StoredMetadata
    spec: ConnectionSpec
    status: Status


class Names(Model):
    items: tuple[str, ...]


class Difference(Model):
    path: str
    observed: Any
    desired: Any


class AzureChange(Model):
    """`body` is what would be PUT, for a creation; no body of a Plan holds a key."""

    action: Literal["create", "update", "delete", "adopt", "release", "blocked"]
    resource: str
    differences: tuple[Difference, ...]
    body: dict[str, Any] | None
    reason: str


class HomeChange(Model):
    connection: str
    action: Literal["apply", "remove", "none", "unknown"]
    differences: tuple[Difference, ...]


class OutageSeconds(Model):
    """Half of the times packets do not pass for `p50` seconds at most, 95 times of 100 for `p95`."""

    p50: float
    p95: float


class Outage(Model):
    """`expectedOutageS` is null where nothing honest can be said, and `reason` says why. `simulated`: the figures of a
    simulation; else they follow from the Plan alone."""

    connection: str
    kinds: tuple[Kind, ...]
    expected_outage_s: OutageSeconds | None
    simulated: bool
    reason: str


class Plan(Model):
    hash: str = Field(pattern="^[0-9a-f]{64}$")
    refused: str
    counts: dict[str, int]
    azure: tuple[AzureChange, ...]
    home: tuple[HomeChange, ...]
    outages: tuple[Outage, ...]


class IncidentEntry(Model):
    at: datetime
    what: str


class Incident(Model):
    id: str
    connection: str
    finding: str
    opened: datetime
    verified: datetime | None
    closed: datetime | None
    timeline: tuple[IncidentEntry, ...]
    exhausted: str | None


class Incidents(Model):
    items: tuple[Incident, ...]


class IncidentRecord(Incident):
    """`record` is in order: lines whose `what` is decision, event or act, each with its `at`."""

    record: tuple[dict[str, Any], ...]


class Event(Model):
    """`connection` is null for what concerns the Gateway itself. `trace`: of what brought it about, where known."""

    id: str
    at: datetime
    gateway: str
    connection: str | None
    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    trace: str | None


class Events(Model):
    """`next` is null on the last page."""

    items: tuple[Event, ...]
    next: str | None


class Heard(Model):
    """`at`: when this witness was last heard, null for never; `note` says what is not as good as it could be."""

    witness: Literal["azure", "azure-bgp", "dns", "heartbeat", "diagnosis"]
    at: datetime | None
    age_seconds: float | None
    note: str


class Diagnosis(Model):
    """`state`: pending while the agent or Azure's gateway has not answered. `asked`: the command that the agent has not
    answered yet, null when there is nothing to wait for."""

    connection: str
    at: datetime
    state: Literal["pending", "complete"]
    findings: tuple[Finding, ...]
    both_ends: tuple[Row, ...]
    witnesses: tuple[Heard, ...]
    asked: str | None


class AuditEntry(Model):
    id: str
    at: datetime
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]
    trace: str | None


class AuditEntries(Model):
    items: tuple[AuditEntry, ...]


class AlertTaken(Model):
    """`known`: it was delivered before. `targets` as in `gateway/hub`; `notOurs` are ARM ids in lower case."""

    known: bool
    targets: tuple[str, ...]
    not_ours: tuple[str, ...]


class KeptAlert(Model):
    """`body` as it was sent, without secrets and addresses, and cut."""

    id: str
    at: datetime
    reason: str
    body: str


class KeptAlerts(Model):
    items: tuple[KeptAlert, ...]


class ProblemEntry(Model):
    path: str
    value: Any
    rule: str
    message: str
    remedy: str


class ImportedDocument(Model):
    """`document` as far as Azure knows it. `problems` are in the way of a PUT, `findings` are not. `plan`: what the PUT
    would do, null while a problem is in the way or, of a Connection, until its Gateway is there."""

    document: dict[str, Any]
    problems: tuple[ProblemEntry, ...]
    findings: tuple[ProblemEntry, ...]
    plan: Plan | None


class LeftAlone(Model):
    resource: str
    reason: str


class Import(Model):
    gateway: ImportedDocument
    connections: tuple[ImportedDocument, ...]
    left_alone: tuple[LeftAlone, ...]


class Accepted(Model):
    deleting: Literal[True]


class Token(Model):
    """`token` is shown here and nowhere else."""

    token: str
    expires: datetime
    controller: str


class Key(Model):
    value: str = Field(min_length=16, max_length=128, pattern=r"^[!-,./0-}]+$")


class Enrolment(Model):
    """What an agent that is about to enrol sends. A newer one may say more."""

    model_config = ConfigDict(extra="allow")
    token: str = Field(max_length=8192)
    name: str = Field("", max_length=8192)
    nonce: str = Field("", max_length=8192, description="32 or more random ASCII characters")
    version: str = Field("", max_length=8192)
    v: int = Field(1, gt=-(2**63), lt=2**63)


class Enrolled(Model):
    """`secret` is base64url of 32 bytes, shown here and nowhere else; `time` is Unix seconds."""

    agent: str
    controller: str
    time: float
    secret: str
    v: int


class Sealed(RootModel[str]):
    """base64url(payload).base64url(MAC), see docs/wire.md."""

    root: str = Field(pattern=r"^([A-Za-z0-9_-]{4})*[A-Za-z0-9_-]{2,4}\.[A-Za-z0-9_-]{43}$", max_length=2 * MAX_BYTES)


class ProblemDetails(Model):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    errors: tuple[ProblemEntry, ...] = ()
