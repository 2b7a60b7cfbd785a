"""Foreign ARM clients as processes: a lab that runs a thousand times as fast as Azure, and a way to call them."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lab.azure.clock import ScaledClock
from lab.azure.server import LabAzure, LabConfig
from lab.dataplane import BgpPeer, Route
from tests.lab.azure.conftest import Certs
from tests.lab.azure.world import FakePlane, FakeResolver

BUILD = Path(__file__).parents[3] / "build"
FACTOR = 1000.0
LONGEST_S = 240.0


def client(name: str) -> Path:
    """The Python of a client's environment; skips the test where scripts/clients has not made it."""
    python = BUILD / f"{name}-venv" / "bin" / "python"
    if not (python.parent.parent / ".stamp").exists():
        pytest.skip(f"{name} is not installed: scripts/clients {name} does it")
    return python


@dataclass
class Outside:
    """What the client is given: an environment without anything of ours, and where the lab listens."""

    lab: LabAzure
    plane: FakePlane
    tls: ssl.SSLContext
    environment: dict[str, str]
    took: list[tuple[str, float]] = field(default_factory=list)

    async def run(self, *command: str, shown: str) -> str:
        """Standard output; an exit status other than 0 fails the test with both outputs."""
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *command, env=self.environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(), LONGEST_S)
        except TimeoutError:
            process.kill()
            await process.wait()
            pytest.fail(f"{shown}: no end after {LONGEST_S} s")
        self.took.append((shown, time.monotonic() - began))
        assert process.returncode == 0, f"{shown}: {process.returncode}\n{out.decode()}\n{err.decode()}"
        return out.decode()


@asynccontextmanager
async def outside(certs: Certs, folder: Path) -> AsyncIterator[Outside]:
    plane, resolver = FakePlane(), FakeResolver()
    plane.peers = [BgpPeer("192.168.1.1", 65020, "Established", 61.0, 1, 9, 8)]
    plane.routes = [Route("192.168.1.0/24", "192.168.1.1", "65020", "192.168.1.1", "EBgp", 32768)]
    resolver.names["home.example"] = "198.51.100.23"
    lab = LabAzure(LabConfig(), dataplane=plane, resolver=resolver, clock=ScaledClock(FACTOR))
    await lab.start(certs.server())
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "REQUESTS_CA_BUNDLE": str(certs.ca),
        **lab.identity_environment,
    }
    try:
        yield Outside(lab, plane, certs.client(), environment)
    finally:
        await lab.stop()
