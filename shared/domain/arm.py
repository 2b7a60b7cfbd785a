"""Names of ARM resources, as the domain speaks of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ArmKind(StrEnum):
    """The resource types that a Gateway and its Connections stand on; the value is the type segment of the URL."""

    VIRTUAL_NETWORK = "virtualNetworks"
    PUBLIC_IP = "publicIPAddresses"
    GATEWAY = "virtualNetworkGateways"
    LOCAL_GATEWAY = "localNetworkGateways"
    CONNECTION = "connections"


@dataclass(frozen=True)
class ArmRef:
    """Names one resource; `id()` is the ARM resource id."""

    subscription: str
    resource_group: str
    kind: ArmKind
    name: str

    def id(self) -> str:
        return (
            f"/subscriptions/{self.subscription}/resourceGroups/{self.resource_group}"
            f"/providers/Microsoft.Network/{self.kind.value}/{self.name}"
        )
