"""Route templates of HTTP triggers, matched as the Azure host matches them.

Literals are case-insensitive and win over parameters, constrained parameters over free ones, the catch-all comes last.
A path that fits with another method is 404, not 405, as in Azure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

from lab.host.functions import AppFunction
from lab.host.settings import SettingsError

_PARAMETER = re.compile(r"\{(?P<star>\*{0,2})(?P<name>[A-Za-z_]\w*)(?::(?P<constraint>\w+))?(?P<optional>\??)\}")
_CONSTRAINTS = {
    "int": r"[+-]?\d{1,10}",
    "long": r"[+-]?\d{1,19}",
    "alpha": r"[A-Za-z]+",
    "bool": r"(?:[Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee])",
    "guid": r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}",
}


@dataclass(frozen=True)
class Route:
    """A compiled template. `rank` orders routes: the smaller one is tried first."""

    function: AppFunction
    methods: frozenset[str]
    pattern: re.Pattern[str]
    rank: tuple[int, ...]

    @property
    def auth_level(self) -> str:
        return str(self.function.trigger.get("authLevel") or "FUNCTION").lower()


class Router:
    """Finds the function for a method and a raw (still percent-encoded) path."""

    def __init__(self, functions: Iterable[AppFunction], prefix: str) -> None:
        routes = [_compile(function, prefix) for function in functions if function.kind == "httpTrigger"]
        self.routes = tuple(sorted(routes, key=lambda route: route.rank))

    def find(self, method: str, raw_path: str) -> tuple[Route, dict[str, str]] | None:
        """The route and its decoded parameters; absent optional ones are left out."""
        for route in self.routes:
            match = route.pattern.fullmatch(raw_path.rstrip("/") or "/")
            if match and (not route.methods or method in route.methods):
                return route, {name: unquote(text) for name, text in match.groupdict().items() if text is not None}
        return None


def _compile(function: AppFunction, prefix: str) -> Route:
    template = str(function.trigger.get("route") or function.name).strip("/")
    pieces = [segment for segment in f"{prefix}/{template}".split("/") if segment]
    parts: list[str] = []
    rank: list[int] = []
    for index, segment in enumerate(pieces):
        last = index == len(pieces) - 1
        part, weight = _segment(segment, last, f"function {function.name}: route {template!r}")
        parts.append(part)
        rank.append(weight)
    methods = frozenset(str(method).upper() for method in function.trigger.get("methods") or ())
    return Route(function, methods, re.compile("".join(parts) or "/", re.DOTALL), tuple(rank))


def _segment(segment: str, last: bool, where: str) -> tuple[str, int]:
    if "{" not in segment and "}" not in segment:
        return f"/(?i:{re.escape(segment)})", 1
    match = _PARAMETER.fullmatch(segment)
    if match is None:
        raise SettingsError(f"{where}: segment {segment!r} must be a literal or one parameter like {{name:int}}")
    name, constraint = match["name"], match["constraint"]
    if constraint and constraint not in _CONSTRAINTS:
        raise SettingsError(f"{where}: constraint {constraint!r} is not one of {', '.join(sorted(_CONSTRAINTS))}")
    if (match["star"] or match["optional"]) and not last:
        raise SettingsError(f"{where}: {segment!r} may only be the last segment")
    value = _CONSTRAINTS.get(constraint or "", "[^/]+")
    if match["star"]:
        return f"(?:/(?P<{name}>.*))?", 5
    if match["optional"]:
        return f"(?:/(?P<{name}>{value}))?", 3 if constraint else 4
    return f"/(?P<{name}>{value})", 2 if constraint else 3
