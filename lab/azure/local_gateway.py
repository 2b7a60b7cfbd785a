"""Local network gateways: where a home is, by address or name, and what lies behind it.

Recorded oddity kept: an invalid BGP peering address is accepted and the operation fails; all else is refused at once.
A change takes effect on the wire when its operation ends.
"""

from __future__ import annotations

import ipaddress

from lab.azure import durations
from lab.azure.checks import ipv4, prefixes, properties
from lab.azure.errors import ArmError, Json, bad_request
from lab.azure.provider import Desired, Provider
from lab.azure.store import Resource, ref


class LocalNetworkGateways(Provider):
    type = "localNetworkGateways"
    etag_header = True
    create_seconds = durations.LOCAL_GATEWAY_CREATE
    update_seconds = durations.LOCAL_GATEWAY_UPDATE
    delete_seconds = durations.LOCAL_GATEWAY_DELETE

    def desired(self, body: Json, resource_id: str, existing: Resource | None) -> Desired:
        given = properties(body)
        address, fqdn = given.get("gatewayIpAddress"), given.get("fqdn")
        if bool(address) == bool(fqdn):
            message = f"Local network gateway {resource_id} must have either a gatewayIpAddress or an fqdn, not both."
            raise bad_request("LocalNetworkGatewayIpAddressOrFqdnRequired", message)  # L
        if address:
            ipv4(address)
        space = prefixes((given.get("localNetworkAddressSpace") or {}).get("addressPrefixes"), resource_id)
        bgp = given.get("bgpSettings")
        if bgp is not None and not bgp.get("asn"):
            message = f"The local network gateway {resource_id} cannot have an ASN of zero"
            raise bad_request("LocalNetworkGatewayCannotHaveZeroAsn", message)
        if not space and bgp is None:
            message = f"Local network gateway {resource_id} must have at least one address prefix or BGP settings."
            raise bad_request("LocalNetworkGatewayAddressSpaceOrBgpRequired", message)  # L
        result: Json = {"localNetworkAddressSpace": {"addressPrefixes": [str(network) for network in space]}}
        result.update({"gatewayIpAddress": str(address)} if address else {"fqdn": str(fqdn)})
        if bgp is not None:
            result["bgpSettings"] = {
                "asn": int(bgp["asn"]),
                "bgpPeeringAddress": str(bgp.get("bgpPeeringAddress") or ""),
                "peerWeight": int(bgp.get("peerWeight") or 0),
            }
        return Desired(result)

    def keys(self, resource: Resource) -> set[str]:
        gateways = (ref(c.properties, "virtualNetworkGateway1") for c in self.store.connections_of_local(resource))
        return {resource.key, *(key for key in gateways if key)}

    async def provision(self, resource: Resource) -> None:
        address = resource.properties.get("bgpSettings", {}).get("bgpPeeringAddress")
        if address is not None:
            try:
                ipaddress.IPv4Address(address)
            except ValueError:
                # Recorded with the space in front of the code and of the message.
                message = f" BadRequest: InvalidIPAddress - The specified BGP peer IP address '{address}' is not valid."
                raise ArmError(400, " InternalError", message) from None
        await self.world.plumbing.local_changed(resource)

    def require_unused(self, resource: Resource) -> None:
        for connection in self.store.connections_of_local(resource):
            message = f"Local network gateway {resource.id} is used by {connection.id} and cannot be deleted."
            raise bad_request("LocalNetworkGatewayInUse", message)  # L
