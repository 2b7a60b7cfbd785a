"""What each kind of planned change costs in packets: the figures that a Plan shows (shared.domain.outage_figures).

One run is one change, by the API or by a person, at a moment that no clock knows, with Azure's durations as recorded;
then both ends must be as the documents say. Looked at once a second.
"""

from __future__ import annotations

import asyncio
import copy
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from lab.azure import durations
from lab.azure.faults import Fault
from lab.bench.beginning import HOME, NEIGHBOUR, beginning, thaw, warm_up
from lab.bench.contenders import Contender, start
from lab.bench.meter import STEP_S, carries
from lab.model import judge, loop
from lab.model.arm import ModelArm
from lab.model.assumptions import draw
from lab.model.deeds import DEEDS
from lab.model.names import Record
from lab.model.world import World
from shared.domain.outage import Kind
from shared.domain.outage_figures import SIMULATED, Seconds
from shared.seams import ArmKind, ArmRef

Json = dict[str, Any]
Deed = Callable[[World], Awaitable[None]]
WINDOW_S = 700.0
"""A change is over by then: the longest recorded operations of a connection take 61 s."""
GATEWAY_WINDOW_S = 2400.0
"""The longest recorded update of a gateway took 1446 s."""
REDIAL_S = 4.0
"""What an SA costs that was closed and begun anew between two looks. IKE takes no time in the model; but where Azure
begins anew, the home's first packet may find nobody, and strongSwan sends the second 4 s later. So it is in the lab."""
FAR_S, FAR_SHARE = 3.0, 0.3
"""A figure of the table is wrong if it is off by more than both."""
_GATEWAY_KINDS = (Kind.GATEWAY_ASN, Kind.GATEWAY_APIPA, Kind.SUBNETS)


@dataclass(frozen=True)
class Sample:
    """Seconds without packets: of the Connection that is changed, and of the other one on the gateway."""

    kind: Kind
    seed: int
    down_s: float
    neighbour_down_s: float


async def _put(world: World, name: str, **fields: Any) -> None:
    """The user sends the home's document with other fields in its spec."""
    place = world.places[name]
    place.document = copy.deepcopy(place.document)
    for field, value in fields.items():
        old = place.document["spec"].get(field)
        place.document["spec"][field] = {**old, **value} if isinstance(old, dict) else value
    assert await world.ask("PUT", f"connections/{name}", place.document)


def _home(**fields: Any) -> Deed:
    return lambda world: _put(world, HOME, **fields)


def _gateway(change: Callable[[Json], None]) -> Deed:
    async def deed(world: World) -> None:
        world.gateway = copy.deepcopy(world.gateway)
        change(world.gateway["spec"])
        assert await world.ask("PUT", "gateways/hub", world.gateway)

    return deed


async def _tags(world: World) -> None:
    """Somebody changed our tag; the same document, sent again, sets it right."""
    spec = world.gateway["spec"]
    ref = ArmRef(spec["subscriptionId"], spec["resourceGroup"], ArmKind.CONNECTION, HOME)
    person = ModelArm(world.azure, "a person", lambda verb, ref, was: None)
    body = copy.deepcopy(await person.get(ref))
    assert body is not None
    body["tags"]["homelink-owner"] = "somebody"
    await person.put(ref, body)
    await _put(world, HOME)


async def _key(world: World) -> None:
    assert await world.ask("PUT", f"connections/{HOME}/psk", {"value": "aKeyThatAPersonThoughtOf"})


async def _fqdn(world: World) -> None:
    """The router reports to another provider, too, before the document says so."""
    home, name = world.places[HOME].home, "home.other.test"
    assert home.address is not None
    with world.fabric.change() as now:
        world.names.write(name, Record((home.address,), world.assumptions.ddns_ttl_s), now)
        home.fqdn = name
    await _put(world, HOME, fqdn=name)


async def _made_again(world: World) -> None:
    await DEEDS["edit_azure"](world, home=HOME, what="delete")
    world.azure.faults.waiting.clear()
    _slow(world, "PUT", "/connections/", "CONNECTION_CREATE")


_SUBNET = {"name": "more", "prefix": "10.0.77.0/24"}
_APIPA = {"mode": "apipa", "local": "169.254.21.1", "remote": "169.254.21.2"}
DEEDS_BY_KIND: dict[Kind, Deed] = {
    Kind.TAGS: _tags,
    Kind.KEY: _key,
    Kind.FQDN: _fqdn,
    Kind.PREFIXES: _home(home={"prefixes": ["192.168.1.0/24", "172.16.9.0/24"]}),
    Kind.MSS: _home(mss=1300),
    Kind.PROBE: _home(probe="10.0.0.5"),
    Kind.SUBNETS: _gateway(lambda spec: spec["virtualNetwork"]["subnets"].append(_SUBNET)),
    Kind.GATEWAY_APIPA: lambda world: _put(
        world, NEIGHBOUR, transit=_APIPA, home={"bgpAddress": _APIPA["local"]}
    ),  # of which HOME must not notice
    Kind.DPD_TIMEOUT: _home(dpdTimeoutSeconds=30),
    Kind.SA_LIFETIME: _home(ipsec={"saLifetimeSeconds": 14400}),
    Kind.IPSEC_POLICY: _home(ipsec={"ikeEncryption": "AES256", "ikeIntegrity": "SHA256"}),
    Kind.HOME_ASN: _home(home={"asn": 65033}),
    Kind.HOME_BGP_ADDRESS: _home(home={"bgpAddress": "192.168.1.2"}),
    Kind.GATEWAY_ASN: _gateway(lambda spec: spec.update(asn=65001)),
    Kind.MADE_AGAIN: _made_again,
}


