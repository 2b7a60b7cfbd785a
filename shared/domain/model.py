"""The base of everything that a user writes or reads: camelCase outside, frozen, unknown fields refused."""

from __future__ import annotations

from typing import NewType

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

GatewayName = NewType("GatewayName", str)
ConnectionName = NewType("ConnectionName", str)
AgentName = NewType("AgentName", str)
AgentId = NewType("AgentId", str)
ControllerId = NewType("ControllerId", str)

NAME_PATTERN = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"
"""Names become queue names, vault names, interface marks and file names: lower case, digits, single hyphens."""


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True)
