"""The example documents of the documentation, which the lab uses as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

EXAMPLES = Path(__file__).resolve().parent.parent / "docs" / "examples"

Document = dict[str, Any]


def document(name: str, **overrides: Any) -> Document:
    """An example document, with fields of its spec replaced."""
    loaded: Document = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text(encoding="utf-8"))
    loaded["spec"] |= overrides
    return loaded
