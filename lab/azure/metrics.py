"""What the simulated ARM was asked: how much was read and written, and which resets were begun."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from lab.azure.errors import Json

RECENT = 2000


@dataclass
class Metrics:
    """Counts every ARM request whatever its answer; a reset counts when it was accepted (202)."""

    reads: int = 0
    writes: int = 0
    connection_resets: int = 0
    gateway_resets: int = 0
    recent: deque[Json] = field(default_factory=lambda: deque(maxlen=RECENT))

    def count(self, method: str, path: str, status: int, time: str) -> None:
        if method in ("GET", "HEAD"):
            self.reads += 1
        else:
            self.writes += 1
        if method == "POST" and status == 202:
            last = path.rstrip("/").rpartition("/")[2].lower()
            self.connection_resets += last == "resetconnection"
            self.gateway_resets += last == "reset" and "/virtualnetworkgateways/" in path.lower()
        self.recent.append({"method": method, "path": path, "status": status, "time": time})

    def view(self) -> Json:
        return {
            "arm_reads": self.reads,
            "arm_writes": self.writes,
            "resets": {"connection": self.connection_resets, "gateway": self.gateway_resets},
            "requests": list(self.recent),
        }
