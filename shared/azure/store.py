"""The Store on Azure tables.

A row is one entity: its JSON cut into the properties d0..dn, as a string property ends at 32 Ki characters. Keys are
escaped, since the service refuses some characters and its client libraries mangle others. Every write, even a single
one, is an entity-group transaction: one path to test, and the fencing of docs/architecture.md rests on it.
A transaction whose answer was lost may have happened: the caller's next try then meets a StoreConflict and reads again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from shared.azure.calls import Http, bounded, error_code, of_response
from shared.azure.limits import MAX_PAGE, MAX_PROPERTY_CHARS, check_table, check_writes, row_text
from shared.azure.settings import AzureSettings
from shared.errors import HomelinkError, PermanentError, RowExists, StoreConflict
from shared.seams import Row, Write, WriteKind

# Sorting below all of these, `!` begins an escape; a prefix of a key escapes to a prefix of the escaped key.
_PLAIN = re.compile(r"[0-9A-Za-z._:@=~-]")


def escape(key: str) -> str:
    """A key as PartitionKey or RowKey: other than plain characters become `!xx` per byte of UTF-8."""
    return "".join(c if _PLAIN.match(c) else "".join(f"!{b:02x}" for b in c.encode()) for c in key)


def unescape(stored: str) -> str:
    return re.sub(r"(?:![0-9a-f]{2})+", lambda m: bytes.fromhex(m[0].replace("!", "")).decode(), stored)


class TableStore:
    """`credential` is used when the settings name the table service by URL, otherwise the connection string's key."""

    def __init__(self, settings: AzureSettings, http: Http, credential: Any = None) -> None:
        self._settings = settings
        self._http = http
        self._credential = credential
        self._service: Any = None

    def __repr__(self) -> str:
        return f"TableStore({self._settings.table_url or 'connection string'})"

    async def close(self) -> None:
        if self._service is not None:
            await self._service.close()

    async def get(self, table: str, partition: str, key: str) -> Row | None:
        from azure.core.exceptions import ResourceNotFoundError

        async with bounded(f"table {table}"):
            try:
                return _row(await self._table(table).get_entity(escape(partition), escape(key)))
            except ResourceNotFoundError:  # of the row or of the table: nothing is stored there either way
                return None

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
        low = escape(prefix)
        bounds = {"low": low, "high": low[:-1] + chr(ord(low[-1]) + 1) if low else ""}
        bounds |= {"start": escape(start), "end": escape(end)}
        compare = {"low": "ge", "high": "lt", "start": "ge", "end": "lt"}
        given = {name: bound for name, bound in bounds.items() if bound}
        text = " and ".join(["PartitionKey eq @p", *(f"RowKey {compare[name]} @{name}" for name in given)])
        rows = await self._rows(table, text, {"p": escape(partition), **given}, limit)
        return sorted(rows, key=lambda row: row.key)

    async def scan(self, table: str, key: str) -> list[Row]:
        rows = await self._rows(table, "RowKey eq @k", {"k": escape(key)})
        return sorted(rows, key=lambda row: row.partition)

    async def transact(self, table: str, partition: str, writes: Sequence[Write]) -> dict[str, str]:
        check_writes(table, partition, writes)
        operations = {w.key: _operation(table, partition, w) for w in writes}
        async with bounded(f"table {table}"):
            while operations:
                gone = await self._send(table, partition, operations, {w.key: w for w in writes})
                if isinstance(gone, dict):
                    return gone
                del operations[gone]  # an unconditional delete of what is gone already
        return {}

    async def _send(
        self, table: str, partition: str, operations: dict[str, Any], writes: dict[str, Write]
    ) -> dict[str, str] | str:
        """The ETags; or the key of a delete that made the service refuse the whole because its row is gone."""
        from azure.core.exceptions import ResourceNotFoundError
        from azure.data.tables import TableTransactionError

        keys = list(operations)
        for attempt in (1, 2):
            try:
                answers = await self._table(table).submit_transaction(list(operations.values()))
                break
            except TableTransactionError as e:
                if error_code(e) == "TableNotFound" and attempt == 1:
                    await self._create(table)
                    continue
                write = writes[keys[min(e.index or 0, len(keys) - 1)]]
                if e.status_code == 404 and write.kind is WriteKind.DELETE and write.etag is None:
                    return write.key
                raise _refused(f"{table}/{partition}/{write.key}", e) from None
            except ResourceNotFoundError as e:
                if attempt == 2:
                    raise of_response(f"table {table}", e) from None
                await self._create(table)
        return {
            key: answer["etag"]
            for key, answer in zip(keys, answers, strict=True)
            if writes[key].kind is not WriteKind.DELETE
        }

    async def _rows(self, table: str, text: str, parameters: dict[str, str], limit: int | None = None) -> list[Row]:
        """In the service's order, which is that of the stored keys."""
        from azure.core.exceptions import ResourceNotFoundError

        found: list[Row] = []
        page = None if limit is None else min(limit, MAX_PAGE)
        async with bounded(f"table {table}"):
            try:
                entities = self._table(table).query_entities(text, parameters=parameters, results_per_page=page)
                async for entity in entities:
                    found.append(_row(entity))
                    if len(found) == limit:
                        break
            except ResourceNotFoundError:
                return []
        return found

    async def _create(self, table: str) -> None:
        await self._client().create_table_if_not_exists(table)

    def _table(self, table: str) -> Any:
        check_table(table)
        return self._client().get_table_client(table)

    def _client(self) -> Any:
        if self._service is None:
            from azure.data.tables.aio import TableServiceClient

            options = {"transport": self._http.transport(), "retry_total": 0}
            if self._settings.connection_string:
                self._service = TableServiceClient.from_connection_string(self._settings.connection_string, **options)
            else:
                self._service = TableServiceClient(self._settings.table_url, credential=self._credential, **options)
        return self._service


