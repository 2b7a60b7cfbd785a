"""How long a Plan will keep packets from passing, for each Connection, and why.

A Plan's differences are sorted into kinds of change; each kind has a figure, and the slowest kind counts. The figures
are not guesses but simulated (outage_figures.py), so they hold for the model's assumptions about Azure. Where the model
would say something that it does not know (a resized gateway, an interface that is made anew, two interruptions one
after the other), there is no figure but the reason: null is more honest than a number that looks measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from .arm import ArmKind, ArmRef
from .outage_figures import SIMULATED, Seconds
from .plan import Action, Change, Difference


class Kind(StrEnum):
    """What a Plan may do to a Connection; only those with a figure were simulated."""

    NEW = "new"
    TAGS = "tags"
    KEY = "key"
    FQDN = "fqdn"
    PREFIXES = "prefixes"
    MSS = "mss"
    PROBE = "probe"
    SUBNETS = "subnets"
    GATEWAY_APIPA = "gateway-apipa"
    DPD_TIMEOUT = "dpd-timeout"
    SA_LIFETIME = "sa-lifetime"
    IPSEC_POLICY = "ipsec-policy"
    HOME_ASN = "home-asn"
    HOME_BGP_ADDRESS = "home-bgp-address"
    GATEWAY_ASN = "gateway-asn"
    MADE_AGAIN = "made-again"
    ADDRESS_SPACE = "address-space"
    TRANSIT = "transit"
    MODE = "mode"
    SKU = "sku"
    INSTANCES = "instances"
    GATEWAY_MADE_AGAIN = "gateway-made-again"
    DRIFT = "drift"
    ADOPTION = "adoption"
    ENDS = "ends"
    BLOCKED = "blocked"
    OTHER = "other"


_ONE_IKE = "one IKE exchange; the BGP session outlives it"
REASONS = {
    Kind.NEW: "no tunnel runs yet, so nothing is interrupted",
    Kind.TAGS: "tags touch no tunnel",
    Kind.KEY: "both ends take the new key while the SA lives: it is used at the next IKE exchange",
    Kind.FQDN: "the gateway looks the new name up; nothing happens if it leads to the address that the home has",
    Kind.PREFIXES: "BGP announces other prefixes within its session",
    Kind.MSS: "the clamp is a line of the packet filter",
    Kind.PROBE: "the probe is the agent's own matter",
    Kind.SUBNETS: "subnets touch no tunnel: BGP announces the address space",
    Kind.GATEWAY_APIPA: "other link-local addresses of the gateway touch only those who use them",
    Kind.DPD_TIMEOUT: f"Azure begins the tunnel anew: {_ONE_IKE}",
    Kind.SA_LIFETIME: f"both ends begin the tunnel anew: {_ONE_IKE}",
    Kind.IPSEC_POLICY: "from Azure's new policy on the ends refuse each other, until the agent has applied it too",
    Kind.HOME_ASN: "from Azure's new AS number on BGP is down, until the agent has applied it too",
    Kind.HOME_BGP_ADDRESS: "from Azure's new peer address on BGP is down, until the agent has applied it too",
    Kind.GATEWAY_ASN: "from the gateway's new AS number on BGP is down, until the agent has applied it too",
    Kind.MADE_AGAIN: "Azure has lost the connection: from then on no packet passes until it is made again and dialled",
    Kind.ADDRESS_SPACE: "when the gateway announces another address space was not simulated",
    Kind.TRANSIT: "the tunnel's interface gets other addresses, which was not simulated",
    Kind.MODE: "who dials changes, and whether Azure can depends on your router",
    Kind.SKU: "Microsoft says only that it is done 'with minimal downtime (approximately 45 minutes)'"
    " (learn.microsoft.com/azure/vpn-gateway/gateway-sku-upgrade), and the model knows no more",
    Kind.INSTANCES: "Azure builds the gateway's instances anew, and no document says how long that interrupts",
    Kind.GATEWAY_MADE_AGAIN: "what the tunnel stands on is made again: a gateway takes Azure 16 to 120 minutes",
    Kind.DRIFT: "the firewall is not as it was told to be: what that costs shows when it is set right",
    Kind.ADOPTION: "the mark touches no tunnel; what the agent's first apply does to one of your own was not simulated",
    Kind.ENDS: "the tunnel ends for good",
    Kind.BLOCKED: "something that is not Homelink's is in the way: nothing is done before it is out of it",
    Kind.OTHER: "what else was changed was not simulated",
}
SEVERAL = (
    "several interruptions one after the other were not simulated: make one change at a time, and look at its Plan"
)

_AZURE: tuple[tuple[ArmKind | None, str, Kind], ...] = (
    (None, "tags", Kind.TAGS),
    (ArmKind.LOCAL_GATEWAY, "properties.fqdn", Kind.FQDN),
    (ArmKind.LOCAL_GATEWAY, "properties.gatewayIpAddress", Kind.FQDN),
    (ArmKind.LOCAL_GATEWAY, "properties.bgpSettings.asn", Kind.HOME_ASN),
    (ArmKind.LOCAL_GATEWAY, "properties.bgpSettings.bgpPeeringAddress", Kind.HOME_BGP_ADDRESS),
    (ArmKind.CONNECTION, "properties.ipsecPolicies[0].saLifeTimeSeconds", Kind.SA_LIFETIME),
    (ArmKind.CONNECTION, "properties.ipsecPolicies", Kind.IPSEC_POLICY),
    (ArmKind.CONNECTION, "properties.dpdTimeoutSeconds", Kind.DPD_TIMEOUT),
    (ArmKind.CONNECTION, "properties.connectionMode", Kind.MODE),
    (ArmKind.CONNECTION, "properties.gatewayCustomBgpIpAddresses", Kind.TRANSIT),
    (ArmKind.GATEWAY, "properties.bgpSettings.asn", Kind.GATEWAY_ASN),
    (ArmKind.GATEWAY, "properties.bgpSettings.bgpPeeringAddresses", Kind.GATEWAY_APIPA),
    (ArmKind.GATEWAY, "properties.sku", Kind.SKU),
    (ArmKind.GATEWAY, "properties.vpnGatewayGeneration", Kind.SKU),
    (ArmKind.GATEWAY, "properties.activeActive", Kind.INSTANCES),
    (ArmKind.GATEWAY, "properties.ipConfigurations", Kind.INSTANCES),
    (ArmKind.VIRTUAL_NETWORK, "properties.addressSpace", Kind.ADDRESS_SPACE),
    (ArmKind.VIRTUAL_NETWORK, "properties.subnets", Kind.SUBNETS),
)
_HOME = (
    ("psk", Kind.KEY),
    ("esp.lifetime_s", Kind.SA_LIFETIME),
    ("ike", Kind.IPSEC_POLICY),
    ("esp", Kind.IPSEC_POLICY),
    ("bgp.local_asn", Kind.HOME_ASN),
    ("bgp.local_address", Kind.HOME_BGP_ADDRESS),
    ("bgp.peer_asn", Kind.GATEWAY_ASN),
    ("bgp.peer_address", Kind.TRANSIT),
    ("bgp.advertise", Kind.PREFIXES),
    ("bgp.accept", Kind.PREFIXES),
    ("transit", Kind.TRANSIT),
    ("initiates", Kind.MODE),
    ("mss", Kind.MSS),
    ("probe", Kind.PROBE),
)
"""Both: the first path that a difference begins with."""
_WRITES = {
    **dict.fromkeys((Kind.HOME_ASN, Kind.HOME_BGP_ADDRESS), ArmKind.LOCAL_GATEWAY),
    **dict.fromkeys((Kind.DPD_TIMEOUT, Kind.SA_LIFETIME, Kind.IPSEC_POLICY), ArmKind.CONNECTION),
    Kind.GATEWAY_ASN: ArmKind.GATEWAY,
}
"""The one write in Azure that begins the interruption: kinds of the same write interrupt at the same time."""


@dataclass(frozen=True)
class Outage:
    """What a Plan costs one Connection. `expected` None: nothing honest can be said, and `reason` says why.
    `simulated`: the model world's figures, else it follows from the Plan alone."""

    connection: str
    kinds: tuple[Kind, ...]
    expected: Seconds | None
    simulated: bool
    reason: str


