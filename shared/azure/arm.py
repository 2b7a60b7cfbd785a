"""The Arm seam on azure-mgmt-network, which knows the URLs, api-versions and status codes that ARM expects.

The SDK's own long-running machinery is not used: it sleeps in the process, and its continuation token holds the
pre-shared key. Here a write returns the operation's URL, and a later message polls it once. The policies are chosen one
by one for the same reason: no retries, no redirects (the bearer token would follow), no resource-provider registration
(it waits). `azure.mgmt.network` is 235k lines: it is imported at the first call that needs it, and a poll does not.
"""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote, urlsplit

from shared.azure.arm_errors import failure, gone, of_azure
from shared.azure.arm_operations import POLL_S, asked, operation_of, started
from shared.azure.calls import TOTAL_S, Http
from shared.azure.settings import AzureSettings
from shared.errors import ArmBusy, ArmRejected, PermanentError, TemporaryError
from shared.seams import ArmKind, ArmRef, Asked, BgpQuestion, Json, Operation, Started

_GROUPS_API = "2021-04-01"
TAGGED_S = 1.0
"""Other resources have their tags when ARM answers (recorded); the next step may follow at once."""
_SECRETS = frozenset({"sharedkey", "authorizationkey", "radiusserversecret"})
_OPERATIONS = {
    ArmKind.VIRTUAL_NETWORK: "virtual_networks",
    ArmKind.PUBLIC_IP: "public_ip_addresses",
    ArmKind.GATEWAY: "virtual_network_gateways",
    ArmKind.LOCAL_GATEWAY: "local_network_gateways",
    ArmKind.CONNECTION: "virtual_network_gateway_connections",
}
_QUESTIONS = {
    BgpQuestion.PEERS: "begin_get_bgp_peer_status",
    BgpQuestion.LEARNED: "begin_get_learned_routes",
    BgpQuestion.ADVERTISED: "begin_get_advertised_routes",
}


