"""How every call to Azure is made: one HTTP session, no retries in the process, a time limit, errors of our own tree.

A Function that sleeps in an SDK's retry loop holds its lease and is paid for; the queue retries whole messages instead.
So retries are off everywhere, and what a retry could mend becomes a TemporaryError. The price: one lost packet costs a
message's turn. What a service says is quoted by its code only, as storage puts signatures into its messages.
The SDKs are imported where they are used: a cold start pays only for those that its handler needs.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from shared.errors import HomelinkError, PermanentError, TemporaryError

CONNECT_S = 5
READ_S = 25
TOTAL_S = 30.0
# When the service does not say: long enough for a restart of a front end, short against a sweep.
DEFAULT_DELAY_S = 5.0


class Http:
    """One aiohttp session for all adapters, made at the first use because it belongs to the running event loop.

    `ca_file` is trusted besides the system's authorities (a lab, or a TLS-inspecting proxy)."""

    def __init__(self, ca_file: Path | None = None) -> None:
        self._ca_file = ca_file
        self._session: Any = None

    def transport(self) -> Any:
        """A transport for an azure client; closing the client leaves the session open for the others."""
        import aiohttp
        from azure.core.pipeline.transport import AioHttpTransport

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._context()),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # azure-core does it
                trust_env=True,
            )
        return AioHttpTransport(
            session=self._session, session_owner=False, connection_timeout=CONNECT_S, read_timeout=READ_S
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self._ca_file is not None:
            context.load_verify_locations(self._ca_file)
        return context


@asynccontextmanager
async def bounded(what: str) -> AsyncIterator[None]:
    """Runs one call within TOTAL_S; what it raises becomes Temporary- or PermanentError, without the service's text.

    `what` names the service and the thing ("table leases"); it must not hold a secret."""
    from azure.core.exceptions import AzureError, HttpResponseError

    try:
        async with asyncio.timeout(TOTAL_S):
            yield
    except HomelinkError:
        raise
    except TimeoutError:
        raise TemporaryError(f"{what}: no answer within {TOTAL_S:.0f} s. It is tried again.", DEFAULT_DELAY_S) from None
    except HttpResponseError as e:
        raise of_response(what, e) from None
    except AzureError as e:  # not reached, answer lost, TLS refused
        raise TemporaryError(f"{what}: {type(e).__name__}{_tls(e)}. It is tried again.", DEFAULT_DELAY_S) from None


def of_response(what: str, e: Any) -> HomelinkError:
    """`e` is an azure HttpResponseError, with or without a response."""
    if e.response is None:
        return TemporaryError(f"{what}: {type(e).__name__} before an answer. It is tried again.", DEFAULT_DELAY_S)
    status, code = e.status_code or 0, error_code(e)
    if status in (408, 429) or status >= 500:
        return TemporaryError(f"{what}: status {status} ({code}). It is tried again.", retry_after(e.response.headers))
    if status in (401, 403):
        return PermanentError(
            f"{what}: refused with {status} ({code}). Give the Function app's identity its role there (docs: roles), "
            "and check the service's firewall."
        )
    return PermanentError(f"{what}: refused with {status} ({code}).")


def error_code(e: Any) -> str:
    """The service's error code, from the header (storage), the OData body (ARM, Key Vault) or the SDK's parse."""
    if e.response is not None and (header := e.response.headers.get("x-ms-error-code")):
        return str(header)
    for found in (getattr(e, "error_code", None), getattr(e.error, "code", None)):
        if found:
            return str(getattr(found, "value", found)).strip()
    return type(e).__name__


def retry_after(headers: Any, default: float = DEFAULT_DELAY_S) -> float:
    """Seconds; a date or nonsense there is the default (Azure sends seconds), and 0 is at least 1."""
    value = (headers.get("Retry-After") or "").strip()
    return float(max(1, min(int(value), 3600))) if value.isdecimal() else default


def _tls(e: BaseException) -> str:
    reason = e
    while reason is not None:
        if isinstance(reason, ssl.SSLError):
            return " (TLS: the certificate is not trusted, see HOMELINK_CA_FILE)"
        reason = reason.__cause__ or getattr(reason, "inner_exception", None)  # type: ignore[assignment]
    return ""
