"""What a scenario may do to a world: the user's API, Azure by the Arm seam, and a handful of deeds.

Time needs no interface: `asyncio.sleep` and the loop's clock are real in the lab and virtual in the model.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

from shared.seams import Arm


class Side(Protocol):
    """One home, `home`, and one gateway, `hub`, with nothing in Azure yet. `arm`: a person with the portal."""

    name: str

    @property
    def arm(self) -> Arm: ...

    def now(self) -> datetime:
        """As the control plane's clock has it."""
        ...

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """A user's request; JSON of the answer. Raises ApiError for 400 and above, and when nobody answers."""
        ...

    async def pings(self) -> bool:
        """Whether packets go both ways between the virtual network and the home's LAN."""
        ...

    async def pace(self, factor: float) -> None:
        """Azure's, from now on. Timers of the Functions host always run at their real pace."""
        ...

    async def enrol(self) -> None:
        """The agent of the home, with a one-time token; it runs from then on."""
        ...

    async def move(self, address: str) -> None:
        """The ISP gives the home another address, without an outage; its router tells DNS after its lag."""
        ...

    async def resolvers_say(self, address: str | None) -> None:
        """Every caching resolver, Azure's too, lies about the home's name; None: the truth again."""
        ...

    async def remove_tunnel(self) -> None:
        """The owner takes the IPsec connection and the BGP router off the firewall."""
        ...

    async def end_sa(self) -> None:
        """The owner closes the IKE SA on the firewall, where it is dialled again by nobody but the agent."""
        ...

    async def kill_agent(self) -> None:
        """It is back RESTART_S later; this returns at once."""
        ...

    async def stop_control(self) -> None: ...
    async def start_control(self) -> None: ...
