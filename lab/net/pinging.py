"""A ping that goes on while something happens, to see from outside whether that cost any packet."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.net.run import Daemon, inside, until

EVERY_S = 0.2


@dataclass
class Pinged:
    """Filled in when the pinging ends."""

    sent: int = 0
    lost: int = 0


@asynccontextmanager
async def pinging(namespace: str, address: str, log: Path) -> AsyncIterator[Pinged]:
    """A request every EVERY_S while the block runs; each run needs a `log` of its own. Requests of the last second may
    still be on their way at the end, so they are not counted."""
    result = Pinged()
    words = (*inside(namespace), "ping", "-n", "-i", str(EVERY_S), address)
    ping = await Daemon.start(f"the ping to {address}", words, log)
    try:
        yield result
        os.kill(ping.pid, signal.SIGINT)  # it then prints its counts

        async def ended() -> bool:
            return not ping.running

        await until(f"the ping to {address} ending", ended, within=5)
        result.sent, result.lost = counted(log)
    finally:
        await ping.stop()


def counted(log: Path) -> tuple[int, int]:
    """How many requests of a ping that has ended count, and how many of these have no answer."""
    text = log.read_text()
    (transmitted,) = map(int, re.findall(r"(\d+) packets transmitted", text))
    sent = max(0, transmitted - round(1 / EVERY_S))
    return sent, len(set(range(1, sent + 1)) - {int(number) for number in re.findall(r"icmp_seq=(\d+) ttl", text)})
