"""The host as a process: start, readiness, SIGTERM, kill -9, configuration errors, and a managed identity."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from aiohttp import web

from lab.azurite import Azurite, Tls
from lab.host.settings import SettingsError
from tests.lab.host.conftest import APP, World, until

ROOT = Path(__file__).parents[3]


@asynccontextmanager
async def _started(environ: dict[str, str], *options: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A host process that has said `ready`; killed at the end if it still runs."""
    command = [sys.executable, "-m", "lab.host", "--app", str(APP), "--port", "0", *options]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env={**os.environ, **environ}, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(20):
            word, _, url = (await process.stdout.readline()).decode().strip().partition(" ")
        assert word == "ready"
        yield process, url
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _end(process: asyncio.subprocess.Process) -> int:
    async with asyncio.timeout(15):
        return await process.wait()


async def test_sigterm_lets_a_running_function_end(world: World) -> None:
    async with _started(world.environ) as (process, url), aiohttp.ClientSession(url) as client:
        slow = asyncio.create_task(client.post("/api/slow"))
        async with client.get("/api/hello/me") as answer:
            assert await answer.text() == "literal"
        process.send_signal(signal.SIGTERM)
        async with await slow as answer:
            assert await answer.text() == "slow"
        assert await _end(process) == 0
    assert await world.bodies("seen") == ["slow done"]


async def test_killed_in_the_middle_the_message_comes_back_only_when_its_hiding_ends(world: World) -> None:
    await world.put("work", "long 30")
    async with _started(world.environ) as (process, _):

        async def taken() -> bool:
            return not await world.bodies("work")

        await until(taken, "the message is taken")
        process.kill()
        assert await _end(process) == -signal.SIGKILL
    assert await world.count("work") == 1
    async with _started(world.environ):  # a second life serves what is visible, and does not see the hidden one
        await world.put("work", "job-2")
        await world.seen()

        async def settled() -> bool:
            return await world.count("work") == 1

        await until(settled, "only the hidden message is left")
    assert [report["body"] for report in await world.seen()] == ["job-2"]


async def test_a_configuration_error_is_one_line_and_exit_code_2(world: World) -> None:
    environ = {**os.environ, **world.environ}
    del environ["AzureWebJobsStorage"]
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "lab.host", "--app", str(APP), "--port", "0"],
        cwd=ROOT,
        env=environ,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(20):
        _, errors = await process.communicate()
    assert process.returncode == 2
    assert "connection AzureWebJobsStorage: set AzureWebJobsStorage" in errors.decode().splitlines()[-1]


@pytest.mark.parametrize(
    ("setting", "text", "expected"),
    [
        ("TICK", "every day", "function tick: the schedule 'every day' is not NCRONTAB"),
        ("AzureFunctionsJobHost__extensions__queues__batchSize", "99", "batchSize: needs a whole number"),
    ],
)
async def test_a_wrong_setting_is_refused_before_anything_starts(
    world: World, setting: str, text: str, expected: str
) -> None:
    settings: dict[str, Any] = {setting: text}
    with pytest.raises(SettingsError, match=expected):
        world.host(**settings)


async def test_storage_by_managed_identity_under_a_private_authority(world: World, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    asked: list[str] = []

    async def token(request: web.Request) -> web.Response:
        asked.append(request.query["resource"])
        resource = request.query["resource"]
        answer = {"access_token": _token(), "expires_on": str(int(time.time()) + 3600), "resource": resource}
        return web.json_response({**answer, "token_type": "Bearer"})

    endpoint = web.Application()
    endpoint.router.add_get("/token", token)
    runner = web.AppRunner(endpoint)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with Azurite(tls=Tls(tmp_path / "cert.pem", tmp_path / "key.pem")) as storage:
            environ = {
                **world.environ,
                "AzureWebJobsStorage": "",
                "AzureWebJobsStorage__queueServiceUri": storage.endpoint("queue"),
                "AzureWebJobsStorage__blobServiceUri": storage.endpoint("blob"),
                "AzureWebJobsStorage__credential": "managedidentity",
                "IDENTITY_ENDPOINT": f"http://127.0.0.1:{runner.addresses[0][1]}/token",
                "IDENTITY_HEADER": "lab",
                "SSL_CERT_FILE": str(tmp_path / "ca.pem"),
                "TICK": "* * * * * *",
            }
            secure = World(storage.connection_string, world.blobs, world.tag)
            async with _started(environ) as (_, url), aiohttp.ClientSession(url) as client:
                async with client.post("/api/send", data=b"job-1") as answer:
                    assert answer.status == 202
                await _reported(secure, tmp_path / "ca.pem")
    finally:
        await runner.cleanup()
    assert set(asked) == {"https://storage.azure.com"}


async def _reported(world: World, authority: Path) -> None:
    """The queue function ran (its report is there) and so did the timer (it needs the blob lease)."""
    for name in ("seen", "ticks"):
        async with world.queue(name, connection_verify=str(authority)) as queue:

            async def found() -> bool:
                try:
                    return bool(await queue.peek_messages())
                except Exception:
                    return False

            await until(found, f"a message in {name}")


def _token() -> str:
    """An unsigned token with the claims that Azurite's `--oauth basic` looks at."""
    now = int(time.time())
    claims = {
        "aud": "https://storage.azure.com",
        "iss": "https://sts.windows.net/00000000-0000-0000-0000-000000000001/",
        "iat": now - 60,
        "nbf": now - 60,
        "exp": now + 3600,
    }
    parts = [json.dumps(part).encode() for part in ({"alg": "RS256", "typ": "JWT"}, claims)]
    return ".".join([*(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts), "c2ln"])
