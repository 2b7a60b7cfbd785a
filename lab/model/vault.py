"""The Vault in memory: versions, and soft deletion that a later `set` undoes."""

from __future__ import annotations

from collections.abc import Callable

from shared.azure.limits import check_secret, check_secret_name
from shared.seams import Secret


class ModelVault:
    """`stored` hears of every value, for those who look for it where it must not be."""

    def __init__(self, stored: Callable[[str], None] | None = None) -> None:
        self._stored = stored
        self._versions: dict[str, list[Secret]] = {}
        self._deleted: set[str] = set()
        self._count = 0

    def __repr__(self) -> str:
        return f"ModelVault({sorted(self._versions)})"

    async def get(self, name: str, version: str | None = None) -> Secret | None:
        check_secret_name(name)
        if name in self._deleted:
            return None
        for secret in reversed(self._versions.get(name, [])):
            if version in (None, secret.version):
                return secret
        return None

    async def set(self, name: str, value: str) -> str:
        check_secret(name, value)
        self._deleted.discard(name)
        self._count += 1
        secret = Secret(name, f"{self._count:032x}", value)
        self._versions.setdefault(name, []).append(secret)
        if self._stored is not None:
            self._stored(value)
        return secret.version

    async def delete(self, name: str) -> None:
        check_secret_name(name)
        if name in self._versions:
            self._deleted.add(name)

    def current(self, name: str) -> str | None:
        """The newest value of an entry that is not deleted."""
        versions = [] if name in self._deleted else self._versions.get(name, [])
        return versions[-1].value if versions else None

    def names(self) -> list[str]:
        return sorted(set(self._versions) - self._deleted)

    def values(self) -> list[str]:
        """Every value ever stored: for a test that looks for them where they must not be."""
        return [s.value for versions in self._versions.values() for s in versions]
