"""The storage front before a real Azurite, driven by the unmodified azure-storage-queue."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.storage.queue import QueueSasPermissions, UserDelegationKey, generate_queue_sas
from azure.storage.queue.aio import QueueClient, QueueServiceClient

from lab.azure.clock import VirtualClock
from lab.azure.server import LabAzure, LabConfig
from lab.azure.storage import StorageConfig
from lab.azurite import ACCOUNT, KEY, Azurite, Tls
from tests.lab.azure.conftest import Certs
from tests.lab.azure.world import AsyncLabCredential

QUEUE = "agent-home"


@dataclass
class Front:
    lab: LabAzure
    url: str
    options: dict[str, Any]
    wall: list[float]

    def service(self) -> QueueServiceClient:
        return QueueServiceClient(self.url, credential=AsyncLabCredential(self.lab), **self.options)

    def queue(self, sas: str, name: str = QUEUE) -> QueueClient:
        return QueueClient(self.url, name, credential=sas, **self.options)

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.wall[0], UTC)

    async def key(self) -> UserDelegationKey:
        async with self.service() as service:
            return await service.get_user_delegation_key(start=self.now(), expiry=self.now() + timedelta(days=1))

    def sas(self, key: UserDelegationKey, permission: str, **more: Any) -> str:
        expiry = self.now() + timedelta(hours=1)
        allowed = QueueSasPermissions.from_string(permission)
        sas = generate_queue_sas(ACCOUNT, QUEUE, user_delegation_key=key, permission=allowed, expiry=expiry, **more)
        return str(sas)


@pytest.fixture
async def front(certs: Certs) -> AsyncIterator[Front]:
    # Azurite lives by the real clock, so the front's starts there too and is moved on by tests.
    wall = [datetime.now(UTC).timestamp()]
    async with Azurite(tls=Tls(certs.cert, certs.key)) as azurite:
        upstream = azurite.endpoint("queue").removesuffix(f"/{ACCOUNT}")
        config = LabConfig(storage=StorageConfig(upstream, ACCOUNT, KEY, certs.client()))
        lab = LabAzure(config, clock=VirtualClock(), wall=lambda: wall[0])
        await lab.start(certs.server())
        try:
            options = {"connection_verify": str(certs.ca), "retry_total": 0}
            found = Front(lab, f"{lab.base_url}/{ACCOUNT}", options, wall)
            async with found.service() as service:
                await service.create_queue(QUEUE)
                await service.create_queue("agent-other")
            yield found
        finally:
            await lab.stop()


async def test_a_delegated_sas_processes_its_queue_and_nothing_else(front: Front) -> None:
    async with front.service() as service:  # bearer tokens pass through to Azurite
        await service.get_queue_client(QUEUE).send_message("hello <&> wörld")
    key = await front.key()
    assert key.signed_oid == front.lab.config.object_id and key.signed_service == "q"
    sas = front.sas(key, "p", start=front.now() - timedelta(minutes=1), protocol="https")
    async with front.queue(sas) as queue:
        [message] = [item async for item in queue.receive_messages()]
        assert message.content == "hello <&> wörld"
        await queue.delete_message(message)
        with pytest.raises(HttpResponseError) as refused:
            await queue.send_message("not allowed")
        assert refused.value.status_code == 403
        assert refused.value.error_code == "AuthorizationPermissionMismatch"
    async with front.queue(sas, "agent-other") as other:
        with pytest.raises(ClientAuthenticationError) as wrong:
            _ = [item async for item in other.receive_messages()]
        assert wrong.value.status_code == 403


async def receive(front: Front, sas: str) -> int:
    """The status of receiving with that SAS."""
    async with front.queue(sas) as queue:
        try:
            _ = [item async for item in queue.receive_messages()]
        except HttpResponseError as error:
            assert error.error_code == "AuthenticationFailed"
            assert parse_qs(sas)["sig"][0] not in str(error)
            return int(error.status_code or 0)
    return 200


async def test_expiry_and_start_are_kept(front: Front) -> None:
    sas = front.sas(await front.key(), "p")
    assert await receive(front, sas) == 200
    front.wall[0] += 3600
    assert await receive(front, sas) == 403
    front.wall[0] -= 3600
    late = front.sas(await front.key(), "p", start=front.now() + timedelta(minutes=5))
    assert await receive(front, late) == 403


@pytest.mark.parametrize("field", ["sp", "se", "sig", "skoid", "ske", "sv"])
async def test_any_change_breaks_the_signature(front: Front, field: str) -> None:
    sas = front.sas(await front.key(), "p")
    query = {name: values[0] for name, values in parse_qs(sas).items()}
    changes = {
        "sp": "rap",
        "se": (front.now() + timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "sig": "AAAA" + query["sig"][4:],
        "skoid": "00000000-0000-0000-0000-000000000001",
        "ske": (front.now() + timedelta(days=2)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "sv": "2018-11-09",
    }
    assert await receive(front, urlencode({**query, field: changes[field]})) == 403


async def test_a_forged_key_is_refused(front: Front) -> None:
    key = await front.key()
    key.value = "c2VjcmV0" * 4
    assert await receive(front, front.sas(key, "p")) == 403


async def test_delegation_keys_need_a_storage_token_and_a_sane_lifetime(front: Front) -> None:
    class ArmToken(AsyncLabCredential):
        async def get_token(self, *scopes: str, **options: Any) -> Any:
            return await super().get_token("https://management.azure.com/.default")

        async def get_token_info(self, *scopes: str, **options: Any) -> Any:
            return await super().get_token_info("https://management.azure.com/.default")

    async with QueueServiceClient(front.url, credential=ArmToken(front.lab), **front.options) as service:
        with pytest.raises(ClientAuthenticationError):
            await service.get_user_delegation_key(start=front.now(), expiry=front.now() + timedelta(hours=1))
    async with front.service() as service:
        past = front.now() - timedelta(hours=2)
        for expiry in (past + timedelta(hours=1), front.now() + timedelta(days=8)):
            with pytest.raises(HttpResponseError) as refused:
                await service.get_user_delegation_key(start=past, expiry=expiry)
            assert refused.value.status_code == 400


async def test_a_dead_upstream_is_said(certs: Certs) -> None:
    config = LabConfig(storage=StorageConfig("https://127.0.0.1:1", ACCOUNT, KEY, certs.client()))
    lab = LabAzure(config, clock=VirtualClock())
    await lab.start(certs.server())
    try:
        options = {"connection_verify": str(certs.ca), "retry_total": 0}
        url = f"{lab.base_url}/{ACCOUNT}"
        async with QueueServiceClient(url, credential=AsyncLabCredential(lab), **options) as service:
            with pytest.raises(HttpResponseError) as refused:
                await service.create_queue(QUEUE)
            assert refused.value.status_code == 503
    finally:
        await lab.stop()
