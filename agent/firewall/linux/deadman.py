"""The dead-man timer and the lock that it shares with the agent.

The timer is a process of its own: `sleep`, then `python -m agent revert`. It survives a crash or kill of the agent
(under systemd with KillMode=process) and costs a sleeping shell, not a second Python. It is never called off: when it
wakes and its snapshot has been confirmed, or replaced by a newer one, it ends without doing anything.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

_SCRIPT = '( sleep "$1"; shift; exec "$@" ) >/dev/null 2>&1 </dev/null &'


class DeadMan(Protocol):
    def arm(self, snapshot_id: str, after_s: float) -> None:
        """Call rollback for this snapshot after that many seconds, whatever becomes of this process."""
        ...


class DetachedTimer:
    """`python` is how this Python is called; the lab puts a network namespace in front."""

    def __init__(self, config: Path, python: tuple[str, ...] = (sys.executable,)) -> None:
        self._config = config
        self._python = python

    def arm(self, snapshot_id: str, after_s: float) -> None:
        command = (*self._python, "-m", "agent", "revert", "--config", str(self._config), "--id", snapshot_id)
        words = ("sh", "-c", _SCRIPT, "homelink-dead-man", f"{after_s:.3f}", *command)
        home = Path(__file__).resolve().parents[3]
        subprocess.run(words, check=True, start_new_session=True, stdin=subprocess.DEVNULL, cwd=home)


class FileLock:
    """Held while the firewall is being changed, so that agent and dead-man take turns."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def __call__(self) -> Iterator[None]:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
