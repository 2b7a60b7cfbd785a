"""The Store in memory, with the ETags, the atomicity and the refusals of the real one (see tests/contracts)."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence

from shared.azure.limits import check_table, check_writes, row_text
from shared.errors import RowExists, StoreConflict
from shared.seams import Row, Write, WriteKind


class ModelStore:
    """`before_transact`, when set, is awaited before each transaction with (table, partition, writes): the place where
    a test lets somebody else write first, or raises an error as if the store were away. `after_transact` likewise
    after it: an error raised there is an answer that got lost."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str, str], tuple[str, str]] = {}
        self._writes = 0
        self.transactions: list[tuple[str, str, tuple[Write, ...]]] = []
        self.before_transact: Callable[[str, str, Sequence[Write]], Awaitable[None]] | None = None
        self.after_transact: Callable[[str, str, Sequence[Write]], Awaitable[None]] | None = None

    async def get(self, table: str, partition: str, key: str) -> Row | None:
        check_table(table)
        found = self._rows.get((table, partition, key))
        return None if found is None else Row(partition, key, json.loads(found[0]), found[1])

    async def query(
        self,
        table: str,
        partition: str,
        prefix: str = "",
        *,
        start: str = "",
        end: str = "",
        limit: int | None = None,
    ) -> list[Row]:
        check_table(table)
        mine = (k for t, p, k in self._rows if t == table and p == partition and k.startswith(prefix))
        keys = sorted(k for k in mine if k >= start and (not end or k < end))[:limit]
        return [row for k in keys if (row := await self.get(table, partition, k))]

    async def scan(self, table: str, key: str) -> list[Row]:
        check_table(table)
        partitions = sorted(p for t, p, k in self._rows if t == table and k == key)
        return [row for p in partitions if (row := await self.get(table, p, key))]

    async def transact(self, table: str, partition: str, writes: Sequence[Write]) -> dict[str, str]:
        check_writes(table, partition, writes)
        texts = {w.key: row_text(table, partition, w.key, w.data) for w in writes}
        if self.before_transact:
            await self.before_transact(table, partition, writes)
        for write in writes:
            self._check(table, partition, write)
        etags: dict[str, str] = {}
        for write in writes:
            at = (table, partition, write.key)
            if write.kind is WriteKind.DELETE:
                self._rows.pop(at, None)
                continue
            self._writes += 1
            etags[write.key] = f'W/"{self._writes}"'
            self._rows[at] = (texts[write.key], etags[write.key])
        self.transactions.append((table, partition, tuple(writes)))
        if self.after_transact:
            await self.after_transact(table, partition, writes)
        return etags

    def rows(self) -> dict[tuple[str, str, str], tuple[str, str]]:
        """A backup: (table, partition, key) -> (text, ETag)."""
        return dict(self._rows)

    def put_rows(self, rows: dict[tuple[str, str, str], tuple[str, str]]) -> None:
        """Restores a backup; every row gets another ETag."""
        self._rows = {}
        for at, (text, _) in rows.items():
            self._writes += 1
            self._rows[at] = (text, f'W/"{self._writes}"')

    def everything(self) -> str:
        """All keys and rows as one text: for a test that looks for what must never be stored."""
        return "\n".join(f"{'/'.join(at)} {text}" for at, (text, _) in sorted(self._rows.items()))

    def _check(self, table: str, partition: str, write: Write) -> None:
        found = self._rows.get((table, partition, write.key))
        where = f"{table}/{partition}/{write.key}"
        if write.kind is WriteKind.INSERT and found is not None:
            raise RowExists(f"Row {where} exists already; an insert never overwrites.")
        if write.etag is not None and (found is None or found[1] != write.etag):
            raise StoreConflict(
                f"Row {where} was changed or removed by somebody else since it was read. Read it again."
            )
