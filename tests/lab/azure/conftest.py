from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme

from lab.azure.clock import VirtualClock
from lab.azure.server import LabAzure, LabConfig
from tests.lab.azure.world import GROUP, LOCATION, FakePlane, FakeResolver, World


@dataclass(frozen=True)
class Certs:
    ca: Path
    cert: Path
    key: Path

    def server(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.cert, self.key)
        return context

    def client(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca))


@pytest.fixture(scope="session")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Certs:
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    found = Certs(folder / "ca.pem", folder / "cert.pem", folder / "key.pem")
    authority.cert_pem.write_to_path(found.ca)
    issued.private_key_pem.write_to_path(found.key)
    for index, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(found.cert, append=index > 0)
    return found


@pytest.fixture
async def world(certs: Certs, tmp_path: Path) -> AsyncIterator[World]:
    """A lab in virtual time with the resource group of the tests."""
    clock, plane, resolver = VirtualClock(), FakePlane(), FakeResolver()
    config = LabConfig(public_addresses=("203.0.113.10", "203.0.113.11"), state_log=tmp_path / "state.jsonl")
    lab = LabAzure(config, dataplane=plane, resolver=resolver, clock=clock)
    await lab.start(certs.server())
    found = World(lab, clock, plane, resolver, certs.ca)
    try:
        async with aiohttp.ClientSession() as session:
            url = f"{lab.base_url}/subscriptions/{found.subscription}/resourceGroups/{GROUP}?api-version=2024-11-01"
            headers = {"Authorization": f"Bearer {found.token()}"}
            async with session.put(url, json={"location": LOCATION}, headers=headers, ssl=certs.client()) as answer:
                assert answer.status == 201
        yield found
    finally:
        await lab.stop()


@dataclass(frozen=True)
class Raw:
    """HTTP without an SDK: `await raw("GET", path)` gives status, headers and parsed body."""

    session: aiohttp.ClientSession
    world: World
    tls: ssl.SSLContext

    async def __call__(
        self, method: str, path: str, body: object = None, *, token: str | None = None
    ) -> tuple[int, dict[str, str], Any]:
        url = path if path.startswith("https:") else f"{self.world.lab.base_url}{path}"
        headers = {"Authorization": f"Bearer {token or self.world.token()}"}
        async with self.session.request(method, url, json=body, headers=headers, ssl=self.tls) as answer:
            text = await answer.read()
            shown = {name.lower(): value for name, value in answer.headers.items()}
            return answer.status, shown, await answer.json() if text else None


@pytest.fixture
async def raw(world: World, certs: Certs) -> AsyncIterator[Raw]:
    async with aiohttp.ClientSession() as session:
        yield Raw(session, world, certs.client())
