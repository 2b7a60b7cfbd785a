"""A firewall of the lab as one object: file system, kernel, web server; `with Twin(folder, config) as fw:`.

It runs in a thread of its own, because those who use it (the agent's driver, its tests) are not asyncio. Everything a
test wants to do to the firewall behind the driver's back is a method here: edit by hand, reboot, break.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import ssl
import subprocess
import threading
from collections.abc import Coroutine, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from xml.etree import ElementTree

from aiohttp import web

from lab.pfsense.box import Box
from lab.pfsense.daemons import Answer, Carrier, Interface, answer
from lab.pfsense.kernel import Kernel
from lab.pfsense.model import Model
from lab.pfsense.server import Credentials, Faults, Server

T = TypeVar("T")
VERSION = "2.8.1-RELEASE"


class Firewall:
    """The parts, for a caller with an event loop. `wan` and `lan` are addresses with prefix length."""

    def __init__(
        self,
        directory: Path,
        config: Path,
        carrier: Carrier,
        *,
        wan: str = "192.168.178.2/24",
        wan_gateway: str = "192.168.178.1",
        lan: str = "192.168.1.1/24",
        version: str = VERSION,
        key: str | None = None,
        password: str = "pfsense",
    ) -> None:
        self.box = Box(directory)
        self.box.build(config.read_bytes(), version)
        self.credentials = Credentials(key or secrets.token_hex(24), password)
        interfaces = [Interface("lo0", addresses=[("127.0.0.1", 8, "")]), Interface("enc0", mtu=1536)]
        for name, address in zip(self._devices(config), (wan, lan), strict=True):
            ip, _, bits = address.partition("/")
            interfaces.append(Interface(name, addresses=[(ip, int(bits), "")]))
        self.kernel = Kernel(self.box.root, carrier, interfaces, wan_gateway)
        self.wan_gateway = wan_gateway
        self.wan_device = interfaces[2].name
        self.faults = Faults()
        self.kernel.rest_installed = lambda: not self.faults.rest_removed
        self.server = Server(self.box, self.credentials, self.faults)
        self.kernel.handlers["reboot"] = self._told_to_reboot
        self._rebooting: asyncio.Task[None] | None = None
        self._socket: asyncio.AbstractServer | None = None

    @staticmethod
    def _devices(config: Path) -> tuple[str, str]:
        """The devices that the configuration assigns to WAN and LAN."""
        root = ElementTree.parse(config).getroot()
        return str(root.findtext("interfaces/wan/if")), str(root.findtext("interfaces/lan/if"))

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None, routes: Sequence[web.RouteDef] = ()) -> int:
        """Power on: kernel, boot, web server. Returns the port."""
        await self._power_on()
        return await self.server.start(host, port, tls, list(routes))

    async def _power_on(self) -> None:
        self.box.start()
        self.box.path(f"/tmp/{self.wan_device}_router").write_text(self.wan_gateway + "\n")
        folder = os.open(self.box.path("/var/run"), os.O_RDONLY)
        try:  # by way of the folder's descriptor: the whole path may be longer than a socket's name can be
            self._socket = await asyncio.start_unix_server(self.kernel.serve, f"/proc/self/fd/{folder}/twin.sock")
        finally:
            os.close(folder)
        await self.kernel.boot()
        await self.run("/etc/rc.bootup")

    async def _power_off(self) -> None:
        if self._socket is not None:
            self._socket.close()
        await asyncio.to_thread(self.box.stop)

    async def _told_to_reboot(self, _args: list[str]) -> Answer:
        """By a command on the firewall, which is answered before the plug is pulled."""
        self._rebooting = asyncio.create_task(self.reboot())
        return answer()

    async def reboot(self) -> None:
        await self._power_off()
        self.box.forget()
        await self._power_on()

    async def stop(self) -> None:
        await self.server.stop()
        if self._rebooting is not None:
            await asyncio.gather(self._rebooting, return_exceptions=True)
        await self._power_off()
        await self.kernel.carrier.close()

    async def run(self, *command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(self.box.run, *command, stdin=stdin)


class Twin:
    """`model` is there unless another carrier was given."""

    def __init__(
        self,
        directory: Path,
        config: Path,
        *,
        carrier: Carrier | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        **settings: Any,
    ) -> None:
        self.firewall = Firewall(directory, config, carrier or Model(), **settings)
        self._listen = (host, port)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="pfsense-twin", daemon=True)
        self.url = ""

    # life ------------------------------------------------------------------------------------------------------

    def start(self, tls: ssl.SSLContext | None = None) -> None:
        self._thread.start()
        try:
            port = self.call(self.firewall.start(*self._listen, tls))
        except BaseException:
            self.stop()
            raise
        self.url = f"{'https' if tls else 'http'}://{self._listen[0]}:{port}"

    def stop(self) -> None:
        self.call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _stop(self) -> None:
        """Also ends what the killed processes of the box have left unfinished."""
        await self.firewall.stop()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def __enter__(self) -> Twin:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    # what is there ---------------------------------------------------------------------------------------------

    @property
    def key(self) -> str:
        return self.firewall.credentials.key

    @property
    def password(self) -> str:
        return self.firewall.credentials.password

    @property
    def faults(self) -> Faults:
        return self.firewall.faults

    @property
    def kernel(self) -> Kernel:
        return self.firewall.kernel

    @property
    def model(self) -> Model:
        carrier = self.kernel.carrier
        assert isinstance(carrier, Model)
        return carrier

    @property
    def words(self) -> list[str]:
        """In front of a command, they run it on the firewall: what an agent on the firewall itself would do."""
        return self.firewall.box.words()

    def path(self, inside: str) -> Path:
        return self.firewall.box.path(inside)

    def config(self) -> bytes:
        return self.path("/conf/config.xml").read_bytes()

    # what happens to it ----------------------------------------------------------------------------------------

    def run(self, *command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """A command on the firewall; output and exit code."""
        return self.firewall.box.run(*command, stdin=stdin)

    def php(self, code: str) -> str:
        """Run PHP on the firewall with pfSense's functions loaded; what it printed. AssertionError if it died."""
        ran = self.run("/usr/local/bin/php", "-r", f"require_once('config.inc'); require_once('functions.inc'); {code}")
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def edit(self, code: str, description: str = "by hand") -> None:
        """What somebody saves in the web interface: PHP on the configuration, then write_config()."""
        self.php(f"{code} $_SESSION['Username'] = 'somebody'; write_config('{description}');")

    def trip(self, function: str, code: str) -> None:
        """Once, where a function of pfSense begins, run this PHP: `throw new Error('...');`, `exit(1);`, an edit."""
        folder = self.path("/var/run/twin.trips")
        folder.mkdir(exist_ok=True)
        (folder / function).write_text(code)

    def upgrade(self, version: str) -> None:
        """An upgrade of pfSense: the REST package is gone, and an agent that lived in /usr/local with it."""
        self.faults.rest_removed = True
        self.firewall.box.upgrade(version)
        self.reboot()

    def reboot(self) -> None:
        """Power off and on: processes and timers are gone, everything in config.xml is applied."""
        self.call(self.firewall.reboot())
