"""What lies below pfSense's PHP: interfaces, routes, the packet filter, strongSwan and FRR, as commands and answers.

Interfaces and routes are kept here under FreeBSD's names whatever carries packets; what is done to them is passed on to
a `Carrier`. `Model` carries nothing and is enough to look at a driver's effects; `lab.pfsense.carrier` uses charon and
bgpd. Answers have the form that the PHP side expects: {"rc", "out", "data"}.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any, Protocol

Answer = dict[str, Any]
Handler = Callable[[list[str]], Awaitable[Answer]]
FRR_DAEMONS = ("zebra", "mgmtd", "staticd", "bgpd")
PROGRAMS = [
    "ifconfig",
    "route",
    "pfctl",
    "sysctl",
    "arp",
    "pfSctl",
    "strongswanrc",
    "swanctl",
    "frr.sh",
    "frr-reload",
    "frrctl",
    "vtysh",
    "ping",
    "pgrep",
    "netstat",
    "pkg-static",
]


def answer(out: str = "", rc: int = 0, data: Any = None) -> Answer:
    return {"rc": rc, "out": out if not out or out.endswith("\n") else out + "\n", "data": data}


@dataclass
class Interface:
    """`made` counts creations over the life of the kernel, so a destroyed and recreated interface shows."""

    name: str
    mtu: int = 1500
    up: bool = True
    addresses: list[tuple[str, int, str]] = field(default_factory=list)
    """Address, prefix length, and the peer of a point-to-point interface (else empty)."""
    tunnel: tuple[str, str] | None = None
    description: str = ""
    made: int = 0


class Carrier(Protocol):
    """Carries out what the kernel was told. Errors are texts, as charon and FRR give them."""

    async def vti(self, interface: Interface) -> None:
        """The interface is new, or has other addresses or another MTU."""
        ...

    async def no_vti(self, name: str) -> None: ...
    async def load(self, swanctl: str, settings: str) -> None: ...
    async def stop_ike(self) -> None: ...
    async def initiate(self, child: str, timeout_s: float) -> str | None: ...
    async def terminate(self, ike: str) -> int: ...
    async def sas(self) -> list[dict[str, Any]]:
        """As the C module's list: dashes in names, `con-id`, `child-sas` a list."""
        ...

    async def start_frr(self, conf: str) -> None: ...
    async def reload_frr(self, conf: str) -> None: ...
    async def stop_frr(self) -> None: ...
    async def cycle(self, interface: str) -> None: ...
    async def vtysh(self, words: Sequence[str]) -> tuple[int, str]: ...
    async def default_route(self, gateway: str | None) -> None: ...
    async def ping(self, target: str, source: str | None) -> bool: ...
    async def close(self) -> None: ...


