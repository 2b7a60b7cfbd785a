"""A bench for the pfSense driver: the lab's twin, which executes the driver's PHP, reached by one of the three ways.

The firewall holds a hand-made tunnel, BGP and rules from the start (`foreign`), or what a home has (`plain`).
"""

from __future__ import annotations

import re
import time
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent.adapters import SystemClock, SystemRandom
from agent.firewall.contract import Firewall
from agent.firewall.pfsense.box import Box
from agent.firewall.pfsense.driver import PfSense
from agent.firewall.pfsense.ways import Local, Ran, Rest, Way, Web, XmlRpc
from lab.pfsense.twin import Twin
from shared.wire.commands import DesiredTunnel
from tests.agent import fakes

CONFIGS = Path(__file__).parents[3] / "lab" / "pfsense"
PLAIN, FOREIGN = CONFIGS / "plain" / "config.xml", CONFIGS / "foreign" / "config.xml"
OTHER_GATEWAY, OTHER_PEER = "203.0.113.20", "10.1.1.30"


class PfSenseBench:
    """`way` is rest, xmlrpc or local; `merge` the home owner's consent to join a BGP that runs already."""

    def __init__(self, twin: Twin, way: str = "rest", merge: bool = True) -> None:
        self.twin = twin
        web = Web(twin.url, None, None)
        self.ways: dict[str, Way] = {
            "rest": Rest(web, twin.key),
            "xmlrpc": XmlRpc(web, "admin", twin.password),
            "local": Local((*twin.words, "/bin/sh", "-c"), twin.path("/conf/config.xml")),
        }
        self.way = way
        self.merge = merge
        self.firewall: Firewall = self.reopened()

    def driver(self, *ways: str, wan: str = "wan") -> PfSense:
        clock, random = SystemClock(), SystemRandom()
        return PfSense(Box([self.ways[w] for w in ways], clock, random), wan, self.merge, clock, random)

    def recorded(self, way: str) -> tuple[PfSense, list[str]]:
        """A driver whose commands are written down, and that list."""
        inner, commands = self.ways[way], list[str]()

        class Recorded:
            name, limit = inner.name, inner.limit

            def run(self, command: str, timeout_s: float) -> Ran:
                commands.append(command)
                return inner.run(command, timeout_s)

        self.ways["recorded"] = Recorded()
        return self.driver("recorded"), commands

    def reopened(self) -> Firewall:
        return self.driver(self.way)

    def desired(self, connection: str = "home", **changes: Any) -> DesiredTunnel:
        return fakes.desired(connection, **changes)

    def second(self) -> DesiredTunnel:
        """Another Connection, to another gateway, that announces the same network."""
        d = fakes.desired("office")
        bgp = replace(d.bgp, peer_address=OTHER_PEER, accept=("10.1.0.0/16",))
        transit = replace(d.transit, local="10.1.1.29", remote=OTHER_PEER)
        return fakes.desired("office", peer_address=OTHER_GATEWAY, peer_id=OTHER_GATEWAY, bgp=bgp, transit=transit)

    def psk(self, desired: DesiredTunnel) -> str:
        return f"a-<&>'\"-key-of-{desired.connection}-{desired.psk.version}"

    def drift(self) -> None:
        self.twin.edit(
            "config_del_path('ipsec/phase2/' . (count(config_get_path('ipsec/phase2')) - 1));"
            "config_del_path('installedpackages/frrglobalprefixes/config');"
        )

    def let_dead_man_fire(self, revert_s: float) -> None:
        deadline = time.monotonic() + revert_s + 20
        while self.twin.path("/var/run/homelink.armed").exists():
            assert time.monotonic() < deadline, "the timer did not fire"
            time.sleep(0.1)

    def clean(self, start: bytes) -> None:
        """Back to `start`, the file that the firewall had, by a boot, which ends timers and generates anew."""
        self.twin.faults.rest_removed = self.twin.faults.web_down = self.twin.faults.rest_busy = False
        self.twin.kernel.refuse_rules = False
        self.twin.model.answers.clear()
        self.twin.model.refuses.clear()
        generated = ("/var/etc/ipsec/swanctl.conf", "/var/etc/frr/frr.conf", "/usr/local/etc/rc.conf.d/frr")
        for left in ("/conf/homelink/snapshot.json", *generated):
            self.twin.path(left).unlink(missing_ok=True)
        self.twin.path("/conf/config.xml").write_bytes(start)
        self.twin.reboot()

    # what is there ---------------------------------------------------------------------------------------------

    def canonical(self) -> object:
        """All of config.xml but its revision, and what runs: everything must come back as it was."""
        interfaces = {
            name: (sorted(map(str, i.addresses)), i.mtu) for name, i in sorted(self.twin.kernel.interfaces.items())
        }
        return self.config(), interfaces, self.text("/var/etc/ipsec/swanctl.conf"), self.text("/var/etc/frr/frr.conf")

    def foreign(self) -> object:
        """Every entry of a list that does not bear our name, and how often the others' tunnels were made anew."""
        root = ET.fromstring(self.config())
        lists = (
            "ipsec/phase1",
            "ipsec/phase2",
            "filter/rule",
            "gateways/gateway_item",
            "interfaces/*",
            "installedpackages/*/config",
        )
        texts = [ET.tostring(e).strip() for path in lists for e in root.findall(path)]
        made = {n: i.made for n, i in self.twin.kernel.interfaces.items() if n == "ipsec2"}
        others = [
            t
            for t in texts
            if b"omelink" not in t and b"HL_" not in t and b"<asnum>" not in t and b"<carpstatusvid>" not in t
        ]
        return sorted(others), made

    def config(self) -> bytes:
        return without_revision(self.twin.config())

    def text(self, path: str) -> str:
        file = self.twin.path(path)
        return re.sub(r"^#.*\n", "", file.read_text(), flags=re.MULTILINE) if file.exists() else ""

    def xml(self, path: str) -> list[ET.Element]:
        return ET.fromstring(self.config()).findall(path)


def without_revision(config: bytes) -> bytes:
    return re.sub(rb"\s*<revision>.*?</revision>", b"", config, flags=re.DOTALL)
