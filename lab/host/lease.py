"""A blob lease that says which host runs a timer.

It is not a fencing token: a host that was paused may still be running when another has taken over, exactly as in Azure.
Critical sections of the application need a lease or an ETag of their own.
"""

from __future__ import annotations

import contextlib

from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob.aio import BlobLeaseClient, BlobServiceClient

CONTAINER = "azure-webjobs-hosts"


class BlobLease:
    """One named lease of `period` seconds (15 to 60)."""

    def __init__(self, service: BlobServiceClient, blob: str, period: float) -> None:
        self._container = service.get_container_client(CONTAINER)
        self._blob = self._container.get_blob_client(blob)
        self._period = int(period)
        self._lease: BlobLeaseClient | None = None

    async def acquire(self) -> bool:
        """Try once. False when another host holds it. AzureError when the storage does not answer."""
        lease = BlobLeaseClient(self._blob)
        try:
            await lease.acquire(lease_duration=self._period)
        except ResourceNotFoundError:
            await self._create()
            return await self.acquire()
        except ResourceExistsError:
            return False
        self._lease = lease
        return True

    async def renew(self) -> bool:
        """False when the lease is lost for good. AzureError when the storage does not answer: try again."""
        if self._lease is None:
            return False
        try:
            await self._lease.renew()
        except (ResourceExistsError, ResourceNotFoundError):
            return False
        except HttpResponseError as error:
            if error.status_code == 412:
                return False
            raise
        return True

    async def release(self) -> None:
        """Give it up at once, so that the next host need not wait for it to expire."""
        if self._lease is not None:
            with contextlib.suppress(AzureError):
                await self._lease.release()
            self._lease = None

    async def _create(self) -> None:
        with contextlib.suppress(ResourceExistsError):
            await self._container.create_container()
        with contextlib.suppress(ResourceExistsError):
            await self._blob.upload_blob(b"", overwrite=False)
