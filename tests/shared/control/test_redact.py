"""No address of a single machine in what outlives its home; everything else as it was."""

from __future__ import annotations

import pytest

from shared.control.redact import without_addresses


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("function key from 198.51.100.23", "function key from 198.51.100.0/24"),
        ("198.51.100.23, 203.0.113.9.", "198.51.100.0/24, 203.0.113.0/24."),
        ("198.51.100.23:50123 refused (198.51.100.77/32)", "198.51.100.0/24:50123 refused (198.51.100.0/24)"),
        ("from 2001:db8:1:2::3", "from 2001:db8:1::/48"),
        ("[2001:db8:1:2::3]:443", "[2001:db8:1::/48]:443"),
        ("::ffff:198.51.100.23", "::/48"),
        ("10.0.0.0/16 and 192.168.1.0/24 stay", "10.0.0.0/16 and 192.168.1.0/24 stay"),
        ("at 21:20:24.134307, version 1.2.3, a::b::c", "at 21:20:24.134307, version 1.2.3, a::b::c"),
        ("someone@example.net; update of connections/home.", "someone@example.net; update of connections/home."),
        ("AuthorizationFailed: code 403 (id 01M82J1G)", "AuthorizationFailed: code 403 (id 01M82J1G)"),
        ("", ""),
    ],
)
def test_addresses_become_networks(text: str, kept: str) -> None:
    assert without_addresses(text) == kept
