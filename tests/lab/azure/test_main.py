"""`python -m lab.azure` as a process."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

import aiohttp
import pytest

from lab.azure.__main__ import make_config, parse
from tests.lab.azure.conftest import Certs

ROOT = Path(__file__).parents[3]


async def test_it_starts_says_where_and_ends_on_sigterm(certs: Certs, tmp_path: Path) -> None:
    log = tmp_path / "state.jsonl"
    command = ["-m", "lab.azure", "--cert", str(certs.cert), "--key", str(certs.key), "--state-log", str(log)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, "--factor", "60", cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        hello = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{hello['base_url']}/lab/clock", ssl=certs.client()) as answer,
        ):
            assert (await answer.json())["factor"] == 60
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 15) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert [json.loads(line)["event"] for line in log.read_text().splitlines()] == ["started", "stopped"]


def test_the_command_line(certs: Certs, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    needed = ["--cert", str(certs.cert), "--key", str(certs.key)]
    with pytest.raises(SystemExit):
        parse([*needed, "--dataplane", "net"])
    assert "--topology" in capsys.readouterr().err
    monkeypatch.setenv("LAB_IDENTITY_HEADER", "given")
    config = make_config(
        parse([*needed, "--queue-upstream", "https://127.0.0.1:10001/", "--public-address", "192.0.2.1"])
    )
    assert config.public_addresses == ("192.0.2.1",) and config.identity_header == "given"
    assert config.storage is not None and config.storage.upstream == "https://127.0.0.1:10001"
    assert "given" not in repr(config) and config.storage.account_key not in repr(config)
