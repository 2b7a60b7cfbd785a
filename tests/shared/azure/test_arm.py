"""AzureArm against a scripted ARM over TLS: refusals, lost answers, and where the token may go.

What a well-behaved ARM does is in tests/contracts/test_arm.py.
"""

from __future__ import annotations

import logging
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web
from azure.core.credentials import AccessToken

from shared.azure.arm import AzureArm, without_secrets
from shared.azure.calls import Http
from shared.azure.settings import AzureSettings
from shared.errors import ArmBusy, ArmRejected, PermanentError, TemporaryError
from shared.seams import ArmKind, ArmRef, BgpQuestion

TOKEN = "s3cret-bearer-token"
PSK = "s3cretPreSharedKey"
LINK = ArmRef("sub", "rg", ArmKind.CONNECTION, "link")
GATEWAY = ArmRef("sub", "rg", ArmKind.GATEWAY, "gw")


class Login:
    """A credential; `error` is what a managed identity's failure becomes."""

    error: Exception | None = None

    async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        if self.error:
            raise self.error
        return AccessToken(TOKEN, int(time.time()) + 3600)

    async def close(self) -> None: ...


@dataclass
class Scripted:
    """`answer` is called for each request; `seen` is (method, path, authorization)."""

    arm: AzureArm
    login: Login
    url: str
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]]
    seen: list[tuple[str, str, str]] = field(default_factory=list)

    def answers(self, status: int, body: Any = None, **headers: str) -> None:
        named = {k.replace("_", "-"): v for k, v in headers.items()}

        async def answer(_: web.Request) -> web.StreamResponse:
            if isinstance(body, str):
                return web.Response(status=status, text=body, content_type="text/html", headers=named)
            return web.json_response(body, status=status, headers=named)

        self.answer = answer


@pytest.fixture
async def scripted(tmp_path: Path) -> AsyncIterator[Scripted]:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    made: Scripted

    async def handle(request: web.Request) -> web.StreamResponse:
        made.seen.append((request.method, request.path, request.headers.get("Authorization", "")))
        return await made.answer(request)

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    url = f"https://127.0.0.1:{runner.addresses[0][1]}"
    settings = AzureSettings("c", "https://vault.test", arm_url=url, arm_scope=f"{url}/.default")
    http, login = Http(tmp_path / "ca.pem"), Login()
    made = Scripted(AzureArm(settings, http, login), login, url, handle)
    yield made
    await made.arm.close()
    await http.close()
    await runner.cleanup()


def error(code: str, message: str = "words", **more: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, **more}}


@pytest.mark.parametrize(
    ("status", "code", "locked", "delay"),
    [
        (409, "AnotherOperationInProgress", True, 12),
        (400, "AnotherOperationInProgress", True, 12),
        (429, "RetryableErrorDueToAnotherOperation", True, 12),
        (429, "RetryableError", True, 12),
        (429, "TooManyRequests", False, 12),
        (429, "OperationNotAllowed", False, 12),
        (500, "InternalServerError", False, 12),
        (503, "ServerTimeout", False, 12),
        (408, "RequestTimeout", False, 12),
    ],
)
async def test_what_passes_by_itself(scripted: Scripted, status: int, code: str, locked: bool, delay: float) -> None:
    scripted.answers(status, error(code), Retry_After="12")
    arm = scripted.arm
    question = arm.ask_bgp(GATEWAY, BgpQuestion.PEERS)
    for act in (arm.put(LINK, {}), arm.get(LINK), arm.reset_gateway(GATEWAY), question):
        with pytest.raises(ArmBusy) as busy:
            await act
        assert (busy.value.code, busy.value.locked, busy.value.delay_s) == (code, locked, delay)
    assert len(scripted.seen) == 4, "nothing is retried in the process"


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "InvalidIpAddress"), (403, "AuthorizationFailed"), (409, "CannotDeleteResource"), (422, "Odd")],
)
async def test_what_does_not(scripted: Scripted, status: int, code: str) -> None:
    scripted.answers(status, error(code, "The words of ARM."))
    with pytest.raises(ArmRejected, match=r"connections/link.*The words of ARM\.") as refused:
        await scripted.arm.put(LINK, {})
    assert (refused.value.status, refused.value.code) == (status, code)


