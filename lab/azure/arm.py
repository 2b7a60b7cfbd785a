"""The HTTP side of the simulated ARM: bearer tokens, and requests handed to the router."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from aiohttp import web

from lab.azure.errors import ArmError
from lab.azure.identity import TokenError, Tokens
from lab.azure.router import Answer, Call, Router

AUDIENCES = ("https://management.core.windows.net", "https://management.azure.com")


class Arm:
    """Answers everything under /subscriptions, /tenants and /metadata/endpoints."""

    def __init__(self, router: Router, tokens: Tokens) -> None:
        self._router = router
        self._tokens = tokens

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
        call = Call(request.method, request.path, request.query, base_url(request), await request.read())
        headers = self._router.headers()
        try:
            principal = self._authorise(request, headers)
        except ArmError as error:
            return _response(self._router.refuse(call, error, headers))
        return _response(await self._router.answer(call, principal))

    def _authorise(self, request: web.Request, headers: dict[str, str]) -> str:
        """The principal behind the token."""
        try:
            claims = self._tokens.verify(request.headers.get("Authorization"), (*AUDIENCES, base_url(request)))
            return str(claims.get("oid"))
        except TokenError as error:
            login = f"https://login.microsoftonline.com/{self._tokens.principal.tenant}"
            headers["WWW-Authenticate"] = f'Bearer authorization_uri="{login}", error="invalid_token"'
            raise _unauthorised(error) from None


def base_url(request: web.Request) -> str:
    """As the caller named us."""
    return f"{request.scheme}://{request.host}"


def _response(answer: Answer) -> web.Response:
    body = None if answer.body is None else json.dumps(answer.body).encode()
    return web.Response(status=answer.status, body=body, headers=answer.headers)


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