def of_azure(refs: Iterable[ArmRef], changes: Sequence[Change], *, runs: bool) -> set[Kind]:
    """The kinds of what is done to these resources, all that a Connection stands on. `runs`: its home has a tunnel."""
    mine = {ref.id().lower() for ref in refs}
    return {k for c in changes if c.ref.id().lower() in mine for k in _of_change(c, runs)}


def _of_change(change: Change, runs: bool) -> set[Kind]:
    own = change.ref.kind in (ArmKind.LOCAL_GATEWAY, ArmKind.CONNECTION)
    match change.action:
        case Action.BLOCKED:
            return {Kind.BLOCKED}
        case Action.DELETE:
            return {Kind.ENDS}
        case Action.ADOPT if own and not runs:
            return {Kind.ADOPTION}
        case Action.ADOPT | Action.RELEASE:
            return {Kind.TAGS}
        case Action.CREATE if runs:
            return {Kind.MADE_AGAIN if own else Kind.GATEWAY_MADE_AGAIN}
        case Action.CREATE:
            return {Kind.NEW}
        case Action.UPDATE if change.differences:
            return {
                _kind(d.path, ((p, k) for a, p, k in _AZURE if a in (None, change.ref.kind)))
                for d in change.differences
            }
    return {Kind.OTHER}  # what failed is written again as it is


def of_home(action: str, differences: Sequence[Difference], *, runs: bool) -> set[Kind]:
    """The same of what the firewall is given; `action` as in control.planning."""
    if action == "none":
        return set()
    if action == "remove":
        return {Kind.ENDS}
    if not runs or action == "unknown":
        return {Kind.NEW}
    return {_kind(d.path, _HOME) for d in differences} or {Kind.DRIFT}


def expect(connection: str, kinds: set[Kind]) -> Outage:
    """No kinds: nothing is done to the Connection. One kind without a figure, and there is none for all."""
    found = tuple(sorted(kinds))
    if not found:
        return Outage(connection, (), Seconds(0.0, 0.0), False, "nothing is done to it")
    if kinds <= {Kind.NEW}:
        return Outage(connection, found, Seconds(0.0, 0.0), False, REASONS[Kind.NEW])
    unknown = [k for k in found if k not in SIMULATED and k is not Kind.NEW]
    if unknown:
        return Outage(connection, found, None, False, "; ".join(REASONS[k] for k in unknown))
    figures = {k: SIMULATED[k] for k in found if k in SIMULATED}
    breaking = [k for k, s in figures.items() if s.p95 > 0]
    if len({_WRITES.get(k) for k in breaking}) > 1:
        return Outage(connection, found, None, False, SEVERAL)
    most = Seconds(max(s.p50 for s in figures.values()), max(s.p95 for s in figures.values()))
    return Outage(connection, found, most, True, "; ".join(REASONS[k] for k in breaking or figures))


def _kind(path: str, table: Iterable[tuple[str, Kind]]) -> Kind:
    return next((kind for beginning, kind in table if path.startswith(beginning)), Kind.OTHER)