async def test_the_details_of_a_refusal_are_told(scripted: Scripted) -> None:
    details = [{"code": "ReferencedResourceNotProvisioned", "message": "pip is Updating"}]
    scripted.answers(429, error("RetryableError", "A retryable error occured.", details=details))
    with pytest.raises(ArmBusy, match="pip is Updating"):
        await scripted.arm.put(GATEWAY, {})


@pytest.mark.parametrize("body", [error("SubscriptionNotFound"), "<html>no such site</html>", ["odd"], None])
async def test_a_404_that_is_not_about_the_resource_is_an_error(scripted: Scripted, body: Any) -> None:
    scripted.answers(404, body)
    for act in (scripted.arm.get(LINK), scripted.arm.delete(LINK)):
        with pytest.raises(ArmRejected):
            await act
    with pytest.raises(ArmRejected):
        await scripted.arm.ensure_resource_group("sub", "rg", "westeurope")


@pytest.mark.parametrize("status", [301, 307, 308])
async def test_a_redirect_is_not_followed_with_the_token(scripted: Scripted, status: int) -> None:
    scripted.answers(status, None, Location=f"{scripted.url}/elsewhere")
    with pytest.raises(ArmRejected):
        await scripted.arm.get(LINK)
    assert [path for _, path, _ in scripted.seen] == [
        "/subscriptions/sub/resourceGroups/rg/providers/Microsoft.Network/connections/link"
    ]


