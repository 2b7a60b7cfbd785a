"""A small world of physics: a clock, a fabric, a home with its firewall, a gateway; nobody controls it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from agent.firewall.contract import Revert
from lab.dataplane import ConnectionView, GatewayView, InstanceView
from lab.model.assumptions import Assumptions
from lab.model.dataplane import ModelDataPlane
from lab.model.fabric import Fabric
from lab.model.firewall import ModelFirewall
from lab.model.home import Home
from lab.model.names import Names
from shared.wire.commands import DesiredTunnel
from shared.wire.reports import TunnelHealth
from tests.agent import fakes

POLICY: dict[str, object] = {
    "ikeEncryption": "GCMAES256",
    "ikeIntegrity": "SHA384",
    "dhGroup": "ECP384",
    "ipsecEncryption": "GCMAES256",
    "ipsecIntegrity": "GCMAES256",
    "pfsGroup": "ECP384",
    "saLifeTimeSeconds": 27000,
}
ADDRESS, NEW = "198.51.100.23", "198.51.100.77"
FQDN = "home.dyn.example"
PSK = "TheKeyOfTheModel"
SECOND = InstanceView("203.0.113.11", "10.0.1.5")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Site:
    """One gateway and one home that fit each other; `link` brings the tunnel up. `pace` is how time passes."""

    def __init__(self, assumptions: Assumptions | None = None, pace: float | None = None, **home: Any) -> None:
        self.clock = Clock()
        self.pace = pace
        self.fabric = Fabric(self.clock, assumptions)
        self.names = Names(self.fabric.clock)
        self.plane = ModelDataPlane(self.fabric, datetime(2026, 11, 1, 12, 0, tzinfo=UTC))
        self.home = Home(self.fabric, self.names, "home", FQDN, ADDRESS, **home)
        self.firewall = ModelFirewall(self.fabric, self.home)
        self.gateway = GatewayView("gw", 65515, "203.0.113.10", "10.0.1.30", ("10.0.0.0/16",))
        self.view = ConnectionView(
            "home", "gw", ADDRESS, PSK, "ResponderOnly", True, 64600, "192.168.1.1", (), POLICY, 45
        )
        self.tunnel = fakes.desired(probe="10.0.0.4")

    async def link(self, view: dict[str, Any] | None = None, **desired: Any) -> None:
        await self.plane.set_gateway(self.gateway)
        await self.plane.set_connection(replace(self.view, **(view or {})))
        self.apply(replace(self.tunnel, **desired))
        self.firewall.confirm()

    def apply(self, desired: DesiredTunnel, psk: str = PSK, generation: int = 1, revert_s: float = 600.0) -> None:
        self.firewall.apply(desired, generation, psk, Revert(revert_s, ()))

    def wait(self, seconds: float) -> None:
        """Time passes, in steps of `pace` if there is one."""
        end = self.clock.now + seconds
        while self.pace is not None and self.clock.now + self.pace < end:
            self.clock.now += self.pace
            self.fabric.settle(self.clock.now)
        self.clock.now = end
        self.fabric.settle(end)

    @property
    def health(self) -> TunnelHealth:
        return self.firewall.health().tunnels[0]

    @property
    def up(self) -> tuple[bool, bool, bool]:
        """Child SA, BGP and probe, as the home sees them."""
        t = self.health
        return t.child.installed, t.bgp.state == "Established", any(p.ok for p in t.probes)

    async def connected(self, connection: str = "home") -> bool:
        return (await self.plane.tunnel(connection)).connected

    async def learned(self) -> list[str]:
        return [r.network for r in await self.plane.learned_routes("gw") if r.source_peer]

    async def neighbour(self) -> str:
        return (await self.plane.bgp_peers("gw"))[0].state
