"""What came of a scenario, as Homelink's own API tells it: Conditions, Events and Incidents, with ids and times apart.

An Event is either a step of a Condition's path (its message says of which Condition) or a deed: a document, an
operation in Azure, a command, a pin, an Incident. Messages are reduced to what both worlds must say alike.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lab.agreement.side import Side
from lab.client import ApiError, eventually
from shared.control.events import Reason

WITHIN_S = 90.0
LOOK_S = 0.5
_CONDITION = re.compile(r"(\w+) is (True|False|Unknown): ")
_RUNG = re.compile(r"([a-z-]+): ")
"""How an Incident's timeline tells what was done; what it waits for is told in sentences."""
_SUBJECT = {"Operation": r"^(.+?) has |^(\S+ of \S+?):", "Command": r"^(\w+) ", "Incident": r": ([a-z-]+)\.$"}


@dataclass(frozen=True)
class Deed:
    """`incident`: the id of the one that it is about."""

    at: datetime
    what: str
    incident: str = ""


@dataclass(frozen=True)
class State:
    """A Condition from `at` on, as `status reason`."""

    at: datetime
    what: str


@dataclass(frozen=True)
class Incident:
    """`rungs` in the order in which they were taken."""

    id: str
    finding: str
    rungs: tuple[str, ...]
    opened: datetime
    verified: datetime | None
    closed: datetime | None


@dataclass
class Story:
    """`conditions` are those at the end: `home/TunnelUp` -> `True Installed`; `paths` what each that was there at the
    beginning went through. (The first value ever of a Condition is no Event, so of a new one only the end is known.)"""

    scenario: str
    began: datetime
    ended: datetime
    conditions: dict[str, str] = field(default_factory=dict)
    deeds: list[Deed] = field(default_factory=list)
    paths: dict[str, list[State]] = field(default_factory=dict)
    incidents: list[Incident] = field(default_factory=list)

    def after(self, moment: datetime | None) -> float | None:
        """Seconds from the beginning to a moment."""
        return None if moment is None else (moment - self.began).total_seconds()

    def first(self, what: str) -> datetime | None:
        """When a deed was first told."""
        return next((d.at for d in self.deeds if d.what.startswith(what)), None)


class Teller:
    """Plays a scenario on a side: waits for what is told, and tells the story in the end."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self._began = side.now()
        self._seen = ""
        self._before: dict[str, str] = {}

    def begin(self) -> None:
        """What is measured counts from here."""
        self._began = self.side.now()

    async def tell(self, scenario: Callable[[Teller], Awaitable[None]]) -> Story:
        self._seen = max((e["id"] for e in await self._all()), default="")
        self._before = await self._conditions()
        self.begin()
        await scenario(self)
        story = Story(scenario.__name__, self._began, self.side.now(), await self._conditions())
        for kind, state in self._before.items():
            story.paths[kind] = [State(self._began, state)]
        for event in await self._events():
            self._sort(story, event)
        story.incidents = [i for i in await self._incidents() if i.closed is None or i.closed >= self._began]
        return story

    async def until(self, what: str, probe: Callable[[], Awaitable[bool]]) -> None:
        await eventually(f"{self.side.name}: {what}", probe, within=WITHIN_S, every=LOOK_S)

    async def told(self, reason: str) -> None:
        """An Event with that reason since the scenario began."""

        async def found() -> bool:
            return any(e["reason"] == reason for e in await self._events())

        await self.until(f"the Event {reason}", found)

    async def holds(self, condition: str, state: str) -> None:
        """As in `home/TunnelUp`, `False Down`."""

        async def so() -> bool:
            return (await self._conditions()).get(condition) == state

        await self.until(f"{condition} being {state}", so)

    async def settled(self) -> None:
        """Everything holds, no Incident is open, and packets pass."""

        async def so() -> bool:
            found = await self._conditions()
            whole = {f"{name}/Ready" for name in ("hub", "home")} <= found.keys()
            well = whole and all(state.startswith("True ") for state in found.values())
            calm = well and all(i.closed for i in await self._incidents())
            return calm and await self.side.pings()

        await self.until("the world being at rest", so)

    async def _all(self) -> list[dict[str, Any]]:
        try:
            page = await self.side.call("GET", "gateways/hub/events?limit=500")
        except ApiError:
            return []
        return sorted(page["items"], key=lambda e: str(e["id"]))

    async def _events(self) -> list[dict[str, Any]]:
        return [e for e in await self._all() if e["id"] > self._seen]

    async def _conditions(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for kind, name in (("gateways", "hub"), ("connections", "home")):
            try:
                told = await self.side.call("GET", f"{kind}/{name}/status")
            except ApiError:
                continue
            found |= {f"{name}/{c['type']}": f"{c['status']} {c['reason']}" for c in told["conditions"]}
        return found

    async def _incidents(self) -> list[Incident]:
        try:
            told = (await self.side.call("GET", "connections/home/incidents"))["items"]
        except ApiError:
            return []
        return [_incident(i) for i in reversed(told)]

    def _sort(self, story: Story, event: dict[str, Any]) -> None:
        at, reason, message = datetime.fromisoformat(event["at"]), event["reason"], event["message"]
        name = event["connection"] or event["gateway"]
        condition = _CONDITION.match(message)
        if condition is not None:
            if path := story.paths.get(f"{name}/{condition[1]}"):
                path.append(State(at, f"{condition[2]} {reason}"))
            return
        what, incident = f"{name}: {reason}", ""
        pattern = next((p for word, p in _SUBJECT.items() if reason.startswith(word)), None)
        subject = re.search(pattern, message) if pattern else None
        if subject is not None:
            what += f" {next(g for g in subject.groups() if g)}"
        if reason in (Reason.INCIDENT_OPENED, Reason.INCIDENT_VERIFIED, Reason.INCIDENT_CLOSED):
            incident = message.split()[1].rstrip(":")
        story.deeds.append(Deed(at, what, incident))


def _incident(told: dict[str, Any]) -> Incident:
    rungs = tuple(found[1] for e in told["timeline"] if (found := _RUNG.match(e["what"])))
    times = [datetime.fromisoformat(told[k]) if told[k] else None for k in ("opened", "verified", "closed")]
    assert times[0] is not None
    return Incident(told["id"], told["finding"], rungs, times[0], *times[1:])
