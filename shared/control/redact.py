"""Cuts addresses down to their network in texts that outlive the home they speak of.

The address of a home is personal data. The audit and a Gateway's own events are kept after a Connection is gone, so no
address of a single machine gets in, whoever wrote the text: a source address, or ARM in an error. The network (/24,
/48) stays, because it still tells the office from a stranger.
"""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network

_V6 = r"(?<![\w:.])[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*[0-9A-Fa-f:](?:/[0-9]{1,3})?(?![\w:])"
_V4 = r"(?<![\w.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?:/[0-9]{1,2})?(?!\w|\.[0-9])"
_LOOKS_LIKE_ONE = re.compile(f"{_V6}|{_V4}")
_KEPT_BITS = {4: 24, 6: 48}


def without_addresses(text: str) -> str:
    """`198.51.100.23` becomes `198.51.100.0/24`; what is a prefix that wide already, or no address, stays."""
    return _LOOKS_LIKE_ONE.sub(_network, text)


def _network(found: re.Match[str]) -> str:
    address, _, length = found[0].partition("/")
    try:
        version = ip_address(address).version
        bits = min(_KEPT_BITS[version], int(length or 128))
        return str(ip_network(f"{address}/{bits}", strict=False))
    except ValueError:
        return found[0]  # a time, a version, a MAC address
