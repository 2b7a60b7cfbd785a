"""The real ends of the contract tests: Azurite for tables and queues, the lab's Azure for ARM, vault, tokens, grants.

Everything is on loopback over TLS with a throw-away CA, and the adapters authenticate as they do in Azure: a managed
identity, found by azure-identity through the environment.
"""

from __future__ import annotations

import itertools
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import trustme

from lab.azure.clock import VirtualClock
from lab.azure.server import LabAzure, LabConfig
from lab.azure.storage import StorageConfig
from lab.azurite import ACCOUNT, KEY, Azurite, Tls
from shared.azure.calls import Http
from shared.azure.credential import credential
from shared.azure.settings import AzureSettings

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Authority:
    ca_file: Path
    cert: Path
    key: Path

    def server(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.cert, self.key)
        return context


@dataclass(frozen=True)
class RealAzure:
    """Settings and credential for the adapters, and the lab behind them, whose clock the test moves."""

    settings: AzureSettings
    by_key: AzureSettings
    http: Http
    credential: Any
    lab: LabAzure
    clock: VirtualClock


@pytest.fixture
def unique() -> str:
    """A name that no other test of this run uses, as Azurite is shared."""
    return f"t{next(_numbers)}x"


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    folder = tmp_path_factory.mktemp("ca")
    made = Authority(folder / "ca.pem", folder / "cert.pem", folder / "key.pem")
    ca = trustme.CA()
    ca.cert_pem.write_to_path(made.ca_file)
    leaf = ca.issue_cert("127.0.0.1", "localhost")
    leaf.private_key_pem.write_to_path(made.key)
    made.cert.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    yield made


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def azurite(authority: Authority) -> AsyncIterator[Azurite]:
    async with Azurite(tls=Tls(authority.cert, authority.key)) as running:
        yield running


@pytest.fixture
async def real(authority: Authority, azurite: Azurite) -> AsyncIterator[RealAzure]:
    trust = ssl.create_default_context(cafile=str(authority.ca_file))
    front = StorageConfig(f"https://127.0.0.1:{azurite.ports['queue']}", ACCOUNT, KEY, trust)
    clock = VirtualClock()
    lab = LabAzure(LabConfig(storage=front), clock=clock)
    await lab.start(authority.server())
    http = Http(authority.ca_file)
    common: dict[str, Any] = {
        "controller_id": "contract",
        "vault_url": lab.base_url,
        "arm_url": lab.base_url,
        "arm_scope": f"{lab.base_url}/.default",
        "ca_file": authority.ca_file,
        "verify_vault_challenge": False,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in lab.identity_environment.items():
            patch.setenv(name, value)
        login = credential(http, lab.identity_environment)
        by_identity = AzureSettings(
            **common, queue_url=f"{lab.base_url}/{ACCOUNT}", table_url=azurite.endpoint("table")
        )
        by_key = AzureSettings(**common, connection_string=azurite.connection_string)
        yield RealAzure(by_identity, by_key, http, login, lab, clock)
        await login.close()
    await http.close()
    await lab.stop()
