"""A history: what happens to a world, and when. Drawn from a seed, or read from a file.

The first faults come early and close together, because faults that meet are what hurts; then the world is left alone
and must come right within `BOUND_S`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any

from lab.model.assumptions import Assumptions

BOUND_S = 5400.0
"""The ladder reaches its second gateway reset after 4200 s, and that takes 13 minutes. Without a reset half of it would
do: a crashed message is hidden for 600 s, an apply is confirmed or rolled back within 600 s, a refusal of ARM is tried
again after 300 s."""
PERSON_S = 4500.0
"""What still hangs in Azure then, the budget of resets being used up or another home in the way, a person resets."""
SPAN_S = 240.0
HOMES = ("home", "cabin")
FUNCTION_CALLS = (
    *("store.get", "store.query", "store.scan", "store.transact", "queue.send", "queue.grant"),
    *("vault.get", "vault.set", "resolver.look"),
    *("arm.get", "arm.list", "arm.put", "arm.poll", "arm.delete", "arm.set_shared_key"),
)
AGENT_CALLS = (
    *("http.send", "files.read", "files.write", "files.move", "files.delete", "files.names"),
    *("firewall.read", "firewall.diff", "firewall.apply", "firewall.confirm", "firewall.rollback", "firewall.health"),
    *("firewall.start", "firewall.initiate", "firewall.remove", "firewall applied", "firewall recorded"),
)


@dataclass(frozen=True)
class Event:
    """`at` counts from the history's beginning, in seconds."""

    at: float
    deed: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class History:
    """`seed` also decides latencies and cold starts. `assumptions` are those that differ from the usual."""

    seed: int
    homes: int
    assumptions: dict[str, Any] = field(default_factory=dict)
    events: tuple[Event, ...] = ()

    def world(self) -> Assumptions:
        return Assumptions(**self.assumptions)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> History:
        """Raises ValueError, KeyError or TypeError for what is no history."""
        raw = json.loads(text)
        return cls(raw["seed"], raw["homes"], raw["assumptions"], tuple(Event(**e) for e in raw["events"]))


def draw(seed: int) -> History:
    """The history of a seed: always the same."""
    chance = Random(f"history {seed}")
    homes = 2 if chance.random() < 0.1 else 1
    assumptions = {
        "unknown_source": chance.choice(["dropped", "answered"]),
        "applies_bounce_all": chance.random() < 0.3,
    }
    count = min(12, 2 + int(chance.expovariate(0.9)))
    times = sorted(round(chance.uniform(1.0, SPAN_S) * chance.random(), 1) for _ in range(count))
    events = [e for at in times for e in _meeting(chance, _event(chance, at, homes), homes)]
    return History(seed, homes, assumptions, tuple(sorted(events, key=lambda e: e.at)))


def _meeting(chance: Random, event: Event, homes: int) -> list[Event]:
    """What lies in wait for the next call or message meets one, half of the time: something makes the two ends work.
    Only a move makes the agent dial, and only where dialling does not help at once it shows that it was done twice."""
    if event.deed not in ("arm_trouble", "mishap", "strike") or chance.random() < 0.5:
        return [event]
    home = event.arguments.get("home") or chance.choice(HOMES[:homes])
    work = chance.choice(["move", "move", "change_spec", "rotate_key"])
    met = [event, Event(round(event.at + chance.uniform(0.5, 20.0), 1), work, _ARGUMENTS[work](chance, home))]
    if event.deed == "mishap" and work == "move" and chance.random() < 0.5:
        met.append(Event(round(met[1].at + chance.uniform(20.0, 40.0), 1), "failover", _failover(chance, home)))
    return met


def _event(chance: Random, at: float, homes: int) -> Event:
    home = chance.choice(HOMES[:homes])
    name = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    drawn = _ARGUMENTS[name](chance, home) if name in _ARGUMENTS else {"home": home}
    return Event(at, name, drawn)


WEIGHTS = {
    **{"move": 6, "reconnect": 3, "offline": 1, "cgnat": 0.5, "router_forgets_ddns": 1},
    **{"dns": 4, "servfail_everywhere": 1},
    **{"arm_trouble": 6, "failover": 2, "wedge": 0.15, "edit_azure": 3, "second_controller": 0.3},
    **{"mishap": 4, "garbage": 2, "strike": 16, "kill_agent": 2, "reboot_firewall": 1, "control_down": 1.5},
    **{"disk_full": 0.7, "clock": 1, "restore_tables": 0.7, "hand_edit": 3, "owner_works": 1},
    **{"rotate_key": 2, "change_spec": 2, "pause_agent": 0.7, "reinstall_agent": 0.5, "delete_connection": 1},
    **{"connect_again": 1, "dead_man_fails": 0.5},
}


