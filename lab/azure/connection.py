"""IPsec connections, with the surprises that clients must live with.

A PUT keeps an existing shared key; a GET shows it in clear with connectionStatus, a list shows neither; PUT sharedkey
answers 200 while the connection is still Updating, so that the next write meets 409. A connection between two gateways
of Azure (Vnet2Vnet) is kept and shown, because it may stand beside ours, and carries nothing.
"""

from __future__ import annotations

import json
import secrets

from lab.azure import durations
from lab.azure.checks import properties
from lab.azure.errors import Json, bad_request, invalid_reference
from lab.azure.ipsec import check_key, check_policies
from lab.azure.plumbing import TunnelState
from lab.azure.provider import Desired, Provider, Reply
from lab.azure.store import Resource, Target, ref

MODES = ("Default", "ResponderOnly", "InitiatorOnly")
PEERS = {"ipsec": ("IPsec", "localNetworkGateway2"), "vnet2vnet": ("Vnet2Vnet", "virtualNetworkGateway2")}


class Connections(Provider):
    type = "connections"
    create_seconds = durations.CONNECTION_CREATE
    update_seconds = durations.CONNECTION_UPDATE
    delete_seconds = durations.CONNECTION_DELETE
    tag_seconds = durations.CONNECTION_TAGS
    notify_updates = False

    def desired(self, body: Json, resource_id: str, existing: Resource | None) -> Desired:
        given = properties(body)
        kind = str(given.get("connectionType"))
        if kind.lower() not in PEERS:
            message = f"The lab simulates connectionType IPsec and Vnet2Vnet only; {resource_id} asks for another."
            raise bad_request("NotSimulated", message)
        kind, peer_name = PEERS[kind.lower()]
        gateway = self._referenced(given, "virtualNetworkGateway1", resource_id)
        peer = self._referenced(given, peer_name, resource_id)
        mode = str(given.get("connectionMode") or "Default")
        if mode not in MODES:
            raise bad_request("InvalidConnectionMode", f"connectionMode must be one of {', '.join(MODES)}.")  # L
        protocol = str(given.get("connectionProtocol") or "IKEv2")
        if existing is not None and existing.properties["connectionProtocol"] != protocol:
            message = f"The connection protocol of {resource_id} cannot be changed: delete and create the connection."
            raise bad_request("ConnectionProtocolCannotBeChanged", message)  # L
        dpd = int(given.get("dpdTimeoutSeconds") or 0)
        if dpd and not 9 <= dpd <= 3600:
            raise bad_request("InvalidDpdTimeout", f"dpdTimeoutSeconds of {resource_id} must be 9 to 3600.")  # L
        bgp = bool(given.get("enableBgp"))
        if bgp and not (gateway.properties["enableBgp"] and "bgpSettings" in peer.properties):
            message = (
                f"Connection {resource_id} enables BGP, which needs enableBgp on {gateway.id} and bgpSettings on "
                f"{peer.id}."
            )
            raise bad_request("BgpNotEnabledOnGateway", message)  # L
        secret = None
        if existing is None:
            key = given.get("sharedKey")
            secret = check_key(key, resource_id) if key else secrets.token_hex(16)
        custom = given.get("gatewayCustomBgpIpAddresses")
        result: Json = {
            "packetCaptureDiagnosticState": "None",
            "virtualNetworkGateway1": {"id": gateway.id},
            peer_name: {"id": peer.id},
            "connectionType": kind,
            "connectionProtocol": protocol,
            "routingWeight": int(given.get("routingWeight") or 0),
            "enableBgp": bgp,
            **({"gatewayCustomBgpIpAddresses": custom} if custom else {}),
            "useLocalAzureIpAddress": bool(given.get("useLocalAzureIpAddress")),
            "usePolicyBasedTrafficSelectors": bool(given.get("usePolicyBasedTrafficSelectors")),
            "ipsecPolicies": check_policies(given.get("ipsecPolicies"), resource_id),
            "trafficSelectorPolicies": given.get("trafficSelectorPolicies") or [],
            "expressRouteGatewayBypass": False,
            "dpdTimeoutSeconds": dpd,
            "connectionMode": mode,
        }
        return Desired(result, secret=secret)

    def _referenced(self, given: Json, name: str, resource_id: str) -> Resource:
        value = given.get(name)
        target = value.get("id") if isinstance(value, dict) else None
        resource = self.store.get(target)
        if resource is None:
            raise invalid_reference(str(target or f"({name} missing)"), resource_id)
        return resource

    def keys(self, resource: Resource) -> set[str]:
        return {resource.key} | self.keys_of(resource.properties)

    def keys_of(self, desired: Json) -> set[str]:
        names = ("virtualNetworkGateway1", "localNetworkGateway2", "virtualNetworkGateway2")
        return {key for key in (ref(desired, name) for name in names) if key}

    async def put(self, target: Target, body: Json) -> Reply:
        # A reference that is being written shows as a held lock; one that failed is not ready and never will be.
        given = properties(body)
        for name in ("virtualNetworkGateway1", "localNetworkGateway2", "virtualNetworkGateway2"):
            referenced = self.store.get(ref(given, name))
            if referenced is not None:
                self.world.operations.require_free({referenced.key})
                self.require_ready(referenced)
        return await super().put(target, body)

    async def provision(self, resource: Resource) -> None:
        if "localNetworkGateway2" in resource.properties:
            await self.world.plumbing.connect(resource)

    async def remove(self, resource: Resource) -> None:
        await self.world.plumbing.disconnect(resource)

    def render(self, resource: Resource) -> Json:
        return {**resource.properties, "ingressBytesTransferred": 0, "egressBytesTransferred": 0}

    async def render_write(self, resource: Resource) -> Json:
        return {**self.render(resource), "sharedKey": resource.secret}

    async def render_full(self, resource: Resource) -> Json:
        status = await self.world.plumbing.status(resource)
        shown = {
            **resource.properties,
            "sharedKey": resource.secret,
            "connectionStatus": status.status,
            "ingressBytesTransferred": status.ingress_bytes,
            "egressBytesTransferred": status.egress_bytes,
        }
        tunnels = [t for t in status.tunnels if t.established_at is not None]
        if tunnels:
            shown["tunnelConnectionStatus"] = [_tunnel(t) for t in tunnels]
        return shown

    async def act(self, resource: Resource, verb: str, target: Target, query: Json, body: Json) -> Reply | None:
        name = (target.child or "").lower()
        if name == "sharedkey" and (target.child_name or "").lower() == "reset" and verb == "POST":
            return self._reset_key(resource, body)
        if target.child_name is not None:
            return None
        if name == "sharedkey" and verb == "GET":
            return Reply(200, {"value": resource.secret})
        if name == "sharedkey" and verb == "PUT":
            return self._set_key(resource, check_key(body.get("value"), resource.id))
        if name == "resetconnection" and verb == "POST":
            return self._reset(resource)
        if name == "getikesas" and verb == "POST":
            return self._ike_sas(resource)
        return None

    def _set_key(self, connection: Resource, key: str) -> Reply:
        keys = self.keys(connection)
        self.world.operations.require_free(keys)
        connection.secret = key
        self.store.touch(connection, "Updating")
        operation = self.begin_write(connection, "PUT", keys, durations.SHARED_KEY)
        # Recorded without a content type, so without a body; the SDK then GETs the key.
        return Reply(200, operation=operation, asynchronous=True)

    def _reset_key(self, connection: Resource, body: Json) -> Reply:
        """A key of Azure's own making, of so many characters; read it by GET sharedkey."""
        length = body.get("keyLength")
        if not isinstance(length, int) or not 1 <= length <= 128:
            raise bad_request("InvalidSharedKeyLength", f"keyLength of {connection.id} must be 1 to 128.")  # L
        keys = self.keys(connection)
        self.world.operations.require_free(keys)
        connection.secret = secrets.token_hex(64)[:length]
        self.store.touch(connection, "Updating")
        operation = self.begin_write(connection, "POST", keys, durations.SHARED_KEY)
        operation.result = {"keyLength": length}
        return Reply(202, operation=operation, asynchronous=True, location=True)

    def _reset(self, connection: Resource) -> Reply:
        keys = self.keys(connection)
        self.world.operations.require_free(keys)

        async def begin() -> None:
            await self.world.plumbing.reset_connection(connection)

        operation = self.world.operations.start(
            "POST",
            connection.id,
            connection.location,
            keys,
            durations.CONNECTION_RESET,
            begin=begin,
            retry_after=durations.RETRY_AFTER,
        )
        return Reply(202, operation=operation, asynchronous=True, location=True)

    def _ike_sas(self, connection: Resource) -> Reply:
        async def finish() -> str:
            plumbing = self.world.plumbing
            found = await plumbing.dataplane.ike_sas(plumbing.label(connection))
            return json.dumps({"Status": "Successful", "Data": found or None})

        operation = self.world.operations.start(
            "POST", connection.id, connection.location, (), durations.QUERY, finish, retry_after=durations.RETRY_AFTER
        )
        return Reply(202, operation=operation, location=True)


def _tunnel(state: TunnelState) -> Json:
    """An entry of `tunnelConnectionStatus`, one per instance whose tunnel was ever up."""
    since = state.established_at
    return {
        "tunnel": state.name,
        "connectionStatus": state.status,
        "ingressBytesTransferred": state.ingress_bytes,
        "egressBytesTransferred": state.egress_bytes,
        "lastConnectionEstablishedUtcTime": since.strftime("%m/%d/%Y %H:%M:%S") if since else "",
    }
