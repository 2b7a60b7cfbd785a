"""One Key Vault with secrets, as much of it as azure-keyvault-secrets uses.

Soft delete is on and simple: a deleted secret can be looked at, recovered or purged, and its name is taken until then.
Values are kept in memory only and shown only in answers to authorised requests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from lab.azure.errors import Json
from lab.azure.identity import TokenError, Tokens

NAME = re.compile(r"[0-9a-zA-Z-]{1,127}")
RETENTION_DAYS = 90


@dataclass
class Version:
    """One version of a secret. Times are seconds since 1970."""

    id: str
    value: str = field(repr=False)
    created: int
    updated: int
    enabled: bool
    expires: int | None
    not_before: int | None
    content_type: str | None
    tags: dict[str, str]


@dataclass
class Secret:
    name: str
    versions: list[Version] = field(default_factory=list)
    deleted: int | None = None


class VaultError(Exception):
    def __init__(self, status: int, code: str, message: str, inner: str | None = None) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.body: Json = {"error": {"code": code, "message": message}}
        if inner:
            self.body["error"]["innererror"] = {"code": inner}


class KeyVault:
    """`resource` is the audience of its tokens, and what its challenge tells clients to ask for."""

    def __init__(self, tokens: Tokens, resource: str, new_id: Callable[[], str], wall: Callable[[], float]) -> None:
        self._tokens = tokens
        self._resource = resource
        self._new_id = new_id
        self._wall = wall
        self._secrets: dict[str, Secret] = {}

    def routes(self) -> list[web.RouteDef]:
        return [web.route("*", f"/{kind}{{rest:(/.*)?}}", self._handle) for kind in ("secrets", "deletedsecrets")]

    async def _handle(self, request: web.Request) -> web.Response:
        headers = {
            "x-ms-keyvault-region": "lab",
            "x-ms-keyvault-service-version": "1.9",
            "x-ms-request-id": self._new_id(),
            "Cache-Control": "no-cache",
        }
        try:
            self._tokens.verify(request.headers.get("Authorization"), (self._resource,))
        except TokenError as error:
            login = f"https://login.microsoftonline.com/{self._tokens.principal.tenant}"
            headers["WWW-Authenticate"] = f'Bearer authorization="{login}", resource="{self._resource}"'
            body = {"error": {"code": "Unauthorized", "message": _unauthorised(error, self._resource)}}
            return web.json_response(body, status=401, headers=headers)
        parts = [part for part in request.path.split("/") if part]
        base = f"{request.scheme}://{request.host}"
        try:
            status, answer = await self._dispatch(request, base, parts)
        except VaultError as error:
            return web.json_response(error.body, status=error.status, headers=headers)
        if answer is None:
            return web.Response(status=status, headers=headers)
        return web.json_response(answer, status=status, headers=headers)

    async def _dispatch(self, request: web.Request, base: str, parts: list[str]) -> tuple[int, Json | None]:
        match [request.method, *parts]:
            case ["GET", "secrets"]:
                live = [s for s in self._secrets.values() if s.deleted is None]
                return 200, {"value": [_item(base, s, s.versions[-1], latest=True) for s in live], "nextLink": None}
            case ["PUT", "secrets", name]:
                return 200, self._set(base, name, await _json(request))
            case ["GET", "secrets", name, "versions"]:
                secret = self._live(name)
                return 200, {"value": [_item(base, secret, v) for v in secret.versions], "nextLink": None}
            case ["GET", "secrets", name, *rest] if len(rest) <= 1:
                secret = self._live(name)
                version = self._version(secret, rest[0] if rest else None)
                if not version.enabled:
                    message = "Operation get is not allowed on a disabled secret."
                    raise VaultError(403, "Forbidden", message, "SecretDisabled")
                return 200, _bundle(base, secret, version)
            case ["PATCH", "secrets", name, *rest] if len(rest) <= 1:
                secret = self._live(name)
                version = self._version(secret, rest[0] if rest else None)
                self._update(version, await _json(request))
                return 200, _item(base, secret, version)
            case ["DELETE", "secrets", name]:
                secret = self._live(name)
                secret.deleted = int(self._wall())
                return 200, _deleted(base, secret)
            case ["GET", "deletedsecrets"]:
                gone = [_deleted(base, s) for s in self._secrets.values() if s.deleted is not None]
                return 200, {"value": gone, "nextLink": None}
            case ["GET", "deletedsecrets", name]:
                return 200, _deleted(base, self._deleted(name))
            case ["DELETE", "deletedsecrets", name]:
                self._deleted(name)
                del self._secrets[name.lower()]
                return 204, None
            case ["POST", "deletedsecrets", name, "recover"]:
                secret = self._deleted(name)
                secret.deleted = None
                return 200, _item(base, secret, secret.versions[-1])
        raise VaultError(405, "BadParameter", f"{request.method} {request.path} is not simulated by the lab's vault.")

    def _set(self, base: str, name: str, body: Json) -> Json:
        if NAME.fullmatch(name) is None:
            message = f"The request URI contains an invalid name: {name}"
            raise VaultError(400, "BadParameter", message)
        if not isinstance(body.get("value"), str):
            raise VaultError(400, "BadParameter", "The parameter is missing or invalid: value")
        secret = self._secrets.setdefault(name.lower(), Secret(name))
        if secret.deleted is not None:
            message = (
                f"Secret {name} is currently in a deleted but recoverable state, and its name cannot be reused; in "
                "this state, the secret can only be recovered or purged."
            )
            raise VaultError(409, "Conflict", message, "ObjectIsDeletedButRecoverable")
        now = int(self._wall())
        version = Version(self._new_id().replace("-", ""), body["value"], now, now, True, None, None, None, {})
        self._update(version, body)
        secret.versions.append(version)
        return _bundle(base, secret, version)

    def _update(self, version: Version, body: Json) -> None:
        attributes = body.get("attributes") or {}
        version.enabled = bool(attributes.get("enabled", version.enabled))
        version.expires = attributes.get("exp", version.expires)
        version.not_before = attributes.get("nbf", version.not_before)
        version.content_type = body.get("contentType", version.content_type)
        version.tags = dict(body.get("tags") or version.tags)
        version.updated = int(self._wall())

    def _live(self, name: str) -> Secret:
        secret = self._secrets.get(name.lower())
        if secret is None or secret.deleted is not None:
            raise _not_found(name)
        return secret

    def _deleted(self, name: str) -> Secret:
        secret = self._secrets.get(name.lower())
        if secret is None or secret.deleted is None:
            raise VaultError(404, "SecretNotFound", f"Deleted Secret not found: {name}")
        return secret

    def _version(self, secret: Secret, version_id: str | None) -> Version:
        if version_id is None:
            return secret.versions[-1]
        for version in secret.versions:
            if version.id == version_id:
                return version
        raise _not_found(f"{secret.name}/{version_id}")


async def _json(request: web.Request) -> Json:
    try:
        body = json.loads(await request.read() or b"{}")
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise VaultError(400, "BadParameter", "The request body is not a JSON object.")
    return body


def _not_found(name: str) -> VaultError:
    message = (
        f"A secret with (name/id) {name} was not found in this key vault. If you recently deleted this secret you may "
        "be able to recover it using the correct recovery command."
    )
    return VaultError(404, "SecretNotFound", message)


def _item(base: str, secret: Secret, version: Version, *, latest: bool = False) -> Json:
    """Without the value. A list of secrets shows ids without a version."""
    attributes: Json = {
        "enabled": version.enabled,
        **({"exp": version.expires} if version.expires is not None else {}),
        **({"nbf": version.not_before} if version.not_before is not None else {}),
        "created": version.created,
        "updated": version.updated,
        "recoveryLevel": "Recoverable+Purgeable",
        "recoverableDays": RETENTION_DAYS,
    }
    return {
        "id": f"{base}/secrets/{secret.name}" + ("" if latest else f"/{version.id}"),
        "attributes": attributes,
        "tags": version.tags,
        **({"contentType": version.content_type} if version.content_type else {}),
    }


def _bundle(base: str, secret: Secret, version: Version) -> Json:
    return {"value": version.value, **_item(base, secret, version)}


def _deleted(base: str, secret: Secret) -> Json:
    deleted = secret.deleted or 0
    return {
        "recoveryId": f"{base}/deletedsecrets/{secret.name}",
        "deletedDate": deleted,
        "scheduledPurgeDate": deleted + RETENTION_DAYS * 86_400,
        **_item(base, secret, secret.versions[-1]),
    }


def _unauthorised(error: TokenError, resource: str) -> str:
    if error.kind == "missing":
        return "AKV10000: Request is missing a Bearer or PoP token."
    if error.kind == "audience":
        return f"AKV10022: Invalid audience. Expected {resource}, found: {error.found}."
    return f"AKV10032: The token is {error.kind}."
