"""Keys per direction and purpose, so that whoever holds one cannot speak in another's place.

The agent holds the secret from enrolment and derives all four. The control plane derives them once, at enrolment, keeps
each as a vault entry of its own and forgets the secret: the handler of reports can verify reports and nothing else.
HKDF is RFC 5869 with SHA-256; the standard library has no HKDF, and the agent ships nothing but it and `requests`.
"""

from __future__ import annotations

import hashlib
import hmac
from enum import StrEnum


class Purpose(StrEnum):
    """Who says what with a key. The value is part of the derivation and of every MAC."""

    COMMAND = "command"  # control plane -> agent, through the queue
    REPORT = "report"  # agent -> control plane: heartbeats
    RENEW = "renew"  # agent -> control plane: queue access, secrets
    ANSWER = "answer"  # control plane -> agent: signed server time and replies


def hkdf(secret: bytes, salt: bytes, info: bytes, length: int = 32) -> bytes:
    """HKDF-SHA256 (RFC 5869), `length` at most 255*32 bytes."""
    prk = hmac.new(salt or b"\0" * 32, secret, hashlib.sha256).digest()
    out, block = b"", b""
    for counter in range(1, -(-length // 32) + 1):
        block = hmac.new(prk, block + info + bytes([counter]), hashlib.sha256).digest()
        out += block
    return out[:length]


def derive(secret: bytes, purpose: Purpose, agent_id: str, controller: str) -> bytes:
    """The 32-byte key of one purpose, bound to one agent and one controller."""
    info = b"\0".join([b"homelink/1", purpose.value.encode(), agent_id.encode(), controller.encode()])
    return hkdf(secret, b"homelink agent keys", info)


def enrolled_secret(token: str, nonce: str, agent_id: str) -> bytes:
    """The agent's secret, from the one-time token and the nonce it sent along.

    Derived, not drawn: an agent that lost the answer asks again with the same token and nonce and gets the same secret,
    and the control plane need not keep it anywhere for that.
    """
    return hkdf(token.encode(), nonce.encode(), b"homelink/1 enrolment\0" + agent_id.encode())
