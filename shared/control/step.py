"""One step of one unit, in the order that reconciler.py describes."""

from __future__ import annotations

import string
from contextlib import suppress
from datetime import datetime, timedelta

from shared import telemetry
from shared.domain import conditions, limits, plan, render
from shared.domain.arm import ArmKind, ArmRef
from shared.errors import ArmBusy, ArmRejected, HomelinkError, StoreConflict, TemporaryError
from shared.seams import Write, WriteKind

from . import adopting, observe, record, saving
from .agents import SERVED, Agents
from .azure_half import AzureHalf
from .commands import Commands
from .events import EVENT, Reason, Scribe, Told
from .home_half import HomeHalf
from .lease import Lease
from .reading import CONNECTED, Depth, Reading
from .services import NAMES, UNITS, Services
from .specs import CONNECTIONS
from .unit import CLOSED, CONNECTION, GATEWAY, LINK, STATE, ConnectionRow, GatewayRow, Unit, own_psk_name, psk_name

PSK_LENGTH = 48
PSK_ALPHABET = string.ascii_letters + string.digits


class Step:
    def __init__(
        self,
        services: Services,
        agents: Agents,
        commands: Commands,
        lease: Lease,
        unit: Unit,
        now: datetime,
        hasty: bool = False,
    ) -> None:
        """`hasty`: only a heartbeat asks for this step. `looked` becomes false if that was no reason to read ARM."""
        self._s, self._agents, self._commands, self._lease = services, agents, commands, lease
        self.unit, self.now, self._hasty = unit, now, hasty
        self.looked = True
        self._gone = False
        self._scribe = Scribe(services, unit.name)

    async def save(self) -> None:
        """Everything that changed, with its Events. Raises StoreConflict when the lease is lost."""
        if not self._gone:
            await saving.save(self.unit, self._lease, self._scribe)

    async def run(self) -> float | None:
        """Returns when to look again, in seconds, or None when the sweep is soon enough."""
        unit, gateway = self.unit, self.unit.gateway
        if gateway is None:
            return None
        homes = await self._homes()
        for home in homes.values():
            await home.hear()
        azure = AzureHalf(self._s, unit, {n for n, h in homes.items() if h.row.deleting and h.removed()})
        for home in homes.values():
            home.render(self._end())  # from what is stored: enough to tell whether the tunnel is proven
        reading = Reading(self._s, unit, azure, self.now)
        observed = reading.observed if await self._observe(azure, reading, homes) else None
        await self._keys(homes)
        if observed is not None and not azure.held():
            await self._compare_keys(homes, reading)
            for name, trouble in (await adopting.take_keys(self._s, self.unit, observed)).items():
                homes[name].trouble = trouble
        end = self._end()
        for home in homes.values():
            home.render(end)
            if observed is not None:
                todo = azure.plan(observed)
                home.settled, home.blocked = self._settled(home, todo, observed), self._blocked(home, todo)
            home.decide()
        todo = plan.Plan(())
        if observed is not None:
            todo = await self._bring_along(azure, reading)
            observed = reading.observed
            await self.save()  # the operation's URL first: what follows may fail
            await self._reset(azure, homes)
            for home in homes.values():
                home.settled = home.settled and unit.state.operation is None
        for home in homes.values():
            await home.act()
        self._judge(gateway, azure, homes, observed, todo)
        self._measure(homes)
        if observed is not None and await self._purge(gateway, azure, homes, observed):
            return limits.WATCH_S
        return min((w for w in [azure.wake_s, *(h.wake_s for h in homes.values())] if w is not None), default=None)

    def stumbled(self, error: HomelinkError) -> float | None:
        """The vault, DNS, a queue or a token failed in mid-step: says so in the status; what was done is kept."""
        state = self.unit.state
        verdicts = {c.type: (c.status, c.reason, c.message) for c in state.conditions}
        verdicts["Ready"] = ("False", "ControlPlaneTrouble", str(error))
        told = conditions.transitioned(state.conditions, verdicts, self.now)
        self.unit.state = state.model_copy(update={"conditions": told})
        return error.delay_s if isinstance(error, TemporaryError) else None

    async def _homes(self) -> dict[str, HomeHalf]:
        rows = self.unit.connections
        views = await observe.names(self._s, (r.spec.fqdn for r in rows.values()))
        agents = {n: await observe.agent(self._agents, n, self.now) for n in {r.spec.agent for r in rows.values()}}
        return {
            n: HomeHalf(self._s, self._commands, self.unit, n, self.now, agents[r.spec.agent], views[r.spec.fqdn])
            for n, r in sorted(rows.items())
        }

    async def _observe(self, azure: AzureHalf, reading: Reading, homes: dict[str, HomeHalf]) -> bool:
        """False while an operation runs or ARM cannot be read: then nothing about Azure is decided in this step."""
        if await azure.poll():
            return False
        if azure.held():
            return reading.assume()
        proven = {n for n, h in homes.items() if h.proven()}
        depth = reading.depth(hasty=self._hasty and len(proven) == len(homes))
        try:
            await reading.look(depth, self._to_ask(proven))
        except (ArmBusy, ArmRejected) as e:
            azure.unreadable(e)
            return isinstance(e, ArmBusy) and reading.assume()
        self.looked = depth is not Depth.NOTHING
        self._learn_end(reading.observed)
        adopting.note_pins(self._s, self.unit, reading.observed)
        return True

    def _learn_end(self, observed: plan.Observed) -> None:
        if self.unit.gateway is None:
            return
        refs = render.gateway_refs(self.unit.name, self.unit.gateway.spec)
        end = render.azure_end(observed.get(refs[ArmKind.GATEWAY]), observed.get(refs[ArmKind.PUBLIC_IP]))
        if end is not None:
            update = {"public_ip": end.public_ip, "bgp_address": end.bgp_address}
            self.unit.state = self.unit.state.model_copy(update=update)

    def _to_ask(self, proven: set[str]) -> set[ArmRef]:
        """Connections whose status nobody can tell but ARM; a proven one is asked once more, until ARM says so too."""
        links = self.unit.links
        if self.unit.gateway is None:
            return set()
        unsure = {n for n in self.unit.connections if n not in proven or links[n].azure_status != CONNECTED}
        return {self.unit.refs(n)[ArmKind.CONNECTION] for n in unsure}

    async def _bring_along(self, azure: AzureHalf, reading: Reading) -> plan.Plan:
        """Plans, and starts what can be started: never from a list or an assumption alone."""
        todo = azure.plan(reading.observed)
        doubtful = [*(c.ref for c in todo.changes), *azure.keys_to_change()]
        if azure.held():
            reading.remember(todo)
            return todo
        try:
            if await reading.confirm(doubtful):
                todo = azure.plan(reading.observed)
        except (ArmBusy, ArmRejected) as e:
            azure.unreadable(e)
        else:
            await azure.advance(todo, reading.observed)
        reading.remember(todo)
        return todo

    async def _reset(self, azure: AzureHalf, homes: dict[str, HomeHalf]) -> None:
        """At most one reset in a step, and its intent is stored before it is asked for: a step that dies in between
        has used it up, because a reset that is not known to have failed must not be repeated."""
        home = next((h for h in homes.values() if h.reset is not None), None)
        if home is None or home.reset is None or self.unit.state.operation is not None or azure.held():
            return
        locked = self.unit.state.reset_not_before
        if locked is not None and self.now < locked:
            return
        link, resets = self.unit.links[home.name], self.unit.state.gateway_resets
        home.attempted(home.reset)
        await self.save()
        if await azure.reset(home.reset, home.name):
            telemetry.record(telemetry.RESETS, 1, home.reset)
        else:
            self.unit.links[home.name] = link
            again = self.now + timedelta(seconds=limits.RESET_LOCKED_S)
            update = {"gateway_resets": resets, "reset_not_before": again}
            self.unit.state = self.unit.state.model_copy(update=update)

    def _end(self) -> render.AzureEnd | None:
        state = self.unit.state
        return render.AzureEnd(state.public_ip, state.bgp_address) if state.public_ip and state.bgp_address else None

    async def _keys(self, homes: dict[str, HomeHalf]) -> None:
        """Makes sure that every Connection has a key, and learns of a newer one."""
        for name, home in homes.items():
            if home.row.deleting:
                continue
            entry = psk_name(home.row)
            secret = await self._s.vault.get(entry)
            version = secret.version if secret else None
            if version is None and home.row.spec.psk.generate and home.row.spec.adopt is None:
                version = await self._s.vault.set(entry, self._draw())
            link = self.unit.links[name]
            since = link.psk_since if version == link.psk_version and link.psk_since else self.now
            update = {"psk_name": entry, "psk_version": version, "psk_since": since}
            self.unit.links[name] = link.model_copy(update=update)

    async def _compare_keys(self, homes: dict[str, HomeHalf], reading: Reading) -> None:
        """A key that somebody changed in Azure shows in no diff: it is looked for whenever everything is read, and when
        the ends refuse each other. Not being allowed to look is no trouble: then a refusal is all there is to see."""
        for name, home in homes.items():
            link = self.unit.links[name]
            given = link.psk_version is not None and link.psk_version == link.azure_psk_version
            if self.unit.gateway is None or not given or not (reading.everything or home.refused()):
                continue
            ref = self.unit.refs(name)[ArmKind.CONNECTION]
            secret = await self._s.vault.get(link.psk_name or "", link.psk_version)
            if secret is None or not plan.is_settled(reading.observed.get(ref)):
                continue
            with suppress(ArmBusy, ArmRejected):
                if not await self._s.arm.has_shared_key(ref, secret.value):
                    self.unit.links[name] = link.model_copy(update={"azure_psk_version": None})

    def _draw(self) -> str:
        """48 letters and digits (285 bits), without bias: bytes beyond the last whole multiple are thrown away."""
        size, drawn = len(PSK_ALPHABET), ""
        while len(drawn) < PSK_LENGTH:
            drawn += "".join(PSK_ALPHABET[b % size] for b in self._s.random.token(64) if b < 256 - 256 % size)
        return drawn[:PSK_LENGTH]

    def _settled(self, home: HomeHalf, todo: plan.Plan, observed: plan.Observed) -> bool:
        gateway = self.unit.gateway
        if gateway is None or home.row.deleting:
            return False
        refs = [*self.unit.refs(home.name).values()]
        refs.append(render.gateway_refs(self.unit.name, gateway.spec)[ArmKind.GATEWAY])
        changed = {c.ref for c in todo.changes}
        link = self.unit.links[home.name]
        keyed = link.psk_version is not None and link.psk_version == link.azure_psk_version
        return keyed and all(r not in changed and plan.is_settled(observed.get(r)) for r in refs)

    def _blocked(self, home: HomeHalf, todo: plan.Plan) -> str:
        mine = {*self.unit.refs(home.name).values()}
        return next((c.reason for c in todo.changes if c.action is plan.Action.BLOCKED and c.ref in mine), "")

    def _judge(
        self,
        gateway: GatewayRow,
        azure: AzureHalf,
        homes: dict[str, HomeHalf],
        observed: plan.Observed | None,
        todo: plan.Plan,
    ) -> None:
        """Conditions of the Gateway and of every Connection."""
        state = self.unit.state
        refs = render.gateway_refs(self.unit.name, gateway.spec)
        seen = None if observed is None else {k: observed.get(r) for k, r in refs.items()}
        verdicts = conditions.gateway(seen, todo, azure.note, state.conditions)
        update = {"conditions": conditions.transitioned(state.conditions, verdicts, self.now)}
        self.unit.state = state.model_copy(update=update)
        for name, home in homes.items():
            mine = self.unit.refs(name).items()
            resources = None if observed is None else {k: observed.get(r) for k, r in mine}
            link = self.unit.links[name]
            judged = conditions.connection(home.conditions_link(resources), azure.note)
            told = conditions.transitioned(link.conditions, judged, self.now)
            self.unit.links[name] = link.model_copy(update={"conditions": told})

    def _measure(self, homes: dict[str, HomeHalf]) -> None:
        for name, home in homes.items():
            where = self.unit.name, name
            up = any(c.type == "TunnelUp" and c.status == "True" for c in home.link.conditions)
            telemetry.record(telemetry.TUNNEL_UP, int(up), *where)
            if home.agent.heard is not None:
                silence = self.now - home.agent.heard
                telemetry.record(telemetry.SILENCE, silence.total_seconds(), *where)
            if home.health is not None:
                telemetry.record(telemetry.PREFIXES, len(home.health.bgp.received), *where, "received")
                telemetry.record(telemetry.PREFIXES, len(home.health.bgp.sent), *where, "sent")

    async def _purge(
        self, gateway: GatewayRow, azure: AzureHalf, homes: dict[str, HomeHalf], observed: plan.Observed
    ) -> bool:
        """Forgets what is gone at both ends, or let go of. True when there was something to forget."""
        doomed = False
        for name, home in homes.items():
            if home.row.deleting and home.removed() and azure.is_gone(self.unit.refs(name).values(), observed):
                await self._forget_connection(name)
                doomed = True
        chain = render.gateway_chain(self.unit.name, gateway.spec)
        if gateway.deleting and not self.unit.connections and azure.is_gone(chain, observed):
            told = self._scribe.write(Told(Reason.DELETED, f"Gateway {self.unit.name} is {_ended(gateway)}."))
            keys = [(GATEWAY, self.unit.etags[GATEWAY]), (STATE, None)]
            await self._lease.commit([told, *(Write(WriteKind.DELETE, k, etag=e) for k, e in keys)])
            self._gone = doomed = True
        return doomed

    async def _forget_connection(self, name: str) -> None:
        """History first, so many rows per step; the row of the Connection goes last of what is fenced, so that a crash
        before is made good by the next step. The index rows are read before and go after it, by their ETags: whoever
        reuses the name meanwhile keeps his."""
        store, row = self._s.store, self.unit.connections[name]
        history = await self._history(name)
        for chunk in saving.chunks([Write(WriteKind.DELETE, k) for k in history[: limits.FORGET_ROWS]]):
            await self._lease.commit(chunk)
        if len(history) > limits.FORGET_ROWS:
            return
        writes = [Write(WriteKind.DELETE, i.key) for i in self.unit.stored_incidents.values() if i.connection == name]
        message = f"Connection {name} is {_ended(row)}{'' if row.release else ' at both ends'}."
        writes.append(self._scribe.write(Told(Reason.DELETED, message)))
        writes.append(Write(WriteKind.DELETE, LINK + name))
        writes.append(Write(WriteKind.DELETE, CONNECTION + name, etag=self.unit.etags[CONNECTION + name]))
        partitions = SERVED + row.spec.agent, CONNECTIONS
        index = [(p, await store.get(NAMES, p, name)) for p in partitions]
        await self._s.vault.delete(own_psk_name(row))
        await self._lease.commit(writes)
        about = self._refused()
        self.unit.drop(name)
        if about == name:
            self.unit.state = self.unit.state.model_copy(update={"refusal": None})
        for partition, found in index:
            if found is not None:
                with suppress(StoreConflict):
                    await store.transact(NAMES, partition, [Write(WriteKind.DELETE, name, etag=found.etag)])

    def _refused(self) -> str | None:
        """The Connection that ARM refused something for."""
        refusal = self.unit.state.refusal
        return self.unit.connection_of(*refusal.target.split("/")) if refusal else None

    async def _history(self, name: str) -> list[str]:
        """Keys of the closed Incidents and of the Events of a Connection: they hold the addresses of its home."""
        closed = await self._s.store.query(UNITS, self.unit.name, f"{CLOSED}{name}:")
        closed += await self._s.store.query(UNITS, self.unit.name, record.prefix(name))
        told = await self._s.store.query(UNITS, self.unit.name, EVENT)
        return [r.key for r in [*closed, *(r for r in told if r.data["connection"] == name)]]


def _ended(row: GatewayRow | ConnectionRow) -> str:
    return "released: its resources in Azure are as they were" if row.release else "gone"
