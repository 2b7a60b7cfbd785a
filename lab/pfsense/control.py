"""What a test does to a firewall that is another process, at `/lab/pfsense`: look, switch faults, edit by hand, reboot.

It answers whoever asks, so it exists only in `python -m lab.pfsense`, and shows no secret.
"""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from aiohttp import web

from lab.pfsense.twin import Firewall


class Control:
    def __init__(self, firewall: Firewall) -> None:
        self._firewall = firewall

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/lab/pfsense", self._look),
            web.post("/lab/pfsense/faults", self._faults),
            web.post("/lab/pfsense/reboot", self._reboot),
            web.post("/lab/pfsense/run", self._run),
        ]

    async def _look(self, _request: web.Request) -> web.Response:
        kernel = self._firewall.kernel
        seen: dict[str, Any] = {
            "interfaces": {name: asdict(i) for name, i in kernel.interfaces.items()},
            "default": kernel.default,
            "routes": kernel.routes,
            "running": kernel.running,
            "faults": asdict(self._firewall.faults),
            "slow_s": kernel.slow_s,
            "refuse_rules": kernel.refuse_rules,
        }
        return web.json_response(seen)

    async def _faults(self, request: web.Request) -> web.Response:
        """{"rest_removed": true, "slow_s": 3, ...}: what is not named stays."""
        faults, kernel = self._firewall.faults, self._firewall.kernel
        for name, value in (await request.json()).items():
            if name in {f.name for f in fields(faults)}:
                setattr(faults, name, value)
            elif name in ("slow_s", "refuse_rules"):
                setattr(kernel, name, value)
            else:
                return web.json_response({"error": f"no fault `{name}`"}, status=400)
        return web.json_response({})

    async def _reboot(self, _request: web.Request) -> web.Response:
        await self._firewall.reboot()
        return web.json_response({})

    async def _run(self, request: web.Request) -> web.Response:
        """{"command": [...], "stdin": ""}: a command on the firewall, as somebody at its console."""
        given = await request.json()
        ran = await self._firewall.run(*given["command"], stdin=given.get("stdin", ""))
        return web.json_response({"code": ran.returncode, "out": ran.stdout, "err": ran.stderr})
