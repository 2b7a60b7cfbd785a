"""What lies below pfSense's PHP: interfaces, routes, the packet filter, strongSwan and FRR, as commands and answers.

Interfaces and routes are kept here under FreeBSD's names whatever carries packets; what is done to them is passed on to
a `Carrier`. `Model` carries nothing and is enough to look at a driver's effects; `lab.pfsense.carrier` uses charon and
bgpd.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Sequence
from ipaddress import IPv4Interface
from pathlib import Path

from lab.pfsense.daemons import Answer, Carrier, Daemons, Interface, answer


class Kernel(Daemons):
    """`root` is the box's root directory. `log` holds every command that came, for a person to read."""

    def __init__(self, root: Path, carrier: Carrier, interfaces: Sequence[Interface], gateway: str) -> None:
        super().__init__(root, carrier)
        self._first = [(i.name, list(i.addresses)) for i in interfaces]
        self._gateway = gateway
        self.interfaces = {i.name: i for i in interfaces}
        self.default: str | None = gateway
        self.routes: dict[str, str] = {}
        self.rules = ""
        self.monitored: list[str] = []
        self.offline: set[str] = set()
        """Gateways by name that are not online."""
        self.refuse_rules = False
        """Fault: pfctl does not load anything."""
        self.rest_installed: Callable[[], bool] = lambda: True
        self.log: list[str] = []
        self._made = 0
        self.handlers |= {
            "ifconfig": self._ifconfig,
            "route": self._route,
            "interfaces": self._interfaces,
            "ifaddrs": self._ifaddrs,
            "ifstats": self._ifstats,
            "netstat": self._netstat,
            "ping": self._ping,
            "pfctl": self._pfctl,
            "gateways": self._gateways,
            "dpinger": self._dpinger,
            "pkg-static": self._pkg_static,
        }
        self.handlers |= dict.fromkeys(("sysctl", "arp", "pfSctl"), self._nothing)

    async def call(self, name: str, args: list[str]) -> Answer:
        self.log.append(" ".join([name, *args]))
        handler = self.handlers.get(name)
        if handler is None:
            return answer(f"{name}: not found", 127)
        return await handler(args)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One question, one answer: the other end of twin_call() in rootfs/etc/inc/twin.inc. Who asked may be gone."""
        with contextlib.suppress(ConnectionError, json.JSONDecodeError), contextlib.closing(writer):
            question = json.loads(await reader.readline())
            writer.write(json.dumps(await self.call(question["name"], question["args"])).encode())
            await writer.drain()

    async def boot(self) -> None:
        """Everything as after power-on, before anything is configured."""
        await self.carrier.stop_ike()
        await self.carrier.stop_frr()
        for name in [n for n in self.interfaces if n.startswith("ipsec")]:
            await self.carrier.no_vti(name)
        self.interfaces = {n: Interface(n, addresses=list(a)) for n, a in self._first}
        self.default, self.routes, self.rules, self.ike, self.frr = self._gateway, {}, "", False, ()
        await self.carrier.default_route(self._gateway)

    # interfaces and routes -------------------------------------------------------------------------------------

    async def _ifconfig(self, args: list[str]) -> Answer:
        if args[:1] in ([], ["-l"], ["-a"]):
            return answer(" ".join(self.interfaces))
        name, rest = args[0], args[1:]
        if rest[:1] == ["create"]:
            if name in self.interfaces:
                return answer("ifconfig: create: File exists", 1)
            self._made += 1
            self.interfaces[name] = Interface(name, mtu=1400, made=self._made)
            return answer()
        found = self.interfaces.get(name)
        if found is None:
            return answer(f"ifconfig: interface {name} does not exist", 1)
        if rest[:1] == ["destroy"]:
            del self.interfaces[name]
            await self.carrier.no_vti(name)
            return answer()
        if not rest:
            return answer(_show(found))
        self._change(found, rest)
        if name.startswith("ipsec") and found.addresses:
            await self.carrier.vti(found)
        return answer()

    def _change(self, found: Interface, words: list[str]) -> None:
        if words[0] == "mtu":
            found.mtu = int(words[1])
        elif words[0] == "description":
            found.description = words[1]
        elif words[0] in ("up", "down"):
            found.up = words[0] == "up"
        elif words[0] == "delete":
            found.addresses.clear()
        elif words[:2] == ["inet", "tunnel"]:
            found.tunnel = (words[2], words[3])
        elif words[0] == "inet":
            address = IPv4Interface(words[1])
            if "alias" not in words:
                found.addresses.clear()
            peer = words[2] if len(words) > 2 and words[2] != "alias" else ""
            found.addresses.append((str(address.ip), address.network.prefixlen, peer))

    async def _route(self, args: list[str]) -> Answer:
        words = [w for w in args if not w.startswith("-")]
        verb, target = words[0], words[1] if len(words) > 1 else ""
        if verb == "get":
            known = self.default if target == "default" else self.routes.get(target)
            return answer(known or "route: route has not been found", 0 if known else 1)
        gateway = words[2] if len(words) > 2 else None
        if target == "default":
            self.default = None if verb in ("del", "delete") else gateway
            await self.carrier.default_route(self.default)
        elif verb in ("del", "delete"):
            self.routes.pop(target, None)
        elif gateway:
            self.routes[target] = gateway
        return answer()

    async def _interfaces(self, _args: list[str]) -> Answer:
        return answer(data=list(self.interfaces))

    async def _ifaddrs(self, args: list[str]) -> Answer:
        found = self.interfaces.get(args[0])
        if found is None:
            return answer(data=None)
        addrs = [
            {"addr": a, "subnetbits": bits, **({"tunnel": peer} if peer else {})} for a, bits, peer in found.addresses
        ]
        return answer(data={"addrs": addrs, "mtu": found.mtu, "status": "up" if found.up else "down"})

    async def _ifstats(self, args: list[str]) -> Answer:
        found = self.interfaces.get(args[0])
        zero = dict.fromkeys(("inpkts", "inbytes", "outpkts", "outbytes", "inerrs", "outerrs", "collisions"), 0)
        return answer(data=None if found is None else {**zero, "mtu": found.mtu})

    async def _netstat(self, _args: list[str]) -> Answer:
        lines = [f"default {self.default} UGS"] if self.default else []
        return answer("\n".join([*lines, *(f"{net} {via} UGS" for net, via in self.routes.items())]))

    async def _ping(self, args: list[str]) -> Answer:
        source = args[args.index("-S") + 1] if "-S" in args else None
        target = args[-1]
        ok = await self.carrier.ping(target, source)
        took = f"64 bytes from {target}: icmp_seq=0 ttl=64 time=1.0 ms\n" if ok else ""
        loss = "1 packets received, 0.0% packet loss" if ok else "0 packets received, 100.0% packet loss"
        return answer(f"{took}1 packets transmitted, {loss}", 0 if ok else 2)

    # filter, gateways, processes -------------------------------------------------------------------------------

    async def _pfctl(self, args: list[str]) -> Answer:
        if "-f" in args:
            if self.refuse_rules:
                return answer("pfctl: Syntax error in config file: pf rules not loaded", 1)
            self.rules = (self.root / args[args.index("-f") + 1].lstrip("/")).read_text()
            return answer()
        return answer(self.rules if "-sr" in args else "")

    async def _gateways(self, _args: list[str]) -> Answer:
        return answer(data={n: {"status": "down" if n in self.offline else "online"} for n in self.monitored})

    async def _dpinger(self, args: list[str]) -> Answer:
        self.monitored = args
        return answer()

    async def _nothing(self, _args: list[str]) -> Answer:
        return answer()

    async def _pkg_static(self, args: list[str]) -> Answer:
        """`query FORMAT NAME...`, FORMAT of %n and %v."""
        found = [(n, v) for n, v in self._packages() if n in args[2:]] if args[:1] == ["query"] else []
        lines = [args[1].replace("%n", name).replace("%v", version) for name, version in found]
        return answer("\n".join(lines), 0 if found else 1)

    def _packages(self) -> list[tuple[str, str]]:
        frr = [("pfSense-pkg-frr", "2.0.2_7")] if (self.root / "usr/local/pkg/frr.inc").exists() else []
        return [*frr, *([("pfSense-pkg-RESTAPI", "2.10.0")] if self.rest_installed() else [])]


def _show(i: Interface) -> str:
    lines = [f"{i.name}: flags=8051<{'UP,' if i.up else ''}POINTOPOINT,RUNNING,MULTICAST> metric 0 mtu {i.mtu}"]
    if i.description:
        lines.append(f"\tdescription: {i.description}")
    if i.tunnel:
        lines.append(f"\ttunnel inet {i.tunnel[0]} --> {i.tunnel[1]}")
    for address, bits, peer in i.addresses:
        lines.append(
            f"\tinet {address}"
            + (f" --> {peer}" if peer else "")
            + f" netmask 0x{(0xFFFFFFFF << (32 - bits)) & 0xFFFFFFFF:08x}"
        )
    return "\n".join(lines)
