"""From samples to the numbers of build/bench/repair.json, and to what is printed of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from rich.table import Table

from lab.azure import durations
from lab.bench.beginning import HOME
from lab.bench.calm import Calm
from lab.bench.changes import LAG_S, LIMIT_S, OUTAGE_S, Change
from lab.bench.contenders import SCRIPT_S, Contender
from lab.bench.orphaned_pin import AWAY_S, Orphan
from lab.model.assumptions import Assumptions

Json = dict[str, Any]
GOALS = (
    (Contender.AGENT, "detect_s", 35.0),
    (Contender.AGENT, "verified_s", 90.0),
    (Contender.DNS_ONLY, "detect_s", 70.0),
    (Contender.DNS_ONLY, "recover_s", 210.0),
)
"""95 of 100 changes within so many seconds from usable on. Without the agent nobody proves a recovery, so it is the
packets that count."""


def percentiles(values: Iterable[float | None]) -> dict[str, float]:
    """By nearest rank, to a tenth; what did not happen within LIMIT_S counts as LIMIT_S."""
    ordered = sorted(LIMIT_S if v is None else v for v in values)
    return {f"p{p}": round(ordered[math.ceil(len(ordered) * p / 100) - 1], 1) for p in (50, 95, 99)}


def of_changes(changes: Sequence[Change]) -> Json:
    """Per contender. No change of an address needs a reset, so every one is useless."""
    found: Json = {}
    for contender in Contender:
        mine = [c for c in changes if c.contender is contender]
        resets = sum(c.resets for c in mine)
        found[contender.value] = {
            "changes": len(mine),
            "detect_s": percentiles(c.detect_s for c in mine),
            "recover_s": percentiles(c.recover_s for c in mine),
            "verified_s": percentiles(c.verified_s for c in mine) if contender is Contender.AGENT else None,
            "downtime_s": percentiles(c.downtime_s for c in mine),
            "collateral_downtime_s": sum(c.collateral_s for c in mine),
            "resets": resets,
            "useless_resets": resets,
            "not_recovered": sum(c.recover_s is None for c in mine),
        }
    return found


def of_calm(played: Sequence[Calm]) -> Json:
    """Per scenario and contender; downtime is the mean of a run. The neighbour's counts beyond Azure alone's."""
    alone = {(c.scenario, c.seed): c for c in played if c.contender is Contender.AZURE}
    found: Json = {}
    for scenario in dict.fromkeys(c.scenario for c in played):
        found[scenario] = {}
        for contender in dict.fromkeys(c.contender for c in played):
            mine = [c for c in played if (c.scenario, c.contender) == (scenario, contender)]
            beyond = sum(max(0.0, c.neighbour_down_s - alone[scenario, c.seed].neighbour_down_s) for c in mine)
            resets = sum(c.resets for c in mine)
            found[scenario][contender.value] = {
                "runs": len(mine),
                "downtime_s": round(sum(c.down_s for c in mine) / len(mine), 1),
                "collateral_downtime_s": beyond,
                "resets": resets,
                "useless_resets": resets,
            }
    return found


def of_orphans(played: Sequence[Orphan]) -> Json:
    return {
        "runs": len(played),
        "away_s": AWAY_S,
        "recover_s": percentiles(o.recover_s for o in played),
        "unpinned_s": percentiles(o.unpinned_s for o in played),
        "collateral_downtime_s": sum(o.collateral_s for o in played),
    }


def goals(contenders: Json, calm: Json) -> list[Json]:
    found = [
        {"goal": f"{who.value}: {what} p95", "limit": limit, "found": (at := contenders[who.value][what]["p95"])}
        | {"met": at <= limit}
        for who, what, limit in GOALS
    ]
    homelink = [c.value for c in Contender if c.is_homelink]
    for what in ("useless_resets", "collateral_downtime_s"):
        total = sum(contenders[c][what] for c in homelink)
        total += sum(by[c][what] for by in calm.values() for c in homelink)
        found.append({"goal": f"Homelink, everywhere: {what}", "limit": 0, "found": total, "met": total == 0})
    return found


def stated() -> list[str]:
    """What the numbers stand on."""
    a = Assumptions()
    return [
        "everything in virtual time: the real control plane and agent, Azure, DNS, IKE and BGP as models",
        f"the line is away for {_span(OUTAGE_S)} s; the router reports its new address {_span(LAG_S)} s later, "
        f"TTL {a.ddns_ttl_s} s (assumptions)",
        "usable: the authoritative servers answer the new address",
        "trigger latency 0 to 2 s, in 2 of 100 cases a cold start of 3 to 8 s (assumptions)",
        "operations in Azure take what published recordings show: a local network gateway 10 to 31 s",
        f"Azure notices a dead peer after {a.azure_dpd_s:g} s, and looks its name up every {durations.DNS_CACHE:g} s "
        "while it is not connected (documented)",
        f"the home's strongSwan gives a dead SA up after {10 + a.retransmits_s[-1]:g} s unless the agent closes it "
        "(DPD delay 10 s, documented retransmissions)",
        "Azure drops what comes from an address that it was not told (assumption; if it answered a known peer from "
        "anywhere, every downtime would be the line's own, whoever watches)",
        f"the script asks a resolver every {SCRIPT_S:g} s and writes the address into the local network gateway",
        f"{HOME} and its neighbour share one gateway; downtime is counted in whole seconds from outside",
    ]


def _span(bounds: tuple[float, float]) -> str:
    return f"{bounds[0]:g} to {bounds[1]:g}"


def tables(result: Json) -> list[Table]:
    return [_contenders(result["contenders"]), _calm(result["calm"]), _goals(result["goals"])]


def _contenders(found: Json) -> Table:
    table = Table(title="A changed address: p50 / p95 / p99 in seconds (detect, recover: from usable on)")
    for head in ("contender", "detect", "recover", "verified", "downtime", "collateral", "resets"):
        table.add_column(head, justify="left" if head == "contender" else "right")
    for name, row in found.items():
        spans = (row[k] for k in ("detect_s", "recover_s", "verified_s", "downtime_s"))
        cells = [" / ".join(f"{v:g}" for v in s.values()) if s else "-" for s in spans]
        table.add_row(name, *cells, f"{row['collateral_downtime_s']:g}", str(row["resets"]))
    return table


def _calm(found: Json) -> Table:
    table = Table(title="Calm: mean downtime of a run in seconds, and useless resets / collateral seconds")
    names = list(next(iter(found.values())))
    for head in ("trouble", *names):
        table.add_column(head, justify="left" if head == "trouble" else "right")
    for scenario, by in found.items():
        cells = [f"{r['downtime_s']:g}, {r['useless_resets']} / {r['collateral_downtime_s']:g}" for r in by.values()]
        table.add_row(scenario, *cells)
    return table


def _goals(found: list[Json]) -> Table:
    table = Table(title="Goals")
    for head in ("goal", "at most", "found", ""):
        table.add_column(head, justify="right" if head in ("at most", "found") else "left")
    for g in found:
        table.add_row(g["goal"], f"{g['limit']:g}", f"{g['found']:g}", "met" if g["met"] else "MISSED")
    return table
