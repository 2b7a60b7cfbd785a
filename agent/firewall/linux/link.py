"""Addresses, routes and the MSS clamp on the tunnel's device, by `ip` and `nft`.

Two kinds of device: "tun" is kernel-libipsec's `ipsec0`, made by charon (userspace ESP; one tunnel per host, since it
has no interface id); "xfrm" is an XFRM interface per Connection, made here. The clamp lives in a table of our own and
only ever lowers a segment size. Routes to what Azure announces are not set here: BGP and zebra do that.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from ipaddress import IPv4Network
from typing import Any, Literal

from agent.errors import FirewallBusy, FirewallError
from agent.firewall.linux.run import Runner, must
from shared.wire.commands import DesiredTunnel
from shared.wire.reports import ProbeHealth

TABLE = "homelink"
XFRM_MTU = 1400


class Link:
    def __init__(self, kind: Literal["tun", "xfrm"], device: str, wan: str, lan_address: str, runner: Runner) -> None:
        self.kind = kind
        self._device = device
        self._wan = wan
        self._lan = lan_address
        self._run = runner

    def device(self, desired: DesiredTunnel) -> str:
        """At most 15 characters, as the kernel wants it."""
        return self._device if self.kind == "tun" else f"hl{self._if_id(desired):x}"

    def if_id(self, desired: DesiredTunnel) -> int | None:
        return None if self.kind == "tun" else self._if_id(desired)

    def missing(self, desired: DesiredTunnel) -> list[str]:
        """`ip` commands (without the word `ip`) that are needed; empty if everything is there."""
        device, commands = self.device(desired), []
        if self.kind == "xfrm" and not self._exists(device):
            commands.append(f"link add {device} type xfrm dev {self._wan} if_id {self._if_id(desired)}")
            commands.append(f"link set {device} mtu {XFRM_MTU} up")
            have: set[str] = set()
            routes: set[str] = set()
        else:
            have, routes = self._addresses(device), set(self.routes(device))
        local = f"{desired.transit.local}/{desired.transit.prefix_length}"
        if local not in have:
            commands.append(f"addr replace {local} dev {device}")
        for peer in dict.fromkeys((desired.transit.remote, desired.bgp.peer_address)):
            if f"{peer}/32" not in routes:
                commands.append(f"route replace {peer}/32 dev {device} src {desired.bgp.local_address}")
        return commands

    def ensure(self, desired: DesiredTunnel, previous: DesiredTunnel | None) -> None:
        if self.kind == "tun" and not self._exists(self._device):
            raise FirewallBusy(
                f"there is no device {self._device}: charon with the kernel-libipsec plugin makes it", 10
            )
        if previous is not None:
            self._drop(previous, desired)
        for command in self.missing(desired):
            must(self._run, ("ip", *command.split()))

    def remove(self, desired: DesiredTunnel) -> None:
        if not self._exists(self.device(desired)):
            return
        if self.kind == "xfrm":
            must(self._run, ("ip", "link", "del", self.device(desired)))
        else:
            self._drop(desired, None)

    def _drop(self, old: DesiredTunnel, new: DesiredTunnel | None) -> None:
        """Take away the old addresses and routes that the new tunnel does not have."""
        device = self.device(old)
        if not self._exists(device):
            return
        keep = set() if new is None else {new.transit.remote, new.bgp.peer_address}
        have = set(self.routes(device))
        for peer in dict.fromkeys((old.transit.remote, old.bgp.peer_address)):
            if peer not in keep and f"{peer}/32" in have:
                must(self._run, ("ip", "route", "del", f"{peer}/32", "dev", device))
        local = (old.transit.local, old.transit.prefix_length)
        if (new is None or (new.transit.local, new.transit.prefix_length) != local) and (
            f"{local[0]}/{local[1]}" in self._addresses(device)
        ):
            must(self._run, ("ip", "addr", "del", f"{local[0]}/{local[1]}", "dev", device))

    # MSS -------------------------------------------------------------------------------------------------------

    def clamp(self, tunnels: Sequence[DesiredTunnel]) -> None:
        """Replace our table in one transaction. Without `nft` on the host there is no clamp (the guide says so)."""
        if self._has_nft():
            must(self._run, ("nft", "-f", "-"), clamp_rules([(self.device(t), t.mss) for t in tunnels]))

    def clamped(self, desired: DesiredTunnel) -> bool:
        if not self._has_nft():
            return True
        ran = self._run(("nft", "list", "table", "inet", TABLE), "")
        words = (f'oifname "{self.device(desired)}"', f"size set {desired.mss}")
        return ran.code == 0 and any(all(w in line for w in words) for line in ran.out.splitlines())

    def _has_nft(self) -> bool:
        try:
            return self._run(("nft", "--version"), "").code == 0
        except FirewallError:
            return False

    # reading ---------------------------------------------------------------------------------------------------

    def wan_address(self) -> str | None:
        addresses = sorted(a.partition("/")[0] for a in self._addresses(self._wan))
        return addresses[0] if addresses else None

    def routes(self, device: str) -> tuple[str, ...]:
        """Prefixes of the main table that leave by the device, sorted."""
        found = set()
        for route in self._json("route", "show", "dev", device):
            text = str(route.get("dst", ""))
            text = "0.0.0.0/0" if text == "default" else text
            try:
                found.add(str(IPv4Network(text, strict=False)))
            except ValueError:
                continue
        return tuple(sorted(found))

    def probe(self, target: str) -> ProbeHealth:
        ran = self._run(("ping", "-n", "-c1", "-W1", "-I", self._lan, target), "")
        _, found, rest = ran.out.partition("time=")
        try:
            rtt = float(rest.split()[0]) if found else None
        except (ValueError, IndexError):
            rtt = None
        return ProbeHealth(target, ran.code == 0, rtt if ran.code == 0 else None)

    def _addresses(self, device: str) -> set[str]:
        found = set()
        for link in self._json("-4", "addr", "show", "dev", device):
            for a in link.get("addr_info", []):
                if "local" in a and "prefixlen" in a:
                    found.add(f"{a['local']}/{a['prefixlen']}")
        return found

    def _exists(self, device: str) -> bool:
        return self._run(("ip", "link", "show", "dev", device), "").code == 0

    def _json(self, *words: str) -> list[dict[str, Any]]:
        """A missing device reads as nothing."""
        ran = self._run(("ip", "-j", *words), "")
        try:
            data = json.loads(ran.out or "[]") if ran.code == 0 else []
        except ValueError:
            data = []
        return [d for d in data if isinstance(d, dict)] if isinstance(data, list) else []

    @staticmethod
    def _if_id(desired: DesiredTunnel) -> int:
        """Stable for a Connection, never 0."""
        return zlib.crc32(desired.connection_id.encode()) | 1


def clamp_rules(devices: Sequence[tuple[str, int]]) -> str:
    """An nft script that replaces the table as a whole; with no device the table goes."""
    lines = [f"table inet {TABLE} {{ }}", f"delete table inet {TABLE}"]
    if devices:
        lines += [f"table inet {TABLE} {{", "  chain forward {", "    type filter hook forward priority mangle;"]
        for device, mss in devices:
            for way in ("oifname", "iifname"):
                lines.append(
                    f'    {way} "{device}" tcp flags & (syn | rst) == syn '
                    f"tcp option maxseg size > {mss} tcp option maxseg size set {mss}"
                )
        lines += ["  }", "}"]
    return "\n".join(lines) + "\n"
