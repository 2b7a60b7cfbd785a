"""`make bench PART=repair`, or `python -m lab.bench repair`: plays, prints the tables, and leaves repair.json with
repair.svg beside it in build/bench. Exit code 0 only if every goal is met. PART=outage: what each kind of planned
change costs, into outage.json; exit code 0 only if the table that a Plan shows still holds.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from rich.console import Console

from lab.bench import calm, changes, orphaned_pin, outage, picture, summary
from lab.bench.beginning import beginning
from lab.bench.contenders import Contender
from shared.domain.outage_figures import RUNS

FOLDER = Path(__file__).resolve().parents[2] / "build" / "bench"
CALM_CONTENDERS = (Contender.AZURE, Contender.DNS_ONLY, Contender.AGENT)
PROCESSES = 2
T = TypeVar("T")


def repair(count: int, runs: int, seed: int, tell: Callable[[str], None]) -> summary.Json:
    """`count` changes per contender and `runs` of everything else, all of seeds from `seed` on: always the same."""
    began = time.monotonic()
    seeds = range(seed, seed + runs)
    addresses = [partial(changes.play, c, s) for s in range(seed, seed + count) for c in Contender]
    troubles = [partial(calm.play, name, c, s) for name in calm.SCENARIOS for s in seeds for c in CALM_CONTENDERS]
    orphans = [partial(orphaned_pin.play, s) for s in seeds]
    tell(f"{count} changes under each of {len(Contender)} contenders, {len(troubles) + runs} other runs")
    with _workers() as pool:
        changed = list(_all(pool, addresses))
        calmed = list(_all(pool, troubles))
        orphaned = list(_all(pool, orphans))
    contenders, quiet = summary.of_changes(changed), summary.of_calm(calmed)
    downtimes = {c.value: [x.downtime_s for x in changed if x.contender is c] for c in Contender}
    title = f"Downtime after a changed address: share of {count} changes that are over"
    (FOLDER / "repair.svg").write_text(picture.cumulative(title, "seconds without packets", downtimes))
    return {
        "changes": count,
        "seed": seed,
        "contenders": contenders,
        "calm": quiet,
        "control_plane_died_while_pinned": summary.of_orphans(orphaned),
        "goals": summary.goals(contenders, quiet),
        "stated": summary.stated(),
        "wall_s": round(time.monotonic() - began, 1),
    }


def outages(runs: int, seed: int) -> summary.Json:
    """`runs` of each kind of planned change, of seeds from `seed` on."""
    began = time.monotonic()
    work = [partial(outage.play, kind, s) for kind in outage.DEEDS_BY_KIND for s in range(seed, seed + runs)]
    with _workers() as pool:
        samples = list(_all(pool, work))
    return {**outage.summary(samples, seed), "wall_s": round(time.monotonic() - began, 1)}


def _workers() -> ProcessPoolExecutor:
    beginning()
    gc.collect()
    gc.freeze()  # most of the heap is the product's own modules; forked workers share it
    gc.set_threshold(50_000, 20, 100)
    return ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("fork"))


def _all(pool: ProcessPoolExecutor, work: list[partial[T]]) -> Iterator[T]:
    """In the order given."""
    return pool.map(_call, work, chunksize=4)


def _call(work: partial[T]) -> T:
    return work()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m lab.bench", description="benchmarks in the model world")
    parser.add_argument("part", choices=["repair", "outage"])
    parser.add_argument("--changes", type=int, default=1000, help="repair: changed addresses per contender")
    parser.add_argument("--runs", type=int, help="repair: runs of every other scenario (6); outage: of each kind (100)")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    console = Console(width=140, soft_wrap=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    if asked.part == "outage":
        result = outages(asked.runs or RUNS, asked.seed)
        _tell_outages(console, result)
        met = not result["wrong"]
    else:
        result = repair(asked.changes, asked.runs or 6, asked.seed, console.print)
        _tell_repair(console, result)
        met = all(g["met"] for g in result["goals"])
    (FOLDER / f"{asked.part}.json").write_text(json.dumps(result, indent=2) + "\n")
    files = "repair.json and repair.svg" if asked.part == "repair" else "outage.json"
    console.print(f"{result['wall_s']:g} s; {FOLDER.parent.name}/{FOLDER.name}/{files}")
    return 0 if met else 1


def _tell_repair(console: Console, result: summary.Json) -> None:
    for table in summary.tables(result):
        console.print(table)
    died = result["control_plane_died_while_pinned"]
    console.print(
        f"The control plane dies while an address is pinned, for {died['away_s']:g} s, and the address changes again: "
        f"after its return packets go within {died['recover_s']['p95']:g} s, the pin has ended within "
        f"{died['unpinned_s']['p95']:g} s (p95)."
    )
    for line in result["stated"]:
        console.print(f"- {line}", highlight=False)


def _tell_outages(console: Console, result: summary.Json) -> None:
    console.print(outage.table(result))
    for line in result["wrong"]:
        console.print(f"shared/domain/outage_figures.py no longer holds: {line}", style="red", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