class Kernel:
    """`root` is the box's root directory. `log` holds every command that came, for a person; tests look at the state."""

    def __init__(self, root: Path, carrier: Carrier, interfaces: Sequence[Interface], gateway: str) -> None:
        self.root = root
        self.carrier = carrier
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
        self.slow_s = 0.0
        """Fault: so long does strongSwan or FRR take for a start or reload."""
        self.ike = False
        self.frr: tuple[str, ...] = ()
        self.log: list[str] = []
        self._made = 0
        self._lock = asyncio.Lock()
        self._handlers: dict[str, Handler] = {
            name: getattr(self, "_" + name.replace(".", "_").replace("-", "_"))
            for name in (
                *PROGRAMS,
                "list_sa",
                "ifaddrs",
                "ifstats",
                "interfaces_",
                "pidfile",
                "process",
                "gateways",
                "dpinger",
            )
        }

    async def call(self, name: str, args: list[str]) -> Answer:
        self.log.append(" ".join([name, *args]))
        handler = self._handlers.get("interfaces_" if name == "interfaces" else name)
        if handler is None:
            return answer(f"{name}: not found", 127)
        return await handler(args)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One question, one answer: the other end of twin_call() in rootfs/etc/inc/twin.inc."""
        try:
            question = json.loads(await reader.readline())
            writer.write(json.dumps(await self.call(question["name"], question["args"])).encode())
            await writer.drain()
        finally:
            writer.close()

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

    async def _interfaces_(self, _args: list[str]) -> Answer:
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

    async def _process(self, args: list[str]) -> Answer:
        return answer(data=args[0] in self.running)

    @property
    def running(self) -> tuple[str, ...]:
        return (*(("charon",) if self.ike else ()), *self.frr)

    async def _pgrep(self, args: list[str]) -> Answer:
        wanted = args[-1].strip("^$")
        found = [str(100 + n) for n, name in enumerate(self.running) if name == wanted]
        return answer("\n".join(found), 0 if found else 1)

    async def _pidfile(self, args: list[str]) -> Answer:
        return answer(data=self.ike if args[0].endswith("charon.pid") else False)

    async def _sysctl(self, _args: list[str]) -> Answer:
        return answer()

    async def _pkg_static(self, args: list[str]) -> Answer:
        """`query FORMAT NAME...`, FORMAT of %n and %v."""
        found = [(n, v) for n, v in self._packages() if n in args[2:]] if args[:1] == ["query"] else []
        lines = [args[1].replace("%n", name).replace("%v", version) for name, version in found]
        return answer("\n".join(lines), 0 if found else 1)

    def _packages(self) -> list[tuple[str, str]]:
        frr = [("pfSense-pkg-frr", "2.0.2_7")] if (self.root / "usr/local/pkg/frr.inc").exists() else []
        return [*frr, *([("pfSense-pkg-RESTAPI", "2.10.0")] if self.rest_installed() else [])]

    _arp = _pfSctl = _sysctl  # asked for their effects on other machines only

    # strongSwan ------------------------------------------------------------------------------------------------

    async def _strongswanrc(self, args: list[str]) -> Answer:
        async with self._lock:
            if args[0] in ("stop", "restart"):
                await self.carrier.stop_ike()
                self.ike = False
                self._pid("charon").unlink(missing_ok=True)
            if args[0] == "stop" or (args[0] == "reload" and not self.ike):
                return answer()
            await asyncio.sleep(self.slow_s)
            self.ike = True
            self._pid("charon").write_text("100\n")
            try:
                await self.carrier.load(
                    self._text("var/etc/ipsec/swanctl.conf"), self._text("var/etc/ipsec/strongswan.conf")
                )
            except ValueError as error:
                return answer(f"loading connections failed: {error}", 1)
            return answer()

    async def _swanctl(self, args: list[str]) -> Answer:
        value = {w: args[i + 1] if i + 1 < len(args) else "" for i, w in enumerate(args)}
        if "--version" in args:
            return answer("strongSwan swanctl 6.0.1")
        if not self.ike:
            return answer("connecting to 'unix:///var/run/charon.vici' failed: Connection refused", 22)
        if "--load-all" in args or "--load-conns" in args:
            return await self._strongswanrc(["reload"])
        if "--initiate" in args or "-i" in args:
            child = value.get("--child") or value.get("-c") or value.get("--ike") or value.get("-i", "")
            failure = await self.carrier.initiate(child, float(value.get("--timeout", "5") or 5))
            return (
                answer("initiate completed successfully")
                if failure is None
                else answer(f"initiate failed: {failure}", 1)
            )
        if "--terminate" in args or "-t" in args:
            ended = await self.carrier.terminate(value.get("--ike") or value.get("--child") or value.get("-i", ""))
            return (
                answer("terminate completed successfully")
                if ended
                else answer("terminate failed: no matching SAs to terminate found", 1)
            )
        if "--list-sas" in args or "-l" in args:
            return answer("\n".join(_sa_text(sa) for sa in await self.carrier.sas()))
        if "--list-conns" in args or "-L" in args:
            return answer(
                "\n".join(
                    line for line in self._text("var/etc/ipsec/swanctl.conf").splitlines() if line.startswith("\tcon")
                )
            )
        return answer()

    async def _list_sa(self, _args: list[str]) -> Answer:
        return answer(data=await self.carrier.sas() if self.ike else [])

    # FRR -------------------------------------------------------------------------------------------------------

    async def _frr_sh(self, args: list[str]) -> Answer:
        async with self._lock:
            if args[0] in ("stop", "restart"):
                await self.carrier.stop_frr()
                self.frr = ()
            if args[0] in ("start", "restart"):
                await asyncio.sleep(self.slow_s)
                wanted = self._text("usr/local/etc/rc.conf.d/frr")
                self.frr = tuple(d for d in FRR_DAEMONS if f" {d} " in " " + wanted.replace('"', " ") + " ")
                if self.frr:
                    await self.carrier.start_frr(self._text("var/etc/frr/frr.conf"))
            return answer("\n".join(f"{d} is running" for d in self.frr) if args[0] == "status" else "")

    async def _frr_reload(self, _args: list[str]) -> Answer:
        async with self._lock:
            if not self.frr:
                return answer("frr-reload: daemons are not running", 1)
            await asyncio.sleep(self.slow_s)
            await self.carrier.reload_frr(self._text("var/etc/frr/frr.conf"))
            return answer()

    async def _frrctl(self, args: list[str]) -> Answer:
        if args[:1] == ["cycleinterface"] and self.frr:
            await self.carrier.cycle(args[1])
            return answer()
        return await self._vtysh(["-c", "show " + {"bgp sum": "bgp summary"}.get(" ".join(args), " ".join(args))])

    async def _vtysh(self, args: list[str]) -> Answer:
        if not self.frr:
            return answer("Exiting: failed to connect to any daemons.", 1)
        rc, out = await self.carrier.vtysh(args)
        return answer(out, rc)

    def _text(self, inside: str) -> str:
        path = self.root / inside
        return path.read_text() if path.exists() else ""

    def _pid(self, name: str) -> Path:
        return self.root / f"var/run/{name}.pid"


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


def _sa_text(sa: dict[str, Any]) -> str:
    first = f"{sa['con-id']}: #{sa['uniqueid']}, {sa['state']}, IKEv2, {sa['local-host']}[{sa['local-port']}] {sa['remote-host']}[{sa['remote-port']}]"
    children = [
        f"  {c['name']}: #{c['uniqueid']}, reqid {c['reqid']}, {c['state']}, TUNNEL, ESP" for c in sa["child-sas"]
    ]
    return "\n".join([first, *children])
