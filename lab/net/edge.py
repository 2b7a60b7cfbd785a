"""The edge of the simulated Azure: it holds the gateways' public addresses and decides whose charon gets a packet.

Homes are told apart by the address that their local network gateway means: a map leads from (that address, the public
address called) to the connection's namespace, and IKE from anywhere else is dropped. Entries are touched one by one,
so that a change of one home never disturbs another's flow.
"""

from __future__ import annotations

from lab.net.link import Link
from lab.net.run import LabNetError, inside, ip, nft, run
from lab.net.topology import ROUTER, Topology

_ROUTES = (f"route replace {ROUTER} dev pub0", f"route replace default via {ROUTER} dev pub0 onlink")
"""To be set after every change of addresses: with an interface's last address the kernel drops its routes."""


class Edge:
    """The `edge` namespace of a network; shared by all its gateways."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._public: dict[str, str] = {}  # address -> gateway
        self._admitted: dict[str, tuple[str, str]] = {}  # inner address -> (home's address, our public address)
        self._names: dict[str, str] = {}  # inner address -> connection

    async def clear(self) -> None:
        """Forget everything that an earlier owner of the network left."""
        t = self._topology
        await nft(t.edge_ns, "flush map ip gw peers\nflush map ip gw owners")
        await run("ip", "-n", t.edge_ns, "addr", "flush", "dev", "pub0")
        await ip(t.edge_ns, _ROUTES)
        await run("ip", "-n", t.inet_ns, "route", "flush", "dev", "to-edge")

    async def hold(self, gateway: str, addresses: tuple[str, ...]) -> None:
        """Have exactly these public addresses for a gateway."""
        taken = {a: g for a, g in self._public.items() if g != gateway}
        for address in addresses:
            if address in taken:
                raise LabNetError(f"gateway `{gateway}`: {address} is the public address of gateway `{taken[address]}`")
        had = [a for a, g in self._public.items() if g == gateway]
        gone, new = [a for a in had if a not in addresses], [a for a in addresses if a not in had]
        t = self._topology
        if gone or new:
            edge = [*(f"addr del {a}/32 dev pub0" for a in gone), *(f"addr replace {a}/32 dev pub0" for a in new)]
            await ip(t.edge_ns, [*edge, *_ROUTES])
            inet = [f"route del {a}/32 dev to-edge" for a in gone]
            await ip(t.inet_ns, [*inet, *(f"route replace {a}/32 dev to-edge" for a in new)])
        for address in gone:
            del self._public[address]
        self._public |= dict.fromkeys(addresses, gateway)

    async def attach(self, link: Link) -> None:
        """What the link sends by itself leaves with its instance's public address."""
        self._names[link.inner] = link.view.name
        await nft(self._topology.edge_ns, f"add element ip gw owners {{ {link.inner} : {link.public_ip} }}")

    async def detach(self, link: Link) -> None:
        await self._set(link, None)
        if self._names.pop(link.inner, None) is not None:
            await nft(self._topology.edge_ns, f"delete element ip gw owners {{ {link.inner} }}")

    async def admit(self, link: Link) -> None:
        """Let in what the link's view says, and forget flows of what it meant before.

        InitiatorOnly refuses what comes in, so its peer is never in the map: answers pass by connection tracking."""
        await self._set(link, link.view.peer_address if link.view.mode != "InitiatorOnly" else None)

    async def _set(self, link: Link, address: str | None) -> None:
        held = self._admitted.get(link.inner)
        wanted = None if address is None else (address, link.public_ip)
        if wanted == held:
            return
        others = [self._names.get(inner, "?") for inner, entry in self._admitted.items() if entry == wanted]
        if others:
            raise LabNetError(
                f"connections `{others[0]}` and `{link.view.name}` mean one address, {address}; Azure refuses that"
            )
        lines = []
        if held is not None:
            lines.append(f"delete element ip gw peers {{ {held[0]} . {held[1]} }}")
        if wanted is not None:
            lines.append(f"add element ip gw peers {{ {wanted[0]} . {wanted[1]} : {link.inner} }}")
        edge = self._topology.edge_ns
        await nft(edge, "\n".join(lines) + "\n")
        self._admitted.pop(link.inner, None)
        if wanted is not None:
            self._admitted[link.inner] = wanted
        if held is not None:
            for source, target in (held, (link.inner, held[0])):
                await run(*inside(edge), "conntrack", "-D", "-s", source, "-d", target, check=False)
