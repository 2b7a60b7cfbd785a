"""What the simulated ARM answers to a call: paths, throttling, faults, headers and error bodies; no sockets.

Any api-version is accepted and paths are read without regard to case, as ARM does; ids are answered with the spelling
of their first PUT. What is not simulated answers 404 InvalidResourceType rather than something plausible. HTTP and
tokens are in `arm.py`; the model world calls this as it is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.azure.clock import Clock
from lab.azure.connection import Connections
from lab.azure.deployments import Deployments
from lab.azure.errors import ArmError, Json
from lab.azure.faults import Faults
from lab.azure.groups import ResourceGroups
from lab.azure.local_gateway import LocalNetworkGateways
from lab.azure.metrics import Metrics
from lab.azure.network_watcher import NetworkWatchers
from lab.azure.operations import Operation
from lab.azure.point_to_site import Gateways
from lab.azure.provider import Provider, Reply, World
from lab.azure.public_ip import PublicIpAddresses
from lab.azure.store import TYPES, Target
from lab.azure.throttle import Throttle
from lab.azure.virtual_network import VirtualNetworks

JSON_TYPE = "application/json; charset=utf-8"
NEWEST = "2026-03-01"
GATEWAY_AFTER_RESET = "2020-01-01"  # recorded with 2019-11-01: no body; az CLI (2022-01-01) fails without one
PROVIDERS: tuple[type[Provider], ...] = (
    VirtualNetworks,
    PublicIpAddresses,
    Gateways,
    LocalNetworkGateways,
    Connections,
    NetworkWatchers,
)


@dataclass(frozen=True)
class Call:
    """A request whose caller is known. `base` is how the caller named ARM: operation URLs must point back to it."""

    method: str
    path: str
    query: Mapping[str, str]
    base: str
    body: bytes = field(default=b"", repr=False)

    def json(self) -> Json:
        """The body's object, empty without one; ArmError 400 for anything else."""
        if not self.body:
            return {}
        try:
            body = json.loads(self.body)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            message = "The request content was invalid and could not be deserialized: a JSON object is expected."
            raise ArmError(400, "InvalidRequestContent", message, nrp=False)
        return body

    def url(self, path: str) -> str:
        return f"{self.base}{path}?api-version={self.query.get('api-version', NEWEST)}"


@dataclass(frozen=True)
class Answer:
    """`body` None: no body. Headers are complete but for those of HTTP itself."""

    status: int
    headers: dict[str, str]
    body: Any = field(default=None, repr=False)


