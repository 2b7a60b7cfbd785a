"""A gateway's virtual network: a namespace per gateway instance and one for a machine, which is also Azure's fabric.

The first gateway has the namespaces `az` and `vm` that every network is built with, further ones `az-<n>` and
`vm-<n>`; the second instance of an active-active gateway is `az~1` or `az-<n>~1`. The machine sends to all instances
that are up (each flow to one of them, as documented for Azure), and an instance without a route of its own to a home
hands over to the other.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Sequence
from dataclasses import asdict

from lab.dataplane import GatewayView
from lab.net.run import LabNetError, add_namespace, drop_namespace, ip, run
from lab.net.topology import Machine, Topology

BETWEEN = "ib0"
"""An instance's device towards the other one."""


class Vnet:
    """The namespaces of one gateway. `slot` is free among the gateways of the network, 0 the built-in one."""

    def __init__(self, topology: Topology, slot: int, view: GatewayView) -> None:
        self._topology = topology
        self._slot = slot
        self._view = view
        tail = f"-{slot}" if slot else ""
        names = (f"{topology.az_ns}{tail}", f"{topology.az_ns}{tail}~1")
        self.instances = names[: len(view.instances)]
        self.router, address = _addresses(view)
        self.machine = Machine(f"{topology.vm_ns}{tail}", address)

    async def build(self) -> None:
        """Namespaces, wires and addresses; the BGP addresses on `lo` are the speakers' business."""
        vm = self.machine
        new = (*self.instances, vm.namespace) if self._slot else self.instances[1:]
        for name in new:
            await add_namespace(name)
        lines = []
        for ordinal, name in enumerate(self.instances):
            if name in new:
                lines.append(f"link add eth{ordinal} type veth peer name vm0 netns {name}")
            lines += [f"addr flush dev eth{ordinal}", f"link set eth{ordinal} up"]
            lines.append(f"route replace {self.router} dev eth{ordinal} metric {ordinal}")
            if ordinal == 0:
                lines.append(f"addr add {vm.address}/32 dev eth0")
        await ip(vm.namespace, lines)
        for name in self.instances:
            az = ["addr flush dev vm0", f"addr add {self.router}/32 dev vm0", "link set vm0 up"]
            await ip(name, [*az, f"route replace {vm.address}/32 dev vm0"])
        if len(self.instances) > 1:
            first, second = self._view.instances
            here = [f"link add {BETWEEN} type veth peer name {BETWEEN} netns {self.instances[1]}"]
            await ip(self.instances[0], [*here, f"link set {BETWEEN} up"])
            await ip(self.instances[1], [f"link set {BETWEEN} up"])
            await ip(self.instances[0], [f"route replace {second.bgp_address}/32 dev {BETWEEN}"])
            await ip(self.instances[1], [f"route replace {first.bgp_address}/32 dev {BETWEEN}"])
        await self.steer(range(len(self.instances)))
        file = self._topology.machine_file(self._view.name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(asdict(vm)))

    async def steer(self, alive: Sequence[int]) -> None:
        """The machine's traffic goes to these instances only; with none it goes nowhere."""
        route = f"route replace default src {self.machine.address}"
        hops = [f"nexthop via {self.router} dev eth{ordinal} onlink" for ordinal in alive]
        await ip(self.machine.namespace, [f"{route} {' '.join(hops)}" if hops else "route replace blackhole default"])

    async def demolish(self) -> None:
        for name in (*self.instances, self.machine.namespace) if self._slot else self.instances[1:]:
            await drop_namespace(name)
        if not self._slot:
            # the far ends go with their namespace, but only once its last process is reaped
            for namespace, device in ((self.instances[0], BETWEEN), (self.machine.namespace, "eth1")):
                await run("ip", "-n", namespace, "link", "del", device, check=False)
        self._topology.machine_file(self._view.name).unlink(missing_ok=True)


def _addresses(view: GatewayView) -> tuple[str, str]:
    """The fabric's router and the machine: .1 and .4 of the first /27 of the network without a BGP address in it."""
    if not view.vnet_prefixes:
        raise LabNetError(f"gateway `{view.name}`: its virtual network has no address prefix")
    network = ipaddress.IPv4Network(view.vnet_prefixes[0])
    speakers = [ipaddress.IPv4Address(i.bgp_address) for i in view.instances]
    for block in network.subnets(new_prefix=max(27, network.prefixlen)):
        if not any(speaker in block for speaker in speakers):
            return str(block[1]), str(block[4])
    raise LabNetError(f"gateway `{view.name}`: {network} has no room for a machine beside the gateway's subnet")
