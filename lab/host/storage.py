"""Storage connections by name: a connection string, or an identity, resolved as Azure's host resolves them.

A connection `X` is the setting `X`, else `AzureWebJobsX`; an identity connection is the group `X__queueServiceUri`,
`X__blobServiceUri` (or `X__accountName`), `X__credential`, `X__clientId`. A private CA is the usual variable
SSL_CERT_FILE: a verify option on the client would build a TLS context, and so a new connection, for each request.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue.aio import QueueClient, QueueServiceClient

from lab.host.settings import SettingsError

_DEVELOPMENT = (
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50u"
    "SRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;"
    "QueueEndpoint=http://127.0.0.1:10001/devstoreaccount1;TableEndpoint=http://127.0.0.1:10002/devstoreaccount1;"
)
# The SDK's own first retry comes after 15 s: longer than the lab's whole reaction to an address change.
_RETRY: dict[str, Any] = {"retry_total": 3, "initial_backoff": 0.3, "increment_base": 2}


class Storage:
    """Clients by connection name, one each, closed together. Also the sink of queue outputs."""

    def __init__(self, environ: Mapping[str, str], base64_bodies: bool) -> None:
        self._environ = environ
        self._base64 = base64_bodies
        self._open = AsyncExitStack()
        self._services: dict[tuple[str, str], Any] = {}
        self._queues: dict[tuple[str, str], QueueClient] = {}
        self._credentials: dict[tuple[str, str], Any] = {}

    async def close(self) -> None:
        await self._open.aclose()

    async def blobs(self, connection: str) -> BlobServiceClient:
        return await self._service("blob", connection)

    async def queue(self, connection: str, name: str) -> QueueClient:
        """A client that carries bodies as they are; encoding is the caller's."""
        key = (connection, name)
        if key not in self._queues:
            service = await self._service("queue", connection)
            self._queues[key] = service.get_queue_client(name)
        return self._queues[key]

    async def send(self, connection: str, queue: str, body: bytes) -> None:
        """Put one message, creating the queue at the first need as Azure's output binding does."""
        text = base64.b64encode(body).decode() if self._base64 else body.decode()
        await self.put(await self.queue(connection, queue), text)

    @staticmethod
    async def put(client: QueueClient, text: str) -> None:
        """Put a body as it stands."""
        try:
            await client.send_message(text)
        except ResourceNotFoundError:
            with contextlib.suppress(ResourceExistsError):  # someone else was first, which is as good
                await client.create_queue()
            await client.send_message(text)

    async def _service(self, kind: str, connection: str) -> Any:
        key = (kind, connection)
        if key not in self._services:
            factory = QueueServiceClient if kind == "queue" else BlobServiceClient
            self._services[key] = await self._open.enter_async_context(await self._connect(factory, kind, connection))
        return self._services[key]

    async def _connect(self, factory: Any, kind: str, connection: str) -> Any:
        for name in (connection, f"AzureWebJobs{connection}"):
            text = self._environ.get(name, "")
            if text:
                whole = _DEVELOPMENT if "usedevelopmentstorage=true" in text.lower() else text
                return factory.from_connection_string(whole, **_RETRY)
            uri = self._uri(kind, name)
            if uri:
                return factory(uri, credential=await self._credential(name), **_RETRY)
        raise SettingsError(
            f"connection {connection}: set {connection} to a connection string, or {connection}__{kind}ServiceUri and "
            f"{connection}__credential=managedidentity"
        )

    def _uri(self, kind: str, name: str) -> str:
        account = self._environ.get(f"{name}__accountName")
        default = f"https://{account}.{kind}.core.windows.net" if account else ""
        return self._environ.get(f"{name}__{kind}ServiceUri", default)

    async def _credential(self, name: str) -> Any:
        from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential

        client_id = self._environ.get(f"{name}__clientId", "")
        managed = self._environ.get(f"{name}__credential", "").lower() == "managedidentity"
        key = (str(managed), client_id)
        if key not in self._credentials:
            options = {"client_id": client_id} if client_id else {}
            credential = ManagedIdentityCredential(**options) if managed else DefaultAzureCredential()
            self._credentials[key] = await self._open.enter_async_context(credential)
        return self._credentials[key]