async def test_a_lost_answer(scripted: Scripted) -> None:
    async def lose(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    scripted.answer = lose
    with pytest.raises(ArmBusy) as busy:
        await scripted.arm.reset_gateway(GATEWAY)
    assert not busy.value.locked and len(scripted.seen) == 1, "a reset is never sent twice"


async def test_no_token(scripted: Scripted) -> None:
    scripted.login.error = TemporaryError("No token for arm", 30)
    for act in (scripted.arm.get(LINK), scripted.arm.poll(f"{scripted.url}/subscriptions/s/x")):
        with pytest.raises(ArmBusy, match="No token") as busy:
            await act
        assert (busy.value.code, busy.value.delay_s) == ("CredentialUnavailable", 30)
    assert scripted.seen == []


async def test_an_untrusted_certificate(scripted: Scripted) -> None:
    http = Http()
    stranger = AzureArm(scripted.arm._settings, http, scripted.login)
    with pytest.raises(ArmBusy):
        await stranger.get(LINK)
    await stranger.close()
    await http.close()
    assert scripted.seen == []


async def test_a_key_that_arm_quotes_is_masked(scripted: Scripted, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    scripted.answers(400, error("InvalidSharedKey", f"The key {PSK} is too short."))
    body = {"properties": {"sharedKey": PSK}}
    for act in (scripted.arm.put(LINK, body), scripted.arm.set_shared_key(LINK, PSK)):
        with pytest.raises(ArmRejected, match=r"The key \*\*\* is too short") as refused:
            await act
        assert PSK not in repr(refused.value) + str(refused.value.__cause__)
    assert PSK not in caplog.text and TOKEN not in caplog.text
    assert body == {"properties": {"sharedKey": PSK}}, "the caller's body is left alone"


async def test_a_started_write_holds_no_key(scripted: Scripted) -> None:
    operation = f"{scripted.url}/subscriptions/sub/providers/Microsoft.Network/locations/w/operations/1?api-version=x"
    scripted.answers(
        201, {"properties": {"sharedKey": PSK, "provisioningState": "Updating"}}, Azure_AsyncOperation=operation
    )
    started = await scripted.arm.put(LINK, {"properties": {"sharedKey": PSK}})
    assert started.operation_url == operation and PSK not in repr(started)


async def test_the_body_comes_back_in_rests_names_and_unknown_ones_are_kept(scripted: Scripted) -> None:
    body = {
        "id": LINK.id(),
        "name": "link",
        "etag": 'W/"1"',
        "properties": {
            "provisioningState": "Succeeded",
            "connectionStatus": "Connected",
            "sharedKey": PSK,
            "ingressBytesTransferred": 5,
            "somethingNew": {"x": 1},
            "ipsecPolicies": [{"saLifeTimeSeconds": 27000, "ipsecEncryption": "GCMAES256"}],
            "tunnelConnectionStatus": [{"tunnel": "t", "lastConnectionEstablishedUtcTime": "11/01/2026 12:00:00"}],
        },
    }
    scripted.answers(200, body)
    assert await scripted.arm.get(LINK) == without_secrets(body)


async def test_every_page_of_a_list_is_read_and_no_key_kept(scripted: Scripted) -> None:
    def item(name: str) -> dict[str, Any]:
        return {"name": name, "properties": {"connectionType": "IPsec", "sharedKey": PSK}}

    async def answer(request: web.Request) -> web.StreamResponse:
        if "page" in request.query:
            return web.json_response({"value": [item("b"), item("c")]})
        return web.json_response({"value": [item("a")], "nextLink": f"{scripted.url}{request.path}?page=2"})

    scripted.answer = answer
    found = await scripted.arm.list("sub", "rg", ArmKind.CONNECTION)
    assert [i["name"] for i in found] == ["a", "b", "c"] and PSK not in repr(found)
    path = "/subscriptions/sub/resourceGroups/rg/providers/Microsoft.Network/connections"
    assert [(m, p) for m, p, _ in scripted.seen] == [("GET", path)] * 2


@pytest.mark.parametrize("where", ["https://localhost:{port}/next", "http://127.0.0.1:{port}/next", "https://x.test/"])
async def test_a_next_page_elsewhere_does_not_get_the_token(scripted: Scripted, where: str) -> None:
    link = where.format(port=scripted.url.rpartition(":")[2])
    scripted.answers(200, {"value": [], "nextLink": link})
    with pytest.raises(PermanentError, match="next page"):
        await scripted.arm.list("sub", "rg", ArmKind.GATEWAY)
    assert len(scripted.seen) == 1


async def test_a_list_that_is_refused_on_its_second_page_is_no_list(scripted: Scripted) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if "page" in request.query:
            return web.json_response(error("TooManyRequests"), status=429, headers={"Retry-After": "17"})
        return web.json_response({"value": [], "nextLink": f"{scripted.url}{request.path}?page=2"})

    scripted.answer = answer
    with pytest.raises(ArmBusy) as busy:
        await scripted.arm.list("sub", "rg", ArmKind.GATEWAY)
    assert (busy.value.delay_s, busy.value.locked) == (17, False)


@pytest.mark.parametrize(("code", "known"), [("ResourceGroupNotFound", True), ("SubscriptionNotFound", False)])
async def test_a_list_of_no_group_is_empty_but_not_of_no_subscription(
    scripted: Scripted, code: str, known: bool
) -> None:
    scripted.answers(404, error(code))
    if known:
        assert await scripted.arm.list("sub", "rg", ArmKind.GATEWAY) == []
        return
    with pytest.raises(ArmRejected):
        await scripted.arm.list("sub", "rg", ArmKind.GATEWAY)


def test_secrets_are_removed_wherever_they_are() -> None:
    body = {"a": [{"sharedKey": "x", "b": 1}], "SharedKey": "y", "properties": {"radiusServerSecret": "z"}}
    assert without_secrets(body) == {"a": [{"b": 1}], "properties": {}}
    assert body["SharedKey"] == "y"


def test_importing_the_adapters_costs_no_sdk() -> None:
    code = (
        "import sys, shared.azure.arm, shared.azure.store, shared.azure.queue, shared.azure.vault, "
        "shared.azure.credential, shared.azure.settings, shared.azure.system;"
        "print([m for m in sys.modules if m.split('.')[0] in ('azure', 'aiohttp', 'requests')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