def _address(chance: Random) -> str:
    return f"198.51.100.{chance.randrange(60, 250)}"


def _strike(chance: Random, home: str) -> dict[str, Any]:
    where = chance.choice(["functions", "functions", home])
    call = chance.choice(FUNCTION_CALLS if where == "functions" else AGENT_CALLS)
    kind = chance.choice(["kill", "kill", "error", "stall"])
    times = 1 if kind != "error" else chance.choice([1, 1, 2, 5])
    return {
        "kind": kind,
        "where": where,
        "call": call,
        "skip": min(8, int(chance.expovariate(0.5))),
        "after": chance.random() < 0.5,
        "times": times,
        "seconds": chance.choice([40.0, 100.0, 300.0]) if kind == "stall" else 0.0,
    }


def _arm_trouble(chance: Random, _home: str) -> dict[str, Any]:
    kind = chance.choice(["refuse", "refuse", "fail", "lose", "lose", "slow"])
    status, code = chance.choice(
        [
            (409, "AnotherOperationInProgress"),
            (429, "RetryableErrorDueToAnotherOperation"),
            (429, "SubscriptionRequestsThrottled"),
            (500, "InternalServerError"),
            (503, "ServiceUnavailable"),
        ]
        if kind == "refuse"
        else [(500, "GwmOperationTimeOut"), (409, "OperationPreempted")]
    )
    return {
        "kind": kind,
        "method": chance.choice(["GET", "PUT", "PUT", "DELETE"])
        if kind == "refuse"
        else chance.choice(["PUT", "DELETE"]),
        "path": chance.choice(
            ["/localNetworkGateways/", "/connections/", "/virtualNetworkGateways/", "/sharedkey", "/"]
        ),
        "times": chance.choice([1, 1, 3]),
        "status": status,
        "code": code,
        "seconds": chance.choice([0.0, 60.0, 600.0]) if kind in ("slow", "fail") else 0.0,
    }


def _dns(chance: Random, _home: str) -> dict[str, Any]:
    what = chance.choice(["SERVFAIL", "timeout", "lie", "lag"])
    return {
        "server": chance.randrange(5),
        "fault": what if what in ("SERVFAIL", "timeout") else "",
        "lie": _address(chance) if what == "lie" else "",
        "lag_s": chance.choice([60.0, 300.0]) if what == "lag" else 0.0,
    }


def _failover(chance: Random, _home: str) -> dict[str, Any]:
    planned = chance.random() < 0.6
    return {"planned": planned, "seconds": round(chance.uniform(10, 15) if planned else chance.uniform(60, 180), 1)}


_ARGUMENTS: dict[str, Callable[[Random, str], dict[str, Any]]] = {
    "move": lambda c, h: {"home": h, "address": _address(c), "outage_s": c.choice([0.0, 15.0, 60.0])},
    "reconnect": lambda c, h: {"home": h, "outage_s": c.choice([5.0, 30.0, 120.0])},
    "offline": lambda c, h: {"home": h, "seconds": c.choice([400.0, 900.0])},
    "cgnat": lambda c, h: {"home": h, "address": _address(c)},
    "router_forgets_ddns": lambda c, h: {"home": h, "lag_s": c.choice([5.0, 120.0])},
    "dns": _dns,
    "servfail_everywhere": lambda c, h: {},
    "arm_trouble": _arm_trouble,
    "failover": _failover,
    "wedge": lambda c, h: {"home": h, "whole": c.random() < 0.3},
    "edit_azure": lambda c, h: {"home": h, "what": c.choice(["delete", "key", "asn", "address", "policy"])},
    "mishap": lambda c, h: {
        "home": c.choice(["", h]),
        "kind": c.choice(["lost", "twice", "twice", "late"]),
        "seconds": c.choice([5.0, 20.0, 90.0]),
    },
    "garbage": lambda c, h: {"home": c.choice(["", h]), "what": c.randrange(100)},
    "strike": _strike,
    "reboot_firewall": lambda c, h: {"home": h, "seconds": c.choice([40.0, 120.0])},
    "control_down": lambda c, h: {"seconds": c.choice([30.0, 200.0, 700.0])},
    "clock": lambda c, h: {"home": h, "error_s": c.choice([-86400.0 * 400, -30.0, 7200.0])},
    "restore_tables": lambda c, h: {},
    "hand_edit": lambda c, h: {"home": h, "what": c.choice(["removed", "asn", "policy", "peer", "key"])},
    "owner_works": lambda c, h: {"home": h, "number": c.randrange(9)},
    "rotate_key": lambda c, h: {"home": h, "number": c.randrange(10**6)},
    "change_spec": lambda c, h: {"home": h, "number": c.randrange(16)},
}
