"""The registered functions by name. An app lists them only once in its life, so all tests share the model's list."""

from __future__ import annotations

from lab.model.host import LISTED

FUNCTIONS = {f.get_function_name(): f for f in LISTED}
