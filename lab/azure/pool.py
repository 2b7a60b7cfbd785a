"""The public addresses that the lab's Azure can hand out."""

from __future__ import annotations

from lab.azure.errors import ArmError


class AddressPool:
    """First free address first, so that the demo's only gateway always gets the first."""

    def __init__(self, addresses: tuple[str, ...]) -> None:
        self._addresses = addresses
        self._taken: dict[str, str] = {}

    def take(self, owner: str) -> str:
        """The owner's address, allocated at its first call and kept until it is given back."""
        if owner in self._taken:
            return self._taken[owner]
        used = set(self._taken.values())
        for address in self._addresses:
            if address not in used:
                self._taken[owner] = address
                return address
        message = (
            f"All {len(self._addresses)} public addresses of the lab are in use: delete one or start the lab with more."
        )
        raise ArmError(400, "PublicIPCountLimitReached", message)

    def give_back(self, owner: str) -> None:
        self._taken.pop(owner, None)