def _operation(table: str, partition: str, write: Write) -> tuple[str, dict[str, Any]] | tuple[str, Any, Any]:
    from azure.core import MatchConditions
    from azure.data.tables import UpdateMode

    entity = {"PartitionKey": escape(partition), "RowKey": escape(write.key)}
    conditional = {"etag": write.etag, "match_condition": MatchConditions.IfNotModified} if write.etag else {}
    if write.kind is WriteKind.DELETE:
        return ("delete", entity, conditional)
    text = row_text(table, partition, write.key, write.data)
    for i, start in enumerate(range(0, len(text), MAX_PROPERTY_CHARS)):
        entity[f"d{i}"] = text[start : start + MAX_PROPERTY_CHARS]
    if write.kind is WriteKind.INSERT:
        return ("create", entity)
    if write.kind is WriteKind.UPSERT:
        return ("upsert", entity, {"mode": UpdateMode.REPLACE})
    return ("update", entity, {"mode": UpdateMode.REPLACE, **conditional})


def _row(entity: Any) -> Row:
    partition, key = unescape(entity["PartitionKey"]), unescape(entity["RowKey"])
    parts: list[str] = []
    while (part := entity.get(f"d{len(parts)}")) is not None:
        parts.append(part)
    try:
        data = json.loads("".join(parts))
    except ValueError:
        data = None
    if not isinstance(data, dict):
        raise PermanentError(f"Row {partition}/{key} is not one that Homelink wrote. Look at it and remove it by hand.")
    return Row(partition, key, data, entity.metadata["etag"])


def _refused(where: str, e: Any) -> HomelinkError:
    code = error_code(e)
    if e.status_code == 409 and code == "EntityAlreadyExists":
        return RowExists(f"Row {where} exists already; an insert never overwrites.")
    if e.status_code == 412 or code in ("UpdateConditionNotSatisfied", "ResourceNotFound", "EntityNotFound"):
        return StoreConflict(f"Row {where} was changed or removed by somebody else since it was read. Read it again.")
    return of_response(f"table row {where}", e)
