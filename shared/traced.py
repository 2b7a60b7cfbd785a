"""Adapters as spans: every call through a seam is one, named `<seam> <verb>`, and calls of ARM are counted.

One wrapper for all of them, because a call's place is known here and nowhere else in one line. Traded off: it goes by
the names of methods, so a seam is untyped between here and the adapter (wiring.py binds it to the Protocol again).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from shared import telemetry
from shared.errors import ArmBusy, ArmRejected
from shared.seams import ArmKind, ArmRef
from shared.telemetry import Attr, SpanKind


class Traced:
    """`seam`: arm, resolver, store, queue or vault."""

    def __init__(self, seam: str, adapter: Any) -> None:
        self._seam, self._adapter = seam, adapter

    def __getattr__(self, verb: str) -> Any:
        call = getattr(self._adapter, verb)
        if inspect.iscoroutinefunction(call):
            call = self._traced(verb, call)
            setattr(self, verb, call)  # found without coming here from now on
        return call

    def _traced(self, verb: str, call: Callable[..., Any]) -> Callable[..., Any]:
        name, about = f"{self._seam} {verb}", _ABOUT.get(self._seam, _nothing)

        async def traced(*args: Any, **kwargs: Any) -> Any:
            with telemetry.span(name, SpanKind.CLIENT, about(args)):
                return await call(*args, **kwargs)

        async def counted(*args: Any, **kwargs: Any) -> Any:
            outcome = "failed"
            try:
                answer = await traced(*args, **kwargs)
                outcome = "ok"
                return answer
            except ArmBusy:
                outcome = "busy"
                raise
            except ArmRejected:
                outcome = "refused"
                raise
            finally:
                telemetry.record(telemetry.ARM_CALLS, 1, verb, _kind(verb, args), outcome)

        return counted if self._seam == "arm" else traced


def _kind(verb: str, args: tuple[Any, ...]) -> str:
    if verb == "ensure_resource_group":
        return "resourceGroup"
    kinds = [a.kind if isinstance(a, ArmRef) else a for a in args if isinstance(a, ArmRef | ArmKind)]
    return str(kinds[0]) if kinds else "operation"


def _of_arm(args: tuple[Any, ...]) -> dict[Attr, str]:
    ref = next((a for a in args if isinstance(a, ArmRef)), None)
    return {} if ref is None else {Attr.ARM_KIND: ref.kind, Attr.ARM_NAME: f"{ref.resource_group}/{ref.name}"}


def _nothing(args: tuple[Any, ...]) -> dict[Attr, str]:
    """Of the vault not even the entry's name, of DNS not the home's."""
    return {}


_ABOUT: dict[str, Callable[[tuple[Any, ...]], dict[Attr, str]]] = {
    "arm": _of_arm,
    "store": lambda args: {Attr.TABLE: str(args[0])},
    "queue": lambda args: {Attr.QUEUE: str(args[0])},
}
