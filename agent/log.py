"""One line per event on stderr: `2026-01-02T03:04:05Z INFO event key=value`.

Not `logging`: nothing here needs levels per module, and urllib3 would log queue URLs through it.
"""

from __future__ import annotations

import json
import time
from typing import TextIO


class StderrLog:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, level: str, event: str, **fields: object) -> None:
        parts = [time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), level.upper(), event]
        parts += [f"{k}={_value(v)}" for k, v in fields.items()]
        print(" ".join(parts), file=self._stream, flush=True)


def _value(value: object) -> str:
    text = str(value)
    return text if text and text.isprintable() and not set(text) & set(' "=') else json.dumps(text)
