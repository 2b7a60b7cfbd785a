"""Public IP addresses. A static one has its address when it is Succeeded; a dynamic one never gets one here, because
the only thing it could be attached to, a VPN gateway, no longer takes it."""

from __future__ import annotations

from lab.azure import durations
from lab.azure.checks import properties
from lab.azure.errors import Json, bad_request
from lab.azure.provider import Desired, Provider
from lab.azure.store import Resource


class PublicIpAddresses(Provider):
    type = "publicIPAddresses"
    etag_header = True
    retry_after = durations.RETRY_AFTER_SIMPLE
    create_seconds = durations.PUBLIC_IP_CREATE
    update_seconds = durations.PUBLIC_IP_UPDATE
    delete_seconds = durations.PUBLIC_IP_DELETE

    def desired(self, body: Json, resource_id: str, existing: Resource | None) -> Desired:
        given = properties(body)
        sku = str((body.get("sku") or {}).get("name") or "Basic")
        method = str(given.get("publicIPAllocationMethod") or "Dynamic")
        zones = [str(zone) for zone in body.get("zones") or []]
        if sku not in ("Basic", "Standard"):
            raise bad_request("InvalidSku", f"SKU {sku} of {resource_id} is not Basic or Standard.")  # L
        if sku == "Standard" and method != "Static":
            message = f"Standard sku publicIp {resource_id} must have AllocationMethod set to Static."
            raise bad_request("StandardSkuPublicIPAddressMustBeStatic", message)  # L
        if existing is not None and existing.top.get("zones", []) != zones:
            message = f"Resource {resource_id} has an existing availability zone constraint that cannot be changed."
            raise bad_request("ResourceAvailabilityZonesCannotBeModified", message)
        top: Json = {"sku": {"name": sku, "tier": "Regional"} if sku == "Standard" else {"name": sku}}
        if zones:
            top["zones"] = zones
        return Desired(
            {
                **_kept_address(existing),
                "publicIPAddressVersion": "IPv4",
                "publicIPAllocationMethod": method,
                "idleTimeoutInMinutes": int(given.get("idleTimeoutInMinutes") or 4),
                "ipTags": [],
            },
            top,
        )

    async def provision(self, resource: Resource) -> None:
        if resource.properties["publicIPAllocationMethod"] == "Static":
            resource.properties["ipAddress"] = self.world.pool.take(resource.key)

    def render(self, resource: Resource) -> Json:
        used = self.store.gateways_on(resource.id)
        return {**resource.properties, **({"ipConfiguration": {"id": used[0][1]}} if used else {})}

    def require_unused(self, resource: Resource) -> None:
        for _, config in self.store.gateways_on(resource.id):
            message = (
                f"Public IP address {resource.id} can not be deleted since it is still allocated to resource {config}. "
                "In order to delete the public IP, disassociate/detach the Public IP address from the resource. "
                "To learn how to do this, see aka.ms/deletepublicip."
            )
            raise bad_request("PublicIPAddressCannotBeDeleted", message)

    async def remove(self, resource: Resource) -> None:
        self.world.pool.give_back(resource.key)


def _kept_address(existing: Resource | None) -> Json:
    """An address, once allocated, outlives every update."""
    if existing is None or "ipAddress" not in existing.properties:
        return {}
    return {"ipAddress": existing.properties["ipAddress"]}
