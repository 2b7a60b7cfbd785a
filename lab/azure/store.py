"""The resources of one subscription: what is there, and how their ids read.

ARM compares ids without regard to case but answers with the spelling of the first PUT; so keys are lower case and
values keep their spelling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from lab.azure.errors import Json

TYPES = {
    name.lower(): name
    for name in (
        "virtualNetworks",
        "publicIPAddresses",
        "virtualNetworkGateways",
        "localNetworkGateways",
        "connections",
        "networkWatchers",
    )
}


@dataclass
class Group:
    """A resource group."""

    id: str
    name: str
    location: str
    tags: dict[str, str]
    state: str = "Succeeded"


@dataclass
class Resource:
    """One resource. `properties` is what was PUT plus what Azure adds, without state and ETag, which renderers add.

    `top` holds what ARM shows beside `properties` (sku, zones); `secret` what only some answers show.
    """

    id: str
    name: str
    type: str
    group: str
    location: str
    tags: dict[str, str]
    properties: Json
    guid: str
    etag: str
    state: str = "Updating"
    top: Json = field(default_factory=dict)
    secret: str = field(default="", repr=False)
    ever_succeeded: bool = False
    succeeded_at: float = 0.0

    @property
    def key(self) -> str:
        return self.id.lower()


@dataclass(frozen=True)
class Target:
    """Where a request path points below a resource group; `child` and `child_name` may be an action's name and None."""

    group: str
    type: str
    name: str | None = None
    child: str | None = None
    child_name: str | None = None


class Store:
    """Resources and groups by lower-case id."""

    def __init__(self, subscription: str, new_id: Callable[[], str]) -> None:
        self.subscription = subscription
        self.new_id = new_id
        self.groups: dict[str, Group] = {}
        self._resources: dict[str, Resource] = {}
        self._deleted: set[str] = set()

    def resource_id(self, group: str, type_: str, name: str) -> str:
        base = f"/subscriptions/{self.subscription}/resourceGroups/{group}"
        return f"{base}/providers/Microsoft.Network/{type_}/{name}"

    def etag(self) -> str:
        return f'W/"{self.new_id()}"'

    def get(self, resource_id: str | None) -> Resource | None:
        return self._resources.get(resource_id.lower()) if resource_id else None

    def add(self, resource: Resource) -> None:
        self._resources[resource.key] = resource
        self._deleted.discard(resource.key)

    def remove(self, resource: Resource) -> None:
        self._resources.pop(resource.key, None)
        self._deleted.add(resource.key)

    def was_deleted(self, resource_id: str) -> bool:
        return resource_id.lower() in self._deleted

    def of_type(self, type_: str, group: str | None = None) -> Iterator[Resource]:
        for resource in list(self._resources.values()):
            if resource.type == type_ and (group is None or resource.group.lower() == group.lower()):
                yield resource

    def touch(self, resource: Resource, state: str) -> None:
        """A write or its end: new ETag, new state."""
        resource.etag = self.etag()
        resource.state = state

    # Relations: who stands on whom.

    def connections_of_gateway(self, gateway: Resource) -> list[Resource]:
        return [c for c in self.of_type("connections") if ref(c.properties, "virtualNetworkGateway1") == gateway.key]

    def connections_of_local(self, local: Resource) -> list[Resource]:
        return [c for c in self.of_type("connections") if ref(c.properties, "localNetworkGateway2") == local.key]

    def gateways_on(self, key: str) -> list[tuple[Resource, str]]:
        """Gateways with an IP configuration on a public address or subnet, with that configuration's id."""
        found = []
        for gateway in self.of_type("virtualNetworkGateways"):
            for config in gateway.properties["ipConfigurations"]:
                used = (ref(config["properties"], "publicIPAddress"), ref(config["properties"], "subnet"))
                if key.lower() in used:
                    found.append((gateway, f"{gateway.id}/ipConfigurations/{config['name']}"))
        return found


def ref(properties: Json, name: str) -> str | None:
    """The lower-case id behind a reference such as `{"subnet": {"id": ...}}`."""
    value = properties.get(name)
    target = value.get("id") if isinstance(value, dict) else None
    return target.lower() if isinstance(target, str) else None
