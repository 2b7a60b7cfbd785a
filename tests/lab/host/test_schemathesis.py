"""schemathesis holds the app to its own description, over HTTP: every operation, with what fits the description and
with what does not, and in sequences. Storage, vault and ARM are the lab's, without a data plane.

How much is tried, and every check that is narrowed, stands in schemathesis.toml. The run is the same each time; raise
`max-examples` there, and set `deterministic = false`, for a longer hunt by hand.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from lab import tls
from lab.azure.clock import ScaledClock
from lab.azure.server import LabAzure, LabConfig
from lab.azurite import Azurite
from tests.examples import CONNECTION, GATEWAY
from tests.lab.azure.conftest import Certs
from tests.lab.azure.world import FakePlane, FakeResolver

ROOT = Path(__file__).parents[3]
CONFIG = Path(__file__).with_name("schemathesis.toml").read_text()
KEY = "fk-1"
LONGEST_S = 300.0


@asynccontextmanager
async def _served(azurite: Azurite, folder: Path) -> AsyncIterator[str]:
    """The URL of the API: function_app.py in a host process."""
    issued = tls.issue(folder, "127.0.0.1")
    config = LabConfig(subscription=GATEWAY["spec"]["subscriptionId"])
    azure = LabAzure(config, dataplane=FakePlane(), resolver=FakeResolver(), clock=ScaledClock(1000.0))
    await azure.start(Certs(issued.ca, issued.cert, issued.key).server())
    environment = {
        **os.environ,
        **azure.identity_environment,
        "AzureWebJobsStorage": azurite.connection_string,
        "HOMELINK_CONTROLLER_ID": "schemathesis",
        "HOMELINK_ARM_URL": azure.base_url,
        "HOMELINK_VAULT_URL": azure.base_url,
        "HOMELINK_VERIFY_VAULT_CHALLENGE": "false",
        "HOMELINK_CA_FILE": str(issued.ca),
        "HOMELINK_RESOLVERS": "127.0.0.1",  # nobody answers there: what a home's name means is no part of this
        "LAB_HOST_FUNCTION_KEY": KEY,
    }
    log = folder / "host.log"
    with log.open("wb") as errors:
        host = await asyncio.create_subprocess_exec(
            *[sys.executable, "-m", "lab.host", "--app", str(ROOT), "--port", "0"],
            cwd=ROOT,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
        )
    try:
        assert host.stdout is not None
        async with asyncio.timeout(20):
            word, _, url = (await host.stdout.readline()).decode().strip().partition(" ")
        assert word == "ready", log.read_text()
        yield f"{url}/api"
    finally:
        if host.returncode is None:
            host.kill()
        await host.wait()
        await azure.stop()


async def _seeded(url: str) -> str:
    """The Gateway and the Connection that the configuration names, and the agent that serves it. Returns its id."""

    async def call(method: str, path: str, body: object = None) -> dict[str, str]:
        async with client.request(method, f"{url}/{path}", json=body) as answer:
            assert answer.status == 201, await answer.text()
            return dict(await answer.json())

    async with aiohttp.ClientSession(headers={"x-functions-key": KEY}) as client:
        await call("PUT", "gateways/hub", GATEWAY)
        await call("PUT", "connections/home", CONNECTION)
        token = (await call("POST", "agents/home-fw/token"))["token"]
        enrolment = {"token": token, "name": "home-fw", "nonce": "n" * 32}
        return (await call("POST", "agents/enrol", enrolment))["agent"]


async def test_every_answer_is_as_described(azurite: Azurite, tmp_path: Path) -> None:
    agents, config = tmp_path / "agents.txt", tmp_path / "schemathesis.toml"
    config.write_text(CONFIG.replace("${AGENTS}", str(agents)))
    async with _served(azurite, tmp_path) as url:
        agents.write_text(f'"{await _seeded(url)}"\n')
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("schemathesis")),
            *["--config-file", str(config), "run", f"{url}/openapi.json"],
            cwd=tmp_path,
            env={**os.environ, "API_KEY": KEY, "NO_COLOR": "1", "PYTHONPATH": str(ROOT)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            out, _ = await asyncio.wait_for(process.communicate(), LONGEST_S)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert process.returncode == 0, f"{out.decode()}\n{(tmp_path / 'host.log').read_text()[-2000:]}"
