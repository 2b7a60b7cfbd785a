"""Pre-shared keys on the firewall's host: `secrets/<hash of name and version>`, one 0600 file each.

They are kept (the firewall is one of the two places where a secret may be) so that the tunnel comes up after a reboot
while the control plane is away, and so that a rollback has the key that it goes back to.
"""

from __future__ import annotations

import hashlib

from agent.seams import Files
from shared.wire.commands import SecretRef

FOLDER = "secrets"


class SecretStore:
    def __init__(self, files: Files) -> None:
        self._files = files

    def get(self, ref: SecretRef) -> str | None:
        data = self._files.read(_path(ref))
        return None if data is None else data.decode()

    def put(self, ref: SecretRef, value: str) -> None:
        self._files.write(_path(ref), value.encode())

    def keep_only(self, refs: set[SecretRef]) -> None:
        """Forget every key that no tunnel, applied or to be rolled back to, refers to."""
        wanted = {_path(ref) for ref in refs}
        for name in self._files.names(FOLDER):
            if f"{FOLDER}/{name}" not in wanted:
                self._files.delete(f"{FOLDER}/{name}")


def _path(ref: SecretRef) -> str:
    return f"{FOLDER}/{hashlib.sha256(f'{ref.name}{chr(0)}{ref.version}'.encode()).hexdigest()}"
