"""`python -m lab.model`: plays histories, shrinks and keeps what breaks, and writes the ledger (`make histories`).

`run` and `sweep` end with one line, `histories N, events E, violations V`, and with 1 if V is not 0. `verdicts` prints
one JSON line per history, for the tools around it; `show` prints a whole event log.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from lab.model import corpus, ledger, mutants, sweep
from lab.model.histories import Verdict, drawn, judge, prepare, shows, verdicts
from lab.model.history import History, draw
from lab.model.play import play
from lab.model.shrink import shrink

HUNT_S = 7200.0
"""For all seeds of one mutant."""


class Report:
    """Counts, shows how far it is, and keeps what broke an invariant."""

    def __init__(self, total: int, shrinks: bool) -> None:
        self._total, self._shrinks = total, shrinks
        self._began = self._shown = time.monotonic()
        self.histories = self.events = self.faults = self.violations = 0

    def hear(self, pairs: Iterable[tuple[str, History, Verdict]]) -> Iterator[Verdict]:
        """Each with the name that a person knows it by; passes the verdicts on."""
        for name, history, verdict in pairs:
            self.histories += 1
            self.events += verdict.events
            self.faults += verdict.faults
            if verdict.violations:
                self.violations += 1
                self._broken(name, history, verdict)
            self._progress()
            yield verdict

    def end(self) -> int:
        took, n = time.monotonic() - self._began, max(1, self.histories)
        means = f"{took / n:.3f} s, {self.events / n:.0f} events and {self.faults / n:.1f} faults each"
        print(f"{took:.0f} s: {means}", file=sys.stderr)
        print(f"histories {self.histories}, events {self.events}, violations {self.violations}", flush=True)
        return 1 if self.violations else 0

    def _broken(self, name: str, history: History, verdict: Verdict) -> None:
        invariant, _, sentence = verdict.violations[0].partition(": ")
        print(f"{name}: invariant {invariant}: {sentence}", flush=True)
        if not self._shrinks:
            return
        small = shrink(history, lambda h: shows(h, invariant))
        case = corpus.Case(f"{invariant}-{name.replace(' ', '-')}", "", invariant, small)
        shrunk = f"{len(history.events)} events shrunk to {len(small.events)}"
        print(f"  {shrunk}, saved as {corpus.write(case)}", flush=True)

    def _progress(self) -> None:
        now = time.monotonic()
        if now - self._shown >= 10.0:
            self._shown = now
            left = (now - self._began) / self.histories * (self._total - self.histories)
            done = f"{self.histories} of {self._total}, violations {self.violations}, {left:.0f} s to go"
            print(done, file=sys.stderr, flush=True)


def run(options: argparse.Namespace) -> int:
    """Seeds `seed` to `seed + count - 1`; with `--ledger`, what passed is written down even if it is interrupted."""
    at, of = ledger.commit(), ledger.code()
    report = Report(options.count, options.shrink)
    found = verdicts(drawn(options.seed, options.count), options.processes)
    heard: list[Verdict] = []
    try:
        for verdict in report.hear((f"seed {v.seed}", draw(v.seed), v) for v in found):
            heard.append(verdict)
    finally:
        if options.ledger:
            ledger.write(ledger.extended(ledger.read(), heard, at, of, datetime.now(UTC).date().isoformat()))
    return report.end()


def every_call(options: argparse.Namespace) -> int:
    """A death at the first so many times of every call of every scenario, before it and after it."""
    prepare()
    points = list(sweep.sweep(options.most))
    report = Report(len(points), options.shrink)
    found = verdicts((p.history() for p in points), options.processes)
    pairs = ((str(p), p.history(), v) for p, v in zip(points, found, strict=True))
    for _ in report.hear(pairs):
        pass
    return report.end()


def one_line_each(options: argparse.Namespace) -> int:
    """[seed, [invariants]] of each file, or of each drawn seed."""
    prepare()
    files = [corpus.read(path).history for path in options.file]
    for history in files or drawn(options.seed, options.count):
        print(json.dumps([history.seed, judge(history).invariants]), flush=True)
    return 0


def show(options: argparse.Namespace) -> int:
    history = corpus.read(options.file[0]).history if options.file else draw(options.seed)
    print(history.to_json())
    outcome = play(history)
    print(outcome.log)
    print("\n".join(outcome.violations) or "no violation")
    return 1 if outcome.violations else 0


def hunt(options: argparse.Namespace) -> int:
    """For each deliberate defect: how many of the seeds catch it, and the first that does; 1 if one is not caught."""
    seeds = [f"--seed={options.seed}", f"--count={options.count}"]
    missed = 0
    with ThreadPoolExecutor(options.processes) as pool:
        everyone = mutants.mutants()
        for mutant, found in zip(everyone, pool.map(lambda m: m.caught(seeds, HUNT_S), everyone), strict=True):
            by = [seed for seed, broken in found if mutant.invariant in broken]
            missed += not by
            first = f"first by seed {by[0]}, " if by else ""
            print(f"{mutant.name}: {first}by {len(by)} of {options.count}", flush=True)
    return 1 if missed else 0


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m lab.model", description="Histories of the model world.")
    commands = parser.add_subparsers(required=True)
    for name, action, count in (
        ("run", run, 200),
        ("sweep", every_call, 0),
        ("verdicts", one_line_each, 100),
        ("show", show, 1),
        ("mutants", hunt, 100),
    ):
        command = commands.add_parser(name, description=action.__doc__)
        command.set_defaults(action=action)
        if name != "sweep":
            command.add_argument("--seed", type=int, default=0, help="the first seed")
            command.add_argument("--count", type=int, default=count, help="how many")
        if name in ("verdicts", "show"):
            command.add_argument("file", type=Path, nargs="*", help="a history of the corpus instead of a seed")
        if name in ("run", "sweep", "mutants"):
            command.add_argument("--processes", type=int, default=1)
        if name in ("run", "sweep"):
            command.add_argument("--no-shrink", dest="shrink", action="store_false", help="only print what broke")
        if name == "run":
            command.add_argument("--ledger", action="store_true", help="write down what passed")
        if name == "sweep":
            command.add_argument("--most", type=int, default=3, help="times of one call in one scenario")
    return parser.parse_args(arguments)


def main() -> int:
    options = parse(sys.argv[1:])
    result: int = options.action(options)
    return result


if __name__ == "__main__":
    sys.exit(main())
