"""What this driver applied, and the snapshot that an unconfirmed change goes back to: two files in the state directory.

`owned.json` is written before the effect with `settled` false and after it with true, so a kill in between is seen as
drift and repaired. `snapshot.json` exists exactly while a change waits for its confirmation; it is what the dead-man
process acts on. Neither holds a secret.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TypeVar

from agent.errors import FirewallError
from agent.firewall.linux.frr import Ours
from agent.seams import Files
from shared.wire.commands import DesiredTunnel
from shared.wire.decode import from_plain, to_plain
from shared.wire.errors import WireError

T = TypeVar("T")
OWNED, SNAPSHOT = "firewall/owned.json", "firewall/snapshot.json"


@dataclass(frozen=True)
class Tunnel:
    desired: DesiredTunnel
    generation: int
    settled: bool


@dataclass(frozen=True)
class Owned:
    tunnels: tuple[Tunnel, ...] = ()
    frr: Ours = field(default_factory=Ours)

    def get(self, connection: str) -> Tunnel | None:
        return next((t for t in self.tunnels if t.desired.connection == connection), None)

    def having(self, tunnel: Tunnel) -> Owned:
        others = self.without(tunnel.desired.connection).tunnels
        return replace(self, tunnels=tuple(sorted((*others, tunnel), key=lambda t: t.desired.connection)))

    def without(self, connection: str) -> Owned:
        return replace(self, tunnels=tuple(t for t in self.tunnels if t.desired.connection != connection))


@dataclass(frozen=True)
class Snapshot:
    """`deadline` is seconds since the boot named `boot`: after a reboot the timer is gone and counts as run out."""

    id: str
    boot: str
    deadline: float
    connections: tuple[str, ...]
    up_before: tuple[str, ...]
    tunnels: tuple[Tunnel, ...]


class Store:
    def __init__(self, files: Files) -> None:
        self._files = files

    def owned(self) -> Owned:
        return self._load(Owned, OWNED) or Owned()

    def save(self, owned: Owned) -> None:
        self._files.write(OWNED, json.dumps(to_plain(owned), indent=1).encode())

    def snapshot(self) -> Snapshot | None:
        return self._load(Snapshot, SNAPSHOT)

    def save_snapshot(self, snapshot: Snapshot) -> None:
        self._files.write(SNAPSHOT, json.dumps(to_plain(snapshot), indent=1).encode())

    def drop_snapshot(self) -> None:
        self._files.delete(SNAPSHOT)

    def _load(self, cls: type[T], path: str) -> T | None:
        data = self._files.read(path)
        if data is None:
            return None
        try:
            return from_plain(cls, json.loads(data))
        except (WireError, ValueError) as e:
            raise FirewallError(
                f"{path} in the state directory is damaged ({e}): restore or remove it by hand"
            ) from None
