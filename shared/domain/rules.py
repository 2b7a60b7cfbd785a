"""The rules of a document and of documents together; each yields Problems, so that a user sees all of them at once.

A rule says the path, the value, a stable code, what is wrong, and the remedy. Sources: docs/reference.md and the Azure
documents it cites. Types and simple bounds are already done by spec.py when these run. The rules themselves stand in
rules_gateway.py, rules_home.py and rules_tunnel.py; this module is what others call.
"""

from __future__ import annotations

from collections.abc import Mapping

from . import adopted
from .problem import Problem
from .rules_gateway import AZ_SKUS as AZ_SKUS
from .rules_gateway import change_problems as change_problems
from .rules_gateway import gateway_findings as gateway_findings
from .rules_gateway import gateway_problems as gateway_problems
from .rules_home import home_problems
from .rules_tunnel import psk_problems as psk_problems
from .rules_tunnel import tunnel_problems
from .spec import ConnectionSpec, GatewaySpec


def connection_problems(
    name: str,
    spec: ConnectionSpec,
    gateway: GatewaySpec,
    others: Mapping[str, ConnectionSpec],
    elsewhere: Mapping[str, ConnectionSpec] | None = None,
) -> list[Problem]:
    """`others` are the gateway's other Connections by name, `elsewhere` those of other gateways (a firewall may serve
    both: it has one ASN, and each tunnel an interface address of its own)."""
    far = elsewhere or {}
    found = [*home_problems(name, spec, gateway, others, far), *tunnel_problems(spec, gateway, others, far)]
    return [*found, *adopted.connection_problems(name, spec, others)]
