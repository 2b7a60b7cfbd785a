"""A front for the queue service of Azurite: it adds the one call that Azurite lacks, user delegation keys for queues.

A delegation key is an HMAC over its own parameters, so nothing is stored: a shared access signature (SAS) names the
parameters again, the key is computed anew, and the signature is compared with the one that the storage SDK's own code
makes for the same request. A good SAS is then exchanged for one signed with the account key, which Azurite understands
and whose permissions it enforces. Everything else passes through untouched.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ssl
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

import aiohttp
from aiohttp import web
from azure.storage.queue import UserDelegationKey, generate_queue_sas
from yarl import URL

from lab.azure.identity import TokenError, Tokens

AUDIENCE = "https://storage.azure.com"
KEY_PARAMETERS = ("skoid", "sktid", "skt", "ske", "sks", "skv")
SAS_PARAMETERS = {*KEY_PARAMETERS, "skdutid", "sduoid", "sv", "st", "se", "sp", "sip", "spr", "si", "sr", "sig"}
MAX_KEY_LIFE = timedelta(days=7)
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host", "te", "trailer", "upgrade"}
TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class StorageConfig:
    """Where Azurite's queue service is (`https://host:port`), whom to trust there, and the account's key."""

    upstream: str
    account: str
    account_key: str = field(repr=False)
    tls: ssl.SSLContext | None = None


class StorageError(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message


class StorageFront:
    """Routes below `/<account>`."""

    def __init__(
        self,
        config: StorageConfig,
        tokens: Tokens,
        key: bytes,
        session: aiohttp.ClientSession,
        wall: Callable[[], float],
    ) -> None:
        self._config = config
        self._tokens = tokens
        self._key = key
        self._session = session
        self._wall = wall

    def routes(self) -> list[web.RouteDef]:
        return [web.route("*", f"/{self._config.account}{{rest:(/.*)?}}", self._handle)]

    async def _handle(self, request: web.Request) -> web.Response:
        try:
            if request.method == "POST" and request.query.get("comp") == "userdelegationkey":
                return await self._issue(request)
            query = request.rel_url.raw_query_string
            if "skoid" in request.query:
                query = self._exchange(request)
            return await self._forward(request, query)
        except StorageError as error:
            return _error(error)

    async def _issue(self, request: web.Request) -> web.Response:
        account_url = f"{request.scheme}://{request.host}/{self._config.account}"
        try:
            claims = self._tokens.verify(request.headers.get("Authorization"), (AUDIENCE, account_url))
        except TokenError as error:
            message = f"Server failed to authenticate the request: {error.kind} token. Refer to the information in the "
            raise StorageError(401, "InvalidAuthenticationInfo", f"{message}www-authenticate header.") from None
        start, expiry = self._key_times(await request.read())
        parameters = {
            "skoid": str(claims["oid"]),
            "sktid": str(claims["tid"]),
            "skt": start.strftime(TIME),
            "ske": expiry.strftime(TIME),
            "sks": "q",
            "skv": request.headers.get("x-ms-version", ""),
        }
        fields = {
            "SignedOid": parameters["skoid"],
            "SignedTid": parameters["sktid"],
            "SignedStart": parameters["skt"],
            "SignedExpiry": parameters["ske"],
            "SignedService": parameters["sks"],
            "SignedVersion": parameters["skv"],
            "Value": self._key_value(parameters),
        }
        inner = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in fields.items())
        text = f'<?xml version="1.0" encoding="utf-8"?><UserDelegationKey>{inner}</UserDelegationKey>'
        return web.Response(text=text, content_type="application/xml", headers=_headers())

    def _key_times(self, body: bytes) -> tuple[datetime, datetime]:
        now = datetime.fromtimestamp(self._wall(), UTC)
        try:
            info = ET.fromstring(body)
            start_text, expiry_text = info.findtext("Start"), info.findtext("Expiry")
            start = _time(start_text) if start_text else now
            expiry = _time(expiry_text or "")
        except (ET.ParseError, ValueError):
            raise StorageError(400, "InvalidXmlDocument", "XML specified is not syntactically valid.") from None
        if not start < expiry or expiry <= now or expiry - now > MAX_KEY_LIFE + timedelta(minutes=5):
            message = "Expiry must be after Start, in the future, and at most seven days from now."
            raise StorageError(400, "InvalidXmlNodeValue", message)
        return start, expiry

    def _key_value(self, parameters: Mapping[str, str]) -> str:
        text = "\n".join(parameters[name] for name in KEY_PARAMETERS)
        return base64.b64encode(hmac.new(self._key, text.encode(), hashlib.sha256).digest()).decode()

    def _exchange(self, request: web.Request) -> str:
        """The query string with the user delegation SAS replaced by a service SAS; StorageError if it is no good."""
        query = {name: value for name, value in request.query.items() if name in SAS_PARAMETERS}
        queue = request.match_info["rest"].strip("/").split("/")[0]
        if not queue or any(name not in query for name in (*KEY_PARAMETERS, "se", "sp", "sig", "sv")):
            raise _forbidden("A user delegation SAS for a queue needs a queue and all of its parameters.")
        key = UserDelegationKey()
        key.signed_oid, key.signed_tid = query["skoid"], query["sktid"]
        key.signed_start, key.signed_expiry = query["skt"], query["ske"]
        key.signed_service, key.signed_version = query["sks"], query["skv"]
        key.signed_delegated_user_tid = query.get("skdutid")
        key.value = self._key_value(query)
        account = self._config.account
        limits: dict[str, str | None] = {
            "permission": query["sp"],
            "expiry": query["se"],
            "start": query.get("st"),
            "ip": query.get("sip"),
            "protocol": query.get("spr"),
        }
        expected = generate_queue_sas(
            account, queue, user_delegation_key=key, user_delegation_oid=query.get("sduoid"), **limits
        )
        if query["sv"] != parse_qs(expected)["sv"][0]:
            raise _forbidden(
                f"The lab knows SAS version {parse_qs(expected)['sv'][0]} only, this one is {query['sv']}."
            )
        if not hmac.compare_digest(parse_qs(expected)["sig"][0].encode(), query["sig"].encode()):
            raise _forbidden("Signature did not match. It was made for another queue or with another key.")
        self._check_times(query)
        service_sas = generate_queue_sas(account, queue, account_key=self._config.account_key, **limits)
        raw = request.rel_url.raw_query_string.split("&")
        return "&".join([pair for pair in raw if pair.partition("=")[0] not in SAS_PARAMETERS] + [service_sas])

    def _check_times(self, query: Mapping[str, str]) -> None:
        now = datetime.fromtimestamp(self._wall(), UTC)
        try:
            begins = [_time(query[name]) for name in ("st", "skt") if name in query]
            ends = [_time(query[name]) for name in ("se", "ske")]
        except ValueError:
            raise _forbidden("A time in the SAS is not of the form 2026-11-01T12:00:00Z.") from None
        if now < max(begins) or now >= min(ends):
            raise _forbidden(f"Signature not valid in the specified time frame: now {now:{TIME}}, Expiry {min(ends)}.")

    async def _forward(self, request: web.Request, query: str) -> web.Response:
        url = URL(f"{self._config.upstream}{request.rel_url.raw_path}{'?' + query if query else ''}", encoded=True)
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP]
        try:
            async with self._session.request(
                request.method,
                url,
                headers=headers,
                data=await request.read() or None,
                ssl=self._config.tls or True,
                allow_redirects=False,
                skip_auto_headers=("User-Agent", "Accept", "Content-Type"),
            ) as answer:
                body = await answer.read()
                kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP]
                return web.Response(status=answer.status, body=body, headers=dict(kept))
        except aiohttp.ClientConnectionError as error:
            message = f"The lab's queue storage at {self._config.upstream} does not answer ({type(error).__name__})."
            raise StorageError(503, "ServerBusy", message) from None


def _time(text: str) -> datetime:
    """UTC, with the precisions that the storage SDKs write."""
    value = datetime.fromisoformat(text)
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _forbidden(detail: str) -> StorageError:
    message = (
        "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly "
        f"including the signature. {detail}"
    )
    return StorageError(403, "AuthenticationFailed", message)


def _headers() -> dict[str, str]:
    return {"x-ms-request-id": str(uuid.uuid4()), "Server": "Windows-Azure-Queue/1.0 Microsoft-HTTPAPI/2.0"}


def _error(error: StorageError) -> web.Response:
    text = (
        f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{escape(error.code)}</Code>'
        f"<Message>{escape(error.message)}</Message></Error>"
    )
    headers = {**_headers(), "x-ms-error-code": error.code}
    if error.status == 401:
        headers["WWW-Authenticate"] = (
            f"Bearer authorization_uri=https://login.microsoftonline.com/common/oauth2/authorize resource_id={AUDIENCE}"
        )
    return web.Response(status=error.status, text=text, content_type="application/xml", headers=headers)
