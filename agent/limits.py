"""Every limit of the agent in one place: default, minimum or maximum, and why."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Seconds. The defaults are the product's; agent.toml may change them under `[timing]`."""

    heartbeat_s: float = 30.0
    """Idle: 2880 beats a day."""
    incident_s: float = 5.0
    """Heartbeat and queue in an incident and while a change waits for its confirmation."""
    queue_s: float = 600.0
    """The queue is polled this often even if no heartbeat says that commands wait."""
    urgent_for_s: float = 600.0
    """With the control plane away longer than this, an incident's pace falls back to the idle one; an agent without any
    tunnel hurries for as long after its start, because somebody waits for the first one."""
    nudge_s: float = 60.0
    """How often a tunnel without any IKE SA is started again (charon gives up after a refusal)."""
    drift_s: float = 300.0
    """How often the firewall is compared with what it should have; at once when something is down."""
    revert_s: float = 600.0
    """The dead-man timer where a command gives none."""
    min_revert_s: float = 420.0
    """One BGP hold (180 s) plus reconnecting. Lower it only in a lab whose BGP timers are shorter."""
    revert_grace_s: float = 15.0
    """How long after its time the agent gives the dead-man before it rolls back itself."""


MAX_DONE = 256
"""Results kept after they were acknowledged, so that a late duplicate still gets its stored answer."""
MAX_CORRUPT = 64
"""Refused messages kept for a person; the oldest goes first."""
MAX_REPORTED_BYTES = 24 * 1024
"""Results in one heartbeat; the envelope takes 48 KiB."""
MAX_REFUSED = 8
MAX_DETAIL = 500
MAX_DIAGNOSE_BYTES = 12 * 1024
MAX_MESSAGES = 16
HIDE_S = 120
"""Visibility timeout of a poll: longer than journalling sixteen messages takes on a slow disk."""
CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 4 * 1024 * 1024
GRANT_MARGIN_S = 60.0


def shorten(text: str, limit: int = MAX_DETAIL) -> str:
    """One line of at most `limit` characters, printable."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
