"""The Queue on Azure storage queues, and the short-lived signatures by which agents read theirs.

An agent gets a user-delegation SAS: signed with a key that the control plane's identity fetched, so the account's own
keys can stay switched off, and revoking the delegation keys ends every grant at once. With a connection string (a local
emulator, which has no delegation keys for queues) the account key signs instead. A lost answer to `send` makes the
caller send again: consumers are level-triggered or know the message's id, so a duplicate does no harm.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from shared.azure.calls import Http, bounded, error_code, of_response
from shared.azure.limits import check_message, check_queue
from shared.azure.settings import AzureSettings
from shared.errors import PermanentError
from shared.seams import Clock

# A delegation key may live 7 days; a shorter one bounds what a leaked key can sign.
DELEGATION_S = 24 * 3600.0
MAX_DELEGATION_S = 7 * 24 * 3600.0
# Clocks of the signer and the service differ a little.
SKEW_S = 300.0


class StorageQueue:
    """`credential` is used when the settings name the queue service by URL, else the connection string's key."""

    def __init__(self, settings: AzureSettings, http: Http, clock: Clock, credential: Any = None) -> None:
        self._settings = settings
        self._http = http
        self._clock = clock
        self._credential = credential
        self._service: Any = None
        self._delegation: Any = None  # a UserDelegationKey: a secret
        self._delegation_ends = clock.now()

    def __repr__(self) -> str:
        return f"StorageQueue({self._settings.queue_url or 'connection string'})"

    async def close(self) -> None:
        if self._service is not None:
            await self._service.close()

    async def send(self, queue: str, text: str, delay_s: float = 0, ttl_s: float | None = None) -> None:
        delay, ttl = check_message(queue, text, delay_s, ttl_s)
        content = base64.b64encode(text.encode()).decode()
        client = self._client().get_queue_client(queue)
        async with bounded(f"queue {queue}"):
            await _made(
                client, lambda: client.send_message(content, visibility_timeout=delay or None, time_to_live=ttl)
            )

    async def grant(self, queue: str, valid_s: float) -> str:
        check_queue(queue)
        service = self._client()
        client = service.get_queue_client(queue)
        async with bounded(f"queue {queue}"):
            await _made(client, client.get_queue_properties)
            signature = await self._sign(service, queue, valid_s)
        base = self._settings.queue_public_url or service.url.partition("?")[0].rstrip("/")
        return f"{base}/{queue}?{signature}"

    async def remove(self, queue: str) -> None:
        from azure.core.exceptions import ResourceNotFoundError

        check_queue(queue)
        async with bounded(f"queue {queue}"):
            with suppress(ResourceNotFoundError):
                await self._client().delete_queue(queue)

    async def _sign(self, service: Any, queue: str, valid_s: float) -> str:
        from azure.storage.queue import QueueSasPermissions, generate_queue_sas

        now = self._clock.now()
        until = now + timedelta(seconds=valid_s)
        signer: dict[str, Any]
        if self._settings.connection_string:
            signer = {"account_key": service.credential.account_key}
        else:
            signer = {"user_delegation_key": await self._delegation_key(service, valid_s)}
        # An emulator's URL has the account in its path: https://203.0.113.80/devstoreaccount1.
        path = urlsplit(service.url).path.strip("/")
        account = self._settings.storage_account or service.account_name or path
        if not account or "/" in account:
            raise PermanentError(
                f"The storage account's name cannot be read from {self._settings.queue_url}. "
                "Set HOMELINK_STORAGE_ACCOUNT to it."
            )
        return str(
            generate_queue_sas(
                account,
                queue,
                permission=QueueSasPermissions(process=True),
                start=now - timedelta(seconds=SKEW_S),
                expiry=until,
                protocol="https" if self._https(service) else None,
                **signer,
            )
        )

    def _https(self, service: Any) -> bool:
        return urlsplit(self._settings.queue_public_url or service.url).scheme == "https"

    async def _delegation_key(self, service: Any, valid_s: float) -> Any:
        """Kept until a grant would outlive it: a key per agent and hour would be a call each."""
        now = self._clock.now()
        if valid_s > MAX_DELEGATION_S - SKEW_S:
            raise ValueError(f"a grant of {valid_s:.0f} s; a delegation key lives {MAX_DELEGATION_S:.0f} s")
        if self._delegation is None or now + timedelta(seconds=valid_s) > self._delegation_ends:
            ends = now + timedelta(seconds=min(MAX_DELEGATION_S - SKEW_S, max(DELEGATION_S, 2 * valid_s)))
            self._delegation = await service.get_user_delegation_key(start=now - timedelta(seconds=SKEW_S), expiry=ends)
            self._delegation_ends = ends
        return self._delegation

    def _client(self) -> Any:
        if self._service is None:
            from azure.storage.queue.aio import QueueServiceClient

            options = {"transport": self._http.transport(), "retry_total": 0}
            if self._settings.connection_string:
                self._service = QueueServiceClient.from_connection_string(self._settings.connection_string, **options)
            else:
                self._service = QueueServiceClient(self._settings.queue_url, credential=self._credential, **options)
        return self._service


async def _made(client: Any, act: Callable[[], Awaitable[Any]]) -> Any:
    """Does `act`; on a queue that is not there, makes it and does it once more."""
    from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError

    try:
        return await act()
    except ResourceNotFoundError as e:
        if error_code(e) != "QueueNotFound":
            raise
    try:
        await client.create_queue()
    except ResourceExistsError as e:
        if (
            error_code(e) != "QueueAlreadyExists"
        ):  # QueueBeingDeleted: Azure needs half a minute before the name is free
            raise of_response(f"queue {client.queue_name}", e) from None
    return await act()
