"""The daemons of the firewall: strongSwan and FRR as pfSense starts, reloads and asks them, whatever carries packets.

What carries is a `Carrier`: `lab.pfsense.model` nothing, `lab.pfsense.carrier` charon and bgpd.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

Answer = dict[str, Any]
Handler = Callable[[list[str]], Awaitable[Answer]]
FRR_DAEMONS = ("zebra", "mgmtd", "staticd", "bgpd")


def answer(out: str = "", rc: int = 0, data: Any = None) -> Answer:
    """What the PHP side expects: exit code, standard output, and for C functions the value."""
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


@dataclass(frozen=True)
class Attempt:
    """An initiation: what charon logged meanwhile, as `swanctl` prints it, and why it failed (None: it did not)."""

    said: tuple[str, ...]
    failure: str | None


class Carrier(Protocol):
    """Carries out what the kernel was told. Errors are texts, as charon and FRR give them."""

    async def vti(self, interface: Interface) -> None:
        """The interface is new, or has other addresses or another MTU."""
        ...

    async def no_vti(self, name: str) -> None: ...
    async def load(self, swanctl: str, settings: str) -> None: ...
    async def stop_ike(self) -> None: ...
    async def initiate(self, child: str, timeout_s: float) -> Attempt: ...
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


class Daemons:
    """`root` is the box's root directory."""

    def __init__(self, root: Path, carrier: Carrier) -> None:
        self.root = root
        self.carrier = carrier
        self.slow_s = 0.0
        """Fault: so long does strongSwan or FRR take for a start or reload."""
        self.ike = False
        self.frr: tuple[str, ...] = ()
        self._lock = asyncio.Lock()
        self.handlers: dict[str, Handler] = {
            "strongswanrc": self._strongswanrc,
            "swanctl": self._swanctl,
            "list_sa": self._list_sa,
            "frr.sh": self._frr_sh,
            "frr-reload": self._frr_reload,
            "frrctl": self._frrctl,
            "vtysh": self._vtysh,
            "process": self._process,
            "pgrep": self._pgrep,
            "pidfile": self._pidfile,
        }

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
            tried = await self.carrier.initiate(child, float(value.get("--timeout", "5") or 5))
            end = "completed successfully" if tried.failure is None else f"failed: {tried.failure}"
            return answer("\n".join([*tried.said, f"initiate {end}"]), 0 if tried.failure is None else 1)
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


def _sa_text(sa: dict[str, Any]) -> str:
    ends = f"{sa['local-host']}[{sa['local-port']}] {sa['remote-host']}[{sa['remote-port']}]"
    first = f"{sa['con-id']}: #{sa['uniqueid']}, {sa['state']}, IKEv2, {ends}"
    children = [
        f"  {c['name']}: #{c['uniqueid']}, reqid {c['reqid']}, {c['state']}, TUNNEL, ESP" for c in sa["child-sas"]
    ]
    return "\n".join([first, *children])
