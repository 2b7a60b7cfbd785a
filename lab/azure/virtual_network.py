"""Virtual networks and their subnets.

Subnets live inside their network: a child PUT is a write of the network, so one at a time, as in Azure. The rules are
those that a VPN gateway depends on: GatewaySubnet large enough, inside the network, not removed while in use.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from lab.azure import durations
from lab.azure.checks import prefix, prefixes, properties
from lab.azure.errors import ArmError, Json, bad_request, not_found
from lab.azure.operations import Operation
from lab.azure.provider import Desired, Provider, Reply
from lab.azure.store import Resource, Target

GATEWAY_SUBNET = "GatewaySubnet"


class VirtualNetworks(Provider):
    type = "virtualNetworks"
    etag_header = True
    retry_after = durations.RETRY_AFTER_SIMPLE
    create_seconds = durations.VNET_CREATE
    update_seconds = durations.VNET_UPDATE
    delete_seconds = durations.VNET_DELETE

    def desired(self, body: Json, resource_id: str, existing: Resource | None) -> Desired:
        given = properties(body)
        space = prefixes((given.get("addressSpace") or {}).get("addressPrefixes"), resource_id)
        if not space:
            message = f"Address space of virtual network {resource_id} must have at least one address prefix."
            raise bad_request("VirtualNetworkAddressSpaceRequired", message)  # L
        subnets = [_subnet(item, resource_id) for item in given.get("subnets") or []]
        _check_layout(subnets, space, resource_id)
        if existing is not None:
            self._keep_used(existing, subnets)
        return Desired(
            {
                "addressSpace": {"addressPrefixes": [str(network) for network in space]},
                "dhcpOptions": {"dnsServers": list((given.get("dhcpOptions") or {}).get("dnsServers") or [])},
                "subnets": subnets,
                "virtualNetworkPeerings": [],
                "enableDdosProtection": bool(given.get("enableDdosProtection")),
                "enableVmProtection": bool(given.get("enableVmProtection")),
            }
        )

    def _keep_used(self, existing: Resource, subnets: list[Json]) -> None:
        kept = {subnet["name"].lower(): subnet["properties"]["addressPrefix"] for subnet in subnets}
        for subnet in existing.properties["subnets"]:
            used = self.store.gateways_on(f"{existing.id}/subnets/{subnet['name']}")
            if used and kept.get(subnet["name"].lower()) != subnet["properties"]["addressPrefix"]:
                raise _in_use(subnet["name"], used[0][1])

    def require_unused(self, resource: Resource) -> None:
        self._keep_used(resource, [])

    def render(self, resource: Resource) -> Json:
        subnets = [self._render_subnet(resource, subnet) for subnet in resource.properties["subnets"]]
        return {**resource.properties, "subnets": subnets}

    def _render_subnet(self, network: Resource, subnet: Json) -> Json:
        subnet_id = f"{network.id}/subnets/{subnet['name']}"
        used = [{"id": config} for _, config in self.store.gateways_on(subnet_id)]
        return {
            "name": subnet["name"],
            "id": subnet_id,
            "etag": network.etag,
            "properties": {
                "provisioningState": network.state,
                **subnet["properties"],
                **({"ipConfigurations": used} if used else {}),
                "delegations": [],
                "privateEndpointNetworkPolicies": "Enabled",
                "privateLinkServiceNetworkPolicies": "Enabled",
            },
            "type": "Microsoft.Network/virtualNetworks/subnets",
        }

    async def act(self, resource: Resource, verb: str, target: Target, query: Json, body: Json) -> Reply | None:
        child = (target.child or "").lower()
        if child == "virtualnetworkpeerings" and verb == "GET" and target.child_name is None:
            return Reply(200, {"value": []})
        if child != "subnets":
            return None
        subnets = resource.properties["subnets"]
        if target.child_name is None:
            return Reply(200, {"value": [self._render_subnet(resource, s) for s in subnets]}) if verb == "GET" else None
        index = next((i for i, s in enumerate(subnets) if s["name"].lower() == target.child_name.lower()), None)
        if verb == "GET":
            if index is None:
                raise not_found(f"{resource.id}/subnets/{target.child_name}")
            return Reply(200, self._render_subnet(resource, subnets[index]), etag=resource.etag)
        if verb == "PUT":
            return self._put_subnet(resource, index, _subnet({**body, "name": target.child_name}, resource.id))
        if verb == "DELETE":
            return self._delete_subnet(resource, index)
        return None

    def _put_subnet(self, network: Resource, index: int | None, subnet: Json) -> Reply:
        subnets = list(network.properties["subnets"])
        if index is None:
            subnets.append(subnet)
        else:
            subnets[index] = {**subnet, "name": subnets[index]["name"]}
        space = prefixes(network.properties["addressSpace"]["addressPrefixes"], network.id)
        _check_layout(subnets, space, network.id)
        self._keep_used(network, subnets)
        operation = self._write_subnets(network, subnets, durations.SUBNET_CREATE)
        body = self._render_subnet(network, subnet if index is None else subnets[index])
        return Reply(201 if index is None else 200, body, operation=operation, asynchronous=True, notify=True)

    def _delete_subnet(self, network: Resource, index: int | None) -> Reply:
        if index is None:
            return Reply(204)
        left = [subnet for i, subnet in enumerate(network.properties["subnets"]) if i != index]
        self._keep_used(network, left)
        operation = self._write_subnets(network, left, durations.SUBNET_DELETE, verb="DELETE")
        return Reply(202, operation=operation, asynchronous=True, location=True, notify=True)

    def _write_subnets(
        self, network: Resource, subnets: Sequence[Json], seconds: float, verb: str = "PUT"
    ) -> Operation:
        self.world.operations.require_free({network.key})
        network.properties = {**network.properties, "subnets": list(subnets)}
        self.store.touch(network, "Updating")
        return self.begin_write(network, verb, {network.key}, seconds)


def subnet_prefix(network: Resource, subnet_key: str) -> ipaddress.IPv4Network | None:
    """The prefix of a network's subnet, by the subnet's lower-case id."""
    for subnet in network.properties["subnets"]:
        if f"{network.key}/subnets/{subnet['name'].lower()}" == subnet_key:
            return prefix(subnet["properties"]["addressPrefix"], subnet_key)
    return None


def _subnet(item: Json, resource_id: str) -> Json:
    given = properties(item)
    several = given.get("addressPrefixes") or []
    value = given.get("addressPrefix") or (several[0] if several else None)
    network = prefix(value, f"{resource_id}/subnets/{item.get('name')}")
    return {"name": str(item.get("name")), "properties": {"addressPrefix": str(network)}}


def _check_layout(subnets: list[Json], space: list[ipaddress.IPv4Network], resource_id: str) -> None:
    seen: list[ipaddress.IPv4Network] = []
    vnet = resource_id.rsplit("/", 1)[-1]
    for subnet in subnets:
        name = subnet["name"]
        network = ipaddress.IPv4Network(subnet["properties"]["addressPrefix"])
        if not any(network.subnet_of(outer) for outer in space):
            message = f"Subnet '{name}' is not valid because its IP address range is outside the IP address range of "
            raise bad_request("NetcfgInvalidSubnet", f"{message}virtual network '{vnet}'.")
        if any(network.overlaps(other) for other in seen):
            message = f"Subnet '{name}' is not valid because its IP address range overlaps with that of an existing "
            raise bad_request("NetcfgSubnetRangesOverlap", f"{message}subnet in virtual network '{vnet}'.")
        if name.lower() == GATEWAY_SUBNET.lower() and network.prefixlen > 29:
            message = f"Subnet '{name}' of {resource_id} must be /29 or larger, it is /{network.prefixlen}."
            raise bad_request("GatewaySubnetTooSmall", message)  # L
        seen.append(network)


def _in_use(name: str, by: str) -> ArmError:
    """R: the code; the message is quoted from public reports."""
    message = (
        f"Subnet {name} is in use by {by} and cannot be deleted. In order to delete the subnet, delete all the "
        "resources within the subnet. See aka.ms/deletesubnet."
    )
    return bad_request("InUseSubnetCannotBeDeleted", message)
