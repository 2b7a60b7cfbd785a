"""The HTTP side: keys, forwarding headers and the 230 s limit of Azure's front end, then the function.

`X-Forwarded-For` gets the socket's peer with its port as the last entry, as Azure appends it, so an application that
trusts an earlier entry, or cannot parse a port, is caught here.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
from collections.abc import Mapping

from aiohttp import web
from azure.functions.meta import Datum

from lab.host.clock import HostClock
from lab.host.invoke import InvocationFailed, Invoker, converter
from lab.host.routes import Route, Router

log = logging.getLogger("lab.host")
MAX_BODY = 100 * 1024 * 1024
RESPONSE_LIMIT = 230.0
FUNCTION_KEY = "LAB_HOST_FUNCTION_KEY"
MASTER_KEY = "LAB_HOST_MASTER_KEY"


class HttpFront:
    """An aiohttp application around a Router. Keys come from two application settings; unset means nobody passes."""

    def __init__(self, router: Router, invoker: Invoker, clock: HostClock, settings: Mapping[str, str]) -> None:
        self._router = router
        self._invoker = invoker
        self._clock = clock
        self._master = settings.get(MASTER_KEY, "")
        self._function = settings.get(FUNCTION_KEY, "")
        closed = [
            r.function.name for r in router.routes if r.auth_level != "anonymous" and not self._accepted(r.auth_level)
        ]
        if closed:
            log.warning("neither %s nor %s is set, so these are 401: %s", FUNCTION_KEY, MASTER_KEY, ", ".join(closed))

    def application(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_get("/admin/host/ping", self._ping)
        app.router.add_get("/admin/lab/clock", self._clock_request)
        app.router.add_post("/admin/lab/clock", self._clock_request)
        app.router.add_route("*", r"/{path:[\s\S]*}", self._serve)  # a dot would stop at %0A
        return app

    async def _ping(self, request: web.Request) -> web.Response:
        return web.Response()

    async def _clock_request(self, request: web.Request) -> web.Response:
        """GET tells the factor, POST {"factor": n} changes it; only for callers on this very host."""
        peer, own = (request.transport.get_extra_info(name) for name in ("peername", "sockname"))  # type: ignore[union-attr]
        if peer[0] != own[0] and not ipaddress.ip_address(peer[0]).is_loopback:
            return web.json_response({"error": "only from the host itself"}, status=403)
        if request.method == "POST":
            try:
                self._clock.set_factor(float((await request.json())["factor"]))
            except (ValueError, KeyError, TypeError) as error:
                return web.json_response({"error": f'body must be {{"factor": 1..3600}}: {error}'}, status=400)
            log.info("timers now run %g times as often", self._clock.factor)
        return web.json_response({"factor": self._clock.factor})

    async def _serve(self, request: web.Request) -> web.Response:
        found = self._router.find(request.method, request.rel_url.raw_path)
        if found is None:
            return web.Response(status=404)
        route, parameters = found
        if not self._authorised(route, request):
            return web.Response(status=401)
        data = Datum(
            {
                "method": Datum(request.method, "string"),
                "url": Datum(str(request.url), "string"),
                "headers": {name: Datum(text, "string") for name, text in _headers(request).items()},
                "query": {name: Datum(text, "string") for name, text in _query(request).items()},
                "params": {name: Datum(text, "string") for name, text in parameters.items()},
                "body": Datum(await request.read(), "bytes"),
            },
            "http",
        )
        try:
            async with asyncio.timeout(RESPONSE_LIMIT):
                return _response(await self._invoker(route.function, data, {}))
        except InvocationFailed:
            return web.Response(status=500)
        except TimeoutError:
            log.error("%s: no answer within %.0f s; it runs on", route.function.name, RESPONSE_LIMIT)
            return web.Response(status=504)
        except NotImplementedError:
            log.error("%s: returned something that is neither str nor HttpResponse", route.function.name)
            return web.Response(status=500)

    def _accepted(self, level: str) -> list[str]:
        keys = [self._master] if level == "admin" else [self._master, self._function]
        return [key for key in keys if key]

    def _authorised(self, route: Route, request: web.Request) -> bool:
        if route.auth_level == "anonymous":
            return True
        given = request.headers.get("x-functions-key") or request.query.get("code") or ""
        matches = [hmac.compare_digest(given.encode(), key.encode()) for key in self._accepted(route.auth_level)]
        return any(matches)


def _headers(request: web.Request) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, text in request.headers.items():
        key = name.lower()
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    host, port = request.transport.get_extra_info("peername")[:2]  # type: ignore[union-attr]
    peer = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    claimed = headers.get("x-forwarded-for")
    headers["x-forwarded-for"] = f"{claimed}, {peer}" if claimed else peer
    return headers


def _query(request: web.Request) -> dict[str, str]:
    """As Azure's host tells a Python worker: repeated ones joined by commas, empty ones left out (the `url` has them).

    Source: its GrpcMessageConversionExtensions.ToRpcHttp, for a worker without UseNullableValueDictionaryForHttp.
    """
    joined = {name: ",".join(request.query.getall(name)) for name in request.query}
    return {name: text for name, text in joined.items() if text}


def _response(result: object) -> web.Response:
    if result is None:
        return web.Response(status=204)
    datum = converter("http").encode(result, expected_type=None)
    if datum.type == "string":
        return web.Response(text=datum.value)
    value = datum.value
    response = web.Response(status=int(value["status_code"].value), body=value["body"].value)
    for name, text in value["headers"].items():
        response.headers[name] = text.value
    for cookie in value["cookies"] or ():
        for morsel in cookie.values():
            response.headers.add("Set-Cookie", morsel.OutputString())
    return response
