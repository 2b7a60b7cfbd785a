"""Reports: what an agent tells, and what it is answered.

`POST /api/agents/{id}/heartbeat` carries a Heartbeat sealed with the REPORT key and is answered by a HeartbeatAnswer
sealed with the ANSWER key. `POST .../queue` and `POST .../secret` carry requests sealed with the RENEW key.
Times are Unix seconds of server time as the agent knows it; durations are seconds; bytes are counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

VERSION = 1
Outcome = Literal["done", "failed", "superseded", "expired", "refused"]


@dataclass(frozen=True)
class Result:
    """What became of a command. `detail` is for a person and never holds a secret; `data` answers a diagnose. `began`:
    when its effect was begun, None where the agent was started anew since or nothing was begun."""

    command_id: str
    seq: int
    kind: str
    generation: int
    connection: str
    outcome: Outcome
    detail: str
    at: float
    data: dict[str, Any] = field(default_factory=dict)
    began: float | None = None


@dataclass(frozen=True)
class IkeHealth:
    """`state` is strongSwan's word (ESTABLISHED, CONNECTING, ...) or NONE. `established_s`: since this SA was set up or
    rekeyed. `rekeys`: so often has the agent seen it rekeyed since the tunnel came up, None where nobody counts."""

    state: str
    remote_address: str | None
    established_s: float | None
    nat_traversal: bool
    rekeys: int | None = None


@dataclass(frozen=True)
class ChildHealth:
    """`installed_s`: since the newest child was installed, so since the last rekeying where there was one. `rekeys` is
    as in IkeHealth."""

    installed: bool
    bytes_in: int
    bytes_out: int
    installed_s: float | None
    rekeys: int | None = None


@dataclass(frozen=True)
class BgpHealth:
    """`state` is FRR's word (Established, Active, ...) or NONE. Prefixes are CIDR. `last_error`: bgpd's reason."""

    state: str
    uptime_s: float
    received: tuple[str, ...]
    sent: tuple[str, ...]
    last_error: str | None = None


@dataclass(frozen=True)
class ProbeHealth:
    target: str
    ok: bool
    rtt_ms: float | None


@dataclass(frozen=True)
class TunnelHealth:
    """One Connection as the firewall has it. `digest` and `generation` say which desired tunnel is applied.

    `routes` are the prefixes that the firewall really routes into the tunnel. `ike_error` is the last reason that
    charon gave for a refusal (for example AUTHENTICATION_FAILED, NO_PROPOSAL_CHOSEN), None since the last success.
    """

    connection: str
    connection_id: str
    generation: int
    digest: str
    psk_version: str
    confirmed: bool
    ike: IkeHealth
    child: ChildHealth
    bgp: BgpHealth
    routes: tuple[str, ...]
    probes: tuple[ProbeHealth, ...]
    ike_error: str | None = None


@dataclass(frozen=True)
class FirewallHealth:
    """`wan_address` is what the firewall itself has on its WAN (behind NAT a private one). `error`: why it cannot be
    read. `notes`: what a person should know although all is well, such as a way in that is closed."""

    driver: str
    version: str
    wan_address: str | None
    reachable: bool
    error: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Heartbeat:
    """`beat` only grows; a repeated or older one is refused with 409 and the last one that was seen.

    `high_seq` is the journal's high-water mark: the highest sequence that was accepted. `clock_skew_s` is the agent's
    wall clock minus server time, None before it was first told. `paused` is the home owner's kill switch.
    """

    agent: str
    controller: str
    beat: int
    at: float
    version: str
    high_seq: int
    in_incident: bool
    paused: bool
    clock_skew_s: float | None
    firewall: FirewallHealth
    tunnels: tuple[TunnelHealth, ...]
    results: tuple[Result, ...]
    refused: tuple[str, ...] = ()
    v: int = VERSION


@dataclass(frozen=True)
class HeartbeatAnswer:
    """`time` is server time in Unix seconds. `high_seq` is the highest sequence issued. `acknowledged` are command ids
    whose results are stored: the agent stops repeating them. `commands_waiting`: poll the queue now."""

    time: float
    beat: int
    high_seq: int
    commands_waiting: bool
    acknowledged: tuple[str, ...]
    source_address: str
    v: int = VERSION


@dataclass(frozen=True)
class RenewRequest:
    """`nonce` comes back in the answer, so that an old answer cannot be replayed. `secret` only at POST .../secret."""

    agent: str
    controller: str
    nonce: str
    secret_name: str | None = None
    secret_version: str | None = None
    v: int = VERSION


@dataclass(frozen=True)
class QueueGrant:
    """`url` is the queue's own URL with a SAS for process only; `expires` Unix seconds. Never stored."""

    nonce: str
    time: float
    url: str = field(repr=False)
    expires: float = 0.0
    v: int = VERSION


@dataclass(frozen=True)
class SecretGrant:
    nonce: str
    time: float
    name: str
    version: str
    value: str = field(repr=False)
    v: int = VERSION


@dataclass(frozen=True)
class EnrolRequest:
    """Body of POST /api/agents/enrol, plain JSON over HTTPS. `nonce` is at least 32 random characters."""

    token: str = field(repr=False)
    name: str = ""
    nonce: str = ""
    version: str = ""
    v: int = VERSION


@dataclass(frozen=True)
class EnrolAnswer:
    """`secret` is base64url of 32 bytes."""

    agent: str
    controller: str
    time: float
    secret: str = field(repr=False)
    v: int = VERSION