class AzureArm:
    def __init__(self, settings: AzureSettings, http: Http, credential: Any) -> None:
        self._settings = settings
        self._http = http
        self._credential = credential
        self._plain: Any = None
        self._networks: dict[str, Any] = {}  # one SDK client per subscription

    def __repr__(self) -> str:
        return f"AzureArm({self._settings.arm_url})"

    async def close(self) -> None:
        for client in [*self._networks.values(), *([self._plain] if self._plain else [])]:
            await client.close()
        self._networks, self._plain = {}, None

    async def ensure_resource_group(self, subscription: str, name: str, location: str) -> None:
        path = f"/subscriptions/{quote(subscription, safe='')}/resourcegroups/{quote(name, safe='')}"
        what = f"resource group {name}"
        url = f"{self._settings.arm_url}{path}?api-version={_GROUPS_API}"
        async with _call(what):
            response = await self._request("GET", url)
            if response.status_code == 200:
                return
            if not gone(response):
                raise failure(what, response)
            response = await self._request("PUT", url, {"location": location})
            if response.status_code not in (200, 201):
                raise failure(what, response)

    async def get(self, ref: ArmRef) -> Json | None:
        from azure.core.exceptions import ResourceNotFoundError

        async with _call(_name(ref)):
            try:
                found = await self._operations(ref).get(ref.resource_group, ref.name)
            except ResourceNotFoundError as e:
                if e.response is not None and gone(e.response):
                    return None
                raise
        body: Json = without_secrets(found.as_dict())
        return body

    async def list(self, subscription: str, resource_group: str, kind: ArmKind) -> Sequence[Json]:
        """Raises PermanentError for a next page that is not on the ARM host: the token does not go there."""
        from azure.core.exceptions import ResourceNotFoundError

        pages = self._operations(ArmRef(subscription, resource_group, kind, "")).list(resource_group).by_page()
        found: list[Json] = []
        async with _call(f"the list of {kind.value} in {resource_group}"):
            try:
                async for page in pages:
                    found += [without_secrets(item.as_dict()) async for item in page]
                    if pages.continuation_token is not None:
                        self._check(pages.continuation_token, "The next page of a list")
            except ResourceNotFoundError as e:
                if e.response is not None and gone(e.response):
                    return []
                raise
        return found

    async def put(self, ref: ArmRef, body: Json) -> Started:
        begin = self._operations(ref).begin_create_or_update
        secret = str(body.get("properties", {}).get("sharedKey", ""))
        return await self._begin(ref, lambda **k: begin(ref.resource_group, ref.name, body, **k), secret)

    async def delete(self, ref: ArmRef) -> Started | None:
        from azure.core.exceptions import ResourceNotFoundError

        begin = self._operations(ref).begin_delete
        responses: list[Any] = []
        async with _call(_name(ref)):
            try:
                await begin(ref.resource_group, ref.name, **_once(responses))
            except ResourceNotFoundError as e:
                if e.response is not None and gone(e.response):
                    return None
                raise
        return None if responses[0].status_code == 204 else started(responses[0])

    async def set_shared_key(self, ref: ArmRef, value: str) -> Started:
        _must_be(ref, ArmKind.CONNECTION)
        begin = self._operations(ref).begin_set_shared_key
        return await self._begin(ref, lambda **k: begin(ref.resource_group, ref.name, {"value": value}, **k), value)

    async def has_shared_key(self, ref: ArmRef, value: str) -> bool:
        _must_be(ref, ArmKind.CONNECTION)
        async with _call(_name(ref), value):
            found = await self._operations(ref).get_shared_key(ref.resource_group, ref.name)
        return hmac.compare_digest(str(found.value).encode(), value.encode())

    async def move_shared_key(self, ref: ArmRef, put: Callable[[str], Awaitable[str]]) -> str:
        _must_be(ref, ArmKind.CONNECTION)
        async with _call(_name(ref)):
            found = await self._operations(ref).get_shared_key(ref.resource_group, ref.name)
        if not found.value:
            raise ArmRejected(f"{_name(ref)} has no pre-shared key: set one there.", 0, "NoPsk")
        return await put(str(found.value))

    async def tag(self, ref: ArmRef, tags: Mapping[str, str]) -> Started:
        """Of gateways and connections it lasts, and is followed on the resource itself: ARM names no URL (recorded)."""
        operations, body = self._operations(ref), {"tags": dict(tags)}
        async with _call(_name(ref)):
            if ref.kind in (ArmKind.GATEWAY, ArmKind.CONNECTION):
                await operations.begin_update_tags(ref.resource_group, ref.name, body, polling=False)
                return Started(None, POLL_S)
            await operations.update_tags(ref.resource_group, ref.name, body)
        return Started(None, TAGGED_S)

    async def reset_connection(self, ref: ArmRef) -> Started:
        """An ArmBusy without ARM's answer (its `code` is an exception's name) may still have started the reset."""
        _must_be(ref, ArmKind.CONNECTION)
        begin = self._operations(ref).begin_reset_connection
        return await self._begin(ref, lambda **k: begin(ref.resource_group, ref.name, **k))

    async def reset_gateway(self, ref: ArmRef) -> Started:
        """As `reset_connection`: without ARM's answer the outcome is unknown."""
        _must_be(ref, ArmKind.GATEWAY)
        begin = self._operations(ref).begin_reset
        return await self._begin(ref, lambda **k: begin(ref.resource_group, ref.name, **k))

    async def poll(self, operation_url: str) -> Operation:
        self._check(operation_url)
        async with _call("operation"):
            return operation_of(operation_url, await self._request("GET", operation_url))

    async def ask_bgp(self, gateway: ArmRef, question: BgpQuestion, peer: str = "") -> Asked:
        _must_be(gateway, ArmKind.GATEWAY)
        begin = getattr(self._operations(gateway), _QUESTIONS[question])
        more = {"peer": peer} if question is BgpQuestion.ADVERTISED else {}
        response = await self._first(gateway, lambda **k: begin(gateway.resource_group, gateway.name, **more, **k))
        return asked(question, response)

    async def bgp_answer(self, question: BgpQuestion, operation_url: str) -> Asked:
        self._check(operation_url)
        async with _call(question.value):
            return asked(question, await self._request("GET", operation_url), operation_url)

    async def _begin(self, ref: ArmRef, begin: Callable[..., Awaitable[Any]], secret: str = "") -> Started:
        return started(await self._first(ref, begin, secret))

    async def _first(self, ref: ArmRef, begin: Callable[..., Awaitable[Any]], secret: str = "") -> Any:
        """The answer that an operation began with."""
        responses: list[Any] = []
        async with _call(_name(ref), secret):
            await begin(**_once(responses))
        return responses[0]

    async def _request(self, method: str, url: str, body: Json | None = None) -> Any:
        from azure.core.rest import HttpRequest

        if self._plain is None:
            from azure.mgmt.core import AsyncARMPipelineClient

            self._plain = AsyncARMPipelineClient(
                self._settings.arm_url, policies=self._policies(), transport=self._http.transport()
            )
        return await self._plain.send_request(HttpRequest(method, url, json=body))

    def _operations(self, ref: ArmRef) -> Any:
        client = self._networks.get(ref.subscription)
        if client is None:
            from azure.mgmt.network.aio import NetworkManagementClient

            client = self._networks[ref.subscription] = NetworkManagementClient(
                self._credential,
                ref.subscription,
                base_url=self._settings.arm_url,
                credential_scopes=[self._settings.arm_scope],
                policies=self._policies(),
                transport=self._http.transport(),
            )
        return getattr(client, _OPERATIONS[ref.kind])

    def _policies(self) -> Sequence[Any]:
        from azure.core.pipeline import policies
        from azure.mgmt.core.policies import ARMHttpLoggingPolicy, AsyncARMChallengeAuthenticationPolicy

        return [
            policies.RequestIdPolicy(),
            policies.HeadersPolicy(),
            policies.UserAgentPolicy("homelink"),
            policies.ContentDecodePolicy(),
            policies.CustomHookPolicy(),
            AsyncARMChallengeAuthenticationPolicy(self._credential, self._settings.arm_scope),
            ARMHttpLoggingPolicy(),
        ]

    def _check(self, url: str, what: str = "An operation URL") -> None:
        """A URL that was stored or received is input: the bearer token goes to the ARM host and nowhere else."""
        ours, its = urlsplit(self._settings.arm_url), urlsplit(url)
        try:
            same = (its.hostname, its.port or 443) == (ours.hostname, ours.port or 443)
        except ValueError:  # a port that is none
            same = False
        if its.scheme != "https" or not same or its.username is not None or its.password is not None:
            raise PermanentError(
                f"{what} is not on the ARM host {ours.netloc} over https: not asked. Read the resource."
            )


