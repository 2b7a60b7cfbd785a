"""Commands: what the control plane may ask of an agent. A closed set; there is no shell.

A command is sealed (seal.py) with the COMMAND key and lies in the agent's own queue until its time is up. `seq` only
grows, gaps are allowed; of two `apply` for one Connection the one with the higher generation wins, whatever the order
of arrival. Secrets are named by reference and version, never contained.
"""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from . import algorithms
from .decode import from_plain, to_plain
from .errors import Malformed
from .seal import canonical

VERSION = 1
TRACE = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}|")


class Kind(StrEnum):
    APPLY = "apply"
    REMOVE = "remove"
    INITIATE = "initiate"
    DIAGNOSE = "diagnose"


@dataclass(frozen=True)
class SecretRef:
    """Where the value is to be fetched: POST /api/agents/{id}/secret, sealed with the RENEW key."""

    name: str
    version: str


@dataclass(frozen=True)
class Ike:
    """Phase 1 in Azure's names. `lifetime_s` is Azure's fixed 28800 (Azure FAQ)."""

    encryption: str
    integrity: str
    dh_group: str
    lifetime_s: int

    def __post_init__(self) -> None:
        _known(
            {
                "encryption": (self.encryption, algorithms.IKE_ENCRYPTION),
                "integrity": (self.integrity, algorithms.IKE_INTEGRITY),
                "dh_group": (self.dh_group, algorithms.DH_GROUP),
            }
        )


@dataclass(frozen=True)
class Esp:
    """Phase 2 in Azure's names."""

    encryption: str
    integrity: str
    pfs_group: str
    lifetime_s: int

    def __post_init__(self) -> None:
        _known(
            {
                "encryption": (self.encryption, algorithms.ESP_ENCRYPTION),
                "integrity": (self.integrity, algorithms.ESP_INTEGRITY),
                "pfs_group": (self.pfs_group, algorithms.PFS_GROUP),
            }
        )


@dataclass(frozen=True)
class Transit:
    """Addresses on the tunnel interface (docs/reference.md). `remote` is Azure's BGP address except in mode apipa."""

    mode: Literal["gatewaySubnet", "pointToPoint", "apipa"]
    local: str
    remote: str
    prefix_length: int


@dataclass(frozen=True)
class Bgp:
    """The home's BGP session. Only `advertise` goes out; only `accept` (or longer) comes in."""

    local_asn: int
    local_address: str
    peer_asn: int
    peer_address: str
    keepalive_s: int
    hold_s: int
    advertise: tuple[str, ...]
    accept: tuple[str, ...]


@dataclass(frozen=True)
class DesiredTunnel:
    """The home half of a Connection, whole: the agent diffs it against the firewall.

    `peer_id` is the IKE identity that Azure presents (its public address). `initiates` is false only where Azure does
    (connection mode InitiatorOnly). `probe` is an address in the virtual network to ping, or None.
    """

    connection: str
    connection_id: str
    peer_address: str
    peer_id: str
    psk: SecretRef
    ike: Ike
    esp: Esp
    dpd_delay_s: int
    initiates: bool
    transit: Transit
    bgp: Bgp
    mss: int
    probe: str | None

    def digest(self) -> str:
        """Hex SHA-256 of the canonical form: what the agent reports as applied and the reconciler compares."""
        return _digest(self)


@functools.lru_cache(maxsize=256)
def _digest(desired: DesiredTunnel) -> str:
    """Asked for several times a step, of the same few tunnels."""
    return hashlib.sha256(canonical(to_plain(desired))).hexdigest()


@dataclass(frozen=True)
class Apply:
    """`revert_in_s`: the dead-man timer. `azure_ready`: the new tunnel's own SA and BGP count for the confirmation."""

    desired: DesiredTunnel
    revert_in_s: int
    azure_ready: bool


@dataclass(frozen=True)
class Target:
    """Body of remove, initiate and diagnose."""

    connection: str
    connection_id: str


Body = Apply | Target
_BODIES: dict[Kind, type[Apply] | type[Target]] = {
    Kind.APPLY: Apply,
    Kind.REMOVE: Target,
    Kind.INITIATE: Target,
    Kind.DIAGNOSE: Target,
}


@dataclass(frozen=True)
class Command:
    """`audience` is the agent's id, `controller` the control plane's; `not_after` is Unix seconds of server time.
    `trace` is a W3C traceparent, for the agent's log; empty where there is none, and then left out of the payload."""

    id: str
    seq: int
    audience: str
    controller: str
    not_after: int
    generation: int
    kind: Kind
    body: Body
    trace: str = ""

    @property
    def trace_id(self) -> str:
        return self.trace[3:35]

    def to_payload(self) -> dict[str, Any]:
        payload = {"v": VERSION, **to_plain(self)}
        return payload if self.trace else {k: v for k, v in payload.items() if k != "trace"}


@dataclass(frozen=True)
class _Head:
    v: int
    id: str
    seq: int
    audience: str
    controller: str
    not_after: int
    generation: int
    kind: Kind
    body: dict[str, Any]
    trace: str = ""

    def __post_init__(self) -> None:
        if not TRACE.fullmatch(self.trace):
            raise ValueError("trace is no W3C traceparent")


def parse_command(payload: dict[str, Any]) -> Command:
    """Raises Malformed; fields that this version does not know are refused."""
    head = from_plain(_Head, payload, strict=True)
    if head.v != VERSION:
        raise Malformed(f"command version {head.v}: this agent reads version {VERSION}; update the older side")
    body: Body = from_plain(_BODIES[head.kind], head.body, strict=True)
    return Command(
        head.id,
        head.seq,
        head.audience,
        head.controller,
        head.not_after,
        head.generation,
        head.kind,
        body,
        head.trace,
    )


def _known(fields: dict[str, tuple[str, dict[str, str]]]) -> None:
    for name, (value, table) in fields.items():
        if value not in table:
            raise ValueError(f"{name} {value!r} is not one of {sorted(table)}")
