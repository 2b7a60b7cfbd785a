"""The plot beside the numbers, as plain SVG: how many of the changes are over after so many seconds of downtime.

Written by hand, because one picture is not worth a plotting library.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 860, 460, 70, 40, 200, 60
COLOURS = ("#888888", "#d08700", "#2b7bba", "#1a7f37")


def cumulative(title: str, unit: str, series: Mapping[str, Sequence[float]]) -> str:
    """One step line per series; x: the values, from 0 on, y: the share of them that is not above, in percent."""
    most = max(v for values in series.values() for v in values)
    step = next(s for s in (10, 20, 50, 100, 200, 500, 1000) if most / s <= 10 or s == 1000)
    end = (int(most / step) + 1) * step
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(value: float) -> float:
        return LEFT + wide * value / end

    def y(share: float) -> float:
        return TOP + high * (1 - share)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="white"/>',
        _text(LEFT, TOP - 16, title, "start", 15),
        _text(LEFT + wide / 2, HEIGHT - 16, unit, "middle"),
    ]
    for value in range(0, end + 1, step):
        parts += [_line(x(value), TOP, x(value), TOP + high), _text(x(value), TOP + high + 18, f"{value}", "middle")]
    for percent in range(0, 101, 20):
        at = y(percent / 100)
        parts += [_line(LEFT, at, LEFT + wide, at), _text(LEFT - 8, at + 4, f"{percent} %", "end")]
    for n, (name, values) in enumerate(series.items()):
        ordered = sorted(values)
        colour = COLOURS[n % len(COLOURS)]
        points = f"{x(0):.1f},{y(0):.1f}"
        for rank, seconds in enumerate(ordered):
            below, above = rank / len(ordered), (rank + 1) / len(ordered)
            points += f" {x(seconds):.1f},{y(below):.1f} {x(seconds):.1f},{y(above):.1f}"
        points += f" {x(end):.1f},{y(1):.1f}"
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<rect x="{WIDTH - RIGHT + 16}" y="{TOP + 22 * n}" width="12" height="12" fill="{colour}"/>')
        parts.append(_text(WIDTH - RIGHT + 34, TOP + 22 * n + 10, name, "start"))
    return "\n".join([*parts, "</svg>", ""])


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#dddddd"/>'


def _text(x: float, y: float, text: str, anchor: str, size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'