class Router:
    """Answers everything under /subscriptions and /tenants."""

    def __init__(self, world: World, tenant: str, clock: Clock, metrics: Metrics, faults: Faults) -> None:
        self._world = world
        self._store = world.store
        self._tenant = tenant
        self._clock = clock
        self._metrics = metrics
        self._throttle = Throttle(clock.monotonic)
        self._faults = faults
        self._providers = {provider.type: provider(world) for provider in PROVIDERS}
        self._deployments = Deployments(world, self._providers, tenant)
        self._groups = ResourceGroups(world, self._providers, self._deployments)

    async def answer(self, call: Call, principal: str) -> Answer:
        """Never raises: whatever goes wrong is an answer."""
        kind = {"GET": "reads", "HEAD": "reads", "DELETE": "deletes"}.get(call.method, "writes")
        headers = self.headers()
        try:
            self._count(kind, principal, call.path, headers)
            fault = self._faults.take(("refuse",), call.method, call.path)
            if fault is not None:
                raise fault.error()
            return self._told(call, self._respond(call, await self._dispatch(call), headers))
        except ArmError as error:
            return self.refuse(call, error, headers)
        except Exception as error:
            # A data plane that fails to answer is the lab's fault: Azure's words to the client, the cause to the log.
            self._world.log.write("request failed", call.path, error=f"{type(error).__name__}: {error}")
            return self.refuse(call, ArmError(500, "InternalServerError", "An error occurred."), headers)

    def refuse(self, call: Call, error: ArmError, headers: dict[str, str]) -> Answer:
        if error.retry_after is not None:
            headers["Retry-After"] = str(error.retry_after)
        headers["Content-Type"] = JSON_TYPE
        return self._told(call, Answer(error.status, headers, error.body()))

    def headers(self) -> dict[str, str]:
        return {
            "Cache-Control": "no-cache",
            "x-ms-request-id": self._store.new_id(),
            "x-ms-correlation-request-id": self._store.new_id(),
            "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
            "X-Content-Type-Options": "nosniff",
        }

    def _told(self, call: Call, answer: Answer) -> Answer:
        self._metrics.count(call.method, call.path, answer.status, self._clock.now().isoformat())
        return answer

    def _count(self, kind: str, principal: str, path: str, headers: dict[str, str]) -> None:
        """Take from the buckets, or refuse as ARM does with 429 and the time to come back."""
        taken = self._throttle.take(kind, principal, network="/providers/microsoft.network" in path.lower())
        headers[f"x-ms-ratelimit-remaining-subscription-{kind}"] = str(taken.left)
        headers[f"x-ms-ratelimit-remaining-subscription-global-{kind}"] = str(taken.left_globally)
        if taken.wait is not None:
            message = (
                f"Number of requests for subscription '{self._store.subscription}' and operation '{kind}' exceeded the "
                "backend storage limit. Please try again after the time that Retry-After tells."
            )
            retry_after = self._clock.retry_after(math.ceil(taken.wait))
            raise ArmError(429, "TooManyRequests", message, nrp=False, retry_after=retry_after)

    async def _dispatch(self, call: Call) -> Reply:
        parts = [part for part in call.path.split("/") if part]
        lower = [part.lower() for part in parts]
        if lower[0] == "tenants":
            tenant = self._tenant
            return Reply(200, {"value": [{"id": f"/tenants/{tenant}", "tenantId": tenant}]})
        subscription = {
            "id": f"/subscriptions/{self._store.subscription}",
            "subscriptionId": self._store.subscription,
            "tenantId": self._tenant,
            "displayName": "Homelink lab",
            "state": "Enabled",
        }
        if len(parts) == 1:
            return Reply(200, {"value": [subscription]})
        if lower[1] != self._store.subscription.lower():
            message = f"The subscription '{parts[1]}' could not be found."
            raise ArmError(404, "SubscriptionNotFound", message, nrp=False)
        if len(parts) == 2:
            return Reply(200, subscription)
        body = call.json()
        if lower[2] == "resourcegroups":
            reply = await self._in_group(call, parts, body)
            if reply is not None:
                return reply
        elif call.method == "GET" and lower[2] == "operationresults" and len(parts) == 4:
            return self._groups.result(lower[3])
        elif call.method == "GET" and lower[2:] == ["resources"]:
            return self._groups.resources(None)
        elif call.method == "GET" and lower[2] == "providers" and len(parts) <= 4:
            return self._registrations(parts[3] if len(parts) == 4 else None)
        elif lower[2:4] == ["providers", "microsoft.network"]:
            if call.method == "GET" and lower[4:5] + lower[6:] == ["locations", "checkdnsnameavailability"]:
                return Reply(200, {"available": True})
            if len(parts) == 8 and lower[4] == "locations" and call.method == "GET":
                return self._operation(lower[6], parts[7], call.query.get("api-version", NEWEST))
            if len(parts) == 5 and lower[4] in TYPES and call.method == "GET":
                return self._providers[TYPES[lower[4]]].list(None)
        raise _unknown(call.path)

    async def _in_group(self, call: Call, parts: list[str], body: Json) -> Reply | None:
        """What is at or below a resource group."""
        method, lower = call.method, [part.lower() for part in parts]
        if len(parts) == 3:
            return self._groups.list() if method == "GET" else None
        if len(parts) == 4:
            return self._groups.handle(method, parts[3], body)
        group = self._groups.find(parts[3])
        if lower[4:] == ["resources"] and method == "GET":
            return self._groups.resources(group.name)
        if lower[4:7] == ["providers", "microsoft.resources", "deployments"]:
            return await self._deployments.handle(method, group, parts[7:], body)
        if lower[4:6] == ["providers", "microsoft.network"]:
            if method == "PUT" and group.state == "Deleting":
                message = (
                    f"The resource group '{group.name}' is in deprovisioning state and cannot perform this operation."
                )
                raise ArmError(409, "ResourceGroupBeingDeleted", message, nrp=False)
            return await self._network(call, parts[6:], group.name, body)
        return None

    def _registrations(self, namespace: str | None) -> Reply:
        """Resource providers, which az CLI and Ansible may want to see registered before they use them."""
        known = ("Microsoft.Network", "Microsoft.Resources")
        found = [
            {
                "id": f"/subscriptions/{self._store.subscription}/providers/{name}",
                "namespace": name,
                "registrationState": "Registered",
                "resourceTypes": [],
            }
            for name in known
            if namespace is None or namespace.lower() == name.lower()
        ]
        if namespace is None:
            return Reply(200, {"value": found})
        if not found:
            message = f"The resource namespace '{namespace}' is invalid."
            raise ArmError(404, "InvalidResourceNamespace", message, nrp=False)
        return Reply(200, found[0])

    async def _network(self, call: Call, parts: list[str], group: str, body: Json) -> Reply:
        if not 1 <= len(parts) <= 4 or parts[0].lower() not in TYPES:
            raise _unknown(call.path)
        names = [*parts[1:], None, None, None]
        target = Target(group, TYPES[parts[0].lower()], names[0], names[1], names[2])
        provider = self._providers[target.type]
        method = call.method
        if target.name is None:
            if method == "GET":
                return provider.list(group)
        elif target.child is not None:
            if target.type == "virtualNetworkGateways" and target.child.lower() == "connections" and method == "GET":
                return self._connections_of(provider, target)
            resource = provider.find(target)
            reply = await provider.act(resource, method, target, dict(call.query), body)
            if reply is not None:
                return reply
            raise _unknown(call.path)
        elif method == "GET":
            return await provider.get(target)
        elif method == "PUT":
            return await provider.put(target, body)
        elif method == "PATCH":
            return await provider.patch(target, body)
        elif method == "DELETE":
            return await provider.delete(target)
        raise ArmError(405, "MethodNotAllowed", f"{method} is not allowed on {call.path}.", nrp=False)

    def _connections_of(self, gateways: Provider, target: Target) -> Reply:
        connections = self._providers["connections"]
        found = self._store.connections_of_gateway(gateways.find(target))
        return Reply(200, {"value": [connections.wrap(item, connections.render(item)) for item in found]})

    def _operation(self, kind: str, operation_id: str, version: str) -> Reply:
        operation = self._world.operations.get(operation_id)
        if operation is None or kind not in ("operations", "operationresults"):
            # Clients must take this as "read the resource again", not as a failure (azure-sdk-for-python #22061).
            raise ArmError(404, "NotFound", f"Operation {operation_id} not found.")
        if kind == "operations":
            body: Json = {"status": operation.status}
            if operation.error is not None:
                body["error"] = operation.error.error()
            return Reply(200, body, operation=operation if operation.running else None)
        if operation.running:
            return Reply(202, operation=operation, asynchronous=True, location=True)
        if operation.error is not None:
            raise operation.error
        status = 204 if operation.verb == "DELETE" else 200
        result = operation.result
        reset = self._store.get(operation.subject) if operation.verb == "POST" and result is None else None
        if reset is not None and reset.type == "virtualNetworkGateways" and version >= GATEWAY_AFTER_RESET:
            provider = self._providers[reset.type]
            result = provider.wrap(reset, provider.render(reset))
        return Reply(status, result, operation=operation, asynchronous=True, location=True)

    def _respond(self, call: Call, reply: Reply, headers: dict[str, str]) -> Answer:
        operation = reply.operation
        if operation is not None:
            if operation.running:
                headers["Retry-After"] = str(self._clock.retry_after(operation.retry_after))
            if reply.asynchronous:
                headers["Azure-AsyncOperation"] = self._operation_url(call, operation, "operations")
            if reply.location:
                headers["Location"] = self._operation_url(call, operation, "operationResults")
            if reply.status_path is not None:
                headers["Azure-AsyncOperation"] = call.url(reply.status_path)
            if reply.result_path is not None:
                headers["Location"] = call.url(reply.result_path)
        if reply.notify:
            headers["Azure-AsyncNotification"] = "Enabled"
        if reply.etag is not None:
            headers["ETag"] = reply.etag
        # Recorded: empty operationResults and a 202 with Location alone carry a content type without a body.
        typed = reply.body is not None or call.method == "GET" or (reply.location and not reply.asynchronous)
        if typed:
            headers["Content-Type"] = JSON_TYPE
        return Answer(reply.status, headers, reply.body)

    def _operation_url(self, call: Call, operation: Operation, kind: str) -> str:
        path = f"/subscriptions/{self._store.subscription}/providers/Microsoft.Network/locations/{operation.location}"
        return call.url(f"{path}/{kind}/{operation.id}")


def _unknown(path: str) -> ArmError:
    message = f"The resource type or action behind '{path}' could not be found, or the lab does not simulate it."
    return ArmError(404, "InvalidResourceType", message, nrp=False)
