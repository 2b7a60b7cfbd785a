"""What a step reads of ARM, and what it takes as last seen: reads are counted, and a unit is looked at every minute.

When a step finds everything as desired, the state row gets a mark: the hash of what was desired, and when. From then on
a cycle is three lists (gateways, local gateways, connections of the unit's resource group: three calls for any number
of Connections), and one GET per connection whose tunnel is not proven, because a list has no connectionStatus. What is
not read is as desired, for so the mark says; no body is kept. Everything is read again after READ_AGAIN_S, which is how
late an edit by hand of the virtual network or the public address is seen, and at once without the mark: after an
operation, a difference, a change of what is desired (the hash), or while something is being deleted. Whenever all is
read, each connection's key is compared as well (step.py): no list and no diff shows it.

A list only raises suspicion: what is written is planned from GETs of the same step. A crash leaves the old mark or
none, so at worst the same is read again. A field that ARM's lists leave out costs a GET per cycle, nothing else. Units
that share a resource group each make their lists: a shared cache would need a lease of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from enum import Enum, auto

from shared.domain import limits
from shared.domain import plan as plans
from shared.domain.arm import ArmKind, ArmRef
from shared.domain.render import Desired
from shared.seams import Json

from . import observe
from .azure_half import AzureHalf
from .services import Services
from .unit import ReadRow, Unit

LISTED = (ArmKind.GATEWAY, ArmKind.LOCAL_GATEWAY, ArmKind.CONNECTION)
CONNECTED = "Connected"


class Depth(Enum):
    NOTHING = auto()
    LISTS = auto()
    EVERYTHING = auto()


class Reading:
    """One step's view of ARM. `observed` is what `look` or `assume` and then `confirm` made of it."""

    def __init__(self, services: Services, unit: Unit, azure: AzureHalf, now: datetime) -> None:
        self._s, self._unit, self._azure, self._now = services, unit, azure, now
        self._got: set[ArmRef] = set()
        self._depth = Depth.NOTHING
        self.observed: dict[ArmRef, Json | None] = {}

    @property
    def everything(self) -> bool:
        """Every resource was read by itself."""
        return self._depth is Depth.EVERYTHING

    def depth(self, hasty: bool) -> Depth:
        """`hasty`: nothing speaks for a look but that one is due."""
        mark = self._mark()
        if mark is None or not self._within(mark.full, limits.READ_AGAIN_S):
            return Depth.EVERYTHING
        return Depth.NOTHING if hasty and self._within(mark.at, limits.SWEEP_S) else Depth.LISTS

    async def look(self, depth: Depth, ask: Collection[ArmRef]) -> None:
        """`ask`: connections whose status is wanted. Raises ArmBusy, ArmRejected."""
        self._depth = depth
        if depth is Depth.EVERYTHING:
            await self._get(self._azure.refs())
            return
        self.observed = {want.ref: self._as_desired(want) for want in self._azure.desired()}
        if depth is Depth.LISTS:
            await self._list()
            await self._get(ref for ref in ask if self.observed.get(ref) is not None)

    def assume(self) -> bool:
        """While ARM may not be asked, or does not answer: what it last said, if that is not long ago."""
        mark = self._mark()
        if mark is None or not self._within(mark.at, limits.ASSUMED_S):
            return False
        self._depth = Depth.NOTHING
        self.observed = {want.ref: self._as_desired(want) for want in self._azure.desired()}
        return True

    async def confirm(self, doubtful: Iterable[ArmRef]) -> bool:
        """Gets those that were only listed or assumed; true when there were any. Raises ArmBusy, ArmRejected."""
        unread = [ref for ref in dict.fromkeys(doubtful) if ref not in self._got]
        await self._get(unread)
        return bool(unread)

    def remember(self, todo: plans.Plan) -> None:
        """Sets the mark if all was found as desired, removes it if not, leaves it if nothing was read."""
        state = self._unit.state
        well = (
            not todo.changes
            and state.operation is None
            and not self._azure.keys_to_change()
            and not self._deleting()
            and all(plans.is_settled(self.observed.get(ref)) for ref in self._azure.refs())
        )
        if not well:
            self._unit.state = state.model_copy(update={"read": None})
        elif self._depth is Depth.EVERYTHING:
            read = ReadRow(basis=self._basis(), at=self._now, full=self._now)
            self._unit.state = state.model_copy(update={"read": read})
        elif self._depth is Depth.LISTS and state.read is not None:
            read = state.read.model_copy(update={"at": self._now})
            self._unit.state = state.model_copy(update={"read": read})

    def _mark(self) -> ReadRow | None:
        read = self._unit.state.read
        return read if read and not self._deleting() and read.basis == self._basis() else None

    def _deleting(self) -> bool:
        gateway = self._unit.gateway
        return gateway is None or gateway.deleting or any(c.deleting for c in self._unit.connections.values())

    def _basis(self) -> str:
        return self._azure.plan({}).hash

    def _within(self, then: datetime, seconds: float) -> bool:
        return 0 <= (self._now - then).total_seconds() < seconds

    async def _get(self, refs: Iterable[ArmRef]) -> None:
        found = await observe.resources(self._s, refs)
        self.observed |= found
        self._got |= found.keys()
        for ref, body in found.items():
            name = self._unit.connection_of(ref.kind, ref.name)
            if ref.kind is ArmKind.CONNECTION and name is not None:
                status = (body or {}).get("properties", {}).get("connectionStatus")
                link = self._unit.links[name]
                self._unit.links[name] = link.model_copy(update={"azure_status": status})

    async def _list(self) -> None:
        listed = [ref for ref in self._azure.refs() if ref.kind in LISTED]
        wanted = list(dict.fromkeys((r.subscription, r.resource_group, r.kind) for r in listed))
        answers = await observe.together(self._s.arm.list(*where) for where in wanted)
        found = {
            (*where, str(item.get("name", "")).lower()): item
            for where, items in zip(wanted, answers, strict=True)
            for item in items
        }
        for ref in listed:
            item = found.get((ref.subscription, ref.resource_group, ref.kind, ref.name.lower()))
            self.observed[ref] = None if item is None else self._completed(ref, item)

    def _as_desired(self, want: Desired) -> Json:
        properties = {**want.body["properties"], "provisioningState": "Succeeded"}
        first = want.ref == next(r for r in self._azure.refs() if r.kind is want.ref.kind)
        if want.ref.kind is ArmKind.PUBLIC_IP and first and self._unit.state.public_ip:
            properties["ipAddress"] = self._unit.state.public_ip
        return self._completed(want.ref, {**want.body, "name": want.ref.name, "properties": properties})

    def _completed(self, ref: ArmRef, item: Json) -> Json:
        """With the connectionStatus that was last read."""
        name = self._unit.connection_of(ref.kind, ref.name) if ref.kind is ArmKind.CONNECTION else None
        link = self._unit.links.get(name) if name else None
        if link is None or link.azure_status is None:
            return item
        return {**item, "properties": {"connectionStatus": link.azure_status, **(item.get("properties") or {})}}
