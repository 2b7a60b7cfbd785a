"""The Vault on Azure Key Vault secrets.

Deleting is soft: the name stays taken until it is purged. `set` on such a name recovers it and stores a new version, as
purging needs a right that the control plane should not have and purge protection would forbid it. The old versions come
back with it; nothing asks for them, since readers name a version. Recovery takes the vault some seconds: until then
`set` ends in a TemporaryError rather than waiting in the process.
"""

from __future__ import annotations

from typing import Any

from shared.azure.calls import Http, bounded
from shared.azure.limits import check_secret, check_secret_name
from shared.azure.settings import AzureSettings
from shared.errors import TemporaryError
from shared.seams import Secret

RECOVERY_S = 5.0


class KeyVault:
    def __init__(self, settings: AzureSettings, http: Http, credential: Any) -> None:
        self._settings = settings
        self._http = http
        self._credential = credential
        self._secrets: Any = None

    def __repr__(self) -> str:
        return f"KeyVault({self._settings.vault_url})"

    async def close(self) -> None:
        if self._secrets is not None:
            await self._secrets.close()

    async def get(self, name: str, version: str | None = None) -> Secret | None:
        from azure.core.exceptions import ResourceNotFoundError

        check_secret_name(name)
        async with bounded(f"secret {name}"):
            try:
                found = await self._client().get_secret(name, version)
            except ResourceNotFoundError:  # no such name or version, or deleted
                return None
        return Secret(name, found.properties.version, found.value)

    async def set(self, name: str, value: str) -> str:
        from azure.core.exceptions import ResourceExistsError

        check_secret(name, value)
        client = self._client()
        async with bounded(f"secret {name}"):
            try:
                return str((await client.set_secret(name, value)).properties.version)
            except ResourceExistsError:  # ObjectIsDeletedButRecoverable, ObjectIsBeingDeleted, ...BeingRecovered
                await self._ask("POST", f"/deletedsecrets/{name}/recover", (200, 404, 409))
            try:
                return str((await client.set_secret(name, value)).properties.version)
            except ResourceExistsError:
                raise TemporaryError(
                    f"Secret {name} was deleted and is being recovered. It is stored at the next try.", RECOVERY_S
                ) from None

    async def delete(self, name: str) -> None:
        check_secret_name(name)
        async with bounded(f"secret {name}"):
            await self._ask("DELETE", f"/secrets/{name}", (200, 404))

    async def _ask(self, method: str, path: str, expected: tuple[int, ...]) -> None:
        """One request. The SDK's own delete and recover poll every 2 s until done, which would sleep in a Function."""
        from azure.core.exceptions import HttpResponseError
        from azure.core.rest import HttpRequest

        response = await self._client().send_request(HttpRequest(method, path))
        if response.status_code not in expected:
            raise HttpResponseError(response=response)

    def _client(self) -> Any:
        if self._secrets is None:
            from azure.keyvault.secrets.aio import SecretClient

            self._secrets = SecretClient(
                self._settings.vault_url,
                self._credential,
                transport=self._http.transport(),
                retry_total=0,
                verify_challenge_resource=self._settings.verify_vault_challenge,
            )
        return self._secrets
