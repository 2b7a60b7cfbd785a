"""The HTTP side of the simulated ARM: paths, tokens, throttling, headers and error answers.

Any api-version is accepted and paths are read without regard to case, as ARM does; ids are answered with the spelling
of their first PUT. What is not simulated answers 404 InvalidResourceType rather than something plausible.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from lab.azure.clock import Clock
from lab.azure.connection import Connections
from lab.azure.deployments import Deployments
from lab.azure.errors import ArmError, Json
from lab.azure.faults import Faults
from lab.azure.groups import ResourceGroups
from lab.azure.identity import TokenError, Tokens
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

AUDIENCES = ("https://management.core.windows.net", "https://management.azure.com")
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


class Arm:
    """Answers everything under /subscriptions, /tenants and /metadata/endpoints."""

    def __init__(self, world: World, tokens: Tokens, clock: Clock, metrics: Metrics, faults: Faults) -> None:
        self._world = world
        self._store = world.store
        self._tokens = tokens
        self._clock = clock
        self._metrics = metrics
        self._throttle = Throttle(clock.monotonic)
        self._faults = faults
        self._providers = {provider.type: provider(world) for provider in PROVIDERS}
        self._deployments = Deployments(world, self._providers, tokens.principal.tenant)
        self._groups = ResourceGroups(world, self._providers, self._deployments)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/metadata/endpoints", self._endpoints),
            web.get("//metadata/endpoints", self._endpoints),  # az CLI appends to a base that ends in a slash
            web.route("*", "/tenants", self._handle),
            web.route("*", "/subscriptions", self._handle),
            web.route("*", "/subscriptions/{rest:.*}", self._handle),
        ]

    async def _endpoints(self, request: web.Request) -> web.Response:
        """What az CLI asks before it registers a cloud: one since 2022-09-01, a list of them before."""
        base = base_url(request)
        login = {"loginEndpoint": base, "audiences": [f"{base}/", *AUDIENCES], "tenant": "common"}
        cloud = {"name": "lab", "resourceManager": f"{base}/", "authentication": login, "suffixes": {}}
        one = request.query.get("api-version", "") >= "2022-09-01"
        return web.json_response(cloud if one else [cloud])

    async def _handle(self, request: web.Request) -> web.Response:
        kind = {"GET": "reads", "HEAD": "reads", "DELETE": "deletes"}.get(request.method, "writes")
        headers = {
            "Cache-Control": "no-cache",
            "x-ms-request-id": self._store.new_id(),
            "x-ms-correlation-request-id": self._store.new_id(),
            "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
            "X-Content-Type-Options": "nosniff",
        }
        try:
            self._count(kind, self._authorise(request, headers), request.path, headers)
            fault = self._faults.take(("refuse",), request.method, request.path)
            if fault is not None:
                raise fault.error()
            response = self._respond(request, await self._dispatch(request), headers)
        except ArmError as error:
            if error.retry_after is not None:
                headers["Retry-After"] = str(error.retry_after)
            response = _json(error.status, error.body(), headers)
        except Exception as error:
            # A data plane that fails to answer is the lab's fault: Azure's words to the client, the cause to the log.
            self._world.log.write("request failed", request.path, error=f"{type(error).__name__}: {error}")
            failure = ArmError(500, "InternalServerError", "An error occurred.")
            response = _json(failure.status, failure.body(), headers)
        self._metrics.count(request.method, request.path, response.status, self._clock.now().isoformat())
        return response

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

    def _authorise(self, request: web.Request, headers: dict[str, str]) -> str:
        """The principal behind the token."""
        try:
            claims = self._tokens.verify(request.headers.get("Authorization"), (*AUDIENCES, base_url(request)))
            return str(claims.get("oid"))
        except TokenError as error:
            login = f"https://login.microsoftonline.com/{self._tokens.principal.tenant}"
            headers["WWW-Authenticate"] = f'Bearer authorization_uri="{login}", error="invalid_token"'
            raise _unauthorised(error) from None

    async def _dispatch(self, request: web.Request) -> Reply:
        parts = [part for part in request.path.split("/") if part]
        lower = [part.lower() for part in parts]
        if lower[0] == "tenants":
            tenant = self._tokens.principal.tenant
            return Reply(200, {"value": [{"id": f"/tenants/{tenant}", "tenantId": tenant}]})
        subscription = {
            "id": f"/subscriptions/{self._store.subscription}",
            "subscriptionId": self._store.subscription,
            "tenantId": self._tokens.principal.tenant,
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
        body = await _body(request)
        if lower[2] == "resourcegroups":
            reply = await self._in_group(request, parts, body)
            if reply is not None:
                return reply
        elif request.method == "GET" and lower[2] == "operationresults" and len(parts) == 4:
            return self._groups.result(lower[3])
        elif request.method == "GET" and lower[2:] == ["resources"]:
            return self._groups.resources(None)
        elif request.method == "GET" and lower[2] == "providers" and len(parts) <= 4:
            return self._registrations(parts[3] if len(parts) == 4 else None)
        elif lower[2:4] == ["providers", "microsoft.network"]:
            if request.method == "GET" and lower[4:5] + lower[6:] == ["locations", "checkdnsnameavailability"]:
                return Reply(200, {"available": True})
            if len(parts) == 8 and lower[4] == "locations" and request.method == "GET":
                return self._operation(lower[6], parts[7], request.query.get("api-version", NEWEST))
            if len(parts) == 5 and lower[4] in TYPES and request.method == "GET":
                return self._providers[TYPES[lower[4]]].list(None)
        raise _unknown(request.path)

    async def _in_group(self, request: web.Request, parts: list[str], body: Json) -> Reply | None:
        """What is at or below a resource group."""
        method, lower = request.method, [part.lower() for part in parts]
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
            return await self._network(request, parts[6:], group.name, body)
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

    async def _network(self, request: web.Request, parts: list[str], group: str, body: Json) -> Reply:
        if not 1 <= len(parts) <= 4 or parts[0].lower() not in TYPES:
            raise _unknown(request.path)
        names = [*parts[1:], None, None, None]
        target = Target(group, TYPES[parts[0].lower()], names[0], names[1], names[2])
        provider = self._providers[target.type]
        method = request.method
        if target.name is None:
            if method == "GET":
                return provider.list(group)
        elif target.child is not None:
            if target.type == "virtualNetworkGateways" and target.child.lower() == "connections" and method == "GET":
                return self._connections_of(provider, target)
            resource = provider.find(target)
            reply = await provider.act(resource, method, target, dict(request.query), body)
            if reply is not None:
                return reply
            raise _unknown(request.path)
        elif method == "GET":
            return await provider.get(target)
        elif method == "PUT":
            return await provider.put(target, body)
        elif method == "PATCH":
            return await provider.patch(target, body)
        elif method == "DELETE":
            return await provider.delete(target)
        raise ArmError(405, "MethodNotAllowed", f"{method} is not allowed on {request.path}.", nrp=False)

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

    def _respond(self, request: web.Request, reply: Reply, headers: dict[str, str]) -> web.Response:
        operation = reply.operation
        if operation is not None:
            if operation.running:
                headers["Retry-After"] = str(self._clock.retry_after(operation.retry_after))
            if reply.asynchronous:
                headers["Azure-AsyncOperation"] = self._operation_url(request, operation, "operations")
            if reply.location:
                headers["Location"] = self._operation_url(request, operation, "operationResults")
            if reply.status_path is not None:
                headers["Azure-AsyncOperation"] = _with_version(request, reply.status_path)
            if reply.result_path is not None:
                headers["Location"] = _with_version(request, reply.result_path)
        if reply.notify:
            headers["Azure-AsyncNotification"] = "Enabled"
        if reply.etag is not None:
            headers["ETag"] = reply.etag
        if reply.body is None:
            if request.method == "GET" or (reply.location and not reply.asynchronous):
                headers["Content-Type"] = (
                    JSON_TYPE  # recorded on empty operationResults and on a 202 with Location alone
                )
            return web.Response(status=reply.status, headers=headers)
        return _json(reply.status, reply.body, headers)

    def _operation_url(self, request: web.Request, operation: Operation, kind: str) -> str:
        path = f"/subscriptions/{self._store.subscription}/providers/Microsoft.Network/locations/{operation.location}"
        return _with_version(request, f"{path}/{kind}/{operation.id}")


def base_url(request: web.Request) -> str:
    """As the caller named us: operation URLs must point back to where the request came in."""
    return f"{request.scheme}://{request.host}"


def _with_version(request: web.Request, path: str) -> str:
    return f"{base_url(request)}{path}?api-version={request.query.get('api-version', NEWEST)}"


async def _body(request: web.Request) -> Json:
    raw = await request.read()
    if not raw:
        return {}
    try:
        body = json.loads(raw)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        message = "The request content was invalid and could not be deserialized: a JSON object is expected."
        raise ArmError(400, "InvalidRequestContent", message, nrp=False)
    return body


def _json(status: int, body: Any, headers: dict[str, str]) -> web.Response:
    return web.Response(status=status, body=json.dumps(body).encode(), headers={**headers, "Content-Type": JSON_TYPE})


def _unknown(path: str) -> ArmError:
    message = f"The resource type or action behind '{path}' could not be found, or the lab does not simulate it."
    return ArmError(404, "InvalidResourceType", message, nrp=False)


def _unauthorised(error: TokenError) -> ArmError:
    if error.kind == "expired":
        expiry = datetime.fromtimestamp(float(error.found), UTC)
        message = f"The access token expiry UTC time '{expiry:%m/%d/%Y %I:%M:%S %p}' is earlier than current UTC time."
        return ArmError(401, "ExpiredAuthenticationToken", message, nrp=False)
    if error.kind == "audience":
        allowed = ",".join(f"'{audience}'" for audience in AUDIENCES)
        message = f"The access token has been obtained for wrong audience or resource '{error.found}'. It should "
        message += f"exactly match with one of the allowed audiences {allowed}."
        return ArmError(401, "InvalidAuthenticationTokenAudience", message, nrp=False)
    if error.kind == "missing":
        message = "Authentication failed. The 'Authorization' header is missing."
        return ArmError(401, "AuthenticationFailed", message, nrp=False)
    return ArmError(401, "InvalidAuthenticationToken", "The access token is invalid.", nrp=False)
