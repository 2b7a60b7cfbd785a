"""The lab's own handles: the clock factor, faults to come, and what ARM was asked.

They are no part of Azure, so they are not counted, need no token, and answer only callers on this host.
"""

from __future__ import annotations

import ipaddress
import json
from dataclasses import asdict

from aiohttp import web

from lab.azure.clock import Clock
from lab.azure.faults import Fault, Faults
from lab.azure.metrics import Metrics
from lab.azure.statelog import StateLog


class Control:
    """`/lab/clock`, `/lab/faults` and `/lab/metrics`."""

    def __init__(self, clock: Clock, metrics: Metrics, log: StateLog, faults: Faults) -> None:
        self._clock = clock
        self._metrics = metrics
        self._log = log
        self._faults = faults

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/lab/clock", self._get_clock),
            web.post("/lab/clock", self._set_clock),
            web.get("/lab/faults", self._get_faults),
            web.post("/lab/faults", self._add_fault),
            web.delete("/lab/faults", self._drop_faults),
            web.get("/lab/metrics", self._get_metrics),
        ]

    async def _get_clock(self, request: web.Request) -> web.Response:
        _require_local(request)
        return web.json_response({"factor": self._clock.factor, "now": self._clock.now().isoformat()})

    async def _set_clock(self, request: web.Request) -> web.Response:
        _require_local(request)
        try:
            self._clock.set_factor(float(json.loads(await request.read())["factor"]))
        except (ValueError, TypeError, KeyError) as error:
            hint = 'send {"factor": n} with n from 0.01 to 10000'
            return web.json_response({"error": f"clock factor not understood ({error}): {hint}"}, status=400)
        self._log.write("clock", "factor", value=self._clock.factor)
        return await self._get_clock(request)

    async def _get_faults(self, request: web.Request) -> web.Response:
        _require_local(request)
        return web.json_response([asdict(fault) for fault in self._faults.waiting])

    async def _add_fault(self, request: web.Request) -> web.Response:
        _require_local(request)
        try:
            fault = Fault.parse(json.loads(await request.read()))
        except (ValueError, TypeError) as error:
            hint = "send kind, method, path and what lab.azure.faults.Fault lists"
            return web.json_response({"error": f"fault not understood ({error}): {hint}"}, status=400)
        self._faults.add(fault)
        self._log.write("fault to come", fault.path, kind=fault.kind, method=fault.method, code=fault.code)
        return await self._get_faults(request)

    async def _drop_faults(self, request: web.Request) -> web.Response:
        _require_local(request)
        self._faults.waiting.clear()
        return await self._get_faults(request)

    async def _get_metrics(self, request: web.Request) -> web.Response:
        _require_local(request)
        return web.json_response(self._metrics.view())


def _require_local(request: web.Request) -> None:
    """Loopback, or a caller with the very address it called: that is this host talking to itself."""
    peer = request.transport.get_extra_info("peername") if request.transport else None
    own = request.transport.get_extra_info("sockname") if request.transport else None
    if peer is None or own is None:
        raise web.HTTPForbidden(text="the caller's address is unknown")
    if peer[0] != own[0] and not ipaddress.ip_address(peer[0]).is_loopback:
        raise web.HTTPForbidden(text="the lab's controls answer only callers on the lab's own host")
