"""What a step has at hand about one Connection anyway, as that from which Findings are made. Nobody is asked.

Traded off: what ARM has is known from the last step's Conditions and the connectionStatus that it last told, and the
agent's own evidence not at all; a diagnosis (diagnose.py) reads both.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from shared.domain.arm import ArmKind
from shared.domain.both_ends import Ends
from shared.domain.home_evidence import HomeEvidence
from shared.domain.witnesses import Witnesses
from shared.errors import NotFound
from shared.seams import Json
from shared.wire.commands import DesiredTunnel
from shared.wire.decode import from_plain
from shared.wire.errors import WireError

from .unit import Unit

if TYPE_CHECKING:
    from .home_half import HomeHalf


def known(half: HomeHalf) -> Witnesses:
    """Raises NotFound where the Gateway is gone."""
    unit, link, agent = half.unit, half.link, half.agent
    return Witnesses(
        name=half.name,
        now=half.now,
        link=half.conditions_link(None),
        ends=ends(half, {}, None),
        heard=agent.heard,
        report=agent.report if agent.fresh else None,
        azure_at=unit.state.read.at if unit.state.read else unit.state.last_step,
        azure_status=link.azure_status,
        gateway=unit.state.conditions,
        known_address=link.known_address,
        pinned_since=link.pin.since if link.pin else None,
        down_since=down_since(unit, half.name),
        down_elsewhere=tuple(n for n in sorted(unit.links) if n != half.name and down_since(unit, n)),
        others=len(unit.links) - 1,
        refusal=_refusal(half),
        operation=_operation(unit),
        restored=link.generation > half.row.generation,
    )


def ends(half: HomeHalf, mine: Mapping[ArmKind, Json | None], evidence: HomeEvidence | None) -> Ends:
    """`mine`: what was read of ARM, by kind. Raises NotFound where the Gateway is gone."""
    gateway, link = half.unit.gateway, half.link
    if gateway is None:
        raise NotFound(f"there is no Gateway {half.unit.name}")
    return Ends(
        spec=half.row.spec,
        gateway=gateway.spec,
        desired=half.desired,
        resources=mine,
        health=half.health,
        evidence=evidence,
        last_sent=_tunnel(link.applied),
        psk_version=link.psk_version,
        azure_psk_version=link.azure_psk_version,
        home_address=link.pin.address if link.pin else half.dns.agreed(),
        reported_address=half.agent.source if half.agent.fresh else None,
    )


def down_since(unit: Unit, name: str) -> datetime | None:
    """Since when the last steps saw no tunnel."""
    told = (c for c in unit.links[name].conditions if c.type == "TunnelUp" and c.status == "False")
    return next((c.last_transition_time for c in told), None)


def _tunnel(raw: Any) -> DesiredTunnel | None:
    try:
        return from_plain(DesiredTunnel, raw)
    except (WireError, ValueError):
        return None  # nothing sent yet, or by another version


def _operation(unit: Unit) -> str:
    op = unit.state.operation
    return f"{op.action} of {op.kind.value}/{op.name} runs since {op.started:%H:%M:%S} UTC." if op else ""


def _refusal(half: HomeHalf) -> str:
    """ARM's last words, where they are about this Connection or what all stand on."""
    refusal = half.unit.state.refusal
    if refusal is None or refusal.until < half.now:
        return ""
    about = half.unit.connection_of(*refusal.target.split("/"))
    return f"{refusal.target}: {refusal.code}: {refusal.message}" if about in (None, half.name) else ""
