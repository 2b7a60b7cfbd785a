"""Traces that a run of the lab left in its folder: the same lines that HOMELINK_TELEMETRY_FILE gives anybody."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab.world import TELEMETRY, World


def lines(folder: Path) -> list[dict[str, Any]]:
    """Spans and measurements, in the order in which they ended."""
    return [json.loads(line) for line in (folder / TELEMETRY).read_text().splitlines()]


def spans(folder: Path, trace: str) -> list[dict[str, Any]]:
    return sorted((s for s in lines(folder) if s.get("trace") == trace), key=lambda s: float(s["start"]))


def services(found: list[dict[str, Any]]) -> dict[str, int]:
    """The first word of a span's name -> how many there are."""
    names = [str(s["span"]).split()[0] for s in found]
    return {name: names.count(name) for name in dict.fromkeys(names)}


def measured(folder: Path, metric: str) -> Iterator[dict[str, Any]]:
    return (m for m in lines(folder) if m.get("metric") == metric)


async def cause(world: World, connection: str, reason: str) -> list[dict[str, Any]]:
    """The spans of the trace in which the latest Event of that reason was told."""
    events = (await world.api.call("GET", f"connections/{connection}/events"))["items"]
    return spans(world.logs, next(str(e["trace"]) for e in events if e["reason"] == reason))


async def told(world: World, connection: str) -> str:
    """The trace of the latest repair, in one line."""
    found = await cause(world, connection, "IncidentOpened")
    counts = ", ".join(f"{name} {count}" for name, count in services(found).items())
    return f"the repair of {connection} is trace {found[0]['trace']}: {len(found)} spans ({counts})"
