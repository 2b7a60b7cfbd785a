"""The one credential of the process: the Function app's managed identity, or a developer's login outside Azure.

Inside Azure (the platform sets IDENTITY_ENDPOINT) only the managed identity is tried: a chain would hide its error
behind those of eight others and slow a cold start. azure-identity reads that endpoint from the environment itself.
A token that cannot be had is not the fault of the service it was for, but the SDKs raise the same type for both, so it
is told apart here, where it happens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.azure.calls import Http
from shared.errors import TemporaryError

RETRY_S = 30.0


class Identity:
    """An azure AsyncTokenCredential whose failures are TemporaryErrors. Tokens stay in the memory of what it wraps."""

    def __init__(self, wrapped: Any) -> None:
        self._wrapped = wrapped

    async def get_token(self, *scopes: str, **options: Any) -> Any:
        return await self._asked("get_token", scopes, options)

    async def get_token_info(self, *scopes: str, **options: Any) -> Any:
        return await self._asked("get_token_info", scopes, options)

    async def close(self) -> None:
        await self._wrapped.close()

    async def __aenter__(self) -> Identity:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _asked(self, call: str, scopes: tuple[str, ...], options: dict[str, Any]) -> Any:
        from azure.core.exceptions import AzureError

        try:
            return await getattr(self._wrapped, call)(*scopes, **options)
        except AzureError as e:
            status = getattr(e, "status_code", None)
            raise TemporaryError(
                f"No token for {', '.join(scopes)}: {type(e).__name__}{f' {status}' if status else ''}. If it lasts, "
                "check that the Function app's identity is switched on and AZURE_CLIENT_ID names it; outside Azure, "
                "log in.",
                RETRY_S,
            ) from None


def credential(http: Http, env: Mapping[str, str]) -> Identity:
    """AZURE_CLIENT_ID picks a user-assigned identity."""
    from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential

    client_id = env.get("AZURE_CLIENT_ID") or None
    if env.get("IDENTITY_ENDPOINT"):
        return Identity(ManagedIdentityCredential(client_id=client_id, transport=http.transport(), retry_total=0))
    return Identity(
        DefaultAzureCredential(
            managed_identity_client_id=client_id,
            exclude_shared_token_cache_credential=True,
            exclude_visual_studio_code_credential=True,
            transport=http.transport(),
        )
    )
