"""ULIDs: sortable by time, unique without coordination. Time and randomness are passed in."""

from __future__ import annotations

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 26


def ulid(unix_s: float, randomness: bytes) -> str:
    """26 characters from a Unix time in seconds and 10 random bytes."""
    if len(randomness) != 10:
        raise ValueError(f"a ULID takes 10 random bytes, got {len(randomness)}")
    number = (int(unix_s * 1000) & (2**48 - 1)) << 80 | int.from_bytes(randomness, "big")
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


def is_ulid(text: str) -> bool:
    return len(text) == LENGTH and all(c in _ALPHABET for c in text)
