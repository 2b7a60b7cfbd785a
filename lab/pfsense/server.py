"""The firewall's web server: the REST package under /api/v2, the base system's /xmlrpc.php, and the login page.

Each request that needs PHP runs it in the box in a process of its own, as php-fpm's workers do, so requests overlap and
may lose each other's writes. `Faults` are what goes wrong by itself on real firewalls.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import time
import xmlrpc.client
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from lab.pfsense.box import Box
from lab.pfsense.rest import Rest
from lab.pfsense.restfield import RestError

LOGIN = "<!DOCTYPE html>\n<html><head><title>pfSense - Login</title></head><body>login</body></html>\n"
NOT_FOUND = (
    "<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n<center><h1>404 Not Found</h1></center>\r\n"
    "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)
MAX_COMMAND = 1024


@dataclass
class Faults:
    """`rest_removed`: an upgrade took the REST package away. `web_down`: nothing answers. `rest_busy`: 503."""

    rest_removed: bool = False
    web_down: bool = False
    rest_busy: bool = False
    lock_out_after: int = 0
    """Login protection: after so many refused logins nothing answers any more (0: never)."""


@dataclass(frozen=True)
class Credentials:
    """The REST package's key, and the administrator's name and password (XML-RPC; Basic at the REST package)."""

    key: str = field(repr=False)
    password: str = field(default="pfsense", repr=False)
    user: str = "admin"


class Server:
    """`start` returns the port. `reboot` is what somebody asked for over XML-RPC."""

    def __init__(
        self, box: Box, credentials: Credentials, faults: Faults, clock: Callable[[], float] = time.time
    ) -> None:
        self._box = box
        self._credentials = credentials
        self.faults = faults
        self.rest = Rest(box, clock)
        self._xmlrpc = asyncio.Lock()
        self._runner: web.AppRunner | None = None
        self._refused = 0
        self.requests: list[str] = []
        """Method and path of everything that was asked."""

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None, routes: list[web.RouteDef]) -> int:
        app = web.Application(client_max_size=32 * 1024 * 1024)
        app.add_routes(
            [
                *routes,
                web.post("/xmlrpc.php", self._rpc),
                web.route("*", "/api/v2/{path:.*}", self._api),
                web.get("/{path:.*}", self._page),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, ssl_context=tls).start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _page(self, request: web.Request) -> web.Response:
        self._up(request)
        return web.Response(
            text=LOGIN if request.path in ("/", "/index.php") else NOT_FOUND,
            status=200 if request.path in ("/", "/index.php") else 404,
            content_type="text/html",
        )

    def _up(self, request: web.Request) -> None:
        self.requests.append(f"{request.method} {request.path}")
        locked = 0 < self.faults.lock_out_after <= self._refused
        if (self.faults.web_down or locked) and request.transport is not None:
            request.transport.abort()
            raise web.HTTPServiceUnavailable  # nobody hears it; nothing is carried out

    def _basic(self, request: web.Request) -> bool:
        expected = base64.b64encode(f"{self._credentials.user}:{self._credentials.password}".encode()).decode()
        return request.headers.get("Authorization", "") == f"Basic {expected}"

    # REST ------------------------------------------------------------------------------------------------------

    async def _api(self, request: web.Request) -> web.Response:
        self._up(request)
        if self.faults.rest_removed:
            return web.Response(text=NOT_FOUND, status=404, content_type="text/html")
        try:
            data = await self._answer(request)
        except RestError as error:
            return _envelope(error.code, error.response_id, error.message, [])
        return _envelope(200, "SUCCESS", "", data)

    async def _answer(self, request: web.Request) -> Any:
        if self.faults.rest_busy:
            raise RestError(503, "DISPATCHER_TOO_MANY_QUEUED_PROCESSES", "Too many queued processes.")
        path = "/api/v2/" + request.match_info["path"].rstrip("/")
        self.rest.check(path, request.method)
        if not (self._basic(request) or request.headers.get("X-API-Key") in (self._credentials.key, *self.rest.keys)):
            self._refused += 1
            raise RestError(401, "AUTH_AUTHENTICATION_FAILED", "Authentication failed.")
        given: dict[str, Any] = dict(request.query)
        if request.method not in ("GET", "DELETE") or request.headers.get("Content-Type", "").startswith(
            "application/json"
        ):
            if request.content_type != "application/json":
                kind = request.content_type
                raise RestError(
                    415,
                    "CONTENT_HANDLER_DECODE_NOT_FOUND",
                    f"No content handler exists for `{kind}`. Change the value of your `Content-Type` header to "
                    "a valid option and try again.",
                )
            try:
                body = json.loads(await request.text() or "{}")
            except ValueError:
                raise RestError(
                    400, "JSON_CONTENT_HANDLER_COULD_NOT_DECODE_JSON", "Request body could not be decoded as JSON."
                ) from None
            given.update(body if isinstance(body, dict) else {"": body})
        if request.headers.get("Prefer") == "dry-run":
            given["dry_run"] = True
        if path == "/api/v2/diagnostics/command_prompt":
            return await self._command(given)
        return await self.rest.answer(path, request.method, given, request.remote or "")

    async def _command(self, given: dict[str, Any]) -> dict[str, Any]:
        command = given.get("command")
        if not isinstance(command, str) or not command:
            raise RestError(400, "FIELD_IS_REQUIRED", "Field `command` is required.")
        if len(command) > MAX_COMMAND:
            raise RestError(
                400,
                "LENGTH_VALIDATOR_MAXIMUM_CONSTRAINT",
                f"Field `command` exceeds the maximum character length of {MAX_COMMAND}.",
            )
        ran = await asyncio.to_thread(self._box.run, "sh", "-c", f"{command} 2>&1")
        lines = (line.rstrip() for line in ran.stdout.splitlines())  # as PHP's exec() does
        return {"output": "\n".join(lines), "result_code": ran.returncode}

    # XML-RPC ---------------------------------------------------------------------------------------------------

    async def _rpc(self, request: web.Request) -> web.Response:
        self._up(request)
        try:
            params, method = xmlrpc.client.loads(await request.text())
        except Exception:
            return _fault(-32700, "parse error. not well formed.")
        if not self._basic(request):
            self._refused += 1
            return _fault(-1, "Authentication failed: Invalid username or password")
        async with self._xmlrpc:  # one request at a time
            call = json.dumps({"method": method, "params": list(params)})
            ran = await asyncio.to_thread(
                self._box.run, "/usr/local/libexec/twin-xmlrpc", request.remote or "", stdin=call
            )
        said, _, last = ran.stdout.rpartition("\n")
        if ran.returncode != 0 or said.strip():  # what a script prints, or dies of, spoils the XML
            return web.Response(
                text=f"{said}\n{ran.stderr}\n{last}", content_type="text/html", status=500 if ran.returncode else 200
            )
        given = json.loads(last)
        if "fault" in given:
            return _fault(-32601, given["fault"])
        try:
            return web.Response(
                text=xmlrpc.client.dumps((given["result"],), methodresponse=True), content_type="text/xml"
            )
        except TypeError as error:  # XML-RPC has no null
            return _fault(-32603, str(error))


def _fault(code: int, text: str) -> web.Response:
    return web.Response(text=xmlrpc.client.dumps(xmlrpc.client.Fault(code, text)), content_type="text/xml")


def _envelope(code: int, response_id: str, message: str, data: Any) -> web.Response:
    status = {
        200: "ok",
        400: "bad request",
        401: "unauthorized",
        403: "forbidden",
        404: "not found",
        405: "method not allowed",
        409: "conflict",
        415: "unsupported media type",
        424: "failed dependency",
        500: "internal server error",
        503: "service unavailable",
    }[code]
    body = {"code": code, "status": status, "response_id": response_id, "message": message, "data": data}
    headers = {"Retry-After": "5"} if code == 503 else {}
    return web.json_response(body, status=code, headers=headers)
