"""The event log of a world, and the invariants of DESIGN section 8 that are checked while things happen.

Everything is told here in order; the log of one seed is always the same, byte for byte. A violation is found where it
happens, so that it carries its time; what can only be judged at the end is in judge.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agent.firewall.contract import Revert
from lab.model.fabric import Fabric
from lab.model.firewall import ModelFirewall, Snapshot
from lab.model.loop import LoopClock
from lab.opened import opened
from shared.control.services import AGENTS, UNITS
from shared.control.unit import INCIDENT, LINK, STATE
from shared.domain import limits
from shared.domain.render import TAG_CONTROLLER
from shared.errors import HomelinkError
from shared.seams import ArmRef, Json, Write, WriteKind
from shared.wire.commands import DesiredTunnel

if TYPE_CHECKING:
    from lab.model.control import Control

LEASE = "lease"
RECONCILERS_OWN = (STATE, LINK, INCIDENT)
MAX_RESETS = {"POST /resetconnection": limits.CONNECTION_RESETS_A_DAY, "POST /reset": limits.GATEWAY_RESETS_A_DAY}
"""Of one resource in a history, which lasts less than a day."""


class Watch:
    """`garbage` is what the history put where it does not belong; `resets` are (verb, name) in order; `consented` are
    names of resources that may be adopted."""

    def __init__(self) -> None:
        self.events: list[tuple[float, str, str]] = []
        self.violations: list[str] = []
        self.garbage: list[tuple[str, str]] = []
        self.resets: list[tuple[str, str]] = []
        self.initiates: dict[str, int] = {}
        self.secrets: set[str] = set()
        self.consented: set[str] = set()
        self.planned_until = float("-inf")
        self.fabric: Fabric | None = None
        self._clock = LoopClock()

    def tell(self, who: str, what: str) -> None:
        self.scan(f"the log of {who}", what)
        self.events.append((self._clock.monotonic(), who, what))

    def text(self) -> str:
        return "\n".join(f"{at:12.3f} {who} {what}" for at, who, what in self.events)

    def violate(self, invariant: int, what: str) -> None:
        self.events.append((self._clock.monotonic(), "VIOLATION", f"{invariant}: {what}"))
        self.violations.append(f"{invariant}: {what}")

    # 5: no secret outside the vault and the firewall ---------------------------------------------------------------

    def scan(self, where: str, text: str) -> None:
        for secret in self.secrets:
            if secret in text:
                self.violate(5, f"a secret is in {where}")

    def packed(self, where: str, text: str) -> None:
        """A message, a request or a file: its secrets would be inside of seals."""
        self.scan(where, opened(text))

    def filed(self, path: str, data: bytes) -> None:
        """By the agent: its identity and the keys in use are what it keeps in files of their own."""
        if "journal/" in path:
            self.packed(f"the agent's file {path}", data.decode(errors="replace"))

    # 7: a stale writer never wins ----------------------------------------------------------------------------------

    async def stored(self, table: str, partition: str, writes: Sequence[Write]) -> None:
        """Before a transaction of a store: what the reconciler owns is only written together with the lease."""
        keys = [w.key for w in writes]
        fenced = any(w.key == LEASE and w.etag for w in writes)
        own = [k for k in keys if table == UNITS and k.lstrip("~").startswith(RECONCILERS_OWN)]
        if own and not fenced:
            self.violate(7, f"{table}/{partition}: {own} written without the lease")
        for write in writes:
            self.scan(f"table {table}/{partition}/{write.key}", str(write.data))

    # 2, 6, 8: what is asked of Azure -------------------------------------------------------------------------------

    def arm_write(self, controller: str, verb: str, ref: ArmRef, was: Json | None) -> None:
        self.tell(controller, f"arm {verb} {ref.kind.value}/{ref.name}")
        adopted = verb == "PATCH" and ref.name in self.consented and was is not None and not was["tags"]
        if was is not None and was["tags"].get(TAG_CONTROLLER) != controller and not adopted:
            self.violate(
                6, f"{controller}: {verb} {ref.kind.value}/{ref.name}, which belongs to {was['tags'] or 'nobody'}"
            )
        if verb.startswith("POST"):
            self._reset(verb, ref)

    def arm_refused(self, verb: str, ref: ArmRef) -> None:
        """It was no reset. (After a 5xx nobody knows.)"""
        if (verb, ref.name) in self.resets:
            self.resets.remove((verb, ref.name))

    def _reset(self, verb: str, ref: ArmRef) -> None:
        assert self.fabric is not None
        self.resets.append((verb, ref.name))
        if self.resets.count((verb, ref.name)) > MAX_RESETS[verb]:
            self.violate(2, f"{verb} of {ref.name}, {self.resets.count((verb, ref.name))} times in a day")
        now = self._clock.monotonic()
        whole = {
            end.view.name for end in self.fabric.azure.values() if end.sa is not None and self.fabric.whole(end.sa)
        }
        if now < self.planned_until:
            self.violate(8, f"{verb} of {ref.name} during a planned failover")
        elif verb == "POST /reset" and whole:
            self.violate(2, f"a gateway reset while {sorted(whole)} worked")
        elif ref.name in whole:
            self.violate(8, f"{verb} of {ref.name}, which worked")

    # 9: everything is accepted or refused with a clear error -------------------------------------------------------

    def called(self, function: str, call: str, how: str) -> None:
        self.tell(function, f"{call} {how}".rstrip())

    def broken(self, where: str, error: Exception, message: str) -> None:
        """An exception that no handler turned into an answer: a queue's function may raise our own, or for garbage."""
        known = isinstance(error, HomelinkError) or any(text == message for _, text in self.garbage)
        self.tell(where, f"raised {type(error).__name__}: {error}")
        if not known:
            self.violate(9, f"{where}: {type(error).__name__}: {error}")

    async def sent(self, table: str, partition: str, writes: Sequence[Write]) -> None:
        """After a transaction: the commands that were recorded."""
        for write in writes:
            if table == AGENTS and write.kind is WriteKind.INSERT and write.data.get("kind") == "initiate":
                name = str(write.data["connection"])
                self.initiates[name] = self.initiates.get(name, 0) + 1

    def control(self, control: Control) -> None:
        control.store.before_transact = self.stored
        control.store.after_transact = self.sent
        control.queue.before_put = self.packed


class WatchedFirewall(ModelFirewall):
    """`initiated` counts; `owners_edits` is what `others` must be: only the history changes it."""

    watch: Watch
    initiated: int = 0
    newest: dict[str, int]

    def apply(self, desired: DesiredTunnel, generation: int, psk: str, revert: Revert | None) -> None:
        newest = self.newest.get(desired.connection_id, 0)
        if revert is not None and generation < newest:
            self.watch.violate(7, f"generation {generation} of {desired.connection} applied after {newest}")
        self.newest[desired.connection_id] = max(newest, generation)
        super().apply(desired, generation, psk, revert)

    def initiate(self, connection: str) -> str:
        told = super().initiate(connection)
        self.initiated += 1
        return told

    def _restore(self, snapshot: Snapshot) -> None:
        # 4: a rollback leaves owned entries as in the snapshot, and everything else as it was.
        wanted, others = self.snapshot_canonical(), dict(self.others)
        super()._restore(snapshot)
        self.watch.tell("firewall", "rolled back")
        if self.canonical() != wanted:
            self.watch.violate(
                4, f"a rollback left {sorted(self.canonical())}, the snapshot had {sorted(wanted or ())}"
            )
        if self.others != others:
            self.watch.violate(4, "a rollback changed what is not ours")
