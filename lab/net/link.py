"""The Azure end of one tunnel: a namespace `gw-<connection>` with a charon of its own, between `edge` and `az`. An
active-active gateway has two per connection; the second instance's is `gw-<connection>~1`.

What comes from `az` goes into the tunnel and what comes out of the tunnel goes to `az`, whatever its addresses: two
routing tables chosen by the incoming interface do that, so no route here has to follow what BGP learns. The main table
leads to the internet by `edge` and carries IKE and ESP-in-UDP alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from lab.dataplane import ConnectionView, InstanceTunnel
from lab.net import ciphers
from lab.net.charon import TUN, Charon
from lab.net.run import add_namespace, drop_namespace, inside, ip, run
from lab.net.topology import Topology

PREFIX = "gw-"
DPD_DEFAULT_S = 45
IKE_LIFE_S = 28800
_DPD_TRIES = 5
_INTO_TUNNEL = 100
_INTO_AZURE = 101


def dpd(timeout_s: int) -> tuple[int, dict[str, str]]:
    """`dpd_delay` and the retransmission settings with which a silent peer is dead after about `timeout_s` seconds.

    A third of it is silence before the first question; the rest is evenly spaced questions. 0 is Azure's "not set".
    """
    timeout = timeout_s or DPD_DEFAULT_S
    delay = max(1, timeout // 3)
    interval = (timeout - delay) / (_DPD_TRIES + 1)
    return delay, {
        "retransmit_tries": str(_DPD_TRIES),
        "retransmit_timeout": f"{interval:.2f}",
        "retransmit_base": "1.0",
    }


class Link:
    """One tunnel's namespace and charon. Not concurrent: the data plane calls it one at a time.

    `index` is free among all links of the network, `ordinal` the instance's place in its gateway, `az` its namespace.
    """

    def __init__(
        self, topology: Topology, index: int, view: ConnectionView, ordinal: int, public_ip: str, az: str
    ) -> None:
        self.topology = topology
        self.index = index
        self.view = view
        self.ordinal = ordinal
        self.public_ip = public_ip
        self.az = az
        self.routed = True
        """Whether routes lead into it: not while it is down and the gateway's other instance may have a tunnel."""
        self.charon: Charon | None = None

    @property
    def namespace(self) -> str:
        return f"{PREFIX}{self.view.name}" + (f"~{self.ordinal}" if self.ordinal else "")

    @property
    def inner(self) -> str:
        """The address that `edge` translates the gateway's public one to."""
        return f"198.18.{self.index}.2"

    @property
    def via(self) -> str:
        """The next hop in `az` for what lies behind this connection."""
        return f"198.19.{self.index}.2"

    @property
    def directory(self) -> Path:
        return self.topology.directory / "azure" / f"gw{self.index}"

    @property
    def initiates(self) -> bool:
        return self.view.mode != "ResponderOnly"

    async def build(self) -> None:
        """Namespace, wires and routes, then charon with its configuration."""
        n, ns = self.index, self.namespace
        await add_namespace(ns)
        await ip(
            ns,
            [
                f"link add pub0 type veth peer name c{n} netns {self.topology.edge_ns}",
                f"link add az0 type veth peer name c{n} netns {self.az}",
                f"addr add {self.inner}/30 dev pub0",
                f"addr add {self.via}/30 dev az0",
                "link set pub0 up",
                "link set az0 up",
                f"route add default via 198.18.{n}.1",
                f"route add default via 198.19.{n}.1 table {_INTO_AZURE}",
                f"rule add iif az0 table {_INTO_TUNNEL} priority 1000",
                f"rule add iif {TUN} table {_INTO_AZURE} priority 1001",
                f"rule add from {self.via} table {_INTO_AZURE} priority 1002",
            ],
        )
        # "fragmentation needed" towards Azure must come from the address that leads there, or path MTU discovery dies
        await run(*inside(ns), "sh", "-c", "echo 1 > /proc/sys/net/ipv4/icmp_errors_use_inbound_ifaddr")
        edge = [f"addr add 198.18.{n}.1/30 dev c{n}", f"link set c{n} up"]
        az = [f"addr add 198.19.{n}.1/30 dev c{n}", f"link set c{n} up"]
        await asyncio.gather(ip(self.topology.edge_ns, edge), ip(self.az, az))
        await self.start()

    async def start(self) -> None:
        """(Re)start charon and load the connection; the peer is told that the SAs of a previous one are gone."""
        await self.stop()
        _, settings = dpd(self.view.dpd_timeout_s)
        self.charon = await Charon.start(self.namespace, self.directory, settings)
        await ip(self.namespace, [f"route replace default dev {TUN} table {_INTO_TUNNEL}"])
        await self.load()

    async def stop(self) -> None:
        """An orderly end, as of a machine that is told to reboot: peers get a DELETE for their SAs."""
        if self.charon is not None:
            await self.charon.stop()

    async def load(self) -> None:
        """Load connection and key as the view has them; live SAs stay as they are."""
        if self.charon is not None:
            await self.charon.load("azure", self.config(), self.view.psk)

    def config(self) -> dict[str, object]:
        """The connection for vici. Holds no secret."""
        view = self.view
        delay, _ = dpd(view.dpd_timeout_s)
        life = ciphers.lifetime_s(view.policy)
        initiates = self.initiates and view.peer_address is not None
        remote = ["%any"] if view.peer_address is None else [view.peer_address, "0.0.0.0/0"]
        return {
            "version": "2",
            "local_addrs": [self.inner],
            "remote_addrs": remote,
            "proposals": ciphers.ike_proposals(view.policy),
            "mobike": "no",
            "unique": "replace",
            "dpd_delay": f"{delay}s",
            "rekey_time": f"{IKE_LIFE_S}s",
            "reauth_time": "0s",
            "keyingtries": "0" if self.initiates else "1",
            "local": {"auth": "psk", "id": self.public_ip},
            "remote": {"auth": "psk", "id": "%any"},
            "children": {
                "azure": {
                    "mode": "tunnel",
                    "local_ts": ["0.0.0.0/0"],
                    "remote_ts": ["0.0.0.0/0"],
                    "esp_proposals": ciphers.esp_proposals(view.policy),
                    "rekey_time": f"{life * 9 // 10}s",
                    "life_time": f"{life}s",
                    "start_action": "start" if initiates else "none",
                    "dpd_action": "restart" if initiates else "clear",
                }
            },
        }

    async def tunnel(self, now: datetime) -> InstanceTunnel:
        """Connected means: an established IKE SA with an installed child. Bytes are those of the installed children."""
        for sa in await self.sas():
            children = [c for c in sa.get("child-sas", {}).values() if c.get("state") == "INSTALLED"]
            if sa.get("state") == "ESTABLISHED" and children:
                return InstanceTunnel(
                    self.public_ip,
                    connected=True,
                    ingress_bytes=sum(int(c.get("bytes-in", 0)) for c in children),
                    egress_bytes=sum(int(c.get("bytes-out", 0)) for c in children),
                    established_at=now - timedelta(seconds=int(sa.get("established", 0))),
                )
        return InstanceTunnel(self.public_ip, connected=False)

    async def sas(self) -> list[dict[str, Any]]:
        """charon's IKE SAs; none while it does not run or does not answer."""
        if self.charon is None or not self.charon.daemon.running:
            return []
        try:
            return await self.charon.sas()
        except OSError:  # it is being restarted at this moment
            return []

    async def change_peer(self, admit: Callable[[], Awaitable[None]]) -> None:
        """The other end is at another address (`view` has it; `admit` lets it in): SAs with the old one are over."""
        if self.charon is not None:
            await self.charon.terminate("azure")
        await admit()
        if self.initiates:
            await self.load()

    async def reset(self) -> None:
        """Drop every SA by force; where Azure initiates, begin anew."""
        if self.charon is None:
            return
        await self.charon.terminate("azure")
        if self.initiates and self.view.peer_address is not None:
            await self.load()

    async def demolish(self) -> None:
        if self.charon is not None:
            await self.charon.stop()
        await drop_namespace(self.namespace)
        # the ends in edge and az go with the namespace, but only once its last process is reaped
        for namespace in (self.topology.edge_ns, self.az):
            await run("ip", "-n", namespace, "link", "del", f"c{self.index}", check=False)
