"""No secret that has a name is left, and what has none stays readable."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.control.scrub import without_secrets

PSK = st.text(st.characters(min_codepoint=33, max_codepoint=125), min_size=16, max_size=64)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ('{"a": {"sharedKey": "s3cret"}, "b": ["x"]}', '{"a": {"sharedKey": "(not shown)"}, "b": ["x"]}'),
        ('{"Token": {"deep": 1}}', '{"Token": "(not shown)"}'),
        ('{"url": "https://x/api/alerts?code=abc"}', '{"url": "https://x/api/alerts?code= (not shown)"}'),
        ("a=1\npassword: my pass phrase\nb=2", "a=1\npassword: (not shown)\nb=2"),
        ("Authorization: Bearer abc", "Authorization: (not shown)"),
        ("sent Bearer abc.def", "sent Bearer  (not shown)"),
        ("token is hle_abcdef", "token is hle_ (not shown)"),
        ("AccountName=x;AccountKey=abc==", "AccountName=x;AccountKey= (not shown)"),
        ("the monkey said: nothing; BGP is down", "the monkey said: nothing; BGP is down"),
        ('{"monitorCondition": "Fired", "threshold": 1}', '{"monitorCondition": "Fired", "threshold": 1}'),
        ("", ""),
    ],
)
def test_secrets_go(text: str, kept: str) -> None:
    assert without_secrets(text) == kept


@given(PSK, st.sampled_from(["sharedKey", "psk", "x-functions-key", "clientSecret", "code", "sig"]))
def test_whatever_a_key_looks_like(secret: str, name: str) -> None:
    inner = json.dumps({name: secret})
    secret_in_json = json.dumps(secret)[1:-1]
    for text in (
        inner,
        json.dumps({"requestBody": inner}),
        json.dumps([{"x": [{name: [secret]}]}]),
        inner[:-1],  # cut off: no JSON
        f"{name}={secret}",
        f"?a=b&{name}={secret}",
    ):
        found = without_secrets(text)
        assert secret not in found and secret_in_json not in found, found


def test_nesting_beyond_measure() -> None:
    assert "s3cret" not in without_secrets("[" * 200_000 + '{"psk": "s3cret"}')
