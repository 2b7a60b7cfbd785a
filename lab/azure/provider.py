"""What all resource types share: PUT, PATCH, DELETE and GET with Azure's asynchrony, locks and answers.

A type says what it accepts (`desired`), what it stands on (`keys`), how long things take and what happens when they
are done; this module turns that into replies. The HTTP side is in `arm.py`: a `Reply` knows nothing of requests.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lab.azure import durations
from lab.azure.clock import Clock
from lab.azure.errors import ArmError, Json, not_found, reference_not_ready, resource_not_found
from lab.azure.operations import Operation, Operations
from lab.azure.plumbing import Plumbing
from lab.azure.pool import AddressPool
from lab.azure.statelog import StateLog
from lab.azure.store import Resource, Store, Target


@dataclass(frozen=True)
class World:
    """What the resource types work on."""

    store: Store
    clock: Clock
    operations: Operations
    plumbing: Plumbing
    pool: AddressPool
    log: StateLog


@dataclass(frozen=True)
class Desired:
    """What a PUT asks for, checked and completed. `secret` None leaves an existing one alone."""

    properties: Json
    top: Json = field(default_factory=dict)
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Reply:
    """An answer. An operation adds the headers named by `asynchronous` (Azure-AsyncOperation) and `location`, which
    point at the network provider's operations, or to `status_path` and `result_path` where those are given."""

    status: int
    body: Any = field(default=None, repr=False)
    operation: Operation | None = None
    asynchronous: bool = False
    location: bool = False
    notify: bool = False
    etag: str | None = None
    status_path: str | None = None
    result_path: str | None = None


