"""One writer per unit, enforced by the store.

The lease row lies in the unit's own partition, and every write of state is one transaction that replaces the lease row
by its ETag. Whoever lost the lease, however late it wakes up, holds an old ETag, so the store refuses all of its write:
no clock has to be right for that. The expiry only says when another may try.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from shared.domain import limits
from shared.errors import LeaseHeld, StoreConflict
from shared.seams import Store, Write, WriteKind

from .services import UNITS

KEY = "lease"


class Lease:
    """Made by `acquire`. `owner` is unique per step, so two steps of one instance exclude each other too."""

    def __init__(self, store: Store, unit: str, owner: str, etag: str, until: datetime) -> None:
        self._store, self._unit, self._owner, self._etag, self._until = store, unit, owner, etag, until

    @classmethod
    async def acquire(cls, store: Store, unit: str, owner: str, now: datetime) -> Lease:
        """Raises LeaseHeld while another holds it."""
        row = await store.get(UNITS, unit, KEY)
        until = now + timedelta(seconds=limits.LEASE_S)
        data = {"owner": owner, "until": until.isoformat()}
        if row is None:
            write = Write(WriteKind.INSERT, KEY, data)
        else:
            held_until = datetime.fromisoformat(row.data["until"])
            if held_until > now:
                raise LeaseHeld(f"unit {unit} is being worked on until {held_until:%H:%M:%S}", 3.0)
            write = Write(WriteKind.REPLACE, KEY, data, row.etag)
        try:
            etags = await store.transact(UNITS, unit, [write])
        except StoreConflict as e:
            raise LeaseHeld(f"another instance took unit {unit} first", 3.0) from e
        return cls(store, unit, owner, etags[KEY], until)

    async def commit(self, writes: Sequence[Write]) -> dict[str, str]:
        """All of `writes` or none. Raises StoreConflict when the lease is no longer ours."""
        return await self._write(writes, self._until)

    async def release(self) -> None:
        """Lets the next one in at once. A lease lost meanwhile is not ours to release."""
        try:
            await self._write([], datetime.fromtimestamp(0, self._until.tzinfo))
        except StoreConflict:
            return

    async def _write(self, writes: Sequence[Write], until: datetime) -> dict[str, str]:
        data = {"owner": self._owner, "until": until.isoformat()}
        lease = Write(WriteKind.REPLACE, KEY, data, self._etag)
        etags = await self._store.transact(UNITS, self._unit, [lease, *writes])
        self._etag = etags[KEY]
        return etags
