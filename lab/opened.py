"""What a text holds when everything in it that is packed is opened: base64, seals, deflated JSON.

For those who look for secrets: in a queue or a journal a secret would not stand as it is, but inside a sealed command,
base64 in base64.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from contextlib import suppress

_PACKED = re.compile(r"[A-Za-z0-9+/_-]{16,}")
_MAX_BYTES = 1_000_000
_DEPTH = 4


def opened(text: str, depth: int = _DEPTH) -> str:
    """`text`, followed by what every word of it holds that looks like base64 (either alphabet), to a depth of four."""
    found = [text]
    for word in _PACKED.findall(text) if depth else ():
        held = _unpacked(word)
        if held:
            found.append(opened(held, depth - 1))
    return "\n".join(found)


def _unpacked(word: str) -> str:
    whole = word[: len(word) // 4 * 4] if len(word) % 4 == 1 else word
    try:
        data = base64.b64decode(whole.replace("-", "+").replace("_", "/") + "==")
    except binascii.Error:
        return ""
    with suppress(zlib.error):
        data = zlib.decompressobj().decompress(data, _MAX_BYTES)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return ""