class Provider:
    """One resource type. Subclasses override what differs."""

    type = ""
    notify_updates = (
        True  # recorded: gateways and connections answer a PUT of what exists without Azure-AsyncNotification
    )
    etag_header = False  # recorded: networks, addresses and local gateways show an ETag header, the others do not
    retry_after = durations.RETRY_AFTER
    create_seconds = 0.0
    update_seconds = 0.0
    delete_seconds = 0.0
    tag_seconds: float | None = None  # None: a PATCH of tags is done when it is answered

    def __init__(self, world: World) -> None:
        self.world = world
        self.store = world.store

    # What a type says about itself.

    def desired(self, body: Json, resource_id: str, existing: Resource | None) -> Desired:
        """Check and complete the body of a PUT, or raise the ArmError that Azure answers."""
        raise NotImplementedError

    def keys(self, resource: Resource) -> set[str]:
        return {resource.key}

    async def provision(self, resource: Resource) -> None:
        """The operation is about to succeed; raising an ArmError makes it fail."""

    def require_unused(self, resource: Resource) -> None:
        """Raise what Azure answers to a DELETE while something still stands on the resource."""

    async def remove(self, resource: Resource) -> None:
        """The deletion is about to be done."""

    def render(self, resource: Resource) -> Json:
        """The `properties` of an answer beyond provisioningState and resourceGuid."""
        return dict(resource.properties)

    async def render_full(self, resource: Resource) -> Json:
        """As `render`, for a GET of the single resource."""
        return self.render(resource)

    async def act(self, resource: Resource, verb: str, target: Target, query: Json, body: Json) -> Reply | None:
        """A child resource or action below the resource; None if there is no such thing."""
        return None

    # What every type does.

    def wrap(self, resource: Resource, rendered: Json) -> Json:
        return {
            "name": resource.name,
            "id": resource.id,
            "etag": resource.etag,
            "type": f"Microsoft.Network/{resource.type}",
            "location": resource.location,
            "tags": resource.tags,
            "properties": {"provisioningState": resource.state, "resourceGuid": resource.guid, **rendered},
            **resource.top,
        }

    def find(self, target: Target) -> Resource:
        resource_id = self.store.resource_id(target.group, self.type, target.name or "")
        resource = self.store.get(resource_id)
        if resource is None:
            if self.store.was_deleted(resource_id):
                raise not_found(resource_id)
            raise resource_not_found(self.type, target.name or "", target.group)
        return resource

    async def get(self, target: Target) -> Reply:
        resource = self.find(target)
        body = self.wrap(resource, await self.render_full(resource))
        return Reply(200, body, etag=resource.etag if self.etag_header else None)

    def list(self, group: str | None) -> Reply:
        items = [self.wrap(resource, self.render(resource)) for resource in self.store.of_type(self.type, group)]
        return Reply(200, {"value": items})

    async def put(self, target: Target, body: Json) -> Reply:
        resource_id = self.store.resource_id(target.group, self.type, target.name or "")
        resource = self.store.get(resource_id)
        location = body.get("location") or (resource.location if resource else None)
        if not isinstance(location, str):
            message = "The location property is required for this definition."
            raise ArmError(400, "LocationRequired", message, nrp=False)
        created = resource is None
        desired = self.desired(body, resource.id if resource else resource_id, resource)
        tags = {str(name): str(value) for name, value in (body.get("tags") or {}).items()}
        candidate = resource or Resource(
            id=resource_id,
            name=target.name or "",
            type=self.type,
            group=target.group,
            location=location.replace(" ", "").lower(),
            tags=tags,
            properties=desired.properties,
            guid=self.store.new_id(),
            etag="",
        )
        keys = self.keys(candidate) | self.keys_of(desired.properties)
        self.world.operations.require_free(keys)
        candidate.properties, candidate.top, candidate.tags = desired.properties, desired.top, tags
        if desired.secret is not None:
            candidate.secret = desired.secret
        self.store.touch(candidate, "Updating")
        self.store.add(candidate)
        seconds = self.create_seconds if created else self.update_seconds
        operation = self.begin_write(candidate, "PUT", keys, seconds)
        rendered = self.wrap(candidate, await self.render_write(candidate))
        notify = created or self.notify_updates
        return Reply(201 if created else 200, rendered, operation=operation, asynchronous=True, notify=notify)

    async def render_write(self, resource: Resource) -> Json:
        """As `render`, for the answer to a PUT or PATCH."""
        return self.render(resource)

    def keys_of(self, desired: Json) -> set[str]:
        """Keys that the new properties touch, where they differ from those of the old ones."""
        return set()

    def begin_write(
        self, resource: Resource, verb: str, keys: set[str], seconds: float, *, retry_after: float | None = None
    ) -> Operation:
        """An operation at whose end the resource is provisioned and Succeeded, or Failed."""

        async def finish() -> None:
            await self.provision(resource)
            self.store.touch(resource, "Succeeded")
            resource.ever_succeeded = True
            resource.succeeded_at = self.world.clock.monotonic()

        def fail(_error: ArmError) -> None:
            self.store.touch(resource, "Failed")

        return self.world.operations.start(
            verb,
            resource.id,
            resource.location,
            keys,
            seconds,
            finish,
            fail=fail,
            retry_after=self.retry_after if retry_after is None else retry_after,
        )

    async def patch(self, target: Target, body: Json) -> Reply:
        """Only tags can be patched, and the given ones replace all."""
        resource = self.find(target)
        keys = self.keys(resource)
        self.world.operations.require_free(keys)
        resource.tags = {str(name): str(value) for name, value in (body.get("tags") or {}).items()}
        if self.tag_seconds is None:
            self.store.touch(resource, resource.state)
        else:
            self.store.touch(resource, "Updating")
            self.begin_write(resource, "PATCH", keys, self.tag_seconds)
        return Reply(200, self.wrap(resource, await self.render_write(resource)), notify=True)

    async def delete(self, target: Target) -> Reply:
        resource = self.store.get(self.store.resource_id(target.group, self.type, target.name or ""))
        if resource is None:
            return Reply(204)
        self.require_unused(resource)
        keys = self.keys(resource)
        self.world.operations.require_free(keys)
        self.store.touch(resource, "Deleting")

        async def finish() -> None:
            await self.remove(resource)
            self.store.remove(resource)

        def fail(_error: ArmError) -> None:
            self.store.touch(resource, "Failed")

        operation = self.world.operations.start(
            "DELETE",
            resource.id,
            resource.location,
            keys,
            self.delete_seconds,
            finish,
            fail=fail,
            retry_after=durations.RETRY_AFTER,
        )
        return Reply(202, operation=operation, asynchronous=True, location=True, notify=True)

    def require_ready(self, resource: Resource) -> None:
        """A PUT may only refer to what is Succeeded."""
        if resource.state != "Succeeded":
            raise reference_not_ready(resource.id, resource.state)
