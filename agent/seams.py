"""What the core needs of the world, as Protocols; `agent.adapters` has the real ones, tests have fakes.

The firewall's seam is `agent.firewall.contract.Firewall`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes


class Http(Protocol):
    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Reply:
        """Any HTTP answer is a Reply. Raises Unreachable, whose text never holds the URL (it may carry a SAS)."""
        ...


class Files(Protocol):
    """The state directory. Paths are relative, with `/`. Every method raises DiskTrouble when the disk says no."""

    def read(self, path: str) -> bytes | None: ...

    def write(self, path: str, data: bytes) -> None:
        """Whole and durable, or not at all: mode 0600, file and folder fsynced. Folders are made as needed."""
        ...

    def move(self, source: str, target: str) -> None:
        """Atomic and durable. A source that is gone while the target is there counts as moved."""
        ...

    def delete(self, path: str) -> None:
        """Durable; a file that is gone already is fine."""
        ...

    def names(self, folder: str) -> tuple[str, ...]:
        """Sorted names of the files in a folder; a missing folder is empty."""
        ...


class Clock(Protocol):
    def monotonic(self) -> float:
        """Seconds since boot, suspended time included where the system can tell."""
        ...

    def wall(self) -> float:
        """Unix seconds, as wrong as this host's clock may be."""
        ...


class Random(Protocol):
    def token(self, size: int) -> bytes: ...


class Log(Protocol):
    def __call__(self, level: str, event: str, **fields: object) -> None:
        """One line. Fields never hold a secret or a queue's URL."""
        ...
