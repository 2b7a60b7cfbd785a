"""Tokens: a managed-identity endpoint that hands them out, and the check that the simulated services make.

The endpoint speaks App Service's protocol (IDENTITY_ENDPOINT, IDENTITY_HEADER), which azure-identity finds by itself,
and the virtual machines' one, which az CLI can use. Tokens are real JWTs signed by a key of this lab; issuer and claims
are such that Azurite accepts them too. Tokens live by the wall clock, never by the lab's: their readers have only that.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Collection
from dataclasses import dataclass

import jwt
from aiohttp import web
from jwt.types import Options

LIFETIME_S = 24 * 3600  # managed identities get a day


@dataclass(frozen=True)
class Principal:
    """Who the tokens are about."""

    tenant: str
    object_id: str
    app_id: str


class TokenError(Exception):
    """`kind` is missing, invalid, expired or audience; `found` is the audience or expiry that was found."""

    def __init__(self, kind: str, found: str = "") -> None:
        super().__init__(f"{kind} token {found}".strip())
        self.kind = kind
        self.found = found


class Tokens:
    """Issues and verifies."""

    def __init__(self, principal: Principal, key: bytes, wall: Callable[[], float]) -> None:
        self.principal = principal
        self._key = key
        self._wall = wall

    def issue(self, resource: str, lifetime_s: float = LIFETIME_S) -> tuple[str, int]:
        """A token for a resource and when it expires, in seconds since 1970."""
        now = int(self._wall())
        expires = int(now + lifetime_s)
        who = self.principal
        claims = {
            "aud": resource,
            "iss": f"https://sts.windows.net/{who.tenant}/",
            "iat": now,
            "nbf": now - 300,  # Entra dates tokens back, so that a slightly slow reader accepts them
            "exp": expires,
            "appid": who.app_id,
            "oid": who.object_id,
            "sub": who.object_id,
            "tid": who.tenant,
            "idtyp": "app",
            "ver": "1.0",
        }
        return jwt.encode(claims, self._key, algorithm="HS256"), expires

    def verify(self, authorization: str | None, audiences: Collection[str]) -> dict[str, object]:
        """The claims behind an Authorization header; TokenError if they do not open this service."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise TokenError("missing")
        # Time and audience are checked below, by this object's clock.
        options: Options = {"verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False}
        try:
            claims: dict[str, object] = jwt.decode(token.strip(), self._key, algorithms=["HS256"], options=options)
            expires, audience = float(str(claims["exp"])), str(claims["aud"])
        except (jwt.InvalidTokenError, KeyError, ValueError):
            raise TokenError("invalid") from None
        if expires <= self._wall():
            raise TokenError("expired", str(int(expires)))
        if audience.rstrip("/").lower() not in {allowed.rstrip("/").lower() for allowed in audiences}:
            raise TokenError("audience", audience)
        return claims


class IdentityEndpoint:
    """`/msi/token` as App Service has it, `/metadata/identity/oauth2/token` as a virtual machine has it."""

    def __init__(self, tokens: Tokens, header_secret: str) -> None:
        self._tokens = tokens
        self._secret = header_secret

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/msi/token", self._app_service),
            web.get("/metadata/identity/oauth2/token", self._virtual_machine),
        ]

    async def _app_service(self, request: web.Request) -> web.Response:
        if not hmac.compare_digest(request.headers.get("X-IDENTITY-HEADER", "").encode(), self._secret.encode()):
            body = {"statusCode": 401, "message": "X-IDENTITY-HEADER is missing or is not this lab's."}
            return web.json_response(body, status=401)
        return self._answer(request)

    async def _virtual_machine(self, request: web.Request) -> web.Response:
        if request.headers.get("Metadata", "").lower() != "true":
            body = {"error": "invalid_request", "error_description": "Required metadata header not specified"}
            return web.json_response(body, status=400)
        return self._answer(request)

    def _answer(self, request: web.Request) -> web.Response:
        resource = request.query.get("resource")
        if not resource:
            body = {"error": "invalid_request", "error_description": "The query parameter 'resource' is missing"}
            return web.json_response(body, status=400)
        token, expires = self._tokens.issue(resource)
        return web.json_response(
            {
                "access_token": token,
                "client_id": self._tokens.principal.app_id,
                "expires_on": str(expires),
                "expires_in": str(LIFETIME_S),
                "not_before": str(expires - LIFETIME_S),
                "resource": resource,
                "token_type": "Bearer",
            }
        )
