"""Gateways with a point-to-site configuration, which belongs to somebody else.

A PUT replaces the whole gateway, so a client that does not know `vpnClientConfiguration` and leaves it out takes
everybody's VPN clients off. The lab keeps and shows it, so that such a client is found out; nobody can dial in.
"""

from __future__ import annotations

from lab.azure import durations
from lab.azure.checks import prefixes, properties
from lab.azure.errors import ArmError, Json, bad_request
from lab.azure.gateway import VirtualNetworkGateways
from lab.azure.provider import Desired, Reply
from lab.azure.store import Resource, Target

KEY = "vpnClientConfiguration"
LISTS = ("vpnClientRootCertificates", "vpnClientRevokedCertificates")


class Gateways(VirtualNetworkGateways):
    """`VirtualNetworkGateways` plus what virtual private network clients need."""

    notify_updates = False

    def desired(self, body: Json, resource_id: str, existing: Resource | None) -> Desired:
        given = properties(body).get(KEY)
        clients = _clients(given, resource_id) if isinstance(given, dict) else None
        wanted = super().desired(body, resource_id, existing)
        if clients is not None and clients["vpnClientAddressPool"]["addressPrefixes"]:
            wanted.properties[KEY] = clients
        return wanted

    def render(self, resource: Resource) -> Json:
        shown = super().render(resource)
        clients = shown.get(KEY)
        if clients is not None:
            shown[KEY] = {**clients, **{name: _children(resource, name, clients[name]) for name in LISTS}}
        return shown

    async def render_write(self, resource: Resource) -> Json:
        return {**await super().render_write(resource), **self.render(resource)}

    async def act(self, resource: Resource, verb: str, target: Target, query: Json, body: Json) -> Reply | None:
        if verb == "POST" and (target.child or "").lower() == "generatevpnprofile" and target.child_name is None:
            return self._profile(resource)
        return await super().act(resource, verb, target, query, body)

    def _profile(self, gateway: Resource) -> Reply:
        if KEY not in gateway.properties:
            message = f"Gateway {gateway.id} has no VPN client configuration to make a profile of."
            raise bad_request("VpnClientConfigurationMissing", message)  # L

        async def finish() -> str:
            message = "The lab has no VPN clients, so there is no profile to download."
            raise ArmError(501, "NotSimulated", message)

        operation = self.world.operations.start(
            "POST", gateway.id, gateway.location, (), durations.QUERY, finish, retry_after=durations.RETRY_AFTER
        )
        return Reply(202, operation=operation, location=True)


def _clients(given: Json, resource_id: str) -> Json:
    pool = (given.get("vpnClientAddressPool") or {}).get("addressPrefixes") or []
    try:
        space = prefixes(pool, resource_id)
    except ArmError:
        message = f"The VPN client configuration specified for gateway {resource_id} has an invalid IP or CIDR notation"
        raise bad_request("InvalidVpnClientAddressPrefixOrCidr", message) from None  # R
    return {
        "vpnClientAddressPool": {"addressPrefixes": [str(network) for network in space]},
        "vpnClientProtocols": list(given.get("vpnClientProtocols") or ["OpenVPN", "IkeV2"]),
        **{name: [_child(item) for item in given.get(name) or []] for name in LISTS},
        "radiusServers": [],
        "vpnClientIpsecPolicies": list(given.get("vpnClientIpsecPolicies") or []),
    }


def _child(item: Json) -> Json:
    kept = ("publicCertData", "thumbprint")
    return {"name": str(item.get("name")), "properties": {k: v for k, v in properties(item).items() if k in kept}}


def _children(gateway: Resource, name: str, items: list[Json]) -> list[Json]:
    return [
        {
            "name": item["name"],
            "id": f"{gateway.id}/{name}/{item['name']}",
            "etag": gateway.etag,
            "properties": {"provisioningState": gateway.state, **item["properties"]},
            "type": f"Microsoft.Network/virtualNetworkGateways/{name}",
        }
        for item in items
    ]
