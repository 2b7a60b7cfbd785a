"""What a document, or a deletion, would change: read now, at both ends, field by field, with a hash that names it.

Beside it stands for how long packets will not pass (shared.domain.outage).

Whoever applies sends the hash along; when the Plan is no longer the same (somebody changed the spec, Azure or the
firewall meanwhile) it is refused and shown anew. A deletion is never carried out without its hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from shared.domain import limits, outage, plan, render
from shared.domain.outage import Outage
from shared.domain.plan import Action, Change, Difference
from shared.domain.spec import ConnectionDocument, GatewayDocument
from shared.errors import PlanChanged, Refused
from shared.wire.commands import SecretRef
from shared.wire.decode import to_plain
from shared.wire.seal import canonical

from . import adopting, observe
from .agents import Agents
from .azure_half import AzureHalf
from .services import Services
from .specs import Specs
from .unit import Unit, psk_name

NEW = "(new)"


@dataclass(frozen=True)
class HomeChange:
    """What the firewall of one Connection would be given. `action`: apply, remove, none, or unknown while Azure's
    addresses are not known yet. Values never hold a key, only which version of it."""

    connection: str
    action: str
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True)
class Preview:
    """`azure` in the order of execution. `refused`: why it may not be applied as it stands, empty if it may. `outages`:
    of every Connection that is looked at or touched, by name; no part of the hash, since it follows from the rest."""

    azure: tuple[Change, ...]
    home: tuple[HomeChange, ...]
    refused: str
    outages: tuple[Outage, ...]

    @property
    def hash(self) -> str:
        """Hex SHA-256 over everything that would be done at both ends."""
        azure = [[c.action, c.ref.id().lower(), c.body] for c in self.azure]
        home = [[h.connection, h.action, [[d.path, d.desired] for d in h.differences]] for h in self.home]
        return hashlib.sha256(canonical({"azure": azure, "home": home})).hexdigest()

    def counts(self) -> dict[str, int]:
        return {action.value: sum(c.action is action for c in self.azure) for action in Action}


class Planning:
    def __init__(self, services: Services, agents: Agents, specs: Specs) -> None:
        self._s, self._agents, self._specs = services, agents, specs

    async def put_gateway(self, name: str, document: GatewayDocument) -> Preview:
        """Raises as Specs.put_gateway."""
        unit, row = await self._specs.draft_gateway(name, document)
        unit.gateway = row
        return await self._preview(unit, set(unit.connections))

    async def put_connection(self, name: str, document: ConnectionDocument) -> Preview:
        """Raises as Specs.put_connection."""
        unit, row = await self._specs.draft_connection(name, document)
        unit.add(name, row)
        return await self._preview(unit, {name})

    async def delete_gateway(self, name: str, release: bool = False) -> Preview:
        unit = await self._specs.doomed_gateway(name, release)
        return await self._preview(unit, set())

    async def delete_connection(self, name: str, release: bool = False) -> Preview:
        unit = await self._specs.unit_of(name)
        unit.add(name, unit.connections[name].model_copy(update={"deleting": True, "release": release}))
        return await self._preview(unit, {name})

    def consented(self, preview: Preview, given: str) -> None:
        """Raises PlanChanged unless `given` is the hash of what would be done now; Refused for a Plan that may not."""
        if given != preview.hash:
            raise PlanChanged(f"the Plan is another by now ({preview.hash}): look at it again, then send its hash")
        if preview.refused:
            raise Refused(preview.refused)

    async def _preview(self, unit: Unit, concerned: set[str]) -> Preview:
        azure = AzureHalf(self._s, unit, {n for n, c in unit.connections.items() if c.deleting})
        observed = await observe.resources(self._s, azure.refs())
        adopting.note_pins(self._s, unit, observed)
        todo = azure.plan(observed)
        home = [await self._home(unit, name) for name in sorted(concerned)]
        return Preview(todo.changes, tuple(home), _refusal(todo), tuple(_outages(unit, todo, home)))

    async def _home(self, unit: Unit, name: str) -> HomeChange:
        row, link, state = unit.connections[name], unit.links[name], unit.state
        if row.deleting:
            return HomeChange(name, "remove" if link.apply_issued and not row.orphan_home else "none")
        if unit.gateway is None or not state.public_ip or not state.bgp_address:
            return HomeChange(name, "unknown")
        if link.applied is None:  # a new one gets its id when it is stored, and a Plan is to be the same until then
            row = row.model_copy(update={"id": NEW})
        key = psk_name(row)  # another than the link's where the document names another entry of the vault
        secret = SecretRef(key, (link.psk_version if link.psk_name == key else None) or "(to be made)")
        end = render.AzureEnd(state.public_ip, state.bgp_address)
        try:
            desired = to_plain(render.tunnel(name, row.id, row.spec, unit.gateway.spec, end, secret))
        except ValueError as e:
            raise Refused(f"Connection {name}: {e}") from None
        before: dict[str, Any] = link.applied or {}
        found = tuple(plan.differences(desired, before))
        seen = await observe.agent(self._agents, row.spec.agent, self._s.now())
        health = seen.tunnel(unit.connections[name].id)
        drifted = health is not None and bool(link.apply_digest) and health.digest != link.apply_digest
        return HomeChange(name, "apply" if found or drifted else "none", found)


def _outages(unit: Unit, todo: plan.Plan, home: Iterable[HomeChange]) -> Iterator[Outage]:
    """The gateway's own changes touch Connections that nobody asked about, too."""
    looked_at = {h.connection: h for h in home}
    for name, link in sorted(unit.links.items()):
        if unit.gateway is None:
            return
        spec = unit.gateway.spec
        refs = [*render.gateway_chain(unit.name, spec), *unit.refs(name).values()]
        runs = link.applied is not None
        kinds = outage.of_azure(refs, todo.changes, runs=runs)
        if (change := looked_at.get(name)) is not None:
            kinds |= outage.of_home(change.action, change.differences, runs=runs)
        if kinds or change is not None:
            yield outage.expect(name, kinds)


def _refusal(todo: plan.Plan) -> str:
    """Numbers first, so that a person sees at once what is out of proportion."""
    blocked = [c.reason for c in todo.changes if c.action is Action.BLOCKED]
    if blocked:
        return " ".join(blocked)
    for action, limit in ((Action.DELETE, limits.PLAN_DELETES), (Action.UPDATE, limits.PLAN_UPDATES)):
        count = sum(c.action is action for c in todo.changes)
        if count > limit:
            return f"this Plan would {action.value} {count} resources, more than {limit}: do it in smaller steps"
    return ""
