"""What the Azure services behind the seams accept, as pure checks shared by the adapters and by the tests' fakes.

A fake that takes what Azure refuses hides a fault until production, so both sides call the same functions. They are
checked here, before the request, because the services' own answers to these mistakes do not say which row or queue.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from shared.errors import PermanentError
from shared.seams import Write, WriteKind

# An entity may be 1 MiB and a string costs 2 bytes a character there (UTF-16); 480 Ki leaves room for keys and names.
MAX_ROW_CHARS = 480 * 1024
# A string property may be 64 KiB, that is 32,768 UTF-16 characters.
MAX_PROPERTY_CHARS = 32_000
MAX_TRANSACTION_WRITES = 100
MAX_PAGE = 1000  # entities in one answer
# A message may be 64 KiB after base64, which makes 4 characters of 3 bytes.
MAX_MESSAGE_BYTES = 48 * 1024
MAX_MESSAGE_TTL_S = 7 * 24 * 3600
# Key Vault: 25 KB a value.
MAX_SECRET_BYTES = 25_000

_QUEUE = re.compile(r"[a-z0-9](-?[a-z0-9])*")
_SECRET = re.compile(r"[0-9A-Za-z-]{1,127}")
_TABLE = re.compile(r"[A-Za-z][A-Za-z0-9]{2,62}")


_ROW = json.JSONEncoder(separators=(",", ":"), sort_keys=True, allow_nan=False)


def row_text(table: str, partition: str, key: str, data: dict[str, Any]) -> str:
    """The row as ASCII JSON (one character is one byte), or PermanentError when it cannot be stored."""
    try:
        text = _ROW.encode(data)
    except (TypeError, ValueError) as e:
        raise PermanentError(
            f"Row {key!r} of {table}/{partition} is not JSON: {e}. Store only JSON values in a row."
        ) from None
    if len(text) > MAX_ROW_CHARS:
        raise PermanentError(
            f"Row {key!r} of {table}/{partition} has {len(text)} characters, a row may have {MAX_ROW_CHARS}. "
            "Store less in it, or split it over several rows."
        )
    return text


def check_table(name: str) -> None:
    if not _TABLE.fullmatch(name):
        raise ValueError(f"table name {name!r}: letters and digits only, 3 to 63, beginning with a letter")


def check_writes(table: str, partition: str, writes: Sequence[Write]) -> None:
    """The mistakes of a caller, which no retry mends: ValueError."""
    where = f"transaction on {table}/{partition}"
    check_table(table)
    if not partition:
        raise ValueError(f"{where}: the partition is empty")
    if not 1 <= len(writes) <= MAX_TRANSACTION_WRITES:
        raise ValueError(f"{where}: {len(writes)} writes, allowed are 1 to {MAX_TRANSACTION_WRITES}")
    seen: set[str] = set()
    for write in writes:
        if not write.key:
            raise ValueError(f"{where}: a write without a key")
        if write.key in seen:
            raise ValueError(f"{where}: two writes of {write.key!r}")
        seen.add(write.key)
        if write.kind is WriteKind.REPLACE and not write.etag:
            raise ValueError(f"{where}: replacing {write.key!r} needs the ETag that was read")
        if write.kind in (WriteKind.INSERT, WriteKind.UPSERT) and write.etag is not None:
            raise ValueError(f"{where}: {write.kind} of {write.key!r} takes no ETag")


def check_queue(name: str) -> None:
    if not (3 <= len(name) <= 63 and _QUEUE.fullmatch(name)):
        raise ValueError(f"queue name {name!r}: 3 to 63 of a-z, 0-9 and single inner dashes")


def check_message(queue: str, text: str, delay_s: float, ttl_s: float | None) -> tuple[int, int]:
    """Returns (delay, time to live) in whole seconds as the service wants them; both rounded up."""
    check_queue(queue)
    size = len(text.encode())
    if size > MAX_MESSAGE_BYTES:
        raise PermanentError(
            f"A message for queue {queue} has {size} bytes, it may have {MAX_MESSAGE_BYTES}. Send a reference instead."
        )
    delay = max(0, math.ceil(delay_s))
    ttl = MAX_MESSAGE_TTL_S if ttl_s is None else min(MAX_MESSAGE_TTL_S, math.ceil(ttl_s))
    if not delay < ttl:
        raise ValueError(f"queue {queue}: a delay of {delay} s must be shorter than the time to live of {ttl} s")
    return delay, ttl


def check_secret_name(name: str) -> None:
    if not _SECRET.fullmatch(name):
        raise ValueError(f"secret name {name!r}: 1 to 127 of 0-9, a-z, A-Z and dash")


def check_secret(name: str, value: str) -> None:
    check_secret_name(name)
    if len(value.encode()) > MAX_SECRET_BYTES:
        raise PermanentError(f"Secret {name} is longer than {MAX_SECRET_BYTES} bytes, which is all a vault keeps.")
