"""Seals: what goes in comes out, and nothing else does."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.wire.errors import BadSeal, Malformed, WireError
from shared.wire.keys import Purpose
from shared.wire.seal import MAX_BYTES, seal, unseal

KEY = bytes(range(32))
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
payloads = st.dictionaries(st.text(), json_values, max_size=6)


@given(payloads, st.sampled_from(Purpose))
def test_round_trip(payload: dict[str, object], purpose: Purpose) -> None:
    assert unseal(KEY, purpose, seal(KEY, purpose, payload)) == payload


def test_what_is_long_travels_deflated() -> None:
    payload = {f"field {n}": "the same words again" for n in range(60)}
    text = seal(KEY, Purpose.REPORT, payload)
    assert len(text) < 1000 and unseal(KEY, Purpose.REPORT, text) == payload


@given(payloads, st.data())
def test_no_altered_message_is_accepted(payload: dict[str, object], data: st.DataObject) -> None:
    text = seal(KEY, Purpose.COMMAND, payload)
    at = data.draw(st.integers(0, len(text) - 1))
    replacement = data.draw(st.characters(codec="ascii").filter(lambda c: c != text[at]))
    altered = text[:at] + replacement + text[at + 1 :]
    with contextlib.suppress(WireError):
        assert unseal(KEY, Purpose.COMMAND, altered) == payload  # base64 may spell the same bytes in two ways


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda b: b.decode("latin-1")))
def test_whatever_arrives_is_refused_and_never_crashes(text: str) -> None:
    with pytest.raises(WireError):
        unseal(KEY, Purpose.REPORT, text)


def test_a_seal_fits_one_key_and_one_purpose() -> None:
    text = seal(KEY, Purpose.REPORT, {"a": 1})
    with pytest.raises(BadSeal, match="command message"):
        unseal(KEY, Purpose.COMMAND, text)
    with pytest.raises(BadSeal):
        unseal(bytes(32), Purpose.REPORT, text)
    with pytest.raises(BadSeal):
        unseal(KEY, Purpose.REPORT, text.partition(".")[0])


BOMB = zlib.compress(b'{"a": "' + b" " * 10_000_000 + b'"}')


@pytest.mark.parametrize(
    "payload", [b"[1]", b"{", b"\xff", b"3", b"[" * 20_000, b"x", b"x\x9c", zlib.compress(b"{}")[:-1], BOMB]
)
def test_a_well_sealed_payload_that_is_no_object_is_malformed(payload: bytes) -> None:
    mac = hmac.new(KEY, b"homelink/1\0report\0" + payload, hashlib.sha256).digest()
    text = ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (payload, mac))
    with pytest.raises(Malformed):
        unseal(KEY, Purpose.REPORT, text)


def test_size_is_bounded_on_both_sides() -> None:
    with pytest.raises(Malformed, match="nothing was sent"):
        seal(KEY, Purpose.REPORT, {"a": "x" * MAX_BYTES})
    longest = {"a": "x" * (MAX_BYTES - 8)}
    assert unseal(KEY, Purpose.REPORT, seal(KEY, Purpose.REPORT, longest)) == longest
    with pytest.raises(Malformed, match="larger than"):
        unseal(KEY, Purpose.REPORT, "x" * (2 * MAX_BYTES + 1))
