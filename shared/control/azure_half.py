"""The Azure half of a step: the running operation, the Plan, and the one write that may be started.

The operation's URL is all that is stored of it (the SDK's continuation token would contain the pre-shared key). A crash
after a PUT and before the save costs nothing: the resource then says itself that ARM is at work on it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from shared.domain import plan as plans
from shared.domain import render
from shared.domain.arm import ArmKind, ArmRef
from shared.domain.ladder import Rung
from shared.domain.plan import Action, Change, Plan
from shared.errors import ArmBusy, ArmRejected, PermanentError
from shared.seams import Json, Operation, OperationState, Started

from .services import Services
from .unit import OperationRow, Refusal, Unit

REFUSED_AGAIN_S = 300
"""What ARM refused for good is tried again that late, in case a person removed the cause."""


@dataclass
class AzureHalf:
    """`note` says what Azure is doing or why it refused; `wake_s` when to look again, None: the sweep will do."""

    services: Services
    unit: Unit
    home_removed: set[str]
    note: str = ""
    wake_s: float | None = None

    def refs(self) -> list[ArmRef]:
        """All resources of the unit, in order of creation."""
        gateway = self.unit.gateway
        if gateway is None:
            return []
        refs = render.gateway_chain(self.unit.name, gateway.spec)
        for name in sorted(self.unit.connections):
            refs += self.unit.refs(name).values()
        return refs

    async def poll(self) -> bool:
        """Looks once at the running operation, if it is time; true while one runs."""
        op = self.unit.state.operation
        if op is None:
            return False
        now = self.services.now()
        self.note = f"{op.action} of {op.kind.value}/{op.name} runs since {op.started:%H:%M:%S} UTC."
        not_before = max(op.not_before, self.unit.state.arm_not_before or op.not_before)
        if now < not_before:
            self.wake_s = (not_before - now).total_seconds()
            return True
        if op.url is None:
            self._operation(None)
            return False
        try:
            seen = await self.services.arm.poll(op.url)
        except ArmBusy as e:
            self._quiet(e)
            self._later(op, e.delay_s)
            return True
        except PermanentError:
            seen = Operation(OperationState.GONE, 0)  # it may not be asked about: the resource itself tells
        if seen.state is OperationState.RUNNING:
            self._later(op, seen.retry_after_s)
            return True
        self._operation(None)
        self.note = ""
        if seen.state is OperationState.FAILED:
            self._refuse(op.kind, op.name, seen.code, seen.message)
        return False

    def held(self) -> bool:
        """ARM asked for quiet, and it is not over: nothing may be asked or written."""
        until, now = self.unit.state.arm_not_before, self.services.now()
        if until is None or now >= until:
            return False
        self.note = f"Azure asked for quiet until {until:%H:%M:%S} UTC."
        self.wake_s = (until - now).total_seconds()
        return True

    def unreadable(self, error: ArmBusy | ArmRejected) -> None:
        if isinstance(error, ArmBusy):
            self._quiet(error)
            self.note, self.wake_s = f"Azure cannot be read ({error.code}): {error}", error.delay_s
        else:
            self.note = f"Azure cannot be read: {error}"

    def plan(self, observed: plans.Observed) -> Plan:
        desired, unwanted, released = self._goal()
        return plans.make(desired, unwanted, observed, self.services.controller, released)

    def desired(self) -> list[render.Desired]:
        """What should be, in order of creation."""
        return self._goal()[0]

    def is_gone(self, refs: Iterable[ArmRef], observed: plans.Observed) -> bool:
        """None of them is there, other than those that are let go of, which bear no mark of ours any more."""
        released = self._goal()[2]
        return all(observed.get(r) is None or (r in released and not self._is_ours(observed.get(r))) for r in refs)

    def _goal(self) -> tuple[list[render.Desired], list[ArmRef], list[ArmRef]]:
        """What should be, what should not, and what is let go of, each in the order of the work."""
        unit, gateway = self.unit, self.unit.gateway
        if gateway is None:
            return [], [], []
        controller = self.services.controller
        wanted: list[render.Desired] = []
        unwanted: list[ArmRef] = []
        released: list[ArmRef] = []
        if not gateway.deleting:
            homes = [row.spec for _, row in sorted(unit.connections.items()) if not row.deleting]
            wanted += render.gateway_resources(unit.name, gateway.spec, controller, homes)
        for name, row in sorted(unit.connections.items()):
            pin = unit.links[name].pin
            if row.deleting and row.release and pin and row.spec.adopt is None and name in self.home_removed:
                # Nobody will end the pin any more. (An adopted address was the user's own before it was a pin.)
                free = render.connection_resources(name, row.spec, unit.name, gateway.spec, controller, None)
                wanted += [r for r in free if r.ref.kind is ArmKind.LOCAL_GATEWAY]
            if row.deleting and name in self.home_removed:
                (released if row.release else unwanted).extend(reversed(unit.refs(name).values()))
            elif not row.deleting:
                address = pin.address if pin else None
                wanted += render.connection_resources(name, row.spec, unit.name, gateway.spec, controller, address)
        if gateway.deleting:
            for ref in reversed(render.gateway_chain(unit.name, gateway.spec)):
                kept = gateway.release or (gateway.spec.adopt and ref.kind is ArmKind.VIRTUAL_NETWORK)
                (released if kept else unwanted).append(ref)  # an adopted network holds more than a gateway
        return wanted, unwanted, released

    async def advance(self, plan: Plan, observed: plans.Observed) -> None:
        """Starts the first change that can be started; stores its operation in the unit (not yet in the store)."""
        busy = [ref for ref, r in observed.items() if r is not None and plans.provisioning_state(r) in _AT_WORK]
        if busy:
            self.note, self.wake_s = f"Azure is at work on {busy[0].kind.value}/{busy[0].name}.", 10.0
            return
        change = plan.next()
        work = _Write.of(change) if change else await self._key_change(observed)
        if work is None:
            self.note = plan.changes[0].reason if plan.changes else ""
            return
        refusal = self.unit.state.refusal
        if (
            refusal
            and refusal.target == f"{work.ref.kind.value}/{work.ref.name}"
            and self.services.now() < refusal.until
        ):
            self.note = f"{refusal.code}: {refusal.message}"
            return
        try:
            started = await self._start(work)
        except ArmBusy as e:
            self._quiet(e)
            self.note, self.wake_s = f"Azure is busy ({e.code}): {e}", e.delay_s
            return
        except ArmRejected as e:
            self._refuse(work.ref.kind, work.ref.name, e.code, str(e))
            return
        if started is not None:
            self._started(work, started)

    async def reset(self, rung: Rung, connection: str) -> bool:
        """Starts a reset, once. False only when a lock was in the way: then it may be asked for again. What ARM refuses
        for good would be refused again, and without its answer nobody knows: both count as tried."""
        gateway = self.unit.gateway
        if gateway is None:
            return False
        whole = rung is Rung.RESET_GATEWAY
        refs = render.gateway_refs(self.unit.name, gateway.spec) if whole else {}
        ref = refs.get(ArmKind.GATEWAY) or self.unit.refs(connection)[ArmKind.CONNECTION]
        try:
            started = await (self.services.arm.reset_gateway(ref) if whole else self.services.arm.reset_connection(ref))
        except ArmBusy as e:
            self._quiet(e)
            self.note, self.wake_s = f"Azure is busy ({e.code}): {e}", e.delay_s
            return not e.locked
        except ArmRejected as e:
            self._refuse(ref.kind, ref.name, e.code, str(e))
            return True
        self._started(_Write("reset", ref, {}), started)
        return True

    async def _key_change(self, observed: plans.Observed) -> _Write | None:
        ours = [r for r in self.keys_to_change() if self._is_ours(observed.get(r))]
        ref = next((r for r in ours if plans.is_settled(observed.get(r))), None)
        return _Write("key change", ref, {}) if ref else None

    def _is_ours(self, resource: Json | None) -> bool:
        """A key is not in the Plan, which minds the marks of resources: this write has to mind them itself."""
        return resource is not None and plans.owner(resource) == self.services.controller

    def keys_to_change(self) -> list[ArmRef]:
        """Connections whose key in the vault is newer than the one that Azure was given."""
        links = self.unit.links
        if self.unit.gateway is None:
            return []
        stale = [
            name
            for name, row in sorted(self.unit.connections.items())
            if not row.deleting and links[name].psk_version not in (None, links[name].azure_psk_version)
        ]
        return [self.unit.refs(name)[ArmKind.CONNECTION] for name in stale]

    async def _start(self, work: _Write) -> Started | None:
        arm, ref = self.services.arm, work.ref
        if work.action == "delete":
            return await arm.delete(ref)
        if work.action == "key change":
            return await arm.set_shared_key(ref, await self._psk(ref))
        if work.action in (Action.ADOPT, Action.RELEASE):
            return await arm.tag(ref, work.body["tags"])
        if ref.kind is ArmKind.VIRTUAL_NETWORK and work.action == Action.CREATE:
            await arm.ensure_resource_group(ref.subscription, ref.resource_group, work.body["location"])
        body = work.body
        if ref.kind is ArmKind.CONNECTION:
            body = {**body, "properties": {**body["properties"], "sharedKey": await self._psk(ref)}}
        return await arm.put(ref, body)

    async def _psk(self, ref: ArmRef) -> str:
        link = self.unit.links[self._connection(ref)]
        secret = await self.services.vault.get(link.psk_name or "", link.psk_version)
        if secret is None:
            raise ArmRejected(f"the vault has no entry {link.psk_name}: put the pre-shared key there", 0, "NoPsk")
        return secret.value

    def _connection(self, ref: ArmRef) -> str:
        """Whose connection in Azure it is."""
        return self.unit.connection_of(ref.kind, ref.name) or ref.name

    def _started(self, work: _Write, started: Started) -> None:
        now = self.services.now()
        if work.ref.kind is ArmKind.CONNECTION and work.action in ("key change", Action.CREATE):
            name = self._connection(work.ref)
            link = self.unit.links[name]
            self.unit.links[name] = link.model_copy(update={"azure_psk_version": link.psk_version})
        self._operation(
            OperationRow(
                url=started.operation_url,
                action=work.action,
                kind=work.ref.kind,
                name=work.ref.name,
                started=now,
                not_before=now + timedelta(seconds=started.retry_after_s),
            )
        )
        self.note = f"{work.action} of {work.ref.kind.value}/{work.ref.name} started."
        self.wake_s = started.retry_after_s

    def _later(self, op: OperationRow, delay_s: float) -> None:
        not_before = self.services.now() + timedelta(seconds=delay_s)
        self._operation(op.model_copy(update={"not_before": not_before}))
        self.wake_s = delay_s

    def _quiet(self, error: ArmBusy) -> None:
        """A lock ends when the other operation does, and only writes meet it; anything else concerns every call."""
        if not error.locked:
            until = self.services.now() + timedelta(seconds=error.delay_s)
            self.unit.state = self.unit.state.model_copy(update={"arm_not_before": until})

    def _operation(self, op: OperationRow | None) -> None:
        self.unit.state = self.unit.state.model_copy(update={"operation": op})

    def _refuse(self, kind: ArmKind, name: str, code: str, message: str) -> None:
        until = self.services.now() + timedelta(seconds=REFUSED_AGAIN_S)
        refusal = Refusal(target=f"{kind.value}/{name}", code=code, message=message, until=until)
        self.unit.state = self.unit.state.model_copy(update={"refusal": refusal})
        self.note = f"{code}: {message}"


_AT_WORK = {"updating", "deleting", "creating"}


@dataclass(frozen=True)
class _Write:
    action: str
    ref: ArmRef
    body: Json

    @classmethod
    def of(cls, change: Change) -> _Write:
        return cls(change.action.value, change.ref, change.body)
