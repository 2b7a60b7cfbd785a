"""Every Finding there is, by code. The order is that of a report among Findings that nothing else tells apart."""

from __future__ import annotations

from .finding_kind import Kind
from .findings_between import BETWEEN
from .findings_home import AT_HOME
from .findings_outside import OUTSIDE

CATALOGUE: dict[str, Kind] = {**OUTSIDE, **AT_HOME, **BETWEEN}
