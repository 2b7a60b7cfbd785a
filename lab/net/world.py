"""The whole network of the lab as one async context manager: everything that is neither Azure nor Homelink.

`async with Network() as net:` builds the wires (lab.net.topology), starts DNS, each router's dyndns2 client and each
home's firewall: charon and FRR, or a pfSense twin. They start without configuration: giving them one is the agent's
job. The gateway's side is made by lab.net.dataplane, in the process of the simulated Azure.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from lab.net import dns, dyndns, topology
from lab.net.charon import TUN, Charon, vici_path
from lab.net.frr import Frr
from lab.net.pfsense import Pfsense
from lab.net.run import Daemon, LabNetError, inside, ip, run
from lab.net.topology import DEFAULT_DIR, Home, Topology


@dataclass
class LinuxFirewall:
    """`second`: the charon of the second tunnel, if there is one."""

    charon: Charon
    frr: Frr
    second: Charon | None = None

    async def stop(self) -> None:
        """All at once."""
        second = [self.second.stop()] if self.second is not None else []
        await asyncio.gather(self.charon.stop(), self.frr.stop(), *second)


@dataclass
class HomeDaemons:
    """What runs at one home, and where an agent finds it."""

    home: Home
    directory: Path
    firewall: LinuxFirewall | Pfsense
    router: Daemon

    @property
    def linux(self) -> LinuxFirewall:
        if isinstance(self.firewall, Pfsense):
            raise LabNetError(f"the firewall of {self.home.name} is a pfSense: its charon and FRR are its own")
        return self.firewall

    @property
    def charon(self) -> Charon:
        return self.linux.charon

    @property
    def frr(self) -> Frr:
        return self.linux.frr

    @property
    def second(self) -> Charon | None:
        return self.linux.second

    @property
    def vici(self) -> Path:
        return vici_path(self.directory)

    @property
    def vty_socket(self) -> Path:
        """FRR's socket directory, for `vtysh --vty_socket`."""
        return self.frr.directory


def _token() -> str:
    return secrets.token_urlsafe(18)


class Network:
    """`records` are fixed names in the zone (`{"api": "203.0.113.80"}`); homes are called `<home>.<zone>`."""

    def __init__(
        self,
        directory: Path = DEFAULT_DIR,
        homes: tuple[Home, ...] = (Home(),),
        *,
        zone: str = "homelink.test",
        records: Mapping[str, str] | None = None,
        ttl: int = 60,
        ddns_lag_s: float = 5.0,
        token: Callable[[], str] = _token,
    ) -> None:
        self.directory = directory
        self.zone = zone
        self._wanted = homes
        self._records = dict(records) if records is not None else {"api": topology.CLOUD}
        self._ttl = ttl
        self._lag = ddns_lag_s
        self._token = token
        self._dns: Daemon | None = None
        self._topology: Topology | None = None
        self.homes: dict[str, HomeDaemons] = {}

    @property
    def topology(self) -> Topology:
        if self._topology is None:
            raise LabNetError("the network is not running: use `async with Network()` or await start()")
        return self._topology

    def name_of(self, home: str = "home") -> str:
        """The DNS name that a home's router keeps up to date."""
        return f"{home}.{self.zone}"

    async def __aenter__(self) -> Network:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Build and start everything; returns when DNS knows every home's address."""
        self._topology = await topology.build(self.directory, self._wanted)
        try:
            accounts = tuple(dns.Account(h.name, self._token(), (self.name_of(h.name),)) for h in self._wanted)
            dns_up = asyncio.Event()
            starts = (self._start_home(h, a, dns_up) for h, a in zip(self._wanted, accounts, strict=True))
            await _all(self._start_dns(accounts, dns_up), *starts)
        except BaseException:
            await self.close()
            raise

    async def _start_dns(self, accounts: tuple[dns.Account, ...], up: asyncio.Event) -> None:
        config = dns.Config(
            zone=self.zone,
            authoritative=topology.DNS,
            recursive=topology.RESOLVER,
            accounts=accounts,
            records={f"{name}.{self.zone}": address for name, address in self._records.items()},
            ttl=self._ttl,
        )
        path = self.directory / "dns.json"
        config.save(path)
        argv = (*inside(self.topology.dns_ns), sys.executable, "-m", "lab.net.dns", str(path))
        self._dns = await Daemon.start("the lab's DNS server", argv, self.directory / "dns.log")
        server = self._dns
        await server.ready(lambda: _says(server, "ready"))
        up.set()

    async def _start_home(self, home: Home, account: dns.Account, dns_up: asyncio.Event) -> None:
        directory = self.directory / home.name
        config = dyndns.Config("wan0", topology.DNS, account.hosts[0], account.user, account.password, self._lag)
        start = Pfsense.start(home, directory / "pf") if home.firewall == "pfsense" else _linux(home, directory)
        firewall = await start
        path = directory / "router.json"
        config.save(path)
        await dns_up.wait()  # else its first report fails, and its retry costs seconds of everybody's start
        argv = (*inside(home.nat_ns), sys.executable, "-m", "lab.net.dyndns", str(path))
        router = await Daemon.start(f"the router of {home.name}", argv, directory / "router.log")
        self.homes[home.name] = HomeDaemons(home, directory, firewall, router)
        await router.ready(lambda: _says(router, "reported"))

    async def ping(self, namespace: str | None, address: str, source: str | None = None) -> bool:
        """Whether one echo request from a namespace (None: the cloud) is answered within a second of real time."""
        words = ("-I", source) if source is not None else ()
        return await ping(namespace, address, *words)

    async def change_public_address(self, new: str, home: str = "home", *, outage_s: float = 0.0) -> None:
        """Give a home another public address, as its ISP would; its router reports it after its lag."""
        self._topology = await topology.change_public_address(self.topology, home, new, outage_s=outage_s)
        self.homes[home].home = self._topology.home(home)

    async def close(self) -> None:
        """Stop every daemon and remove every namespace of the network, the gateway's included."""
        stops = [self._dns.stop()] if self._dns is not None else []
        for daemons in self.homes.values():
            stops += [daemons.router.stop(), daemons.firewall.stop()]
        await asyncio.gather(*stops, return_exceptions=True)
        self._dns = None
        self.homes.clear()
        if self._topology is not None:
            await topology.demolish(self._topology)
            self._topology = None


async def _linux(home: Home, directory: Path) -> LinuxFirewall:
    charon, frr = await asyncio.gather(
        Charon.start(home.firewall_ns, directory), Frr.start(home.firewall_ns, directory / "frr")
    )
    firewall = LinuxFirewall(charon, frr)
    if home.second_tunnel:
        firewall.second = await Charon.start(home.second_ns, directory / "second")
        await ip(home.second_ns, [f"route add default dev {TUN} table 100"])
    return firewall


async def _all(*work: Coroutine[Any, Any, None]) -> None:
    """Like gather, but the first failure stops the others (one may be waiting for what now never comes)."""
    try:
        async with asyncio.TaskGroup() as group:
            for each in work:
                group.create_task(each)
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None


async def _says(daemon: Daemon, word: str) -> bool:
    return any(line.startswith(word) for line in daemon.log.read_text(errors="replace").splitlines())


async def ping(namespace: str | None, address: str, *words: str) -> bool:
    out = await run(*inside(namespace), "ping", "-n", "-c", "1", "-W", "1", *words, address, check=False)
    return " 0% packet loss" in out
