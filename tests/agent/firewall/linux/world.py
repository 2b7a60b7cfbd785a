"""A bench for the Linux driver: the lab's home with a real charon, zebra and bgpd, and a real gateway if wanted.

The lab is asyncio and the driver is not, so the lab's loop has a thread of its own. The driver runs in this process;
its commands are put into the home's network namespace (charon and FRR are reached by their sockets).
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from agent.adapters import DiskFiles, SystemClock, SystemRandom
from agent.firewall.contract import Firewall
from agent.firewall.linux.charon import Charon
from agent.firewall.linux.deadman import DetachedTimer, FileLock
from agent.firewall.linux.driver import LinuxFirewall
from agent.firewall.linux.frr import Frr
from agent.firewall.linux.link import Link
from agent.firewall.linux.run import Ran, run
from agent.firewall.linux.store import Store
from agent.secret_store import SecretStore
from lab.dataplane import ConnectionView, GatewayView
from lab.net.dataplane import NetDataPlane
from lab.net.world import Network
from shared.wire.commands import DesiredTunnel, Esp, Ike, SecretRef
from tests.agent import fakes

T = TypeVar("T")
HOME = "home"
VNET = "10.0.0.0/16"


class Lab:
    """The network and a gateway's data plane, from ordinary code."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.net = Network(ddns_lag_s=1.0, ttl=3)
        self.do(self.net.start())
        self.plane = NetDataPlane(self.net.directory)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(90)

    def azure(self, psk: str, peer_asn: int = 64_600, asn: int = 65_515) -> None:
        """The gateway's half of Connection `home`, as ARM would order it."""
        gateway = GatewayView("gw", asn, "203.0.113.10", "10.0.1.30", (VNET,))
        policy: dict[str, object] = {
            "ikeEncryption": "GCMAES256",
            "ikeIntegrity": "SHA384",
            "dhGroup": "ECP384",
            "ipsecEncryption": "GCMAES256",
            "ipsecIntegrity": "GCMAES256",
            "pfsGroup": "ECP384",
            "saLifeTimeSeconds": 27000,
            "saDataSizeKilobytes": 102400000,
        }
        connection = ConnectionView(
            HOME, "gw", "198.51.100.23", psk, "ResponderOnly", True, peer_asn, "192.168.1.1", (), policy, 45
        )
        self.do(self.plane.set_gateway(gateway))
        self.do(self.plane.set_connection(connection))

    def no_azure(self) -> None:
        """The gateway stays; it is the connection that the next test orders anew."""
        self.do(self.plane.drop_connection(HOME))

    def close(self) -> None:
        self.do(self.plane.close())
        self.do(self.net.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


def in_home(words: Sequence[str], stdin: str = "") -> Ran:
    return run(("ip", "netns", "exec", HOME, *words), stdin)


class LinuxBench:
    def __init__(self, lab: Lab, state: Path) -> None:
        self.lab = lab
        self.state = state
        self.initiates = True
        self.files = DiskFiles(state)
        self.vtysh = ("vtysh", "--vty_socket", str(lab.net.homes[HOME].vty_socket))
        self.config = state / "agent.toml"
        state.mkdir(parents=True, exist_ok=True)
        self.config.write_text(
            f'state = {json.dumps(str(state))}\n[firewall.linux]\nvici = "{lab.net.homes[HOME].vici}"\n'
            f"vtysh = {json.dumps(list(self.vtysh))}\n"
            'link = "tun"\ndevice = "ipsec0"\nwan = "wan0"\nlan_address = "192.168.1.1"\n'
        )
        self.firewall: Firewall = self.reopened()

    def reopened(self) -> LinuxFirewall:
        return LinuxFirewall(
            charon=Charon(str(self.lab.net.homes[HOME].vici)),
            frr=Frr(self.vtysh, in_home),
            link=Link("tun", "ipsec0", "wan0", "192.168.1.1", in_home),
            store=Store(self.files),
            secrets=SecretStore(self.files),
            dead_man=DetachedTimer(self.config, ("ip", "netns", "exec", HOME, sys.executable)),
            lock=FileLock(self.state / "firewall" / "lock"),
            clock=SystemClock(),
            random=SystemRandom(),
            boot="this-boot",
        )

    def desired(self, **changes: Any) -> DesiredTunnel:
        values = {
            "ike": Ike("GCMAES256", "SHA384", "ECP384", 28_800),
            "esp": Esp("GCMAES256", "GCMAES256", "ECP384", 27_000),
            "probe": "10.0.0.4",
            "initiates": self.initiates,
        }
        return fakes.desired(HOME, **{**values, **changes})

    def psk(self, desired: DesiredTunnel) -> str:
        """Stored as the core would, so that a rollback finds it."""
        value = f"a-long-enough-key-{desired.psk.version}"
        SecretStore(self.files).put(SecretRef(desired.psk.name, desired.psk.version), value)
        return value

    def configure(self, *lines: str) -> None:
        words = [w for line in ("configure terminal", *lines) for w in ("-c", line)]
        ran = run((*self.vtysh, *words))
        assert ran.code == 0, ran.out + ran.err

    def running(self) -> str:
        return run((*self.vtysh, "-c", "show running-config")).out

    def drift(self) -> None:
        """FRR lost our neighbour, somebody deleted our route and our table."""
        self.configure("router bgp 64600", "no neighbor 10.0.1.30")
        for words in (
            ("ip", "route", "del", "10.0.1.30/32", "dev", "ipsec0"),
            ("nft", "delete", "table", "inet", "homelink"),
        ):
            assert in_home(words).code == 0

    def let_dead_man_fire(self, revert_s: float) -> None:
        """Until the timer's process is gone: only then it had its turn, whatever it decided."""
        name = str(self.config)
        wait_for(lambda: name not in run(("ps", "-eo", "args")).out, within_s=revert_s + 20)

    def canonical(self) -> object:
        """Addresses, routes, MSS table and FRR's lines; what charon has loaded."""
        routes = in_home(("ip", "route", "show", "dev", "ipsec0")).out
        addresses = [
            line.split()[1]
            for line in in_home(("ip", "-4", "addr", "show", "dev", "ipsec0")).out.splitlines()
            if "inet" in line
        ]
        table = in_home(("nft", "list", "table", "inet", "homelink")).out
        charon = Charon(str(self.lab.net.homes[HOME].vici)).loaded()
        bgp_routes = [line for line in routes.splitlines() if "proto bgp" not in line]
        return (sorted(addresses), sorted(bgp_routes), table, self.running(), charon)

    def foreign(self) -> object:
        return [line for line in self.running().splitlines() if "99" in line]

    def clean(self) -> None:
        for tunnel in self.firewall.read().tunnels:
            self.firewall.remove(tunnel.desired.connection)
        self.firewall.confirm()
        if "router bgp" in self.running():
            self.configure("no router bgp")


def wait_for(check: Callable[[], object], within_s: float) -> Any:
    """Poll real daemons until `check` is true; their answer, or a failure that shows the last one."""
    deadline = time.monotonic() + within_s
    while not (last := check()):
        assert time.monotonic() < deadline, f"did not happen within {within_s} s; last: {last!r}"
        time.sleep(0.2)
    return last
