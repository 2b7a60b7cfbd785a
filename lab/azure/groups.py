"""Resource groups. Deleting one deletes what is in it, in the order that dependencies ask for; what is still used from
elsewhere blocks the deletion, and the group stays with what is left of it."""

from __future__ import annotations

import json

from lab.azure import durations
from lab.azure.deployments import Deployments
from lab.azure.errors import ArmError, Json, group_not_found
from lab.azure.provider import Provider, Reply, World
from lab.azure.store import Group, Resource, Target

ORDER = (
    "connections",
    "localNetworkGateways",
    "virtualNetworkGateways",
    "publicIPAddresses",
    "virtualNetworks",
    "networkWatchers",
)
POLL = 1.0  # Azure seconds between two looks at a deletion
BUSY = ("AnotherOperationInProgress",)
RETRY_AFTER = 15.0  # as ARM's front end answers to the deletion of a group


class ResourceGroups:
    """GET, HEAD, PUT, PATCH and DELETE of groups."""

    def __init__(self, world: World, providers: dict[str, Provider], deployments: Deployments) -> None:
        self._world = world
        self._store = world.store
        self._providers = providers
        self._deployments = deployments

    def find(self, name: str) -> Group:
        group = self._store.groups.get(name.lower())
        if group is None:
            raise group_not_found(name)
        return group

    def list(self) -> Reply:
        return Reply(200, {"value": [_render(group) for group in self._store.groups.values()]})

    def resources(self, group: str | None) -> Reply:
        """Everything in a group or the subscription, as generic resources."""
        found = [r for type_ in ORDER for r in self._store.of_type(type_, group)]
        return Reply(200, {"value": [_generic(resource) for resource in found]})

    def handle(self, method: str, name: str, body: Json) -> Reply:
        existing = self._store.groups.get(name.lower())
        if method == "PUT":
            return self._put(name, existing, body)
        if method == "HEAD":
            return Reply(204 if existing else 404)
        if existing is None:
            raise group_not_found(name)
        if method == "GET":
            return Reply(200, _render(existing))
        if method == "PATCH":
            existing.tags = dict(body.get("tags") or {})
            return Reply(200, _render(existing))
        if method == "DELETE":
            return self._delete(existing)
        raise ArmError(405, "MethodNotAllowed", f"{method} is not allowed on a resource group.", nrp=False)

    def _put(self, name: str, existing: Group | None, body: Json) -> Reply:
        location = body.get("location")
        if not isinstance(location, str):
            message = "The location property is required for this definition."
            raise ArmError(400, "LocationRequired", message, nrp=False)
        if existing is not None and existing.state == "Deleting":
            message = (
                f"The resource group '{existing.name}' is in deprovisioning state and cannot perform this operation."
            )
            raise ArmError(409, "ResourceGroupBeingDeleted", message, nrp=False)
        location = location.replace(" ", "").lower()
        if existing is not None and existing.location != location:
            message = (
                f"Invalid resource group location '{location}'. The Resource group already exists in location "
                f"'{existing.location}'."
            )
            raise ArmError(409, "InvalidResourceGroupLocation", message, nrp=False)
        spelling = existing.name if existing else name
        group_id = f"/subscriptions/{self._store.subscription}/resourceGroups/{spelling}"
        group = Group(group_id, spelling, location, dict(body.get("tags") or {}))
        self._store.groups[name.lower()] = group
        return Reply(200 if existing else 201, _render(group))

    def _delete(self, group: Group) -> Reply:
        group.state = "Deleting"

        async def work() -> None:
            try:
                for type_ in ORDER:
                    for resource in self._store.of_type(type_, group.name):
                        await self._delete_resource(group, resource)
            except ArmError:
                group.state = "Succeeded"
                raise
            self._deployments.drop_group(group.name)
            self._store.groups.pop(group.name.lower(), None)

        operation = self._world.operations.start(
            "DELETE", group.id, group.location, (), durations.GROUP_DELETE, work, retry_after=RETRY_AFTER
        )
        return Reply(202, operation=operation, result_path=self._result_path(operation.id))

    async def _delete_resource(self, group: Group, resource: Resource) -> None:
        target = Target(group.name, resource.type, resource.name)
        while True:
            try:
                reply = await self._providers[resource.type].delete(target)
                break
            except ArmError as error:
                if error.code not in BUSY:
                    raise _blocked(group, resource, error) from None
                await self._world.clock.sleep(durations.RETRY_AFTER)
        operation = reply.operation
        while operation is not None and operation.running:
            await self._world.clock.sleep(POLL)
        if operation is not None and operation.error is not None:
            raise _blocked(group, resource, operation.error)

    def result(self, operation_id: str) -> Reply:
        """What the Location header of a deletion points at."""
        operation = self._world.operations.get(operation_id)
        if operation is None:
            raise ArmError(404, "OperationNotFound", f"Operation '{operation_id}' could not be found.", nrp=False)
        if operation.running:
            return Reply(202, operation=operation, result_path=self._result_path(operation.id))
        if operation.error is not None:
            raise operation.error
        return Reply(200)

    def _result_path(self, operation_id: str) -> str:
        return f"/subscriptions/{self._store.subscription}/operationresults/{operation_id}"


def _blocked(group: Group, resource: Resource, cause: ArmError) -> ArmError:
    """R: the cause is a JSON text inside the details."""
    message = (
        f"Deletion of resource group '{group.name}' failed as resources with identifiers "
        f"'Microsoft.Network/{resource.type}/{resource.name}' could not be deleted. The provisioning state of the "
        "resource group will be rolled back. Please check audit logs for more details."
    )
    detail = {"code": None, "target": resource.id, "message": json.dumps(cause.body())}
    return ArmError(409, "ResourceGroupDeletionBlocked", message, details=[detail])


def _render(group: Group) -> Json:
    return {
        "id": group.id,
        "name": group.name,
        "type": "Microsoft.Resources/resourceGroups",
        "location": group.location,
        "tags": group.tags,
        "properties": {"provisioningState": group.state},
    }


def _generic(resource: Resource) -> Json:
    return {
        "id": resource.id,
        "name": resource.name,
        "type": f"Microsoft.Network/{resource.type}",
        "location": resource.location,
        "tags": resource.tags,
        **{name: resource.top[name] for name in ("sku", "zones") if name in resource.top},
    }
