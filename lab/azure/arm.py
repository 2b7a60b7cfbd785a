"""The HTTP side of the simulated ARM: paths, tokens, throttling, headers and error answers.

Any api-version is accepted and paths are read without regard to case, as ARM does; ids are answered with the spelling
of their first PUT. What is not simulated answers 404 InvalidResourceType rather than something plausible.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from lab.azure.clock import Clock
from lab.azure.connection import Connections
from lab.azure.errors import ArmError, Json, group_not_found
from lab.azure.gateway import VirtualNetworkGateways
from lab.azure.identity import TokenError, Tokens
from lab.azure.local_gateway import LocalNetworkGateways
from lab.azure.metrics import Metrics
from lab.azure.operations import Operation
from lab.azure.provider import Provider, Reply, World
from lab.azure.public_ip import PublicIpAddresses
from lab.azure.store import TYPES, Group, Target
from lab.azure.throttle import Throttle
from lab.azure.virtual_network import VirtualNetworks

AUDIENCES = ("https://management.core.windows.net", "https://management.azure.com")
JSON_TYPE = "application/json; charset=utf-8"
PROVIDERS: tuple[type[Provider], ...] = (
    VirtualNetworks,
    PublicIpAddresses,
    VirtualNetworkGateways,
    LocalNetworkGateways,
    Connections,
)


class Arm:
    """Answers everything under /subscriptions, /tenants and /metadata/endpoints."""

    def __init__(self, world: World, tokens: Tokens, clock: Clock, metrics: Metrics) -> None:
        self._world = world
        self._store = world.store
        self._tokens = tokens
        self._clock = clock
        self._metrics = metrics
        self._throttle = Throttle(clock.monotonic)
        self._providers = {provider.type: provider(world) for provider in PROVIDERS}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/metadata/endpoints", self._endpoints),
            web.route("*", "/tenants", self._handle),
            web.route("*", "/subscriptions", self._handle),
            web.route("*", "/subscriptions/{rest:.*}", self._handle),
        ]

    async def _endpoints(self, request: web.Request) -> web.Response:
        """What az CLI asks before it registers a cloud."""
        base = base_url(request)
        login = {"loginEndpoint": base, "audiences": [f"{base}/", *AUDIENCES], "tenant": "common"}
        cloud = {"name": "lab", "resourceManager": f"{base}/", "authentication": login, "suffixes": {}}
        return web.json_response([cloud])

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
            self._authorise(request, headers)
            left = self._throttle.take(kind)
            if left is None:
                headers["Retry-After"] = "1"
                message = "The request is being throttled as the limit has been reached for operation type."
                raise ArmError(429, "TooManyRequests", message, nrp=False)
            headers[f"x-ms-ratelimit-remaining-subscription-{kind}"] = str(left)
            response = self._respond(request, await self._dispatch(request), headers)
        except ArmError as error:
            response = _json(error.status, error.body(), headers)
        except Exception as error:
            # A data plane that fails to answer is the lab's fault: Azure's words to the client, the cause to the log.
            self._world.log.write("request failed", request.path, error=f"{type(error).__name__}: {error}")
            failure = ArmError(500, "InternalServerError", "An error occurred.")
            response = _json(failure.status, failure.body(), headers)
        self._metrics.count(request.method, request.path, response.status, self._clock.now().isoformat())
        return response

    def _authorise(self, request: web.Request, headers: dict[str, str]) -> None:
        try:
            self._tokens.verify(request.headers.get("Authorization"), (*AUDIENCES, base_url(request)))
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
            if len(parts) <= 4:
                return self._group(request.method, parts[3] if len(parts) == 4 else None, body)
            if lower[3] not in self._store.groups:
                raise group_not_found(parts[3])
            if lower[4:6] == ["providers", "microsoft.network"]:
                group = self._store.groups[lower[3]].name
                return await self._network(request, parts[6:], group, body)
        elif lower[2:4] == ["providers", "microsoft.network"]:
            if len(parts) == 8 and lower[4] == "locations" and request.method == "GET":
                return self._operation(lower[6], parts[7])
            if len(parts) == 5 and lower[4] in TYPES and request.method == "GET":
                return self._providers[TYPES[lower[4]]].list(None)
        raise _unknown(request.path)

    def _group(self, method: str, name: str | None, body: Json) -> Reply:
        groups = self._store.groups
        if name is None:
            return Reply(200, {"value": [_group(group) for group in groups.values()]})
        existing = groups.get(name.lower())
        if method == "PUT":
            if not isinstance(body.get("location"), str):
                message = "The location property is required for this definition."
                raise ArmError(400, "LocationRequired", message, nrp=False)
            base = f"/subscriptions/{self._store.subscription}/resourceGroups"
            spelling = existing.name if existing else name
            group = Group(f"{base}/{spelling}", spelling, body["location"], dict(body.get("tags") or {}))
            groups[name.lower()] = group
            return Reply(200 if existing else 201, _group(group))
        if method == "HEAD":
            return Reply(204 if existing else 404)
        if existing is None:
            raise group_not_found(name)
        if method == "GET":
            return Reply(200, _group(existing))
        raise ArmError(405, "MethodNotAllowed", f"The lab does not simulate {method} of a resource group.", nrp=False)

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

    def _operation(self, kind: str, operation_id: str) -> Reply:
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
        return Reply(status, operation.result, operation=operation, asynchronous=True, location=True)

    def _respond(self, request: web.Request, reply: Reply, headers: dict[str, str]) -> web.Response:
        operation = reply.operation
        if operation is not None:
            if operation.running:
                headers["Retry-After"] = str(self._clock.retry_after(operation.retry_after))
            if reply.asynchronous:
                headers["Azure-AsyncOperation"] = self._operation_url(request, operation, "operations")
            if reply.location:
                headers["Location"] = self._operation_url(request, operation, "operationResults")
        if reply.notify:
            headers["Azure-AsyncNotification"] = "Enabled"
        if reply.etag is not None:
            headers["ETag"] = reply.etag
        if reply.body is None:
            if request.method == "GET":
                headers["Content-Type"] = JSON_TYPE  # recorded on empty operationResults
            return web.Response(status=reply.status, headers=headers)
        return _json(reply.status, reply.body, headers)

    def _operation_url(self, request: web.Request, operation: Operation, kind: str) -> str:
        version = request.query.get("api-version", "2026-03-01")
        path = f"/subscriptions/{self._store.subscription}/providers/Microsoft.Network/locations/{operation.location}"
        return f"{base_url(request)}{path}/{kind}/{operation.id}?api-version={version}"


def base_url(request: web.Request) -> str:
    """As the caller named us: operation URLs must point back to where the request came in."""
    return f"{request.scheme}://{request.host}"


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


def _group(group: Group) -> Json:
    return {
        "id": group.id,
        "name": group.name,
        "type": "Microsoft.Resources/resourceGroups",
        "location": group.location,
        "tags": group.tags,
        "properties": {"provisioningState": "Succeeded"},
    }


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
