"""The home half of a step: what one Connection needs done, decided from evidence and carried out by commands.

Repair decisions end here: a pin or its end changes what is desired of Azure (azure_half.py does it), an initiate is a
command. The Incident is the story of it, told as it happens (incidents.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from shared.domain import conditions, ladder, limits, reconnect, refusals, render, repair
from shared.domain.dns import DnsView
from shared.domain.ladder import Act, Attempt, Rung, Wait
from shared.errors import NotFound
from shared.wire.commands import Apply, Body, DesiredTunnel, Kind, SecretRef, Target
from shared.wire.decode import to_plain
from shared.wire.reports import TunnelHealth

from . import incidents
from .agents import COMMAND
from .commands import Commands
from .observe import AgentSeen
from .services import AGENTS, Services
from .unit import AttemptRow, CommandRow, ConnectionRow, LinkRow, PinRow, Unit

UNANSWERED = CommandRow.UNANSWERED


AZURE = "AzureReady"
_DECLARES = (Kind.APPLY.value, Kind.REMOVE.value)
"""Commands that say how the home should be: the agent orders them by generation."""


@dataclass
class HomeHalf:
    """One Connection in one step. `settled`: ARM has what we want of it and no operation runs. `void`: the enrolment of
    its agent holds no more."""

    services: Services
    commands: Commands
    unit: Unit
    name: str
    now: datetime
    agent: AgentSeen
    dns: DnsView
    settled: bool = False
    blocked: str = ""
    desired: DesiredTunnel | None = None
    trouble: str = ""
    wake_s: float | None = None
    void: bool = False
    reset: Rung | None = None
    _initiate: bool = field(default=False)

    @property
    def row(self) -> ConnectionRow:
        return self.unit.connections[self.name]

    @property
    def link(self) -> LinkRow:
        return self.unit.links[self.name]

    @property
    def health(self) -> TunnelHealth | None:
        return self.agent.tunnel(self.row.id)

    def update(self, **changes: object) -> None:
        """Fields of the LinkRow."""
        self.unit.links[self.name] = self.link.model_copy(update=changes)

    def render(self, end: render.AzureEnd | None) -> None:
        """What the home should have, once Azure's addresses and a key are known."""
        link, gateway = self.link, self.unit.gateway
        if end is None or gateway is None or link.psk_name is None or link.psk_version is None:
            return
        psk = SecretRef(link.psk_name, link.psk_version)
        try:
            self.desired = render.tunnel(self.name, self.row.id, self.row.spec, gateway.spec, end, psk)
        except ValueError as e:
            self.trouble = str(e)

    def refused(self) -> bool:
        """The ends refuse each other's keys or identities."""
        return self.health is not None and self.health.ike_error == refusals.AUTHENTICATION_FAILED

    def removed(self) -> bool:
        """Nothing of a Connection that is being deleted is left at home."""
        if self.agent.id is None or self.link.apply_issued is None or self.row.orphan_home:
            return True
        report = self.agent.report
        heard_since = self.link.remove_issued and self.agent.heard and self.agent.heard > self.link.remove_issued
        return bool(report and heard_since and all(t.connection_id != self.row.id for t in report.tunnels))

    def proven(self) -> bool:
        """A fresh heartbeat, from the address that Azure accepts, tells of a tunnel that works; nothing to repair."""
        if self.desired is None or self.link.pin is not None or self.link.incident is not None:
            return False
        known = self.agent.fresh and self.agent.source == self.link.known_address
        return known and not conditions.missing_evidence(self.desired, self.health)

    def decide(self) -> None:
        """Takes the evidence, notes what it proves, and settles what to do; no I/O."""
        if self.desired is None or self.row.deleting:
            return
        lacks = tuple(conditions.missing_evidence(self.desired, self.health))
        probed = conditions.probe_ok(self.desired, self.health)
        reported = self.agent.source if self.agent.fresh else None
        self._note_proof(lacks, probed, reported)
        calm = reported is None or (self.link.incident is None and not lacks)
        self.update(down_since=None if calm else self.link.down_since or self.now)
        situation = self._situation(lacks, probed, reported)
        decision = repair.decide(situation, self.now)
        incidents.tell(self, situation, decision)
        match decision:
            case Act(Rung.PIN, _, address):
                self.update(pin=PinRow(address=str(address), since=self.now), healthy_since=None, agrees_since=None)
            case Act(Rung.UNPIN):
                self.update(pin=None)
            case Act(Rung.INITIATE):
                self._initiate = True
                self.update(healthy_since=None)
                self.wake_s = limits.WATCH_S
            case Act(rung):
                self.reset = rung
                self.wake_s = limits.WATCH_S
            case Wait(seconds):
                self.wake_s = seconds

    async def hear(self) -> None:
        """What became of the commands that were sent; those of which that was told before are forgotten."""
        open_ = [c for c in self.link.commands if c.outcome is None]
        answered = tuple([await self._answered(c) for c in open_])
        self.update(commands=answered, generation=self._least_generation(answered))

    def _least_generation(self, answered: tuple[CommandRow, ...]) -> int:
        """Tables restored from a backup have forgotten generations that the agent knows, and it takes every command for
        an old one: so we go on above what it reports, and above what it refused as old although nothing newer was sent.
        """
        seen = [self.link.generation, self.health.generation if self.health else 0]
        newest = max((c.id for c in answered if c.kind in _DECLARES), default="")
        seen += [c.generation + 1 for c in answered if c.id == newest and c.outcome == "superseded"]
        return max(seen)

    @property
    def _generation(self) -> int:
        return max(self.row.generation, self.link.generation)

    async def _answered(self, command: CommandRow) -> CommandRow:
        row = await self.services.store.get(AGENTS, command.agent, COMMAND + command.id)
        if row is not None and row.data["outcome"] is not None:
            return command.model_copy(update={"outcome": row.data["outcome"], "detail": row.data["detail"]})
        late = timedelta(seconds=limits.HEARTBEAT_FRESH_S)  # the result comes with the next heartbeat
        return command if self.now < command.expires + late else command.model_copy(update={"outcome": UNANSWERED})

    async def act(self) -> None:
        """Issues the commands that the report shows to be needed. Only a settled Azure half gets a home half."""
        agent_id = self.agent.id
        if agent_id is None:
            return
        try:
            await self._act(agent_id)
        except NotFound:
            self.void = True  # it was enrolled anew or forgotten at this moment: the others are served all the same

    async def _act(self, agent_id: str) -> None:
        target = Target(self.name, self.row.id)
        if self.row.deleting:
            if not self.removed() and self._due(self.link.remove_issued):
                await self._issue(agent_id, Kind.REMOVE, target, limits.APPLY_TTL_S)
                self.update(remove_issued=self.now)
        elif self._initiate:
            await self._issue(agent_id, Kind.INITIATE, target, limits.INITIATE_TTL_S)
            self.update(last_initiate=self.now)
            self.attempted(Rung.INITIATE)
        elif self.desired is not None and self.settled and self._needs_apply(self.desired):
            body = Apply(self.desired, self.row.spec.revert_after_seconds, azure_ready=True)
            await self._issue(agent_id, Kind.APPLY, body, limits.APPLY_TTL_S)
            applied = to_plain(self.desired)
            self.update(apply_digest=self.desired.digest(), applied=applied, apply_issued=self.now)

    def attempted(self, rung: Rung) -> None:
        """Counts against the budgets, of which a day is all that is asked."""
        row = AttemptRow(rung=rung, at=self.now, incident=self.link.incident or "")
        if rung is Rung.RESET_GATEWAY:
            state = self.unit.state
            self.unit.state = state.model_copy(update={"gateway_resets": (*self._recent(state.gateway_resets), row)})
        else:
            self.update(attempts=(*self._recent(self.link.attempts), row))

    def _recent(self, rows: tuple[AttemptRow, ...]) -> tuple[AttemptRow, ...]:
        return tuple(r for r in rows if r.at > self.now - ladder.DAY)

    async def _issue(self, agent_id: str, kind: Kind, body: Body, ttl_s: float) -> None:
        generation = self._generation
        sent = await self.commands.issue(agent_id, kind, generation, body, ttl_s)
        expires = self.now + timedelta(seconds=ttl_s)
        record = CommandRow(id=sent.id, agent=agent_id, kind=kind.value, generation=generation, expires=expires)
        self.update(commands=(*self.link.commands, record))

    def conditions_link(self, resources: conditions.Resources | None) -> conditions.Link:
        return conditions.Link(
            resources=resources,
            desired=self.desired,
            trouble=self.trouble,
            agent_known=self.agent.id is not None and not self.void,
            health=self.health,
            heartbeat_age_s=(self.now - self.agent.heard).total_seconds() if self.agent.heard else None,
            pin=self.link.pin.address if self.link.pin else None,
            fqdn=self.row.spec.fqdn,
            resolved=self.dns.agreed(),
            reported_address=self.agent.source if self.agent.fresh else None,
            spec=self.row.spec,
            dns=self.dns,
            taken={n: a for n, x in self.unit.links.items() if n != self.name and (a := _accepted(x))},
            wan_address=self.agent.report.firewall.wan_address if self.agent.report and self.agent.fresh else None,
            operated=self._operated(),
            azure_before=next(((c.status, c.reason, c.message) for c in self.link.conditions if c.type == AZURE), None),
            reconnect=reconnect.usual(self.link.moves, self.now),
            key_age_days=(self.now - self.link.psk_since).days if self.link.psk_since else 0,
            key_unusual=self.link.psk_unusual and self.link.psk_taken == self.link.psk_version,
        )

    def _operated(self) -> bool:
        op = self.unit.state.operation
        return op is not None and self.unit.connection_of(op.kind, op.name) == self.name

    def _situation(self, lacks: tuple[str, ...], probed: bool, reported: str | None) -> repair.Situation:
        link = self.link
        others = {n: x for n, x in self.unit.links.items() if n != self.name}
        taken = {x.known_address for x in others.values()} | {x.pin.address for x in others.values() if x.pin}
        incident = self.unit.incidents.get(link.incident or "")
        return repair.Situation(
            spec=self.row.spec.repair,
            dns=self.dns,
            reported_address=reported,
            known_address=link.known_address,
            lacks=lacks,
            probe_ok=probed,
            azure_settled=self.settled,
            pin=repair.Pin(link.pin.address, link.pin.since) if link.pin else None,
            healthy_since=link.healthy_since,
            agrees_since=link.agrees_since,
            last_initiate=link.last_initiate,
            taken=frozenset(a for a in taken if a),
            open_since=incident.opened if incident else None,
            down_since=link.down_since,
            blocked=self.blocked,
            incident=incident.id if incident else "",
            azure_status=link.azure_status,
            mismatch=repair.mismatch(self.desired, self.health) if self.desired and self.health else "",
            dead=repair.is_dead(self.health, link.azure_status),
            attempts=tuple(Attempt(a.rung, a.at, a.incident) for a in self._tried()),
            working=tuple(
                n for n, x in sorted(others.items()) if x.healthy_since or x.azure_status == repair.CONNECTED
            ),
            reconnect=reconnect.usual(link.moves, self.now),
        )

    def _tried(self) -> tuple[AttemptRow, ...]:
        return self._recent((*self.link.attempts, *self.unit.state.gateway_resets))

    def _note_proof(self, lacks: tuple[str, ...], probed: bool, reported: str | None) -> None:
        """What this report proves: that the tunnel works (since when), from which address, and what resolvers agree on.

        A dead SA and its BGP session look alive for minutes, so after a pin only a probe or an SA made since counts; at
        an address that was not pinned, an SA made since the Incident was opened.
        """
        link, heard = self.link, self.agent.heard
        since = max((t for t in (link.last_initiate, link.pin.since if link.pin else None) if t), default=None)
        recent = heard is not None and (since is None or heard > since)
        installed_s = self.health.child.installed_s if self.health else None
        born = since or (self._outage_began() if link.incident else None)
        young = bool(born and heard and installed_s is not None and heard - timedelta(seconds=installed_s) >= born)
        accepted = link.pin.address if link.pin else link.known_address
        proven = not lacks and recent and (probed or young or (link.pin is None and reported == (accepted or reported)))
        moved = proven and link.known_address not in (None, reported)
        self.update(moves=reconnect.kept((*link.moves, self._outage_began()) if moved else link.moves, self.now))
        if proven:
            self.update(known_address=reported, healthy_since=link.healthy_since or self.now)
        else:
            self.update(healthy_since=None)
        # Not the pin's address: should the home have moved on and still be let in, its name leads to where it is now.
        agree = link.pin is not None and self.dns.settled_on(reported or link.pin.address)
        self.update(agrees_since=(self.link.agrees_since or self.now) if agree else None)

    def _outage_began(self) -> datetime:
        incident = self.unit.incidents.get(self.link.incident or "")
        return incident.opened if incident else self.now

    def _due(self, issued: datetime | None) -> bool:
        return issued is None or self.now - issued >= timedelta(seconds=limits.APPLY_AGAIN_S)

    def _needs_apply(self, desired: DesiredTunnel) -> bool:
        digest = desired.digest()
        if self.health is not None and self.health.digest == digest:
            return False
        return self.link.apply_digest != digest or (self.agent.fresh and self._due(self.link.apply_issued))


def _accepted(link: LinkRow) -> str | None:
    """The address from which Azure takes the home, as far as is known."""
    return link.pin.address if link.pin else link.known_address
