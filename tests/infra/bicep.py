"""The Bicep files, read by two parsers, as no compiler for them can be had from a package registry.

tree-sitter-bicep knows the whole syntax and tells names from texts; pycep makes plain data of a smaller language, in
which a name and a text look alike. So checks of values use pycep, and checks of names use tree-sitter.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tree_sitter
import tree_sitter_bicep
from pycep import BicepParser

ROOT = Path(__file__).resolve().parents[2]
INFRA = ROOT / "infra"
FILES = sorted(INFRA.rglob("*.bicep"))
_LANGUAGE = tree_sitter.Language(tree_sitter_bicep.language())
_DECLARE = ("parameter_declaration", "variable_declaration", "resource_declaration", "module_declaration")


@functools.cache
def data(path: Path) -> dict[str, Any]:
    """parameters, variables, resources, modules, outputs: by name."""
    parsed = BicepParser().parse(text=path.read_text())
    return {key: parsed.get(key) or {} for key in ("parameters", "variables", "resources", "modules", "outputs")}


def module(name: str) -> dict[str, Any]:
    return data(INFRA / "modules" / f"{name}.bicep")


def config(declared: dict[str, Any]) -> dict[str, Any]:
    """What stands in a resource or module, without the loop or condition around it."""
    inner: dict[str, Any] = declared["config"]
    while "config" in inner and set(inner) <= {"loop_type", "condition", "config"}:
        inner = inner["config"]
    return inner


def resources() -> Iterator[tuple[str, dict[str, Any]]]:
    """(file and name, resource) of all files."""
    for path in FILES:
        for name, resource in data(path)["resources"].items():
            yield f"{path.name}: {name}", resource


def parts(value: Any) -> Iterator[Any]:
    """The value and everything in it."""
    yield value
    if isinstance(value, dict):
        for inner in value.values():
            yield from parts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from parts(inner)


def texts(value: Any) -> set[str]:
    return {part for part in parts(value) if isinstance(part, str)}


@functools.cache
def tree(source: str) -> tree_sitter.Node:
    return tree_sitter.Parser(_LANGUAGE).parse(source.encode()).root_node


def is_wrong(node: tree_sitter.Node) -> bool:
    return node.type == "ERROR" or node.is_missing


def nodes(node: tree_sitter.Node) -> Iterator[tree_sitter.Node]:
    yield node
    for child in node.children:
        yield from nodes(child)


def text(node: tree_sitter.Node) -> str:
    return (node.text or b"").decode()


def declared(path: Path) -> set[str]:
    return {text(n.named_children[0]) for n in tree(path.read_text()).named_children if n.type in _DECLARE}


def used(path: Path) -> set[str]:
    """Names of parameters, variables, resources and modules where their values are asked for; not those of loops."""
    return {text(n) for n in nodes(tree(path.read_text())) if n.type == "identifier" and not _names(n)} - _looped(path)


def _names(node: tree_sitter.Node) -> bool:
    """Whether it gives something a name, or names a property or a function, rather than asking for a value."""
    parent = node.parent
    assert parent is not None
    first = parent.named_children[0] == node
    gives = parent.type.endswith("_declaration") or parent.type in ("object_property", "call_expression")
    return (first and gives) or parent.type in ("decorator", "metadata_declaration")


def _looped(path: Path) -> set[str]:
    found: set[str] = set()
    for loop in (n for n in nodes(tree(path.read_text())) if n.type == "for_statement"):
        initializer = loop.child_by_field_name("initializer") or loop.named_children[0]
        found |= {text(initializer)} if initializer.type == "identifier" else set(map(text, initializer.named_children))
    return found
