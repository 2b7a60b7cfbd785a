"""The shapes of what the API answers, beside the documents of shared.domain.spec. The OpenAPI description is made of
these, and a test holds every real answer against them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from shared.domain.conditions import Condition
from shared.domain.model import Model
from shared.domain.spec import ConnectionSpec, GatewaySpec


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

    action: Literal["create", "update", "delete", "blocked"]
    resource: str
    differences: tuple[Difference, ...]
    body: dict[str, Any] | None
    reason: str


class HomeChange(Model):
    connection: str
    action: Literal["apply", "remove", "none", "unknown"]
    differences: tuple[Difference, ...]


class Plan(Model):
    hash: str = Field(pattern="^[0-9a-f]{64}$")
    refused: str
    counts: dict[str, int]
    azure: tuple[AzureChange, ...]
    home: tuple[HomeChange, ...]


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


class Incidents(Model):
    items: tuple[Incident, ...]


class AuditEntry(Model):
    id: str
    at: datetime
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]


class AuditEntries(Model):
    items: tuple[AuditEntry, ...]


class Accepted(Model):
    deleting: Literal[True]


class Token(Model):
    """`token` is shown here and nowhere else."""

    token: str
    expires: datetime
    controller: str


class Key(Model):
    value: str = Field(min_length=16, max_length=128, pattern=r"^[!-,./0-}]+$")


class ProblemEntry(Model):
    path: str
    value: Any
    rule: str
    message: str
    remedy: str


class ProblemDetails(Model):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    errors: tuple[ProblemEntry, ...] = ()
