"""ULIDs sort by time and are told from other text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.wire.ulid import is_ulid, ulid

times = st.floats(0, 2**47 / 1000)


@given(times, times, st.binary(min_size=10, max_size=10), st.binary(min_size=10, max_size=10))
def test_order_is_that_of_time(a: float, b: float, r: bytes, s: bytes) -> None:
    first, second = ulid(a, r), ulid(b, s)
    assert is_ulid(first)
    if int(a * 1000) < int(b * 1000):
        assert first < second


def test_the_specifications_example_time() -> None:
    assert ulid(1469918176.385, bytes(10)).startswith("01ARYZ6S41")


@pytest.mark.parametrize(
    "text", ["", "x" * 26, "01ARZ3NDEKTSV4RRFFQ69G5FA", "01ARZ3NDEKTSV4RRFFQ69G5FAU", "../../etc/passwd"]
)
def test_what_is_no_ulid(text: str) -> None:
    assert not is_ulid(text)


def test_randomness_has_one_size() -> None:
    with pytest.raises(ValueError, match="10 random bytes"):
        ulid(0, b"short")
