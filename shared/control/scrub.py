"""Takes secrets out of a text of unknown origin before it is kept.

A secret is known by the name before it, for its form says nothing: a pre-shared key is any printable text. Traded off:
rather too much goes than too little. What follows such a name is hidden whole, in plain text to the end of the line.
"""

from __future__ import annotations

import json
import re
from typing import Any

HIDDEN = "(not shown)"
_NAME = re.compile(r"key|secret|token|passw|pwd|psk|credential|authorization|\bsig\b|signature|\bcode\b", re.IGNORECASE)
_IN_TEXT = re.compile(
    rf"((?:{_NAME.pattern})[\w.-]*[\"'\\]*\s*[:=]|\bbearer\s|hle_)[^\r\n]*",  # hle_ begins an enrolment token
    re.IGNORECASE,
)


def without_secrets(text: str) -> str:
    """JSON stays JSON, one value instead of each hidden one; any other text loses the rest of the line."""
    try:
        data = json.loads(text)
        return json.dumps(_scrubbed(data)) if isinstance(data, dict | list) else _plain(text)
    except (ValueError, RecursionError):
        return _plain(text)


def _scrubbed(data: Any) -> Any:
    if isinstance(data, dict):
        return {_plain(k): HIDDEN if _NAME.search(k) else _scrubbed(v) for k, v in data.items()}
    if isinstance(data, list):
        return [_scrubbed(v) for v in data]
    return _plain(data) if isinstance(data, str) else data


def _plain(text: str) -> str:
    return _IN_TEXT.sub(lambda found: f"{found[1]} {HIDDEN}", text)  # a template could not be read at shutdown
