"""One gateway of the lab: its instances, its connections, and the order in which they change.

Everything that belongs to another gateway or another connection is left alone: a connection has a charon of its own
per instance, and an instance's bgpd is changed neighbour by neighbour.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime

from lab.dataplane import BgpPeer, ConnectionView, GatewayView, InstanceTunnel, InstanceView, Route
from lab.net.edge import Edge
from lab.net.link import Link
from lab.net.run import LabNetError
from lab.net.speaker import Speaker
from lab.net.topology import Topology
from lab.net.vnet import Vnet

_LOOK_S = 0.5
"""How often an active-active gateway looks which of its tunnels are up."""


class Site:
    """`slot` is free among the network's gateways; `free_index` gives an index that no link of the network has."""

    def __init__(
        self, topology: Topology, edge: Edge, slot: int, view: GatewayView, free_index: Callable[[], int]
    ) -> None:
        self._topology = topology
        self._edge = edge
        self.slot = slot
        self.view = view
        self._free_index = free_index
        self._vnet = Vnet(topology, slot, view)
        self._speakers: list[Speaker] = []
        self.links: dict[str, list[Link]] = {}
        self._lock = asyncio.Lock()
        self._return: asyncio.Task[None] | None = None
        self._following: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def _writing(self) -> AsyncIterator[None]:
        async with self._lock:
            await self._returned()
            yield

    async def _returned(self) -> None:
        """Wait until a rebooting instance is back; a caller that is cancelled does not cancel that."""
        if self._return is not None:
            await asyncio.wait([self._return])
            task, self._return = self._return, None
            task.result()

    # the gateway -------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        async with self._writing():
            await self._open()

    async def _open(self) -> None:
        await self._edge.hold(self.view.name, tuple(i.public_ip for i in self.view.instances))
        self._vnet = Vnet(self._topology, self.slot, self.view)
        await self._vnet.build()
        names = enumerate(self._vnet.instances)
        self._speakers = [Speaker(self._topology, self.slot, ordinal, name) for ordinal, name in names]
        await asyncio.gather(*(speaker.start() for speaker in self._speakers))
        await self._apply()
        if len(self._speakers) > 1:
            self._following = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        """A tunnel that is down takes its routes with it, so that the instance hands over to the other one. (Where
        there is one instance only, nothing else could carry the packets.)"""
        while True:
            await asyncio.sleep(_LOOK_S)
            async with self._lock:
                if self._return is not None:
                    continue
                links = [link for each in self.links.values() for link in each]
                tunnels = await asyncio.gather(*(link.tunnel(datetime.now(UTC)) for link in links))
                for link, tunnel in zip(links, tunnels, strict=True):
                    link.routed = tunnel.connected
                await self._apply()

    async def change(self, view: GatewayView) -> None:
        """Another address of an instance, or another number of instances: everything is built anew, as Azure also
        interrupts every connection for that. Anything else leaves tunnels and sessions that it does not concern."""
        async with self._writing():
            if view == self.view:
                return
            if view.instances == self.view.instances and view.vnet_prefixes[:1] == self.view.vnet_prefixes[:1]:
                self.view = view
                await self._apply()
                return
            carried = [links[0].view for links in self.links.values()]
            await self._close()
            self.view = view
            await self._open()
            for connection in carried:
                await self._add(connection)

    async def close(self) -> None:
        async with self._lock:
            if self._return is not None:
                self._return.cancel()
                await asyncio.gather(self._return, return_exceptions=True)
                self._return = None
            await self._close()
            await self._edge.hold(self.view.name, ())

    async def _close(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
            self._following = None
        gone = [link for links in self.links.values() for link in links]
        self.links.clear()
        for link in gone:
            await self._edge.detach(link)
        await asyncio.gather(*(speaker.close() for speaker in self._speakers))
        await asyncio.gather(*(link.demolish() for link in gone))
        self._speakers = []
        await self._vnet.demolish()

    async def reset(self, public_ip: str | None, outage_s: float) -> None:
        """What a reboot of an instance does to packets: its tunnels and BGP sessions end and, after the outage, start
        from nothing. (The standby of an active-standby gateway takes over addresses, not SAs.)"""
        async with self._writing():
            ordinals = [n for n, i in enumerate(self.view.instances) if public_ip in (None, i.public_ip)]
            if not ordinals:
                raise LabNetError(f"gateway `{self.view.name}` has no instance at {public_ip}")
            ordinal = ordinals[0]
            await self._vnet.steer([n for n in range(len(self._speakers)) if n != ordinal])
            await self._speakers[ordinal].stop()
            await asyncio.gather(*(links[ordinal].stop() for links in self.links.values()))
            self._return = asyncio.create_task(self._come_back(ordinal, outage_s))
            if outage_s <= 0:
                await self._returned()

    async def _come_back(self, ordinal: int, outage_s: float) -> None:
        await asyncio.sleep(outage_s)
        speaker = self._speakers[ordinal]
        await asyncio.gather(speaker.start(), *(links[ordinal].start() for links in self.links.values()))
        await self._apply()
        await self._vnet.steer(range(len(self._speakers)))

    async def _apply(self) -> None:
        for speaker in self._speakers:
            await speaker.apply(self.view, [links[speaker.ordinal] for links in self.links.values()])

    # connections -------------------------------------------------------------------------------------------------

    async def set_connection(self, view: ConnectionView) -> None:
        async with self._writing():
            links = self.links.get(view.name)
            if links is None:
                await self._add(view)
                return
            old = links[0].view
            if old == view:
                return
            for link in links:
                link.view = view
                if old.peer_address != view.peer_address or old.mode != view.mode:
                    await link.change_peer(lambda link=link: self._edge.admit(link))  # type: ignore[misc]
                if _shape(old) != _shape(view):
                    await link.start()
                elif old.psk != view.psk:
                    await link.load()  # a live SA proves nothing about a new key, and keeps running, as in Azure
            await self._apply()

    async def _add(self, view: ConnectionView) -> None:
        links: list[Link] = []
        try:
            for ordinal, instance in enumerate(self.view.instances):
                az = self._vnet.instances[ordinal]
                links.append(Link(self._topology, self._free_index(), view, ordinal, instance.public_ip, az))
                self.links[view.name] = links
                await self._edge.attach(links[-1])  # before its first packet, which settles how its flow is translated
                await links[-1].build()
                await self._edge.admit(links[-1])
            await self._apply()
        except BaseException:
            await self._drop(view.name)
            raise

    async def set_peer(self, name: str, address: str | None) -> None:
        async with self._writing():
            for link in self.links.get(name, []):
                if link.view.peer_address != address:
                    link.view = replace(link.view, peer_address=address)
                    await link.change_peer(lambda link=link: self._edge.admit(link))  # type: ignore[misc]

    async def reset_connection(self, name: str) -> None:
        async with self._writing():
            for link in self.links.get(name, []):
                await link.reset()

    async def drop_connection(self, name: str) -> None:
        async with self._writing():
            await self._drop(name)

    async def _drop(self, name: str) -> None:
        links = self.links.pop(name, [])
        for link in links:
            await self._edge.detach(link)
        await self._apply()
        await asyncio.gather(*(link.demolish() for link in links))

    # what really happened ----------------------------------------------------------------------------------------

    async def tunnels(self, name: str, now: datetime) -> tuple[InstanceTunnel, ...]:
        return tuple([await link.tunnel(now) for link in self.links.get(name, [])])

    async def sas(self, name: str) -> list[dict[str, object]]:
        return [sa for link in self.links.get(name, []) for sa in await link.sas()]

    async def peers(self) -> list[BgpPeer]:
        return [peer for speaker, me in self._each() for peer in await speaker.peers(me)]

    async def learned(self) -> list[Route]:
        return [route for speaker, me in self._each() for route in await speaker.learned(me)]

    async def advertised(self, peer: str) -> list[Route]:
        return [route for speaker, me in self._each() for route in await speaker.advertised(me, peer)]

    def _each(self) -> list[tuple[Speaker, InstanceView]]:
        return list(zip(self._speakers, self.view.instances, strict=False))


def _shape(view: ConnectionView) -> tuple[object, ...]:
    """What cannot change without the tunnel going down."""
    return (view.mode, view.policy, view.dpd_timeout_s)
