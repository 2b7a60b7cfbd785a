"""What is constant of a Finding: how bad, why, what to do, when it can be seen at the earliest, what else explains it.

The times are those of the protocols: what DPD, BGP's hold time, DNS TTLs and Azure's own caches let nobody know any
sooner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from . import limits, refusals

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True)
class Sight:
    """After how many seconds a cause can be seen, and by what."""

    seconds: int
    reason: str


BEAT = Sight(30, "the next heartbeat tells it")
SILENCE = Sight(limits.HEARTBEAT_FRESH_S, "three heartbeats of 30 s have to be missing")
DNS = Sight(60, "the authoritative servers are asked at every sweep")
AZURE_DNS = Sight(300, "Azure asks DNS again after 5 minutes, and only for a tunnel that is down")
SWEEP = Sight(limits.SWEEP_S, "every Gateway is looked at once a minute")
FULL = Sight(limits.READ_AGAIN_S, "what no list of Azure's shows is read once an hour, or when you ask for a diagnosis")
NEGOTIATION = Sight(30, "the next negotiation is refused at once; an SA that lives goes on until it is made anew")
REKEY = Sight(
    limits.SA_LIFETIME.default * 9 // 10, "the first child SA has no key exchange of its own: at its rekeying"
)
HOLD = Sight(limits.BGP_HOLD_S, "BGP's hold time; the next OPEN is refused at once")
DPD = Sight(165, "Azure's DPD needs 45 s, strongSwan's retransmissions 165 s")
RETRANSMIT = Sight(165, "charon gives up after five retransmissions")
ASKED_AZURE = Sight(0, "Azure's gateway is asked for it with a diagnosis")
ASKED = Sight(0, "it is compared when the agent is asked for a diagnosis")
AT_ONCE = Sight(0, "the document itself says so")
COMMAND = Sight(60, "a command is fetched at the next heartbeat and its result told at once")


@dataclass(frozen=True)
class Kind:
    """What is constant of a Finding. `explained_by`: codes that, when they are found too, are its cause."""

    severity: Severity
    cause: str
    remedy: str
    sight: Sight
    explained_by: tuple[str, ...] = ()


HOME_IS_SILENT = ("home-offline", "agent-silent")
NOT_MADE = ("azure-missing", "gateway-missing", "gateway-failed", "gateway-busy", "connection-failed")
ADDRESS_WRONG = (
    "fqdn-not-resolved",
    "fqdn-no-such-name",
    "fqdn-no-address",
    "fqdn-ipv6-only",
    "fqdn-several-addresses",
    "fqdn-private-address",
    "fqdn-cgnat",
    "address-shared",
    "ddns-not-updated",
    "azure-address-outdated",
)
REFUSED = refusals.FINDINGS
END_CHANGED = ("connection-edited", "firewall-pending", "firewall-drift")
