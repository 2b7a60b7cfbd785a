"""Azurite (queues, tables, blobs) as an async context manager, from the project's own node_modules.

Development storage only: it loses what it had not yet written when killed, and it does not know user-delegation keys
for queues (the lab's storage front answers those).
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

ACCOUNT = "devstoreaccount1"
# Azurite's published development key, the same on every machine; no secret.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
SERVICES = ("blob", "queue", "table")
_SCRIPT = Path("node_modules/azurite/dist/src/azurite.js")
_LISTENING = "successfully listening"
_START_LIMIT = 30.0
_STOP_LIMIT = 5.0


class AzuriteError(Exception):
    """Azurite is not installed or did not start."""


@dataclass(frozen=True)
class Tls:
    """Certificate and key files (PEM) for HTTPS. With `oauth` bearer tokens are accepted (needs HTTPS)."""

    cert: Path
    key: Path
    oauth: bool = True


class Azurite:
    """`async with Azurite() as storage:` then `storage.connection_string` or `storage.endpoint("queue")`.

    `ports` maps blob, queue and table to port numbers; a missing one is chosen free. `host` is the name or address
    that clients use and `listen` the address that is bound. Data lives in `folder`, else in memory.
    """

    def __init__(
        self,
        *,
        ports: dict[str, int] | None = None,
        listen: str = "127.0.0.1",
        host: str | None = None,
        folder: Path | None = None,
        tls: Tls | None = None,
        root: Path | None = None,
    ) -> None:
        self.ports = {service: (ports or {}).get(service, 0) for service in SERVICES}
        self._listen = listen
        self._host = host or listen
        self._folder = folder
        self._tls = tls
        self._root = root or Path(__file__).resolve().parent.parent
        self._process: asyncio.subprocess.Process | None = None
        self._scratch: Path | None = None

    def endpoint(self, service: str) -> str:
        """The account's URL of blob, queue or table."""
        return f"{'https' if self._tls else 'http'}://{self._host}:{self.ports[service]}/{ACCOUNT}"

    @property
    def connection_string(self) -> str:
        parts = [f"DefaultEndpointsProtocol={'https' if self._tls else 'http'}", f"AccountName={ACCOUNT}"]
        parts.append(f"AccountKey={KEY}")
        parts += [f"{service.capitalize()}Endpoint={self.endpoint(service)}" for service in SERVICES]
        return ";".join(parts) + ";"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise AzuriteError("Azurite is not running")
        return self._process.pid

    async def __aenter__(self) -> Self:
        script, node = self._root / _SCRIPT, shutil.which("node")
        if node is None or not script.is_file():
            raise AzuriteError("Azurite is not installed: run `make setup` in the project's folder")
        for service, port in _free_ports(self._listen, [s for s in SERVICES if not self.ports[s]]).items():
            self.ports[service] = port
        self._scratch = Path(tempfile.mkdtemp(prefix="azurite-"))
        log = self._scratch / "azurite.log"
        with log.open("wb") as output:
            self._process = await asyncio.create_subprocess_exec(
                node, str(script), *self._options(), stdout=output, stderr=output, cwd=self._scratch
            )
        try:
            async with asyncio.timeout(_START_LIMIT):
                await self._answering(log)
        except TimeoutError:
            raise await self._failure(f"did not answer within {_START_LIMIT:.0f} s", log) from None
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    def _options(self) -> list[str]:
        options = ["--skipApiVersionCheck", "--disableTelemetry", "--silent"]
        for service in SERVICES:
            options += [f"--{service}Host", self._listen, f"--{service}Port", str(self.ports[service])]
        options += ["--location", str(self._folder)] if self._folder else ["--inMemoryPersistence"]
        if self._tls:
            options += ["--cert", str(self._tls.cert.resolve()), "--key", str(self._tls.key.resolve())]
            options += ["--oauth", "basic"] if self._tls.oauth else []
        return options

    async def _answering(self, log: Path) -> None:
        """Wait for its own word: a port that accepts may belong to somebody else, who made Azurite give up."""
        while _read(log).count(_LISTENING) < len(SERVICES):
            if self._process is not None and self._process.returncode is not None:
                raise await self._failure("ended at once", log)
            await asyncio.sleep(0.02)

    async def _failure(self, what: str, log: Path) -> AzuriteError:
        last = _read(log).strip().splitlines()[-3:]
        await self._stop()
        return AzuriteError(f"Azurite {what}: {' | '.join(last) or 'it printed nothing'}")

    async def _stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            try:
                async with asyncio.timeout(_STOP_LIMIT):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)


def _read(log: Path) -> str:
    return log.read_text("utf-8", "replace")


def _free_ports(address: str, services: list[str]) -> dict[str, int]:
    """Free ports, all held open until the last is known so that no two are the same."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sockets = {service: socket.socket(family) for service in services}
    try:
        for opened in sockets.values():
            opened.bind((address, 0))
        return {service: opened.getsockname()[1] for service, opened in sockets.items()}
    finally:
        for opened in sockets.values():
            opened.close()
