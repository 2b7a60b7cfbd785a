"""temporary"""

from __future__ import annotations
from typing import Any
from tests.fakes import FakeStore


class ModelStore(FakeStore):
    def rows(self) -> dict[Any, Any]:
        return dict(self._rows)

    def put_rows(self, rows: dict[Any, Any]) -> None:
        self._rows = {}
        for at, (text, _) in rows.items():
            self._writes += 1
            self._rows[at] = (text, f'W/"{self._writes}"')
