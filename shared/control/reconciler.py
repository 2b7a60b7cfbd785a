"""The reconciler: one step brings one unit a little nearer to its specs. Level-triggered; a message only says "look".

One step, always in this order, is:
 1. take the lease; poll the running ARM operation, once;
 2. read what is: ARM's resources (with as few calls as reading.py allows), the agents' last heartbeats, DNS;
 3. decide what to repair (repair.decide); a pin is part of what is desired from then on;
 4. plan, and start the first change that can be started (one write at a time per gateway is Azure's rule);
 5. bring the home half along: issue apply, initiate and remove where the agent's report says they are needed;
 6. write Conditions and state, in one fenced transaction, and ask to be woken.
Nothing waits. Whatever is lost or repeated, the next step starts from what is.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta

from shared import telemetry
from shared.domain import limits
from shared.errors import PermanentError, StoreConflict, TemporaryError
from shared.telemetry import Attr

from . import saving
from .agents import Agents
from .commands import Commands
from .events import Scribe
from .lease import Lease
from .services import RECONCILE, Services
from .step import Step
from .unit import CauseRow, Unit, load

HEARTBEAT = "heartbeat"
ASKED_FOR = frozenset({"put", "delete", "psk"})
"""Reasons by which a person begins something: its trace takes over whatever the unit was at."""


class Reconciler:
    def __init__(self, services: Services, agents: Agents) -> None:
        self._s, self._agents, self._commands = services, agents, Commands(services, agents)

    async def step(self, unit_name: str, due: datetime | None = None, reason: str = "") -> None:
        """Raises LeaseHeld when another works on the unit. `due` is when the message wanted to be heard: one that a
        later step has already overtaken is dropped, so that wakes for one unit coalesce. `reason` is the message's: a
        HEARTBEAT from a home that is well need not be a reason to read ARM, and then overtakes nobody."""
        now = self._s.now()
        lease = await Lease.acquire(self._s.store, unit_name, self._s.ulid(), now)
        try:
            unit = await load(self._s.store, unit_name)
            if unit.gateway is None:
                return
            last = unit.state.last_step
            if due is not None and last is not None and last >= due:
                await self._take_over(unit, lease, reason, now)
                return
            cause = None if reason in ASKED_FOR else _lasting(unit, now)
            about: telemetry.About = {Attr.ROUTINE: True, Attr.GATEWAY: unit_name, Attr.REASON: reason}
            with telemetry.span("reconciler step", about=about, parent=cause.trace if cause else _other(unit)):
                cause = cause or _begun(now)
                step = Step(self._s, self._agents, self._commands, lease, unit, now, reason == HEARTBEAT)
                try:
                    wake_s = await step.run()
                except (TemporaryError, PermanentError) as e:
                    telemetry.failed(type(e).__name__)
                    wake_s = step.stumbled(e)
                unit.state = unit.state.model_copy(update={"cause": cause if unit.at_work() else None})
                await self._wake_and_save(step, wake_s)
        except StoreConflict:
            return  # another has the lease now and sees more than we did; what we knew is void
        finally:
            await lease.release()

    async def _take_over(self, unit: Unit, lease: Lease, reason: str, now: datetime) -> None:
        """What a person began goes on in his trace, although the sweep came first and took the first step."""
        begun = _begun(now) if reason in ASKED_FOR and unit.at_work() else None
        if begun is not None:
            unit.state = unit.state.model_copy(update={"cause": begun})
            await saving.save(unit, lease, Scribe(self._s, unit.name))

    async def _wake_and_save(self, step: Step, wake_s: float | None) -> None:
        state, now = step.unit.state, self._s.now()
        pending = state.next_wake if state.next_wake is not None and state.next_wake > now else None
        wake = now + timedelta(seconds=wake_s) if wake_s is not None and wake_s < limits.SWEEP_S else None
        sooner = wake is not None and (pending is None or wake < pending)
        step.unit.state = state.model_copy(
            update={
                "last_step": step.now if step.looked else state.last_step,
                "next_wake": wake if sooner else pending,
            },
        )
        await step.save()
        if sooner and wake is not None and wake_s is not None:
            await wake_unit(self._s, step.unit.name, "continue", wake_s)


def _lasting(unit: Unit, now: datetime) -> CauseRow | None:
    """What the unit is at work for. After CAUSE_S it is no more believed: something may never get well."""
    cause = unit.state.cause
    return cause if cause is not None and now - cause.since < timedelta(seconds=limits.CAUSE_S) else None


def _other(unit: Unit) -> str | None:
    """The trace of a step without a lasting cause: its message's, unless that is of the cause that lasts no more."""
    over = unit.state.cause
    return telemetry.NEW if over and telemetry.trace_id(over.trace) == telemetry.trace_id() else None


def _begun(now: datetime) -> CauseRow | None:
    trace = telemetry.traceparent()
    return CauseRow(trace=trace, since=now) if trace else None


def wake_message(services: Services, unit: str, reason: str, delay_s: float = 0) -> str:
    """The text of a message on the reconcile queue: a key and a reason, never state; and the trace that it belongs to,
    where there is one."""
    due, trace = services.now() + timedelta(seconds=delay_s), telemetry.traceparent()
    message = {"unit": unit, "reason": reason, "due": due.isoformat()}
    return json.dumps(message | ({"trace": trace} if trace else {}))


async def wake_unit(services: Services, unit: str, reason: str, delay_s: float = 0) -> None:
    await services.queue.send(RECONCILE, wake_message(services, unit, reason, delay_s), delay_s=delay_s)
