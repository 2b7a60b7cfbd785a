"""Import: reads a gateway that somebody else made and writes the documents that describe it. Changes nothing.

Each document comes with what stands in the way of it, what is out of the ordinary, and the Plan that a PUT would carry
out, with the hash that is the consent to it. Azure holds one gateway's parts in many resources, so an import makes a
handful of reads and one for each connection; only connections of the gateway's own resource group are looked for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from shared.domain import adoption, adoption_problems, parse, rules
from shared.domain.adopted import connection_names, gateway_name
from shared.domain.adoption import Draft, ImportRequest
from shared.domain.arm import ArmKind, ArmRef
from shared.domain.problem import InvalidInput
from shared.domain.spec import ConnectionSpec, GatewaySpec
from shared.errors import ArmRejected, NotFound, Refused
from shared.seams import Json

from . import observe
from .planning import Planning, Preview
from .services import Services
from .specs import Specs
from .unit import Unit, load


@dataclass(frozen=True)
class Imported:
    """`plan`: None while a problem is in the way, or the document needs another one to be PUT before."""

    draft: Draft
    plan: Preview | None = None


@dataclass(frozen=True)
class LeftAlone:
    resource: str
    reason: str


@dataclass(frozen=True)
class Import:
    gateway: Imported
    connections: tuple[Imported, ...]
    left_alone: tuple[LeftAlone, ...]


class Adoption:
    def __init__(self, services: Services, specs: Specs, planning: Planning) -> None:
        self._s, self._specs, self._planning = services, specs, planning

    async def read(self, request: ImportRequest) -> Import:
        """Raises InvalidInput, NotFound, Refused for what Homelink's identity may not read, ArmBusy, ArmRejected."""
        asked = adoption.ref_of(request.gateway)
        body = await self._first(asked) if asked else None
        if asked is None or body is None:
            raise NotFound(f"Azure knows no {request.gateway}, or does not show it to Homelink's identity")
        ref = adoption.ref_of(body.get("id")) or asked  # spelled as Azure does
        unit = await self._known(ref)
        gateway = await self._gateway(unit.name, ref, body, request.tenant_id)
        connections, left_alone = await self._connections(unit, ref, gateway, request.agent)
        return Import(gateway, connections, left_alone)

    async def _first(self, ref: ArmRef) -> Json | None:
        """What a user named, and may have misspelt: ARM's refusal speaks of that."""
        try:
            return await self._s.arm.get(ref)
        except ArmRejected as e:
            if e.status in (401, 403):
                raise Refused(f"Homelink's identity needs its role on {ref.resource_group} first: {e}") from None
            if e.status in (400, 404):
                raise NotFound(f"Azure does not know {ref.id()}: {e}") from None
            raise

    async def _beside(self, gateway: ArmRef, ref: ArmRef | None) -> Json | None:
        """What stands in the gateway's resource group; of anything else the draft tells that it does not."""
        return await self._s.arm.get(ref) if ref and adoption_problems.is_beside(gateway, ref) else None

    async def _known(self, ref: ArmRef) -> Unit:
        """The unit that has adopted the gateway, or made it, else an empty one of a free name."""
        names = await self._specs.list_gateways()
        for name in names:
            unit = await load(self._s.store, name)
            spec = unit.gateway.spec if unit.gateway else None
            if spec is not None and _same(ref, spec, gateway_name(name, spec)):
                return unit
        return Unit(adoption.name_for(ref.name, names))

    async def _gateway(self, name: str, ref: ArmRef, body: Json, tenant: str | None) -> Imported:
        networks = adoption.stands_on(body)[1]
        network = await self._beside(ref, networks[0] if networks else None)
        draft = adoption.gateway(name, ref, body, network, tenant)
        try:
            document = parse.gateway(draft.document)
            draft = replace(draft, findings=(*draft.findings, *rules.gateway_findings(document.spec)))
            plan = await self._planning.put_gateway(name, document)
        except InvalidInput as e:
            return Imported(_with(draft, e))
        return Imported(draft, None if draft.problems else plan)

    async def _connections(
        self, unit: Unit, ref: ArmRef, gateway: Imported, agent: str | None
    ) -> tuple[tuple[Imported, ...], tuple[LeftAlone, ...]]:
        listed = await self._s.arm.list(ref.subscription, ref.resource_group, ArmKind.CONNECTION)
        refs = [ArmRef(ref.subscription, ref.resource_group, ArmKind.CONNECTION, str(c["name"])) for c in listed]
        bodies = {r: b for r, b in (await observe.resources(self._s, refs)).items() if b and _is_on(ref, b)}
        left_alone = [LeftAlone(r.id(), _why(b)) for r, b in bodies.items() if _why(b)]
        taken = set(await self._specs.list_connections())
        found = []
        for link, body in bodies.items():
            if _why(body):
                continue
            owners = [c for c, row in unit.connections.items() if _names(c, row.spec, link)]
            name = owners[0] if owners else adoption.name_for(link.name, taken)
            taken.add(name)
            peer = adoption.ref_of(((body["properties"].get("localNetworkGateway2")) or {}).get("id"))
            local = await self._beside(ref, peer)
            draft = adoption.connection(name, unit.name, agent, body, local, ref)
            found.append(await self._checked(unit, name, draft, gateway))
        return tuple(found), tuple(left_alone)

    async def _checked(self, unit: Unit, name: str, draft: Draft, gateway: Imported) -> Imported:
        """With the problems of rules, and the Plan once the Gateway is there."""
        try:
            document = parse.connection(draft.document)
            if unit.gateway is not None:
                plan = await self._planning.put_connection(name, document)
                return Imported(draft, None if draft.problems else plan)
        except InvalidInput as e:
            return Imported(_with(draft, e))
        try:
            spec = parse.gateway(gateway.draft.document).spec
        except InvalidInput:
            return Imported(draft)  # told with the Gateway
        return Imported(_with(draft, InvalidInput(rules.connection_problems(name, document.spec, spec, {}))))


def _same(ref: ArmRef, spec: GatewaySpec, name: str) -> bool:
    mine = ref.subscription, ref.resource_group.lower(), ref.name.lower()
    return mine == (spec.subscription_id.lower(), spec.resource_group.lower(), name.lower())


def _names(connection: str, spec: ConnectionSpec, ref: ArmRef) -> bool:
    return connection_names(connection, spec)[ArmKind.CONNECTION].lower() == ref.name.lower()


def _is_on(gateway: ArmRef, connection: Json) -> bool:
    ends = (connection["properties"].get(f"virtualNetworkGateway{n}") or {} for n in (1, 2))
    return gateway.id().lower() in {str(end.get("id")).lower() for end in ends}


def _why(connection: Json) -> str:
    """Why a connection is none of ours; empty for one to a home."""
    kind = str(connection["properties"].get("connectionType"))
    return "" if kind.lower() == "ipsec" else f"a connection of type {kind}: Homelink manages those to homes only"


def _with(draft: Draft, more: InvalidInput) -> Draft:
    """What is missing was told already, and better."""
    told = {p.path for p in draft.problems}
    return replace(draft, problems=(*draft.problems, *(p for p in more.problems if p.path not in told)))
