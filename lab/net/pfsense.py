"""A home's firewall as a pfSense twin (lab.pfsense): a process of its own, reached over HTTPS from the LAN only.

It is what a user has before Homelink comes (docs/pfsense.md): a firewall as shipped, the FRR and REST API packages, a
certificate of its own, a key and a user. It runs a charon and FRR of its own, once somebody configures them.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import ssl
import sys
from dataclasses import dataclass, field
from pathlib import Path

from lab import tls
from lab.net.run import Daemon
from lab.net.topology import Home

AS_SHIPPED = Path(__file__).resolve().parents[2] / "tests" / "lab" / "pfsense" / "plain" / "config.xml"
"""The configuration of the twin's own tests; its LAN is 192.168.1.0/24."""
USER = "admin"


@dataclass
class Pfsense:
    """`url` is for the LAN, `fingerprint` that of its certificate (SHA-256, hex), `root` the firewall's own /."""

    daemon: Daemon
    url: str
    fingerprint: str
    root: Path
    key: str = field(repr=False)
    password: str = field(repr=False)

    @classmethod
    async def start(cls, home: Home, directory: Path) -> Pfsense:
        """Boot it in the home's firewall namespace; returns when its web server listens. `directory` must be short:
        it holds sockets."""
        config = directory / "as-shipped.xml"
        certificate = tls.issue(directory / "tls", home.lan)
        config.write_text(AS_SHIPPED.read_text().replace("192.168.1.", f"{home.lan.rpartition('.')[0]}."))
        key, password = secrets.token_hex(24), secrets.token_urlsafe(18)
        arguments = {
            "--namespace": home.firewall_ns,
            "--config": str(config),
            "--directory": str(directory),
            "--listen": home.lan,
            "--port": "443",
            "--cert": str(certificate.cert),
            "--key": str(certificate.key),
            "--wan": f"{home.wan}/24",
            "--wan-gateway": home.router,
            "--lan": f"{home.lan}/{home.lan_prefix.partition('/')[2]}",
        }
        # not `ip netns exec`: that would hide the namespaces that the twin makes for its tunnels
        argv = ["nsenter", f"--net=/run/netns/{home.firewall_ns}", sys.executable, "-m", "lab.pfsense"]
        argv += [word for pair in arguments.items() for word in pair]
        environment = {"PFSENSE_KEY": key, "PFSENSE_PASSWORD": password}
        daemon = await Daemon.start(f"the pfSense of {home.name}", argv, directory / "pfsense.log", environment)
        said: dict[str, str] = {}

        async def ready() -> bool:
            lines = [line for line in daemon.log.read_text(errors="replace").splitlines() if line.startswith('{"url"')]
            said.update(json.loads(lines[0]) if lines else {})
            return bool(lines)

        await daemon.ready(ready, within=30)
        der = ssl.PEM_cert_to_DER_cert(certificate.cert.read_text())
        return cls(daemon, said["url"], hashlib.sha256(der).hexdigest(), Path(said["root"]), key, password)

    async def stop(self) -> None:
        """What it leaves if it cannot end in time, `topology.demolish` removes."""
        await self.daemon.stop()
