"""The timer trigger: one host fires, never two runs at once, one catch-up when an occurrence was missed.

The host that holds the function's blob lease fires; the others ask for the lease from time to time. When a host comes
to hold it and the recorded next occurrence has passed, the function runs at once with IsPastDue, once, however many
occurrences were missed. A failing function never stops its schedule.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from dataclasses import dataclass
from datetime import datetime

from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.functions.meta import Datum
from azure.storage.blob.aio import BlobServiceClient

from lab.host.clock import HostClock, wait_event
from lab.host.functions import AppFunction
from lab.host.invoke import InvocationFailed, Invoker
from lab.host.lease import CONTAINER, BlobLease
from lab.host.schedule import Schedule
from lab.host.settings import LockOptions
from lab.host.storage import Storage

log = logging.getLogger("lab.host")


@dataclass(frozen=True)
class ScheduleStatus:
    """What is recorded per timer, in wall time. `last` is None before the first run."""

    last: datetime | None
    next: datetime
    updated: datetime

    def as_json(self) -> dict[str, str | None]:
        last = self.last.isoformat() if self.last else None
        return {"Last": last, "Next": self.next.isoformat(), "LastUpdated": self.updated.isoformat()}

    @staticmethod
    def parse(text: bytes) -> ScheduleStatus:
        raw = json.loads(text)
        last = datetime.fromisoformat(raw["Last"]) if raw.get("Last") else None
        return ScheduleStatus(last, datetime.fromisoformat(raw["Next"]), datetime.fromisoformat(raw["LastUpdated"]))


class TimerListener:
    """Serves one timer function until `stop` is set; a run in progress is finished first."""

    def __init__(
        self,
        function: AppFunction,
        storage: Storage,
        invoker: Invoker,
        clock: HostClock,
        locks: LockOptions,
        host_id: str,
    ) -> None:
        self._function = function
        self._storage = storage
        self._invoker = invoker
        self._clock = clock
        self._locks = locks
        self._host_id = host_id
        self._schedule = Schedule(str(function.trigger["schedule"]), f"function {function.name}")
        wanted = function.trigger.get("useMonitor")
        self._monitored = wanted is not False and self._schedule.monitored(clock.now())

    async def run(self, stop: asyncio.Event) -> None:
        """Wait for the lease, fire while it is held, wait again when it is lost."""
        service = await self._storage.blobs("AzureWebJobsStorage")
        name = f"locks/{self._host_id}/Host.Functions.{self._function.name}.Listener"
        lease = BlobLease(service, name, self._locks.listener_lock_period)
        while not stop.is_set():
            try:
                held = await lease.acquire()
            except AzureError as error:
                log.warning("timer %s: no lease: %s", self._function.name, type(error).__name__)
                held = False
            if held:
                await self._while_held(lease, service, stop)
            else:
                await wait_event(stop, self._locks.recovery_polling_interval)

    async def _while_held(self, lease: BlobLease, service: BlobServiceClient, stop: asyncio.Event) -> None:
        over = asyncio.Event()
        firing = asyncio.create_task(self._fire(service, over))
        keeping = asyncio.create_task(self._keep(lease))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([firing, keeping, stopping], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            firing.cancel()  # the drain is over: do not wait for a function that does not end
            raise
        finally:
            over.set()
            stopping.cancel()
            await asyncio.wait([firing])
            keeping.cancel()
            await lease.release()
        if not firing.cancelled() and firing.exception() is not None:
            log.error("timer %s: listener failed: %s", self._function.name, type(firing.exception()).__name__)
            await wait_event(stop, 1.0)

    async def _keep(self, lease: BlobLease) -> None:
        """Renew at half the period; return when the lease is lost or may have expired."""
        period = self._locks.listener_lock_period
        renewed = time.monotonic()
        wait = period / 2
        while True:
            await asyncio.sleep(wait)
            try:
                if not await lease.renew():
                    log.warning("timer %s: lease lost", self._function.name)
                    return
            except AzureError:
                wait = period / 15
                if time.monotonic() - renewed > period - wait:
                    log.warning("timer %s: lease not renewed in time", self._function.name)
                    return
            else:
                renewed = time.monotonic()
                wait = period / 2

    async def _fire(self, service: BlobServiceClient, over: asyncio.Event) -> None:
        status = await self._read(service)
        if status is None:
            status = await self._record(service, None)
        # The earlier of the two: the recorded one may come from a faster clock, the computed one from a newer schedule.
        due = min(status.next, self._schedule.after(status.last or status.updated))
        past_due = self._monitored and due <= self._clock.now()
        if past_due or self._function.trigger.get("runOnStartup"):
            status = await self._run(service, status, past_due)
        while True:
            following = self._schedule.after(self._clock.scheduled())
            if not await self._clock.wait_until(following, over):
                return
            status = await self._run(service, status, past_due=False)

    async def _run(self, service: BlobServiceClient, status: ScheduleStatus, past_due: bool) -> ScheduleStatus:
        began = self._clock.now()
        payload = {"IsPastDue": past_due, "Schedule": {"AdjustForDST": True}, "ScheduleStatus": status.as_json()}
        with contextlib.suppress(InvocationFailed):  # logged by the invoker; the schedule goes on
            await self._invoker(self._function, Datum(json.dumps(payload), "json"), {})
        return await self._record(service, began)

    async def _read(self, service: BlobServiceClient) -> ScheduleStatus | None:
        if not self._monitored:
            return None
        try:
            download = await service.get_blob_client(CONTAINER, self._status_blob).download_blob()
            return ScheduleStatus.parse(await download.readall())
        except ResourceNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            log.warning("timer %s: its recorded status is unreadable and is replaced", self._function.name)
            return None

    async def _record(self, service: BlobServiceClient, last: datetime | None) -> ScheduleStatus:
        following = self._clock.wall(self._schedule.after(self._clock.scheduled()))
        status = ScheduleStatus(last, following, self._clock.now())
        if self._monitored:
            try:
                blob = service.get_blob_client(CONTAINER, self._status_blob)
                await blob.upload_blob(json.dumps(status.as_json()).encode(), overwrite=True)
            except AzureError as error:
                log.warning("timer %s: status not recorded: %s", self._function.name, type(error).__name__)
        return status

    @property
    def _status_blob(self) -> str:
        return f"timers/{self._host_id}/Host.Functions.{self._function.name}/status"
