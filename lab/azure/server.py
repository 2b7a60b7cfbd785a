"""The simulated Azure as one object: ARM, Key Vault, identity endpoint and storage front on one HTTPS port.

One process with everything keeps the lab small and its clock single; nothing is persisted, a restart is a new
subscription. What carries packets is behind the `DataPlane` and may be real or nothing.
"""

from __future__ import annotations

import asyncio
import secrets
import ssl
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web

from lab.azure.arm import Arm
from lab.azure.clock import Clock, ScaledClock
from lab.azure.control import Control
from lab.azure.faults import Faults
from lab.azure.identity import IdentityEndpoint, Principal, Tokens
from lab.azure.keyvault import KeyVault
from lab.azure.metrics import Metrics
from lab.azure.operations import Operations
from lab.azure.plumbing import Plumbing
from lab.azure.pool import AddressPool
from lab.azure.provider import World
from lab.azure.resolver import DnsResolver, Resolver
from lab.azure.router import Router
from lab.azure.statelog import StateLog
from lab.azure.storage import StorageConfig, StorageFront
from lab.azure.store import Store
from lab.dataplane import DataPlane, NullDataPlane

SERVER = "Microsoft-HTTPAPI/2.0"


@dataclass(frozen=True)
class LabConfig:
    """What a lab is started with. Ids and keys are made up at start unless given."""

    subscription: str = "00000000-0000-0000-0000-0000000000aa"
    tenant: str = "00000000-0000-0000-0000-0000000000bb"
    object_id: str = "00000000-0000-0000-0000-0000000000cc"
    app_id: str = "00000000-0000-0000-0000-0000000000dd"
    public_addresses: tuple[str, ...] = ("203.0.113.10",)
    vault_resource: str = "https://vault.azure.net"
    identity_header: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    token_key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    storage: StorageConfig | None = None
    state_log: Path | None = None


class LabAzure:
    """`start` it on free or fixed ports, `stop` it; `base_url` and `identity_endpoint` are known in between."""

    def __init__(
        self,
        config: LabConfig | None = None,
        *,
        dataplane: DataPlane | None = None,
        resolver: Resolver | None = None,
        clock: Clock | None = None,
        new_id: Callable[[], str] | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.config = config or LabConfig()
        self.clock = clock or ScaledClock()
        self.metrics = Metrics()
        self.faults = Faults()
        self.base_url = ""
        self.identity_endpoint = ""
        new_id = new_id or (lambda: str(uuid.uuid4()))
        self._new_id = new_id
        self._wall = wall
        self._log = StateLog(self.clock, self.config.state_log)
        self._dataplane = dataplane or NullDataPlane()
        store = Store(self.config.subscription, new_id)
        self.plumbing = Plumbing(self._dataplane, resolver or DnsResolver(), store, self.clock, self._log)
        self._operations = Operations(self.clock, new_id, self._log, self.faults)
        pool = AddressPool(self.config.public_addresses)
        self._world = World(store, self.clock, self._operations, self.plumbing, pool, self._log)
        principal = Principal(self.config.tenant, self.config.object_id, self.config.app_id)
        self.tokens = Tokens(principal, self.config.token_key, wall)
        self._runners: list[web.AppRunner] = []
        self._session: aiohttp.ClientSession | None = None
        self._refresh: asyncio.Task[None] | None = None

    @property
    def identity_environment(self) -> dict[str, str]:
        """What a process needs in its environment for azure-identity to find the token endpoint."""
        return {"IDENTITY_ENDPOINT": self.identity_endpoint, "IDENTITY_HEADER": self.config.identity_header}

    async def start(
        self, tls: ssl.SSLContext, *, host: str = "127.0.0.1", port: int = 0, identity_port: int = 0, name: str = ""
    ) -> None:
        """Listen: everything over HTTPS on `port`, the identity endpoint also in plain HTTP on `identity_port`.

        `name` is what `base_url` says for the host, if that is not `host`. Port 0 takes a free one.
        """
        identity = IdentityEndpoint(self.tokens, self.config.identity_header)
        app = web.Application(client_max_size=4 * 1024 * 1024)
        router = Router(self._world, self.config.tenant, self.clock, self.metrics, self.faults)
        app.add_routes(Arm(router, self.tokens).routes())
        app.add_routes(Control(self.clock, self.metrics, self._log, self.faults).routes())
        app.add_routes(identity.routes())
        vault = KeyVault(self.tokens, self.config.vault_resource, self._new_id, self._wall)
        app.add_routes(vault.routes())
        if self.config.storage is not None:
            self._session = aiohttp.ClientSession(auto_decompress=False)
            front = StorageFront(self.config.storage, self.tokens, self.config.token_key, self._session, self._wall)
            app.add_routes(front.routes())
        app.on_response_prepare.append(_server_header)
        tokens_only = web.Application()
        tokens_only.add_routes(identity.routes())
        shown = name or ("127.0.0.1" if host in ("0.0.0.0", "") else host)
        self.base_url = f"https://{shown}:{await self._listen(app, host, port, tls)}"
        self.identity_endpoint = (
            f"http://{shown}:{await self._listen(tokens_only, host, identity_port, None)}/msi/token"
        )
        self._refresh = asyncio.create_task(self.plumbing.run())
        self._log.write("started", self.base_url)

    async def _listen(self, app: web.Application, host: str, port: int, tls: ssl.SSLContext | None) -> int:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, host, port, ssl_context=tls).start()
        return int(runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening, abandon what is in progress and close the data plane."""
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()
        if self._refresh is not None:
            self._refresh.cancel()
            await asyncio.gather(self._refresh, return_exceptions=True)
        await self._operations.close()
        if self._session is not None:
            await self._session.close()
        await self._dataplane.close()
        self._log.write("stopped", self.base_url)
        self._log.close()


async def _server_header(_request: web.Request, response: web.StreamResponse) -> None:
    if "x-ms-request-id" in response.headers and not response.headers.get("Server", "").startswith("Windows"):
        response.headers["Server"] = SERVER
