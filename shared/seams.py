"""The Protocols between the use cases and the world. Adapters: shared/azure, shared/dns. In the model world:
lab/model; fakes that a test moves by hand: tests/fakes.

Everything here is asyncio. A seam speaks in plain values (dicts of ARM's REST shape, dataclasses), never in SDK types,
so that the use cases do not know which SDK, or which world, is behind it. All raise the tree of shared.errors.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from shared.domain.arm import ArmKind as ArmKind
from shared.domain.arm import ArmRef as ArmRef
from shared.domain.bgp import BgpAnswer as BgpAnswer
from shared.domain.bgp import BgpQuestion as BgpQuestion
from shared.domain.dns import DnsView as DnsView

Json = dict[str, Any]


@dataclass(frozen=True)
class Started:
    """A write that ARM accepted. `operation_url` is None when it was already complete; never a continuation token."""

    operation_url: str | None
    retry_after_s: float


class OperationState(StrEnum):
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    GONE = "gone"  # the operation URL answers 404: read the resource instead (reference: surprises of LNG operations)


@dataclass(frozen=True)
class Operation:
    """One poll. `code` and `message` are ARM's when FAILED."""

    state: OperationState
    retry_after_s: float
    code: str = ""
    message: str = ""


@dataclass(frozen=True)
class Asked:
    """A question to a gateway. `answer` None: ask again at `operation_url` in so many seconds."""

    operation_url: str | None
    retry_after_s: float
    answer: BgpAnswer | None = None


class Arm(Protocol):
    """Azure Resource Manager. No call waits for an operation, sleeps, or retries. Bodies are ARM's REST shape.

    Raises ArmBusy for 409 AnotherOperationInProgress, 429, 5xx and timeouts, ArmRejected for any other refusal.
    A connection's `sharedKey` is removed from everything that is returned.
    """

    async def ensure_resource_group(self, subscription: str, name: str, location: str) -> None: ...
    async def get(self, ref: ArmRef) -> Json | None:
        """The resource, or None when ARM does not know it."""
        ...

    async def list(self, subscription: str, resource_group: str, kind: ArmKind) -> Sequence[Json]:
        """All of one kind in a resource group, on however many pages; empty when ARM does not know the group. One call
        for any number of resources, but an item may lack what `get` tells: a connection's `connectionStatus`."""
        ...

    async def put(self, ref: ArmRef, body: Json) -> Started: ...
    async def delete(self, ref: ArmRef) -> Started | None:
        """None when it was already gone."""
        ...

    async def set_shared_key(self, ref: ArmRef, value: str) -> Started: ...
    async def has_shared_key(self, ref: ArmRef, value: str) -> bool:
        """Whether the connection's key is this one: ARM tells it in clear, and it goes no further than the adapter."""
        ...

    async def move_shared_key(self, ref: ArmRef, put: Callable[[str], Awaitable[str]]) -> str:
        """Hands the connection's key to `put`, and to nothing else; returns what `put` returned. Raises ArmRejected
        for a connection without one."""
        ...

    async def tag(self, ref: ArmRef, tags: Mapping[str, str]) -> Started:
        """Gives the resource these tags, and no others; nothing else of it is written."""
        ...

    async def reset_connection(self, ref: ArmRef) -> Started: ...
    async def reset_gateway(self, ref: ArmRef) -> Started: ...
    async def poll(self, operation_url: str) -> Operation:
        """One GET. Raises PermanentError, without a request, for a URL that is not on the ARM host over https."""
        ...

    async def ask_bgp(self, gateway: ArmRef, question: BgpQuestion, peer: str = "") -> Asked:
        """Asks the gateway's instances, which changes nothing and locks nothing. `peer` is for ADVERTISED. Counts as a
        write against the quota."""
        ...

    async def bgp_answer(self, question: BgpQuestion, operation_url: str) -> Asked:
        """One GET of a question's own URL, which ARM keeps for a while after the answer. Raises as `poll`, and
        ArmRejected for an operation that failed or is gone, and for an answer that cannot be read."""
        ...


class Resolver(Protocol):
    async def look(self, name: str) -> DnsView:
        """Never raises for what DNS answers; asks the authoritative servers, found by walking the delegation."""
        ...


@dataclass(frozen=True)
class Row:
    """`data` is JSON; `etag` changes with every write."""

    partition: str
    key: str
    data: Json
    etag: str


class WriteKind(StrEnum):
    INSERT = "insert"  # RowExists if there
    REPLACE = "replace"  # needs the ETag; StoreConflict if it changed or the row is gone
    UPSERT = "upsert"
    DELETE = "delete"  # with an ETag: StoreConflict if it changed; without: gone is fine


@dataclass(frozen=True)
class Write:
    kind: WriteKind
    key: str
    data: Json = field(default_factory=dict)
    etag: str | None = None


class Store(Protocol):
    """Rows in named tables, grouped in partitions; a transaction (100 writes at most) stays within one partition."""

    async def get(self, table: str, partition: str, key: str) -> Row | None: ...
    async def query(
        self,
        table: str,
        partition: str,
        prefix: str = "",
        *,
        start: str = "",
        end: str = "",
        limit: int | None = None,
    ) -> list[Row]:
        """The partition's rows whose key begins with `prefix`, in key order. `start` (included) and `end` (excluded)
        bound the keys further, '' bounds nothing; with `limit` only the first so many are read. Bounds and limit are
        for partitions of plain keys (0-9 A-Z a-z . _ : @ = ~ -), which alone lie in the service as they sort."""
        ...

    async def scan(self, table: str, key: str) -> list[Row]:
        """The rows with this key in every partition (one per partition), in partition order."""
        ...

    async def transact(self, table: str, partition: str, writes: Sequence[Write]) -> dict[str, str]:
        """Carries out all or none; returns the new ETag per written key (none for deletes)."""
        ...


class Queue(Protocol):
    """Messages are text; base64 on the storage queue is the adapter's matter. Queue names are made when missing."""

    async def send(self, queue: str, text: str, delay_s: float = 0, ttl_s: float | None = None) -> None: ...
    async def grant(self, queue: str, valid_s: float) -> str:
        """The queue's own URL with a SAS (user delegation) that only allows to process its messages. A secret."""
        ...

    async def remove(self, queue: str) -> None: ...


@dataclass(frozen=True)
class Secret:
    name: str
    version: str
    value: str = field(repr=False)


class Vault(Protocol):
    async def get(self, name: str, version: str | None = None) -> Secret | None: ...
    async def set(self, name: str, value: str) -> str:
        """Stores a new version and returns its id."""
        ...

    async def delete(self, name: str) -> None: ...


class Clock(Protocol):
    def now(self) -> datetime:
        """Aware, UTC."""
        ...


class Random(Protocol):
    def token(self, size: int) -> bytes:
        """Cryptographically strong bytes."""
        ...