def play(kind: Kind, seed: int) -> Sample:
    return loop.run(_play(kind, seed), beginning()[1])


async def _play(kind: Kind, seed: int) -> Sample:
    world = thaw(seed)
    _slow(world, "PUT", "/virtualNetworkGateways/", "GATEWAY_UPDATE")
    start(world, Contender.AGENT)
    await warm_up(world)
    await asyncio.sleep(STEP_S / 2)  # never at the moment of a look
    down = dict.fromkeys((HOME, NEIGHBOUR), 0.0)
    sas = {name: _sa(world, name) for name in down}
    until = world.clock.monotonic() + (GATEWAY_WINDOW_S if kind in _GATEWAY_KINDS else WINDOW_S)
    happening = asyncio.create_task(_happens(world, kind))
    while world.clock.monotonic() < until:
        await asyncio.sleep(STEP_S)
        for name in down:
            sa = _sa(world, name)
            if not carries(world, name):
                down[name] += STEP_S
            elif sas[name] not in (None, sa):
                down[name] += REDIAL_S
            sas[name] = sa
    await happening
    if lacks := await judge.unfinished(world):
        raise AssertionError(f"{kind}, seed {seed}: after the change {lacks}")
    return Sample(kind, seed, down[HOME], down[NEIGHBOUR])


async def _happens(world: World, kind: Kind) -> None:
    await asyncio.sleep(STEP_S / 2)
    await DEEDS_BY_KIND[kind](world)


def _sa(world: World, name: str) -> object:
    end = world.fabric.ends.get((name, name))
    return end.sa if end is not None else None


def _slow(world: World, method: str, path: str, kind: str) -> None:
    """The next such operation takes what a recorded one took."""
    beyond = draw(kind, world.chance) - getattr(durations, kind)
    world.azure.faults.add(Fault("slow", method, path, seconds=beyond))


# from samples to figures -----------------------------------------------------------------------------------------


def figures(samples: Iterable[Sample]) -> dict[Kind, Seconds]:
    """By nearest rank."""
    by: dict[Kind, list[float]] = {}
    for sample in samples:
        by.setdefault(sample.kind, []).append(sample.down_s)
    return {kind: Seconds(_rank(down, 50), _rank(down, 95)) for kind, down in by.items()}


def _rank(values: Sequence[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[math.ceil(len(ordered) * percent / 100) - 1]


def far_off(found: float, listed: float) -> bool:
    return abs(found - listed) > max(FAR_S, FAR_SHARE * listed)


def wrong(found: dict[Kind, Seconds]) -> list[str]:
    """What of the table does not hold any more, or lacks."""
    listed = {kind: SIMULATED.get(kind) for kind in found}
    return [
        f"{kind}: found {seconds.p50:g} / {seconds.p95:g} s, the table has {old and (old.p50, old.p95)}"
        for kind, seconds in found.items()
        if (old := listed[kind]) is None or far_off(seconds.p50, old.p50) or far_off(seconds.p95, old.p95)
    ]


def summary(samples: Sequence[Sample], seed: int) -> Json:
    """What build/bench/outage.json holds. The neighbour is told of where a change is the gateway's own."""
    found = figures(samples)
    return {
        "runs": len(samples) // len(found),
        "seed": seed,
        "expected_outage_s": {kind.value: {"p50": s.p50, "p95": s.p95} for kind, s in found.items()},
        "neighbour_down_s": {
            kind.value: sum(s.neighbour_down_s for s in samples if s.kind is kind)
            for kind in found
            if kind not in _GATEWAY_KINDS
        },
        "wrong": wrong(found),
    }


def table(result: Json) -> Table:
    shown = Table(title="A planned change: seconds without packets")
    for head in ("kind", "p50", "p95", "neighbour, all runs"):
        shown.add_column(head, justify="left" if head == "kind" else "right")
    for kind, seconds in result["expected_outage_s"].items():
        beside = result["neighbour_down_s"].get(kind)
        shown.add_row(kind, f"{seconds['p50']:g}", f"{seconds['p95']:g}", "-" if beside is None else f"{beside:g}")
    return shown
