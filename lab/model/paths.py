"""Who reaches whom at this moment: every gateway, home and tunnel end of a world, and what follows from them alone.

Nothing here changes anything or knows the time; `lab.model.fabric` does.
"""

from __future__ import annotations

from dataclasses import dataclass

from lab.dataplane import GatewayView
from lab.model import tunnel
from lab.model.assumptions import Assumptions
from lab.model.home import Home
from lab.model.tunnel import AzureEnd, HomeEnd, Sa, Session


@dataclass
class Gateway:
    """`back_at[n]`: when instance n is back, None while it is up."""

    view: GatewayView
    back_at: list[float | None]

    def due(self) -> float | None:
        return min((t for t in self.back_at if t is not None), default=None)

    def fire(self, now: float) -> None:
        self.back_at = [None if t is not None and t <= now else t for t in self.back_at]


class Paths:
    """What there is, and the questions about it."""

    def __init__(self, assumptions: Assumptions) -> None:
        self.assumptions = assumptions
        self.gateways: dict[str, Gateway] = {}
        self.azure: dict[tuple[str, int], AzureEnd] = {}
        """By connection and ordinal of the instance."""
        self.homes: dict[str, Home] = {}
        self.ends: dict[tuple[str, str], HomeEnd] = {}
        """By home and Connection."""
        self.wedged: set[str] = set()
        """Connections and gateways that answer nobody until they are reset: the state that resets exist for."""

    def at_home(self, home: Home) -> list[HomeEnd]:
        return [end for end in self.ends.values() if end.home is home]

    def ends_of(self, gateway: str) -> list[AzureEnd]:
        return [end for end in self.azure.values() if end.view.gateway == gateway]

    def sas(self) -> list[Sa]:
        """Each once, in the order of their ends."""
        held = [end.sa for end in self.ends.values()] + [end.sa for end in self.azure.values()]
        return list(dict.fromkeys(sa for sa in held if sa is not None))

    def sessions(self) -> list[Session]:
        held = [end.session for end in self.ends.values()] + [end.session for end in self.azure.values()]
        return list(dict.fromkeys(session for session in held if session is not None))

    def whole(self, sa: Sa) -> bool:
        """Both ends hold it, and packets go both ways."""
        return sa.held and self.reach(sa.home) is sa.azure

    def carries(self, session: Session) -> bool:
        sa = session.home.sa
        return sa is not None and sa is session.azure.sa and sa.child and self.whole(sa)

    def learned(self, end: AzureEnd) -> tuple[str, ...]:
        return tunnel.learned(end, self.gateways[end.view.gateway].view)

    def announced(self, end: AzureEnd) -> tuple[str, ...]:
        gateway = end.view.gateway
        return tunnel.announced(self.ends_of(gateway), end, self.gateways[gateway].view)

    def reach(self, end: HomeEnd) -> AzureEnd | None:
        """Whose packets these are for the gateway: told by their source, else (if it answers those) by their key."""
        home = end.home
        if home.address is None or not home.firewall_on:
            return None
        to = end.desired.peer_address
        there = [a for a in self.azure.values() if a.instance.public_ip == to and self.up(a)]
        owner = next((a for a in there if a.view.peer_address == home.address), None)
        if owner is None and self.assumptions.unknown_source == "answered" and there:
            if end.sa is not None and end.sa.azure in there:
                return end.sa.azure
            owner = next((a for a in there if a.view.psk == end.psk), there[0])
        return owner

    def up(self, end: AzureEnd) -> bool:
        if end.view.name in self.wedged or end.view.gateway in self.wedged:
            return False
        return self.gateways[end.view.gateway].back_at[end.ordinal] is None

    def called(self, azure: AzureEnd) -> HomeEnd | None:
        """The tunnel that would come up if Azure dialled now."""
        if azure.sa is not None or azure.view.mode == "ResponderOnly" or not self.up(azure):
            return None
        for end in self.ends.values():
            home = end.home
            at = home.callable and home.firewall_on and home.address == azure.view.peer_address
            if at and end.desired.peer_address == azure.instance.public_ip and end.sa is None:
                return end if tunnel.refusal(end, azure) is None else None
        return None
