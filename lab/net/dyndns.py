"""The router's own dyndns2 client: the only thing that tells DNS a home's address.

`python -m lab.net.dyndns CONFIG.json` runs in the router's namespace, watches the address of its WAN interface and,
some seconds after a change (`lag_s`: routers are slow), reports it; at start it reports at once. It is deliberately as
dumb as a router: it knows nothing of Homelink.
"""

from __future__ import annotations

import base64
import fcntl
import http.client
import json
import socket
import struct
import sys
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

_SIOCGIFADDR = 0x8915
_POLL_S = 0.25
_RETRY_S = 2.0
_TIMEOUT_S = 3.0


@dataclass(frozen=True)
class Config:
    """`server` is host or host:port. The file holds a password: it is written for the owner alone."""

    interface: str
    server: str
    hostname: str
    user: str
    password: str = field(repr=False)
    lag_s: float = 5.0

    def save(self, path: Path) -> None:
        path.touch(mode=0o600)
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> Config:
        return cls(**json.loads(path.read_text()))


class Client:
    """When to report what. `send` returns the server's answer or raises OSError; times are in seconds."""

    def __init__(self, lag_s: float, send: Callable[[str], str], say: Callable[[str], None]) -> None:
        self._lag = lag_s
        self._send = send
        self._say = say
        self._seen: str | None = None
        self._told: str | None = None
        self._due = 0.0

    def step(self, now: float, address: str | None) -> None:
        """Look at the address of this moment, and report it if it is time to."""
        if address is not None and address != self._seen:
            self._due = now if self._seen is None else now + self._lag
            self._seen = address
            self._say(f"address {address}")
        if address is None or address != self._seen or address == self._told or now < self._due:
            return
        try:
            answer = self._send(address)
        except (OSError, http.client.HTTPException) as error:
            self._say(f"not reported: {type(error).__name__}; again in {_RETRY_S:g} s")
            self._due = now + _RETRY_S
            return
        self._say(f"reported {address}: {answer}")
        if answer.split(" ")[0] in {"dnserr", "911"}:
            self._due = now + _RETRY_S
        else:
            self._told = address  # good or nochg; after badauth, nohost and the like dyndns2 forbids to ask again


def wan_address(interface: str) -> str | None:
    """The interface's IPv4 address, None while it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("256s", interface.encode()[:15])
        try:
            answer = fcntl.ioctl(sock.fileno(), _SIOCGIFADDR, request)
        except OSError:
            return None
    return socket.inet_ntoa(answer[20:24])


def report(config: Config, address: str) -> str:
    """One update; the server's word (good, nochg, badauth, nohost, ...) with what follows it."""
    query = urllib.parse.urlencode({"hostname": config.hostname, "myip": address})
    credentials = base64.b64encode(f"{config.user}:{config.password}".encode()).decode()
    connection = http.client.HTTPConnection(config.server, timeout=_TIMEOUT_S)
    try:
        headers = {"Authorization": f"Basic {credentials}", "User-Agent": "homelink-lab-router/1"}
        connection.request("GET", f"/nic/update?{query}", headers=headers)
        return connection.getresponse().read(200).decode(errors="replace").strip()
    finally:
        connection.close()


def main(path: Path) -> None:
    config = Config.load(path)
    client = Client(config.lag_s, lambda address: report(config, address), lambda line: print(line, flush=True))
    while True:
        client.step(time.monotonic(), wan_address(config.interface))
        time.sleep(_POLL_S)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
