"""The registered functions by name. An app lists them only once in its life, so all tests share this list."""

from __future__ import annotations

import function_app

FUNCTIONS = {f.get_function_name(): f for f in function_app.app.get_functions()}
