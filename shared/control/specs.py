"""What a user does with documents: put, get, list, delete. Validates against everything else that is stored.

A PUT replaces the whole document. Two PUTs of one document at once: one of them is told to read again. The names of
Connections are unique within a controller, because a URL names nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from shared.domain import limits, rules
from shared.domain.conditions import Condition
from shared.domain.problem import InvalidInput, Problem
from shared.domain.spec import ConnectionDocument, ConnectionSpec, GatewayDocument, GatewaySpec
from shared.errors import NotFound, Precondition, Refused, RowExists
from shared.seams import Json, Write, WriteKind

from . import events, record
from .agents import SERVED
from .audit import Audit
from .events import Asked, Page, Reason, Scribe, Told
from .services import NAMES, UNITS, Services
from .unit import CLOSED, CONNECTION, GATEWAY, ConnectionRow, GatewayRow, IncidentRow, LinkRow, Unit, load, to_data
from .unit import psk_name as psk_name

NOBODY = "(unknown)"
CONNECTIONS = "connection"  # partition of table `names`


@dataclass(frozen=True)
class Stored:
    """A document as stored: `generation` counts its changes, `etag` names one state of it. `created`: by this PUT."""

    name: str
    id: str
    generation: int
    deleting: bool
    spec: GatewaySpec | ConnectionSpec
    conditions: tuple[Condition, ...]
    created: bool = False

    @property
    def etag(self) -> str:
        return etag_of(self)


class Specs:
    """`actor` is who asks, for the audit; `expected` an ETag that must still hold (If-Match), None: whatever is there.
    Both are refused with Precondition where they do not."""

    def __init__(self, services: Services) -> None:
        self._s, self._audit = services, Audit(services)

    async def draft_gateway(self, name: str, document: GatewayDocument) -> tuple[Unit, GatewayRow]:
        """What a PUT would store, and the unit it would go to. Raises InvalidInput with every problem, its Connections'
        included."""
        _same_name(name, document.metadata.name)
        unit = await load(self._s.store, name)
        others, elsewhere = await self._elsewhere(name)
        problems = rules.gateway_problems(document.spec, others)
        for other, theirs in unit.connections.items():
            rest = {n: c.spec for n, c in unit.connections.items() if n != other}
            found = rules.connection_problems(other, theirs.spec, document.spec, rest, elsewhere)
            problems += [Problem(f"(Connection {other}) {p.path}", p.value, p.rule, p.message, p.remedy) for p in found]
        old = unit.gateway
        if old is not None:
            problems += rules.change_problems(old.spec, document.spec)
        if problems:
            raise InvalidInput(problems)
        same = old is not None and old.spec == document.spec and not old.deleting
        row = GatewayRow(
            id=old.id if old else self._s.ulid(),
            generation=old.generation + (not same) if old else 1,
            spec=document.spec,
        )
        return unit, row

    async def put_gateway(
        self,
        name: str,
        document: GatewayDocument,
        *,
        actor: str = NOBODY,
        expected: str | None = None,
        consent: bool = False,
    ) -> Stored:
        """Raises as draft_gateway; StoreConflict when another was faster; Precondition for one that adopts and is new,
        without `consent`: that its Plan was seen."""
        unit, row = await self.draft_gateway(name, document)
        _must_match(expected, unit.gateway)
        _must_be_consented(row, unit.gateway, consent)
        await self._audit.record(actor, "put", f"gateway/{name}", generation=row.generation)
        told = self._told(name, None, unit.gateway, row)
        await self._write(name, GATEWAY, to_data(row), unit.etags.get(GATEWAY), *told)
        created = unit.gateway is None
        return Stored(name, row.id, row.generation, False, row.spec, unit.state.conditions, created)

    async def draft_connection(self, name: str, document: ConnectionDocument) -> tuple[Unit, ConnectionRow]:
        """What a PUT would store, and the unit it would go to. Raises InvalidInput with every problem, NotFound when
        there is no such gateway, Refused in a state that does not allow it."""
        _same_name(name, document.metadata.name)
        spec = document.spec
        unit = await load(self._s.store, spec.gateway)
        if unit.gateway is None or unit.gateway.deleting:
            raise NotFound(f"Gateway {spec.gateway} does not exist: PUT it first")
        others = {n: c.spec for n, c in unit.connections.items() if n != name}
        _, elsewhere = await self._elsewhere(spec.gateway)
        problems = rules.connection_problems(name, spec, unit.gateway.spec, others, elsewhere)
        if problems:
            raise InvalidInput(problems)
        old = unit.connections.get(name)
        if old is not None and old.deleting:
            raise Refused(f"Connection {name} is being deleted: wait until it is gone, then PUT it again")
        if old is not None and old.spec.agent != spec.agent:
            raise Refused(f"Connection {name} belongs to agent {old.spec.agent}: delete it before another serves it")
        if old is not None and old.spec.adopt != spec.adopt:
            raise Refused(f"Connection {name} has another spec.adopt: release it first, then PUT it again")
        row = ConnectionRow(
            id=old.id if old else self._s.ulid(),
            generation=old.generation + (old.spec != spec) if old else 1,
            spec=spec,
        )
        return unit, row

    async def put_connection(
        self,
        name: str,
        document: ConnectionDocument,
        *,
        actor: str = NOBODY,
        expected: str | None = None,
        consent: bool = False,
    ) -> Stored:
        """Raises as draft_connection and put_gateway."""
        unit, row = await self.draft_connection(name, document)
        _must_be_consented(row, unit.connections.get(name), consent)
        spec = document.spec
        _must_match(expected, unit.connections.get(name))
        if unit.gateway is None:
            raise NotFound(f"Gateway {spec.gateway} does not exist: PUT it first")
        await self._claim(name, spec.gateway)
        await self._audit.record(actor, "put", f"connection/{name}", generation=row.generation)
        served = Write(WriteKind.UPSERT, name, {"gateway": spec.gateway})
        await self._s.store.transact(NAMES, SERVED + spec.agent, [served])
        # The rules were checked against the gateway and its other Connections: whoever changed those meanwhile, or
        # deletes the gateway at this moment, writes its row too, so that one of the two is refused by the store.
        guard = Write(WriteKind.REPLACE, GATEWAY, to_data(unit.gateway), unit.etags[GATEWAY])
        told = self._told(spec.gateway, name, unit.connections.get(name), row)
        await self._write(
            spec.gateway, CONNECTION + name, to_data(row), unit.etags.get(CONNECTION + name), guard, *told
        )
        conditions = unit.links.get(name, LinkRow()).conditions
        created = name not in unit.connections
        return Stored(name, row.id, row.generation, False, row.spec, conditions, created)

    async def set_psk(self, name: str, value: str, *, actor: str = NOBODY) -> None:
        """Write-only: a new version of the key that Homelink keeps for a Connection. Raises InvalidInput, NotFound."""
        unit = await self.unit_of(name)
        row = unit.connections[name]
        if problems := rules.psk_problems(value):
            raise InvalidInput(problems)
        if row.spec.psk.vault_ref:
            raise Refused(f"the key of Connection {name} is your vault entry {row.spec.psk.vault_ref}: set it there")
        await self._audit.record(actor, "set-psk", f"connection/{name}")
        await self._s.vault.set(psk_name(row), value)

    async def doomed_gateway(self, name: str, release: bool = False) -> Unit:
        """The unit as a DELETE would mark it. `release`: Azure's resources are let go of and not deleted. Raises
        NotFound, and Refused while it has Connections."""
        unit = await self._unit(name)
        if unit.gateway is None:
            raise NotFound(f"there is no Gateway {name}")
        if unit.connections:
            names = ", ".join(sorted(unit.connections))
            raise Refused(f"Gateway {name} still has Connections ({names}): delete them first")
        unit.gateway = unit.gateway.model_copy(update={"deleting": True, "release": release})
        return unit

    async def delete_gateway(
        self, name: str, *, actor: str = NOBODY, expected: str | None = None, release: bool = False
    ) -> None:
        """Marks it; the reconciler removes what was made. Raises as doomed_gateway."""
        unit = await self.doomed_gateway(name, release)
        if unit.gateway is None:
            return
        _must_match(expected, unit.gateway.model_copy(update={"deleting": False}))
        await self._audit.record(actor, "release" if release else "delete", f"gateway/{name}")
        message = f"Gateway {name} is to be {'released' if release else 'deleted'}."
        told = Scribe(self._s, name).write(Told(Reason.DELETION_REQUESTED, message))
        await self._write(name, GATEWAY, to_data(unit.gateway), unit.etags[GATEWAY], told)

    async def delete_connection(
        self,
        name: str,
        *,
        actor: str = NOBODY,
        expected: str | None = None,
        orphan_home: bool = False,
        release: bool = False,
    ) -> str:
        """Marks it and returns its gateway; both ends are removed by the reconciler. `orphan_home`: the agent is gone
        for good, so what it left at home is not waited for. `release`: Azure's end is let go of and not deleted."""
        unit = await self.unit_of(name)
        _must_match(expected, unit.connections[name])
        update = {"deleting": True, "orphan_home": orphan_home, "release": release}
        row = unit.connections[name].model_copy(update=update)
        what = "release" if release else "delete"
        await self._audit.record(actor, what, f"connection/{name}", orphan_home=orphan_home)
        message = f"Connection {name} is to be {what}d{' without its home half' if orphan_home else ''}."
        told = Scribe(self._s, unit.name).write(Told(Reason.DELETION_REQUESTED, message), name)
        await self._write(unit.name, CONNECTION + name, to_data(row), unit.etags[CONNECTION + name], told)
        return unit.name

    async def get_gateway(self, name: str) -> Stored:
        unit = await self._unit(name)
        if unit.gateway is None:
            raise NotFound(f"there is no Gateway {name}")
        g = unit.gateway
        return Stored(name, g.id, g.generation, g.deleting, g.spec, unit.state.conditions)

    async def get_connection(self, name: str) -> Stored:
        unit = await self.unit_of(name)
        c = unit.connections[name]
        return Stored(name, c.id, c.generation, c.deleting, c.spec, unit.links[name].conditions)

    async def list_gateways(self) -> list[str]:
        return [r.partition for r in await self._s.store.scan(UNITS, GATEWAY)]

    async def list_connections(self) -> list[str]:
        """From the units themselves: a claim of a name may outlive its Connection by a crash."""
        rows = [r for g in await self.list_gateways() for r in await self._s.store.query(UNITS, g, CONNECTION)]
        return sorted(r.key.removeprefix(CONNECTION) for r in rows)

    async def incidents(self, name: str) -> list[IncidentRow]:
        """Newest first."""
        unit = await self.unit_of(name)
        rows = await self._s.store.query(UNITS, unit.name, f"{CLOSED}{name}:")
        mine = [i for i in unit.incidents.values() if i.connection == name]
        mine += [IncidentRow.model_validate(r.data) for r in rows]
        return sorted(mine, key=lambda i: i.id, reverse=True)

    async def incident(self, name: str, incident_id: str) -> tuple[IncidentRow, list[Json]]:
        """One Incident, with everything that was known and done, in order. Raises NotFound."""
        row = next((i for i in await self.incidents(name) if i.id == incident_id), None)
        if row is None:
            raise NotFound(f"Connection {name} has no Incident {incident_id}")
        unit = await self.unit_of(name)
        window = record.Window.of(row.opened, row.closed, self._s.now())
        return row, await record.timeline(self._s, unit.name, name, row.id, window)

    async def gateway_events(self, name: str, asked: Asked) -> Page:
        """Of the Gateway and of all its Connections. Raises NotFound without a Gateway and anything left of one."""
        found = await events.page(self._s.store, name, None, asked)
        if not found.items and await self._s.store.get(UNITS, name, GATEWAY) is None:
            raise NotFound(f"there is no Gateway {name}")
        return found

    async def connection_events(self, name: str, asked: Asked) -> Page:
        """Raises NotFound."""
        return await events.page(self._s.store, (await self.unit_of(name)).name, name, asked)

    async def unit_of(self, connection: str) -> Unit:
        """Raises NotFound."""
        row = await self._s.store.get(NAMES, CONNECTIONS, connection)
        unit = await load(self._s.store, str(row.data["gateway"])) if row else None
        if unit is None or connection not in unit.connections:
            raise NotFound(f"there is no Connection {connection}")
        return unit

    async def _elsewhere(self, name: str) -> tuple[dict[str, GatewaySpec], dict[str, ConnectionSpec]]:
        """The specs of all other Gateways and of their Connections, by name."""
        units = [await load(self._s.store, other) for other in await self.list_gateways() if other != name]
        gateways = {u.name: u.gateway.spec for u in units if u.gateway is not None}
        return gateways, {n: row.spec for u in units for n, row in u.connections.items()}

    async def _unit(self, name: str) -> Unit:
        return await load(self._s.store, name)

    async def _claim(self, name: str, gateway: str) -> None:
        """Raises Refused when the name is taken. A claim that a crash left without its Connection may be taken over."""
        now = self._s.now()
        claim = {"gateway": gateway, "since": now.isoformat()}
        try:
            await self._s.store.transact(NAMES, CONNECTIONS, [Write(WriteKind.INSERT, name, dict(claim))])
        except RowExists:
            row = await self._s.store.get(NAMES, CONNECTIONS, name)
            if row is None:
                raise  # let go at this moment
            holder = str(row.data["gateway"])
            if await self._s.store.get(UNITS, holder, CONNECTION + name) is not None:
                if holder == gateway:
                    return
                raise Refused(f"Connection {name} exists on Gateway {holder}: choose another name") from None
            age = now - datetime.fromisoformat(row.data["since"])
            if holder != gateway and age < timedelta(seconds=limits.CLAIM_S):
                raise Refused(f"Connection {name} is being made on Gateway {holder}: choose another name") from None
            write = Write(WriteKind.REPLACE, name, dict(claim), row.etag)
            await self._s.store.transact(NAMES, CONNECTIONS, [write])

    def _told(
        self, unit: str, connection: str | None, old: GatewayRow | ConnectionRow | None, new: GatewayRow | ConnectionRow
    ) -> list[Write]:
        """The Event of a PUT; none where it changed nothing."""
        if old is not None and old.generation == new.generation:
            return []
        what = f"Connection {connection}" if connection else f"Gateway {unit}"
        reason = Reason.CREATED if old is None else Reason.SPEC_CHANGED
        message = f"{what}: {'created' if old is None else 'its document was changed'}, generation {new.generation}."
        return [Scribe(self._s, unit).write(Told(reason, message), connection)]

    async def _write(self, unit: str, key: str, data: dict[str, Any], etag: str | None, *guards: Write) -> None:
        kind = WriteKind.INSERT if etag is None else WriteKind.REPLACE
        await self._s.store.transact(UNITS, unit, [*guards, Write(kind, key, data, etag)])


def etag_of(row: Stored | GatewayRow | ConnectionRow) -> str:
    """Quoted, as HTTP wants it. Names a state of the document, not of its status."""
    return f'"{row.id}-{row.generation}{"-deleting" if row.deleting else ""}"'


def _must_match(expected: str | None, row: GatewayRow | ConnectionRow | None) -> None:
    if expected is None or (expected == "*" and row is not None):
        return
    if row is None or etag_of(row) != expected:
        raise Precondition("the document is not in the state that If-Match names: GET it again, then decide anew", 412)


def _must_be_consented(row: GatewayRow | ConnectionRow, old: GatewayRow | ConnectionRow | None, consent: bool) -> None:
    if row.spec.adopt is not None and (old is None or old.deleting) and not consent:
        raise Precondition("an adoption needs ?plan=<hash>: POST .../plan shows what it would do", 428)


def _same_name(path: str, document: str) -> None:
    if path != document:
        raise InvalidInput([Problem("metadata.name", document, "name-differs", f"the URL says {path!r}", "Make both the same.")])  # fmt: skip  # noqa: E501
