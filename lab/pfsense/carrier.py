"""The carrier with real packets: strongSwan and FRR of the lab's network behind pfSense's names.

kernel-libipsec serves one tunnel per namespace, so each VTI `ipsecN` of the firewall is one end of a wire into a
namespace `<firewall>~ipsecN` with a charon of its own, as at the gateway's end (lab.net.link). What goes into the VTI
is encrypted there; IKE and ESP go back through the firewall and out of its WAN like anybody else's packets, behind one
more address translation. swanctl.conf is loaded as pfSense wrote it, except for what this arrangement changes: the
local address (another namespace's), and `policies = no` (kernel-libipsec finds tunnels by policy). Tunnels without a
VTI are not carried, and frr.conf's static routes neither (staticd is not started).

Destroying a VTI really takes the interface away with its routes; the SA survives that, as on a firewall.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vici.exception import CommandException

from lab.net.charon import TUN, Charon, plain, vici_path
from lab.net.frr import Frr
from lab.net.run import LabNetError, add_namespace, drop_namespace, inside, ip, nft, run
from lab.pfsense import frrconf, swanctl
from lab.pfsense.daemons import Attempt, Interface

REQID_BASE = 5000
_INTO_TUNNEL, _OUT_OF_TUNNEL = 100, 101
_NAT = """table ip twin {{
  map peers {{ type ipv4_addr : ipv4_addr; }}
  chain prerouting {{
    type nat hook prerouting priority dstnat;
    iifname "{wan}" udp dport {{ 500, 4500 }} dnat to ip saddr map @peers
  }}
  chain postrouting {{ type nat hook postrouting priority srcnat; oifname "{wan}" ip saddr 100.64.0.0/16 masquerade; }}
}}
"""
CYCLE_S = 1.0


class _Tunnel:
    """The namespace behind one VTI. `number` is N of ipsecN, 1 to 250."""

    def __init__(self, firewall: str, number: int, directory: Path) -> None:
        self.firewall = firewall
        self.number = number
        self.directory = directory
        self.vti: Interface | None = None
        self.made = -1
        self.charon: Charon | None = None
        self.settings: dict[str, str] = {}
        self.peer = ""
        self.connection = ""

    @property
    def namespace(self) -> str:
        return f"{self.firewall}~ipsec{self.number}"

    @property
    def address(self) -> str:
        return f"100.64.{self.number}.2"

    async def build(self) -> None:
        n, ns = self.number, self.namespace
        await drop_namespace(ns)
        await add_namespace(ns)
        lines = [
            f"link add ike0 type veth peer name ike{n} netns {self.firewall}",
            f"addr add {self.address}/30 dev ike0",
            "link set ike0 up",
        ]
        lines += [
            f"route add default via 100.64.{n}.1",
            f"rule add iif vti0 table {_INTO_TUNNEL} priority 1000",
            f"rule add iif {TUN} table {_OUT_OF_TUNNEL} priority 1001",
        ]
        await ip(ns, lines)
        await ip(self.firewall, [f"addr add 100.64.{n}.1/30 dev ike{n}", f"link set ike{n} up"])

    async def wire(self, interface: Interface) -> None:
        """The VTI as the firewall sees it now; made anew where pfSense made it anew."""
        name, mac = interface.name, f"02:00:00:00:00:{self.number:02x}"
        fresh = self.made != interface.made
        lines: list[str] = []
        if fresh:
            await self.unwire()
            # no ARP, and the same address at both ends: whatever is routed into the wire comes out of it
            lines = [
                f"link add {name} address {mac} type veth peer name vti0 address {mac} netns {self.namespace}",
                f"link set {name} arp off",
            ]
            await ip(self.firewall, lines)
            await ip(
                self.namespace, ["link set vti0 arp off up", f"route replace default dev vti0 table {_OUT_OF_TUNNEL}"]
            )
        lines = [f"link set {name} mtu {interface.mtu} {'up' if interface.up else 'down'}"]
        if fresh:
            lines += [f"addr add {address} peer {peer}/32 dev {name}" for address, _, peer in interface.addresses]
        await ip(self.firewall, lines)
        self.vti, self.made = interface, interface.made

    async def unwire(self) -> None:
        await run("ip", "-n", self.firewall, "link", "del", f"ipsec{self.number}", check=False)
        self.vti, self.made = None, -1

    async def load(
        self, name: str, connection: swanctl.Section, secret: swanctl.Section | None, settings: dict[str, str]
    ) -> None:
        if self.charon is None:
            self.charon = await Charon.start(self.namespace, self.directory, settings)
            await ip(self.namespace, [f"route replace default dev {TUN} table {_INTO_TUNNEL}"])
        elif settings != self.settings:
            await self._reconfigure(settings)
        self.settings, self.connection, self.peer = settings, name, connection["remote_addrs"]
        children = {
            c: {k: v for k, v in values.items() if k != "policies"} for c, values in connection["children"].items()
        }
        carried = {**{k: v for k, v in connection.items() if k != "local_addrs"}, "children": children}
        secrets = {} if secret is None else {"ike-0": secret}
        await self._swanctl(swanctl.dump({"connections": {name: carried}, "secrets": secrets}))

    async def unload(self) -> None:
        """The connection is gone from swanctl.conf; its SA stays until somebody closes it."""
        if self.charon is not None:
            await self._swanctl("")
        self.peer = ""

    async def _swanctl(self, text: str) -> None:
        conf = self.directory / "swanctl.conf"
        conf.touch(mode=0o600)
        conf.write_text(text)
        await run(
            "swanctl", "--load-all", "--noprompt", "--file", str(conf), "--uri", f"unix://{vici_path(self.directory)}"
        )

    async def _reconfigure(self, settings: dict[str, str]) -> None:
        conf = self.directory / "strongswan.conf"
        lines = [line for line in conf.read_text().splitlines() if not line.strip().startswith("retransmit_")]
        lines[1:1] = [f"  {key} = {value}" for key, value in settings.items()]
        conf.write_text("\n".join(lines) + "\n")
        if self.charon is not None:
            await self.charon.call(lambda session: session.reload_settings())

    async def stop(self) -> None:
        if self.charon is not None:
            await self.charon.stop()
        self.charon = None

    async def demolish(self) -> None:
        await self.stop()
        await self.unwire()
        await drop_namespace(self.namespace)


class NetCarrier:
    """`firewall` is the namespace of the firewall; `directory` for sockets and logs: short, socket paths end at 108."""

    def __init__(self, firewall: str, directory: Path, wan: str = "wan0", wan_address: str = "192.168.178.2") -> None:
        self._firewall = firewall
        self._directory = directory
        self._wan = wan
        self._wan_address = wan_address
        self._tunnels: dict[int, _Tunnel] = {}
        self._frr: Frr | None = None
        self._conf = ""
        self._nat = False

    async def vti(self, interface: Interface) -> None:
        await (await self._tunnel(int(interface.name.removeprefix("ipsec")))).wire(interface)

    async def no_vti(self, name: str) -> None:
        tunnel = self._tunnels.get(int(name.removeprefix("ipsec")))
        if tunnel is not None:
            await tunnel.unwire()
            await self._sweep(tunnel)

    async def _tunnel(self, number: int) -> _Tunnel:
        if not self._nat:
            await nft(self._firewall, _NAT.format(wan=self._wan))
            self._nat = True
        if number not in self._tunnels:
            tunnel = _Tunnel(self._firewall, number, self._directory / f"ipsec{number}")
            await tunnel.build()
            self._tunnels[number] = tunnel
        return self._tunnels[number]

    async def _sweep(self, tunnel: _Tunnel) -> None:
        """Away with a namespace that nothing needs any more."""
        idle = tunnel.vti is None and not tunnel.peer
        if idle and not (tunnel.charon is not None and await tunnel.charon.sas()):
            await tunnel.demolish()
            self._tunnels.pop(tunnel.number, None)

    # strongSwan ------------------------------------------------------------------------------------------------

    async def load(self, swanctl_conf: str, settings: str) -> None:
        charon: swanctl.Section = swanctl.parse(settings).get("charon", {})
        retransmit = {k: str(v) for k, v in charon.items() if k.startswith("retransmit_")}
        wanted: set[int] = set()
        for name, conn in swanctl.connections(swanctl_conf).items():
            reqids = [int(c["reqid"]) for c in conn.get("children", {}).values() if "reqid" in c]
            if reqids:
                number = reqids[0] - REQID_BASE
                wanted.add(number)
                secret = swanctl.secret_for(swanctl_conf, conn)
                await (await self._tunnel(number)).load(name, conn, secret, retransmit)
        for number in set(self._tunnels) - wanted:
            await self._tunnels[number].unload()
            await self._sweep(self._tunnels[number])
        await self._admit()

    async def _admit(self) -> None:
        """Where the peer initiates: its IKE is for the tunnel's namespace."""
        peers = [f"{t.peer} : {t.address}" for t in self._tunnels.values() if t.peer]
        script = "flush map ip twin peers\n" + (
            f"add element ip twin peers {{ {', '.join(peers)} }}\n" if peers else ""
        )
        if self._nat:
            await nft(self._firewall, script)

    async def stop_ike(self) -> None:
        await asyncio.gather(*(tunnel.stop() for tunnel in self._tunnels.values()))
        for tunnel in list(self._tunnels.values()):
            tunnel.peer = ""
            await self._sweep(tunnel)

    def _of(self, connection: str) -> Charon | None:
        name = connection.partition("_")[0]
        return next((t.charon for t in self._tunnels.values() if t.connection == name), None)

    async def initiate(self, child: str, timeout_s: float) -> Attempt:
        charon = self._of(child)
        if charon is None:
            return Attempt((), f"CHILD_SA config '{child}' not found")
        said: list[str] = []

        def use(session: Any) -> str | None:
            request = {"child": child, "timeout": str(int(timeout_s * 1000)), "loglevel": "1"}
            try:
                said.extend(f"[{m['group']}] {m['msg']}" for m in map(plain, session.initiate(request)))
            except CommandException as error:
                return str(error)
            return None

        failure = await charon.call(use)
        return Attempt(tuple(said), failure)

    async def terminate(self, ike: str) -> int:
        charon = self._of(ike)
        ended = 0 if charon is None else await charon.terminate(ike.partition("_")[0])
        for tunnel in list(self._tunnels.values()):
            await self._sweep(tunnel)
        return ended

    async def sas(self) -> list[dict[str, Any]]:
        found = []
        for tunnel in list(self._tunnels.values()):
            if tunnel.charon is None:
                continue
            with contextlib.suppress(OSError):
                found += [self._as_listed(sa) for sa in await tunnel.charon.sas()]
        return found

    def _as_listed(self, raw: dict[str, Any]) -> dict[str, Any]:
        rest = {k: v for k, v in raw.items() if k not in ("name", "child-sas")}
        children = [dict(child) for child in raw.get("child-sas", {}).values()]
        return {"con-id": raw["name"], **rest, "local-host": self._wan_address, "child-sas": children}

    # FRR -------------------------------------------------------------------------------------------------------

    async def start_frr(self, conf: str) -> None:
        await self.stop_frr()
        self._frr = await Frr.start(self._firewall, self._directory / "frr")
        await self.reload_frr(conf)

    async def reload_frr(self, conf: str) -> None:
        gone, come = frrconf.changes(self._conf, conf)
        for lines in (gone, come):
            if lines:
                path = self._directory / "frr" / "change.conf"
                path.write_text("\n".join(lines) + "\n")
                await self.vtysh(["-f", str(path)])
        self._conf = conf

    async def stop_frr(self) -> None:
        if self._frr is not None:
            await self._frr.stop()
        self._frr, self._conf = None, ""

    async def cycle(self, interface: str) -> None:
        await self.vtysh(["-c", "configure terminal", "-c", f"interface {interface}", "-c", "shutdown"])
        await asyncio.sleep(CYCLE_S)
        await self.vtysh(["-c", "configure terminal", "-c", f"interface {interface}", "-c", "no shutdown"])

    async def vtysh(self, words: Sequence[str]) -> tuple[int, str]:
        if self._frr is None:
            return 1, "Exiting: failed to connect to any daemons.\n"
        process = await asyncio.create_subprocess_exec(
            "vtysh",
            "--vty_socket",
            str(self._frr.directory),
            *words,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
        return process.returncode or 0, out.decode(errors="replace")

    # the rest --------------------------------------------------------------------------------------------------

    async def default_route(self, gateway: str | None) -> None:
        words = ["route", "del", "default"] if gateway is None else ["route", "replace", "default", "via", gateway]
        await run("ip", "-n", self._firewall, *words, check=False)

    async def ping(self, target: str, source: str | None) -> bool:
        words = ["-I", source] if source else []
        out = await run(*inside(self._firewall), "ping", "-n", "-c", "1", "-W", "1", *words, target, check=False)
        return " 0% packet loss" in out

    async def close(self) -> None:
        await self.stop_frr()
        for tunnel in list(self._tunnels.values()):
            with contextlib.suppress(LabNetError):
                await tunnel.demolish()
        self._tunnels.clear()
        if self._nat:
            await run(*inside(self._firewall), "nft", "delete", "table", "ip", "twin", check=False)
        self._nat = False
