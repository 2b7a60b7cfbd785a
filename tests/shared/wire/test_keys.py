"""Key derivation against RFC 5869's own vectors."""

from __future__ import annotations

from shared.wire.keys import Purpose, derive, enrolled_secret, hkdf


def test_rfc_5869_case_1() -> None:
    out = hkdf(b"\x0b" * 22, bytes(range(13)), bytes(range(0xF0, 0xFA)), 42)
    assert out.hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"


def test_rfc_5869_case_2_spans_several_blocks() -> None:
    out = hkdf(bytes(range(0x50)), bytes(range(0x60, 0xB0)), bytes(range(0xB0, 0x100)), 82)
    assert out.hex() == (
        "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
        "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"
    )


def test_rfc_5869_case_3_without_salt_and_info() -> None:
    out = hkdf(b"\x0b" * 22, b"", b"", 42)
    assert out.hex() == "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"


def test_every_purpose_agent_and_controller_has_a_key_of_its_own() -> None:
    secret = bytes(32)
    keys = [derive(secret, p, a, c) for p in Purpose for a in ("a", "b") for c in ("c", "d")]
    assert len(set(keys)) == len(keys) == 16
    assert derive(secret, Purpose.REPORT, "ab", "c") != derive(secret, Purpose.REPORT, "a", "bc")


def test_enrolment_gives_the_same_secret_to_the_same_token_and_nonce_only() -> None:
    first = enrolled_secret("token", "nonce", "agent")
    assert enrolled_secret("token", "nonce", "agent") == first
    others = [("other", "nonce", "agent"), ("token", "other", "agent"), ("token", "nonce", "other")]
    assert first not in [enrolled_secret(*o) for o in others]