@asynccontextmanager
async def _call(what: str, secret: str = "") -> AsyncIterator[None]:
    """Bounds one call and turns what the SDK raises into ArmBusy or ArmRejected, `secret` masked."""
    import asyncio

    from azure.core.exceptions import AzureError

    try:
        async with asyncio.timeout(TOTAL_S):
            yield
    except AzureError as e:
        raise of_azure(what, e, secret) from None
    except ArmBusy:
        raise
    except TemporaryError as e:  # no token
        raise ArmBusy(f"{what}: {e}", e.delay_s, "CredentialUnavailable") from None
    except TimeoutError:
        raise ArmBusy(f"{what}: ARM did not answer within {TOTAL_S:.0f} s.", 10.0, "TimeoutError") from None


def without_secrets(body: Any) -> Any:
    """A copy of ARM's body in which no key is left; ARM echoes the pre-shared key in every connection."""
    if isinstance(body, dict):
        return {k: without_secrets(v) for k, v in body.items() if k.lower() not in _SECRETS}
    return [without_secrets(v) for v in body] if isinstance(body, list) else body


def _once(responses: list[Any]) -> dict[str, Any]:
    """SDK options: start the operation, keep the first response, do not poll."""
    return {"polling": False, "raw_response_hook": lambda r: responses.append(r.http_response)}


def _name(ref: ArmRef) -> str:
    return f"{ref.kind.value}/{ref.name} in {ref.resource_group}"


def _must_be(ref: ArmRef, kind: ArmKind) -> None:
    if ref.kind is not kind:
        raise ValueError(f"{_name(ref)} is not one of {kind.value}")
