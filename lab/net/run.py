"""Running the system's own tools (ip, nft, vtysh, ...) and the daemons of the lab from asyncio.

The lab drives iproute2 and nftables by command rather than over netlink: slower by milliseconds, but every step is
a line a person can repeat by hand. Commands of one namespace go in one `ip -batch` to keep start-up short.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


class LabNetError(RuntimeError):
    """Something of the lab's network could not be built or asked; the text says what, where and what to do next."""


async def run(*argv: str, stdin: str | None = None, check: bool = True, cwd: Path | None = None) -> str:
    """Run a command and return its standard output; `LabNetError` with its own words if it fails and `check`."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        cwd=cwd,
        stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await process.communicate(None if stdin is None else stdin.encode())
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    if check and process.returncode != 0:
        said = (err or out).decode(errors="replace").strip()
        raise LabNetError(f"`{' '.join(argv)}` failed with {process.returncode}: {said or 'no output'}")
    return out.decode(errors="replace")


async def ip(namespace: str | None, lines: Iterable[str]) -> None:
    """Run `ip` commands in a namespace (None: the sandbox's own), stopping at the first that fails."""
    where = () if namespace is None else ("-n", namespace)
    await run("ip", *where, "-batch", "-", stdin="\n".join(lines) + "\n")


async def ip_json(namespace: str | None, *words: str) -> Any:
    where = () if namespace is None else ("-n", namespace)
    return json.loads(await run("ip", *where, "-json", *words) or "[]")


async def nft(namespace: str, script: str) -> None:
    """Load an nftables script in a namespace, all of it or nothing."""
    await run(*inside(namespace), "nft", "-f", "-", stdin=script)


def inside(namespace: str | None) -> tuple[str, ...]:
    """The words that make a command run in a namespace. `ip netns exec` gives it a mount namespace of its own too."""
    return () if namespace is None else ("ip", "netns", "exec", namespace)


async def add_namespace(name: str) -> None:
    """A namespace that forwards IPv4 and does not second-guess source addresses (the routes here are asymmetric)."""
    await run("ip", "netns", "add", name)
    settings = ("net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0")
    script = "".join(f"echo {v} > /proc/sys/{k.replace('.', '/')}; " for k, v in (s.split("=") for s in settings))
    await run(*inside(name), "sh", "-c", f"{script} ip link set lo up")


async def drop_namespace(name: str) -> None:
    """Kill what runs in a namespace and remove it; fine if it is not there.

    Its veth ends vanish at once with their peers only when the last process is gone, hence the kill first.
    """
    pids = (await run("ip", "netns", "pids", name, check=False)).split()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    await run("ip", "netns", "del", name, check=False)


async def namespaces() -> set[str]:
    return {str(entry["name"]) for entry in await ip_json(None, "netns", "list")}


async def until(what: str, probe: Callable[[], Awaitable[bool]], *, within: float, every: float = 0.05) -> None:
    """Poll until `probe` holds; `LabNetError` naming `what` after `within` seconds of real time."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while not await probe():
        if loop.time() > deadline:
            raise LabNetError(f"{what} did not happen within {within:g} s")
        await asyncio.sleep(every)


class Daemon:
    """One long-running child. Its output goes to a file, so that a failed start can say why."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    @classmethod
    async def start(
        cls, name: str, argv: Sequence[str], log: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> Daemon:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as out:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                start_new_session=True,  # Ctrl-C is the owner's business; it stops its daemons in order
            )
        return cls(name, process, log)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    def tail(self, lines: int = 8) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:]) or "(no output)"

    async def ready(self, probe: Callable[[], Awaitable[bool]], within: float = 10.0) -> None:
        """Wait until `probe` holds; a daemon that died or hangs is reported with the end of its log."""

        async def holds() -> bool:
            if not self.running:
                raise LabNetError(f"{self.name} ended at start; the end of {self.log}:\n{self.tail()}")
            return await probe()

        try:
            await until(f"{self.name} becoming ready", holds, within=within, every=0.02)
        except LabNetError as error:
            await self.stop()
            if "ended at start" in str(error):
                raise
            raise LabNetError(f"{error}; the end of {self.log}:\n{self.tail()}") from None

    async def stop(self, grace: float = 3.0) -> None:
        """TERM, then KILL after `grace` seconds. Fine if it is gone already."""
        if not self.running:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), grace)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
