"""Finds the functions of an application and checks that this host can carry every binding they use.

The check is at the start, by name, because a binding that is silently ignored looks like a bug in the application.
"""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from lab.host.settings import HostSettings, SettingsError

TRIGGERS = frozenset({"httpTrigger", "queueTrigger", "timerTrigger"})
OUTPUTS = frozenset({"queue", "http"})
RETURN = "$return"


@dataclass(frozen=True)
class QueueOutput:
    """A queue output binding: the argument (or `$return`) that carries it, queue name and connection name."""

    argument: str
    queue: str
    connection: str


@dataclass(frozen=True)
class AppFunction:
    """One function: its trigger binding as in function.json, its queue outputs, and the user's callable."""

    name: str
    trigger: dict[str, Any]
    outputs: tuple[QueueOutput, ...]
    call: Callable[..., Any]
    is_async: bool
    takes_context: bool

    @property
    def kind(self) -> str:
        return str(self.trigger["type"])

    @property
    def argument(self) -> str:
        return str(self.trigger["name"])


def import_app(folder: Path) -> ModuleType:
    """Import `function_app` from `folder`, which comes first on the path as it does under Azure's worker."""
    if not (folder / "function_app.py").is_file():
        raise SettingsError(f"{folder / 'function_app.py'} is missing: --app must name a Functions app folder")
    sys.path.insert(0, str(folder))
    return importlib.import_module("function_app")


def find_app(module: ModuleType) -> Any:
    """The one FunctionApp object of the module. SettingsError when there is none or more than one."""
    import azure.functions as azf

    found = {id(value): value for value in vars(module).values() if isinstance(value, azf.FunctionApp)}
    if len(found) != 1:
        raise SettingsError(f"{module.__name__} must hold exactly one FunctionApp object, it holds {len(found)}")
    return next(iter(found.values()))


def describe(functions: Iterable[Any], settings: HostSettings) -> tuple[AppFunction, ...]:
    """What `FunctionApp.get_functions` lists, each checked. SettingsError names function and binding."""
    return tuple(_describe(function, settings) for function in functions)


def _describe(function: Any, settings: HostSettings) -> AppFunction:
    name = str(function.get_function_name())
    bindings = [json.loads(raw) for raw in function.get_raw_bindings()]
    trigger = next((binding for binding in bindings if binding["type"] in TRIGGERS), None)
    others = [binding for binding in bindings if binding is not trigger]
    unknown = sorted({binding["type"] for binding in others if binding["type"] not in OUTPUTS})
    if trigger is None or unknown:
        raise SettingsError(
            f"function {name}: binding {', '.join(unknown) or '(no trigger)'} is not carried by the lab's host; "
            f"it knows {', '.join(sorted(TRIGGERS | OUTPUTS))}"
        )
    call = function.get_user_function()
    expanded = {key: _expand(value, settings, name) for key, value in trigger.items()}
    outputs = tuple(_output(binding, settings, name) for binding in others if binding["type"] == "queue")
    parameters = inspect.signature(call).parameters
    _check_arguments(name, parameters, [expanded["name"], *(out.argument for out in outputs)])
    return AppFunction(name, expanded, outputs, call, inspect.iscoroutinefunction(call), "context" in parameters)


def _expand(value: Any, settings: HostSettings, name: str) -> Any:
    return settings.expand(value, f"function {name}") if isinstance(value, str) else value


def _output(binding: dict[str, Any], settings: HostSettings, name: str) -> QueueOutput:
    queue = settings.expand(str(binding["queueName"]), f"function {name}")
    return QueueOutput(str(binding["name"]), queue, str(binding.get("connection") or "AzureWebJobsStorage"))


def _check_arguments(name: str, parameters: Iterable[str], bound: list[str]) -> None:
    given = set(parameters) - {"context"}
    wanted = {argument for argument in bound if argument != RETURN}
    if given != wanted:
        raise SettingsError(
            f"function {name}: its parameters ({', '.join(sorted(given))}) are not the names of its bindings "
            f"({', '.join(sorted(wanted))})"
        )
