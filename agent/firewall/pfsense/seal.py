"""Seals a pre-shared key for the firewall: RSA-OAEP (RFC 8017) with the key pair of one use that the PHP made.

Over the REST package a file can only be written by a command line, where any local user of the firewall could read it
while it runs. Pure Python because the agent has nothing but the standard library; a public-key operation needs no
protection against timing. SHA-1 is what PHP's OPENSSL_PKCS1_OAEP_PADDING means; OAEP does not need more of it.
"""

from __future__ import annotations

import hashlib

from agent.errors import FirewallError
from agent.seams import Random

_H = hashlib.sha1(usedforsecurity=False).digest_size
MIN_BITS, MAX_BITS = 2048, 8192


def seal(text: str, n: int, e: int, random: Random) -> str:
    """Hex of the ciphertext. FirewallError when the public key is not one, or the text does not fit."""
    size = (n.bit_length() + 7) // 8
    data = text.encode()
    if not MIN_BITS <= n.bit_length() <= MAX_BITS or e < 3:
        raise FirewallError("the firewall's one-time public key is not usable: look at its PHP and OpenSSL")
    if len(data) > size - 2 * _H - 2:
        raise FirewallError(f"the pre-shared key is longer than {size - 2 * _H - 2} bytes")
    label = hashlib.sha1(b"", usedforsecurity=False).digest()
    block = label + bytes(size - len(data) - 2 * _H - 2) + b"\1" + data
    seed = random.token(_H)
    masked = _xor(block, _mask(seed, len(block)))
    padded = b"\0" + _xor(seed, _mask(masked, _H)) + masked
    return pow(int.from_bytes(padded, "big"), e, n).to_bytes(size, "big").hex()


def _mask(seed: bytes, size: int) -> bytes:
    """MGF1 with SHA-1."""
    blocks = range(-(-size // _H))
    parts = (hashlib.sha1(seed + i.to_bytes(4, "big"), usedforsecurity=False).digest() for i in blocks)
    return b"".join(parts)[:size]


def _xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=True))
