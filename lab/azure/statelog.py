"""One JSON line for everything that changed in the simulated Azure, for the demo's timeline and for finding out why.

It says which resource, operation or name and never what a body held: bodies carry pre-shared keys.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO

from lab.azure.clock import Clock


class StateLog:
    """Appends to a file, or to nothing when there is no path."""

    def __init__(self, clock: Clock, path: Path | None = None) -> None:
        self._clock = clock
        self._file: IO[str] | None = path.open("a", encoding="utf-8", buffering=1) if path else None

    def write(self, event: str, subject: str, **facts: object) -> None:
        if self._file is None:
            return
        line = {"time": self._clock.now().isoformat(), "factor": self._clock.factor, "event": event, "subject": subject}
        self._file.write(json.dumps({**line, **facts}) + "\n")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
