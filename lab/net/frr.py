"""FRR's zebra and bgpd in a network namespace, spoken to by vtysh.

Both are started without configuration: who owns a router configures it through vtysh, and what is running is what
`vtysh` shows. vtysh needs only the socket directory, not the namespace.
"""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lab.net.run import Daemon, LabNetError, inside, run

LIBRARY = Path("/usr/lib/frr")
_GROUP = "group"


async def vtysh(directory: Path, *commands: str) -> str:
    """Run commands in one vtysh on the daemons whose sockets are in `directory`; `LabNetError` if vtysh objects."""
    words = [word for command in commands for word in ("-c", command)]
    return await run("vtysh", "--vty_socket", str(directory), *words)


async def vtysh_json(directory: Path, command: str) -> Any:
    """A `show ... json` command's answer; an empty dict where FRR prints nothing (no BGP configured)."""
    text = (await vtysh(directory, command)).strip()
    if not text.startswith(("{", "[")):
        return {}
    return json.loads(text)


async def configure(directory: Path, lines: Iterable[str]) -> None:
    """Enter configuration lines; a line that FRR refuses is an error with FRR's words."""
    said = await vtysh(directory, "configure terminal", *lines)
    refused = [line for line in said.splitlines() if line.startswith("%")]
    if refused:
        raise LabNetError(f"FRR at {directory} refused its configuration: {'; '.join(refused)}")


def _prepare(directory: Path, name: str) -> tuple[Path, Path]:
    directory.mkdir(parents=True, exist_ok=True)
    conf, vty = directory / f"{name}.conf", directory / f"{name}.vty"
    conf.touch()
    (directory / _GROUP).write_text("root:x:0:\nfrrvty:x:0:root\n")
    vty.unlink(missing_ok=True)
    return conf, vty


class Frr:
    """A running zebra and bgpd. `directory` holds vty sockets, the zserv socket, and `zebra.log`, `bgpd.log`."""

    def __init__(self, directory: Path, daemons: tuple[Daemon, ...]) -> None:
        self.directory = directory
        self.daemons = daemons

    @classmethod
    async def start(cls, namespace: str, directory: Path) -> Frr:
        """Start both unconfigured and return once vtysh reaches them."""
        daemons = tuple([await cls._daemon(namespace, directory, name) for name in ("zebra", "bgpd")])
        return cls(directory, daemons)

    @staticmethod
    async def _daemon(namespace: str, directory: Path, name: str) -> Daemon:
        conf, vty = _prepare(directory, name)
        words = [str(LIBRARY / name), "-u", "root", "-g", "root", "--vty_socket", str(directory), "-A", "127.0.0.1"]
        words += ["-z", str(directory / "zserv.api"), "-i", str(directory / f"{name}.pid"), "-f", str(conf)]
        words += ["--log", f"file:{directory / name}.log", "--log-level", "debugging"]
        # FRR keeps some of its state at a compiled-in place whatever it is told, and wants its user in its vty group.
        # The mounts are private to the daemon, and made late: the kernel drops one over a file as soon as somebody
        # outside replaces that file, as useradd does with /etc/group.
        binds = ((directory, "/run/frr"), (directory / _GROUP, "/etc/group"))
        mounts = " && ".join(f"mount --bind {shlex.quote(str(source))} {target}" for source, target in binds)
        script = f"{mounts} && exec {shlex.join(words)}"
        daemon = await Daemon.start(
            f"{name} of {namespace}", (*inside(namespace), "sh", "-c", script), directory / f"{name}.out"
        )

        async def ready() -> bool:
            if not vty.exists():
                return False
            try:
                _, writer = await asyncio.open_unix_connection(str(vty))
            except OSError:
                return False
            writer.close()
            return True

        await daemon.ready(ready)
        return daemon

    async def vtysh(self, *commands: str) -> str:
        return await vtysh(self.directory, *commands)

    async def show(self, command: str) -> Any:
        return await vtysh_json(self.directory, command)

    async def configure(self, lines: Iterable[str]) -> None:
        await configure(self.directory, lines)

    def log(self) -> str:
        path = self.directory / "bgpd.log"
        return path.read_text(errors="replace") if path.exists() else ""

    async def stop(self) -> None:
        for daemon in reversed(self.daemons):
            await daemon.stop()
