"""HTTP triggers over a real socket: decoding, keys, forwarding header, failures, TLS, the clock endpoint."""

from __future__ import annotations

import json
import logging
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme

from lab.host.host import Host, Listen
from lab.host.lease import CONTAINER
from tests.lab.host.conftest import World, until


async def _call(host: Host, method: str, path: str, **options: Any) -> tuple[int, str]:
    async with aiohttp.ClientSession(host.url) as client, client.request(method, path, **options) as answer:
        return answer.status, await answer.text()


async def test_request_and_response_are_carried_whole(world: World) -> None:
    async with (
        world.host() as host,
        aiohttp.ClientSession(host.url) as client,
        client.put("/api/hello/J%C3%B6?a=1", data=b"{}") as answer,
    ):
        seen = await answer.json()
        assert (answer.status, answer.headers["X-Extra"]) == (201, "1")
    assert (seen["name"], seen["query"], seen["body"], seen["method"]) == ("J\u00f6", {"a": "1"}, "{}", "PUT")


async def test_a_worker_is_told_the_query_as_azure_tells_it(world: World) -> None:
    """Repeated ones joined, empty ones left out."""
    async with world.host() as host:
        _, text = await _call(host, "GET", "/api/hello/x?a=1&b=&c&a=2&a=")
    assert json.loads(text)["query"] == {"a": "1,2,"}


async def test_the_peer_is_the_last_forwarded_entry(world: World) -> None:
    async with world.host() as host:
        _, lying = await _call(host, "GET", "/api/hello/x", headers={"X-Forwarded-For": "198.51.100.1"})
        _, plain = await _call(host, "GET", "/api/hello/x")
    claimed, own = json.loads(lying)["forwarded"].split(", ")
    assert claimed == "198.51.100.1"
    assert own.rsplit(":", 1)[0] == "127.0.0.1"
    assert json.loads(plain)["forwarded"].rsplit(":", 1)[0] == "127.0.0.1"


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/api/hello/me", 200, "literal"),
        ("GET", "/api/hello/12", 200, "int 12"),
        ("GET", "/api/files/a/b.txt", 200, "a/b.txt"),
        ("GET", "/api/files/a%0Ab", 200, "a\nb"),
        ("GET", "/api/files", 200, "(none)"),
        ("GET", "/api/list", 200, "(all)"),
        ("POST", "/api/hello/x", 404, ""),
        ("GET", "/hello/x", 404, ""),
        ("GET", "/api/keyed", 401, ""),
        ("GET", "/api/keyed?code=fk-1", 200, "keyed 36"),
        ("GET", "/api/keyed?code=mk-1", 200, "keyed 36"),
        ("GET", "/api/keyed?code=fk-2", 401, ""),
        ("GET", "/api/keyed?code=", 401, ""),
        ("GET", "/api/master?code=fk-1", 401, ""),
        ("GET", "/api/master?code=mk-1", 200, "master"),
        ("GET", "/admin/host/ping", 200, ""),
    ],
)
async def test_routes_and_keys(world: World, method: str, path: str, status: int, text: str) -> None:
    async with world.host() as host:
        assert await _call(host, method, path) == (status, text)


async def test_the_key_header_and_no_key_at_all(world: World) -> None:
    async with world.host() as host:
        assert (await _call(host, "GET", "/api/keyed", headers={"x-functions-key": "fk-1"}))[0] == 200
    async with world.host(LAB_HOST_FUNCTION_KEY="", LAB_HOST_MASTER_KEY="") as host:
        assert (await _call(host, "GET", "/api/keyed?code="))[0] == 401


async def test_a_failure_is_500_and_its_log_holds_no_body(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with world.host() as host:
        assert await _call(host, "POST", "/api/broken", data=b"top-hush") == (500, "")
    failure = next(record.getMessage() for record in caplog.records if record.levelno == logging.ERROR)
    assert "broken" in failure
    assert "ValueError" in failure
    assert "function_app.py" in failure
    assert "top-hush" not in caplog.text


async def test_outputs_are_sent(world: World) -> None:
    async with world.host() as host:
        assert (await _call(host, "POST", "/api/send", data=b"job-1"))[0] == 202
        assert sorted(await world.bodies("batch")) == ["a", "b", "c"]
        assert [report["body"] for report in await world.seen()] == ["job-1"]


async def test_a_function_outlives_its_caller_and_the_drain(world: World) -> None:
    async with world.host() as host, aiohttp.ClientSession(host.url) as client:
        with pytest.raises(TimeoutError):
            await client.post("/api/slow", timeout=aiohttp.ClientTimeout(total=0.1))
    # Leaving the host has waited for it.
    assert await world.bodies("seen") == ["slow done"]


async def test_https(world: World, tmp_path: Path) -> None:
    authority = trustme.CA()
    bundle = tmp_path / "server.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(bundle))
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    async with world.host(tls=Listen(cert=bundle)) as host:
        assert host.url.startswith("https://")
        assert (await _call(host, "GET", "/api/hello/me", ssl=trust))[0] == 200


async def test_the_clock_endpoint_changes_the_factor(world: World) -> None:
    async with world.host() as host:
        status, text = await _call(host, "POST", "/admin/lab/clock", json={"factor": 20})
        assert (status, json.loads(text)) == (200, {"factor": 20.0})
        bodies: list[Any] = [{"factor": 0}, {"factor": "x"}, {}, []]
        for wrong in bodies:
            assert (await _call(host, "POST", "/admin/lab/clock", json=wrong))[0] == 400
        assert host.clock.factor == 20.0


async def test_a_faster_clock_makes_a_waiting_timer_fire(world: World) -> None:
    async with world.host(TICK="0 0 * * * *") as host:
        status = world.blobs.get_blob_client(CONTAINER, f"timers/{world.tag}/Host.Functions.tick/status")
        await until(status.exists, "the timer listens")
        await _call(host, "POST", "/admin/lab/clock", json={"factor": 3600})
        assert (await world.ticks())[0]["past_due"] is False
