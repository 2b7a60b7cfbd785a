"""A sealed message: `base64url(payload) "." base64url(MAC)`. The payload is JSON, deflated (RFC 1950) where that pays.

The MAC covers the bytes as they were sent, so no canonical form of JSON has to be agreed upon. A seal is not a cover:
the payload is readable, therefore no secret is ever sealed into a queue; HTTPS covers the few answers that hold one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import zlib
from typing import Any

from .errors import BadSeal, Malformed
from .keys import Purpose

MAX_BYTES = 48 * 1024
"""Of JSON. A storage queue takes 64 KiB a message; base64 of this fits."""
DEFLATED_FROM = 512
"""Bytes of JSON: a heartbeat is two or three times as long, and is most of what an agent sends in a day."""
_DEFLATED = b"\x78"  # how RFC 1950 begins; JSON never does


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unb64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _mac(key: bytes, purpose: Purpose, payload: bytes) -> bytes:
    return hmac.new(key, b"homelink/1\0" + purpose.value.encode() + b"\0" + payload, hashlib.sha256).digest()


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
"""Made once: `json.dumps` with options makes one per call."""


def canonical(payload: dict[str, Any]) -> bytes:
    """Compact JSON with sorted keys; what digests are made of."""
    return _CANONICAL.encode(payload).encode()


def seal(key: bytes, purpose: Purpose, payload: dict[str, Any]) -> str:
    """Raises Malformed when the payload is larger than MAX_BYTES."""
    data = canonical(payload)
    if len(data) > MAX_BYTES:
        raise Malformed(f"message of {len(data)} bytes is larger than {MAX_BYTES}: nothing was sent")
    if len(data) >= DEFLATED_FROM:
        data = zlib.compress(data)
    return _b64(data) + "." + _b64(_mac(key, purpose, data))


def unseal(key: bytes, purpose: Purpose, text: str) -> dict[str, Any]:
    """The payload, verified. Raises BadSeal or Malformed; nothing of an unverified payload is looked at."""
    if len(text) > 2 * MAX_BYTES:
        raise Malformed(f"message of {len(text)} characters is larger than {2 * MAX_BYTES}")
    head, dot, tail = text.partition(".")
    try:
        data, mac = _unb64(head), _unb64(tail)
    except (binascii.Error, ValueError) as e:
        raise Malformed("not a sealed message: expected base64url(payload).base64url(mac)") from e
    if not dot or not hmac.compare_digest(mac, _mac(key, purpose, data)):
        raise BadSeal(f"the seal of a {purpose.value} message does not fit: wrong key, wrong purpose, or altered")
    try:
        payload = json.loads(_inflated(data) if data.startswith(_DEFLATED) else data)
    except (ValueError, RecursionError) as e:
        raise Malformed("sealed payload is not JSON") from e
    if not isinstance(payload, dict):
        raise Malformed("sealed payload is not an object")
    return payload


def _inflated(data: bytes) -> bytes:
    """Never more than MAX_BYTES, whatever the few bytes claim to hold. Raises Malformed."""
    inflater = zlib.decompressobj()
    try:
        found = inflater.decompress(data, MAX_BYTES)
    except zlib.error as e:
        raise Malformed("sealed payload is not what it was before it was deflated") from e
    if not inflater.eof:
        raise Malformed(f"sealed payload is cut off, or larger than {MAX_BYTES} bytes")
    return found
