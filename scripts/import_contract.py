"""An import-linter contract that says what a package may import, rather than what it may not.

import-linter's own contracts forbid by name, so a new dependency would pass until somebody thought of forbidding it.
Here everything is refused that is neither the standard library, nor the package itself, nor in `allowed`. Only direct
imports are looked at: with such a list for every package, chains follow. A dotted external name (`azure.functions`) is
compared with the text of the import statement, because the import graph only knows the top-level name.
"""

from __future__ import annotations

import re
import sys
from typing import Any

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class AllowedImports(Contract):
    """`source`: the package; `allowed`: what it may import; `except_for`: parts that have a contract of their own."""

    type_name = "allowed"

    source = fields.StringField()
    allowed = fields.ListField(subfield=fields.StringField(), required=False, default=())
    except_for = fields.ListField(subfield=fields.StringField(), required=False, default=())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        source, except_for = str(self.source), _names(self.except_for)
        modules = [name for name in sorted(graph.modules) if _within(name, [source]) and not _within(name, except_for)]
        if not modules:
            return ContractCheck(kept=False, metadata={"found": [f"there is no package {source}"]})
        found = [line for module in modules for line in self._refused(graph, module, source)]
        return ContractCheck(kept=not found, metadata={"found": found})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for line in check.metadata["found"]:
            output.print_error(line)
        allowed = ", ".join(_names(self.allowed)) or "nothing else"
        output.print(f"{self.source} may import the standard library and: {allowed}")

    def _refused(self, graph: ImportGraph, module: str, source: str) -> list[str]:
        allowed = [source, *_names(self.allowed)]
        lines = []
        for target in sorted(graph.find_modules_directly_imported_by(module)):
            if _within(target, allowed) or target.split(".")[0] in sys.stdlib_module_names:
                continue
            longer = [name for name in allowed if name.startswith(f"{target}.")]
            for detail in graph.get_import_details(importer=module, imported=target):
                text = str(detail["line_contents"])
                if not any(re.search(rf"\b(?:from|import) {re.escape(name)}\b", text) for name in longer):
                    lines.append(f"{module}:{detail['line_number']}: {text}")
        return lines


def _names(field: Any) -> list[str]:
    """A parsed list field; on the class it is the field's definition, so its type is of no use."""
    return [str(name) for name in field or ()]


def _within(module: str, packages: list[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)
