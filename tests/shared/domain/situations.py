"""Witnesses of a world in which nothing is wrong, and one for every Finding: what a case changes is its cause."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

from shared.domain import parse, render
from shared.domain.arm import ArmKind, ArmRef
from shared.domain.bgp import AzureBgp, BgpPeer, PeerState
from shared.domain.both_ends import Ends
from shared.domain.conditions import Condition, Link
from shared.domain.dns import ONLY_IPV6, DnsView
from shared.domain.home_evidence import HomeEvidence, RunningBgp, RunningSa
from shared.domain.plan import Action, Change, Difference, Plan
from shared.domain.reconnect import Hour
from shared.domain.render import AzureEnd
from shared.domain.witnesses import CommandSeen, Witnesses
from shared.wire.commands import SecretRef
from shared.wire.reports import (
    BgpHealth,
    ChildHealth,
    FirewallHealth,
    Heartbeat,
    IkeHealth,
    ProbeHealth,
    TunnelHealth,
)
from tests.examples import CONNECTION, GATEWAY, changed

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
HEARD = NOW - timedelta(seconds=4)
GW, SPEC = parse.gateway(GATEWAY).spec, parse.connection(CONNECTION).spec
END = AzureEnd("203.0.113.10", "10.0.1.30")
HOME, OTHER = "198.51.100.23", "198.51.100.77"
WANTED = render.tunnel("home", "ID", SPEC, GW, END, SecretRef("psk-ID", "v1"))
SERVERS, RESOLVERS = ("ns1", "ns2", "ns3"), ("r1", "r2")

HEALTH = TunnelHealth(
    connection="home",
    connection_id="ID",
    generation=1,
    digest=WANTED.digest(),
    psk_version="v1",
    confirmed=True,
    ike=IkeHealth("ESTABLISHED", "203.0.113.10", 60.0, True),
    child=ChildHealth(True, 1, 1, 60.0),
    bgp=BgpHealth("Established", 60.0, ("10.0.0.0/16",), ("192.168.1.0/24",)),
    routes=("10.0.0.0/16",),
    probes=(ProbeHealth("10.0.0.4", True, 1.0),),
)
REPORT = Heartbeat(
    agent="A",
    controller="ctl",
    beat=7,
    at=0.0,
    version="1",
    high_seq=3,
    in_incident=False,
    paused=False,
    clock_skew_s=0.2,
    firewall=FirewallHealth("linux", "strongSwan 5.9.8", "192.168.178.2", True),
    tunnels=(HEALTH,),
    results=(),
)


def view(*answers: str, recursive: tuple[str, ...] | None = None, note: str = "") -> DnsView:
    """Every server says the same, and so do the resolvers unless they are given."""
    cached = answers if recursive is None else recursive
    return DnsView(SPEC.fqdn, dict.fromkeys(SERVERS, answers), dict.fromkeys(RESOLVERS, cached), 60, note)


def arm(overrides: dict[ArmKind, dict[str, Any]] | None = None) -> dict[ArmKind, Any]:
    """What ARM answers when everything is as rendered; `overrides` are properties."""
    wanted = [
        *render.gateway_resources("hub", GW, "ctl"),
        *render.connection_resources("home", SPEC, "hub", GW, "ctl", None),
    ]
    found: dict[ArmKind, Any] = {}
    for one in wanted:
        properties = {**one.body["properties"], "provisioningState": "Succeeded"}
        found[one.ref.kind] = {**one.body, "name": one.ref.name, "properties": properties}
    found[ArmKind.PUBLIC_IP]["properties"]["ipAddress"] = END.public_ip
    found[ArmKind.GATEWAY]["properties"]["bgpSettings"] = {"asn": GW.asn, "bgpPeeringAddress": END.bgp_address}
    found[ArmKind.CONNECTION]["properties"]["connectionStatus"] = "Connected"
    for kind, properties in (overrides or {}).items():
        found[kind]["properties"] |= properties
    return found


LINK = Link(
    resources={k: v for k, v in arm().items() if k in (ArmKind.LOCAL_GATEWAY, ArmKind.CONNECTION)},
    desired=WANTED,
    trouble="",
    agent_known=True,
    health=HEALTH,
    heartbeat_age_s=4.0,
    pin=None,
    fqdn=SPEC.fqdn,
    resolved=HOME,
    reported_address=HOME,
    spec=SPEC,
    dns=view(HOME),
    wan_address="192.168.178.2",
)
EVIDENCE = HomeEvidence(
    at=NOW - timedelta(seconds=20),
    applied=WANTED,
    sa=RunningSa(
        "203.0.113.10", "203.0.113.10", "GCMAES256", "SHA384", "ECP384", "GCMAES256", "GCMAES256", None
    ),
    bgp=RunningBgp(65010, 65515, "10.0.1.30", "192.168.1.1", 60, 180),
)  # fmt: skip
PEER = BgpPeer(
    neighbor="192.168.1.1", asn=65010, state=PeerState.CONNECTED, connected_duration_s=60.0, routes_received=1
)
AZURE_BGP = AzureBgp(
    asked=HEARD - timedelta(seconds=8),
    at=NOW,
    home="192.168.1.1",
    peers=(PEER,),
    learned=("192.168.1.0/24",),
    advertised=("10.0.0.0/16",),
)
FINE = Witnesses(
    name="home",
    now=NOW,
    link=LINK,
    ends=Ends(
        spec=SPEC,
        gateway=GW,
        desired=WANTED,
        resources=arm(),
        azure_bgp=AZURE_BGP,
        health=HEALTH,
        evidence=EVIDENCE,
        psk_version="v1",
        azure_psk_version="v1",
        home_address=HOME,
        reported_address=HOME,
    ),
    heard=HEARD,
    report=REPORT,
    azure_at=NOW,
    azure_status="Connected",
    plan=Plan(()),
    known_address=HOME,
    others=1,
)


def with_link(s: Witnesses = FINE, **changes: Any) -> Witnesses:
    return replace(s, link=replace(s.link, **changes))


def with_ends(s: Witnesses = FINE, **changes: Any) -> Witnesses:
    return replace(s, ends=replace(s.ends, **changes))


def with_health(s: Witnesses = FINE, **changes: Any) -> Witnesses:
    """The fresh heartbeat says so, to everybody who listens to it."""
    health = replace(HEALTH, **changes)
    return with_ends(with_link(s, health=health), health=health)


def with_report(**changes: Any) -> Witnesses:
    return replace(FINE, report=replace(REPORT, **changes))


def with_firewall(**changes: Any) -> Witnesses:
    return with_report(firewall=replace(REPORT.firewall, **changes))


def with_evidence(s: Witnesses = FINE, **changes: Any) -> Witnesses:
    return with_ends(s, evidence=replace(EVIDENCE, **changes))


def with_azure_bgp(s: Witnesses = FINE, **changes: Any) -> Witnesses:
    return with_ends(s, azure_bgp=AZURE_BGP.model_copy(update=changes))


def with_peer(s: Witnesses = FINE, **changes: Any) -> Witnesses:
    """Azure's gateway says so of its neighbour at home."""
    return with_azure_bgp(s, peers=(PEER.model_copy(update=changes),))


def with_arm(kind: ArmKind, **properties: Any) -> Witnesses:
    return with_ends(resources=arm({kind: properties}))


def with_policy(**fields: str) -> Witnesses:
    """Azure's policy was edited."""
    return with_arm(ArmKind.CONNECTION, ipsecPolicies=[{**SPEC.ipsec.to_arm(), **fields}])


def with_applied(**changes: Any) -> Witnesses:
    """The firewall has, and says it has, something else."""
    other = replace(WANTED, **changes)
    health = replace(HEALTH, digest=other.digest())
    return with_evidence(with_ends(with_link(health=health), health=health), applied=other)


def without_agent(status: str = "Connected") -> Witnesses:
    quiet = with_link(with_ends(health=None, reported_address=None), health=None, reported_address=None)
    return replace(with_link(quiet, heartbeat_age_s=400.0), report=None, azure_status=status)


def down(reason: str | None = None, ike: str = "CONNECTING") -> Witnesses:
    there = with_peer(state=PeerState.CONNECTING, connected_duration_s=None)
    return with_health(
        there,
        ike=replace(HEALTH.ike, state=ike),
        child=ChildHealth(False, 0, 0, None),
        bgp=BgpHealth("Active", 0.0, (), ()),
        probes=(),
        ike_error=reason,
    )


def bgp(state: str = "Active", error: str | None = None, **changes: Any) -> Witnesses:
    there = with_peer(state=PeerState.CONNECTING, connected_duration_s=None)
    return with_health(there, bgp=BgpHealth(state, 0.0, (), (), error), **changes)


def gateway_says(kind: str, reason: str) -> Witnesses:
    told = Condition(type=kind, status="False", reason=reason, message="as the step saw it", last_transition_time=NOW)
    return with_ends(replace(FINE, gateway=(told,)), resources={})


def command(kind: str, outcome: str | None, detail: str = "", over: bool = False) -> Witnesses:
    return replace(FINE, commands=(CommandSeen(kind, NOW - timedelta(seconds=90), outcome, detail, over),))


def planned(action: Action) -> Witnesses:
    ref = ArmRef("s", "rg", ArmKind.CONNECTION, "home")
    edit = Difference("properties.dpdTimeoutSeconds", 30, 45)
    return replace(FINE, plan=Plan((Change(action, ref, {}, (edit,), "home was not made by Homelink"),)))


def dns(*answers: str, **more: Any) -> Witnesses:
    found = view(*answers, **more)
    return with_ends(with_link(dns=found, resolved=found.agreed()), home_address=found.agreed())


def pinned(hours: float) -> Witnesses:
    return with_link(replace(FINE, pinned_since=NOW - timedelta(hours=hours)), pin=HOME)


def moved(resolved: str) -> Witnesses:
    """The home speaks from another address; `resolved` is what its name says."""
    s = with_link(dns=view(resolved), resolved=resolved, reported_address=OTHER)
    return with_ends(s, home_address=resolved, reported_address=OTHER)


def said(spec_path: str, value: Any) -> Witnesses:
    return with_link(spec=parse.connection(changed(CONNECTION, spec_path, value)).spec)


def partly_dark() -> Witnesses:
    found = replace(view(HOME), authoritative={"ns1": (HOME,), "ns2": (HOME,), "ns3": None})
    return with_link(dns=found)


CASES: dict[str, Callable[[], Witnesses]] = {
    "control-plane-trouble": lambda: gateway_says("Ready", "ControlPlaneTrouble"),
    "tables-restored": lambda: replace(FINE, restored=True),
    "not-ours": lambda: planned(Action.BLOCKED),
    "azure-refuses": lambda: replace(FINE, refusal="connections/home: InvalidParameter: no"),
    "gateway-missing": lambda: with_ends(resources={**arm(), ArmKind.GATEWAY: None}),
    "gateway-failed": lambda: with_arm(ArmKind.GATEWAY, provisioningState="Failed"),
    "gateway-busy": lambda: replace(FINE, operation="put of virtualNetworkGateways/hub runs"),
    "azure-missing": lambda: with_link(resources={ArmKind.LOCAL_GATEWAY: None, ArmKind.CONNECTION: None}),
    "connection-failed": lambda: with_link(
        resources={
            k: {**v, "properties": {"provisioningState": "Failed"}} for k, v in (LINK.resources or {}).items() if v
        }
    ),
    "connection-edited": lambda: planned(Action.UPDATE),
    "azure-failover": lambda: replace(down(), down_since=NOW - timedelta(seconds=8), down_elsewhere=("office",)),
    "prefix-overlap": lambda: with_arm(
        ArmKind.VIRTUAL_NETWORK, addressSpace={"addressPrefixes": ["10.0.0.0/16", "192.168.0.0/16"]}
    ),
    "fqdn-not-resolved": lambda: with_link(
        dns=DnsView(SPEC.fqdn, dict.fromkeys(SERVERS, None), {}, 0, "SERVFAIL"), resolved=None
    ),
    "fqdn-no-such-name": lambda: dns(note="NXDOMAIN"),
    "fqdn-no-address": lambda: dns(note="no A record"),
    "fqdn-ipv6-only": lambda: dns(note=ONLY_IPV6),
    "fqdn-several-addresses": lambda: dns(HOME, OTHER),
    "fqdn-private-address": lambda: dns("192.168.178.2"),
    "fqdn-cgnat": lambda: dns("100.64.7.7"),
    "fqdn-server-fails": partly_dark,
    "resolver-differs": lambda: dns(HOME, recursive=(OTHER,)),
    "address-shared": lambda: with_link(taken={"office": HOME}),
    "home-address-changed": lambda: moved(OTHER),
    "isp-reconnect": lambda: with_link(reconnect=Hour(time(3, 0), 5)),
    "ddns-not-updated": lambda: moved(HOME),
    "azure-address-outdated": lambda: replace(moved(OTHER), azure_status="NotConnected"),
    "pinned": lambda: pinned(0.1),
    "pin-forgotten": lambda: pinned(30),
    "double-nat": lambda: with_link(wan_address="100.64.9.9"),
    "port-forward-needed": lambda: said("spec.mode", "Default"),
    "agent-not-enrolled": lambda: with_link(without_agent(), agent_known=False),
    "agent-never-seen": lambda: with_link(without_agent(), heartbeat_age_s=None),
    "agent-silent": without_agent,
    "home-offline": lambda: without_agent("NotConnected"),
    "agent-paused": lambda: with_report(paused=True),
    "clock-skew": lambda: with_report(clock_skew_s=-4000.0),
    "firewall-unreachable": lambda: with_firewall(reachable=False, error="charon at /run/charon.vici: no answer"),
    "firewall-way-closed": lambda: with_firewall(
        notes=("rest: the REST API package is not there (HTTP 404): an upgrade of pfSense removes it",)
    ),
    "firewall-changes-pending": lambda: with_firewall(notes=("changes made by hand wait to be applied: ipsec",)),
    "firewall-pending": lambda: with_applied(mss=1360),
    "firewall-unconfirmed": lambda: with_health(confirmed=False),
    "firewall-rolled-back": lambda: command("apply", "failed", "rolled back, because it was not confirmed in time: x"),
    "firewall-drift": lambda: with_evidence(drift=("charon: the connection is not loaded",)),
    "transit-impossible": lambda: with_link(desired=None, trouble="Azure's BGP address is the end of its /30"),
    "command-refused": lambda: command("apply", "failed", "FRR runs BGP with ASN 65099"),
    "command-expired": lambda: command("initiate", None, over=True),
    "firewall-rule-missing": lambda: with_evidence(drift=("rule 1700000001: gone",)),
    "auto-rules-off": lambda: with_evidence(notes=("system/disablevpnrules is set",)),
    "apipa-blocked": lambda: with_evidence(drift=("system/no_apipa_block: gone",)),
    "peer-not-responding": lambda: down("PEER_NOT_RESPONDING"),
    "psk-mismatch": lambda: down("AUTHENTICATION_FAILED"),
    "psk-missing-at-home": lambda: down("NO_SHARED_KEY"),
    "psk-version-differs": lambda: with_ends(azure_psk_version="v0"),
    "peer-id-mismatch": lambda: down("PEER_IDENTITY_MISMATCH"),
    "peer-id-differs": lambda: with_applied(peer_id="203.0.113.99"),
    "ike-proposal-mismatch": lambda: down("NO_PROPOSAL_CHOSEN"),
    "esp-proposal-mismatch": lambda: down("NO_PROPOSAL_CHOSEN", ike="ESTABLISHED"),
    "ike-policy-differs": lambda: with_policy(dhGroup="ECP256"),
    "esp-policy-differs": lambda: with_policy(ipsecEncryption="AES256", ipsecIntegrity="SHA256"),
    "pfs-differs": lambda: with_policy(pfsGroup="None"),
    "selector-mismatch": lambda: down("TS_UNACCEPTABLE"),
    "half-open": lambda: replace(FINE, azure_status="NotConnected"),
    "tunnel-down": down,
    "home-asn-differs": lambda: with_arm(
        ArmKind.LOCAL_GATEWAY, bgpSettings={"asn": 65011, "bgpPeeringAddress": "192.168.1.1"}
    ),
    "azure-asn-differs": lambda: with_evidence(bgp=replace(EVIDENCE.bgp or RunningBgp(*[None] * 6), peer_asn=65016)),
    "asn-mismatch": lambda: bgp(error="OPEN Message Error/Bad Peer AS"),
    "bgp-peer-is-transit": lambda: with_arm(
        ArmKind.LOCAL_GATEWAY, bgpSettings={"asn": 65010, "bgpPeeringAddress": WANTED.transit.local}
    ),
    "bgp-peer-address-wrong": lambda: with_arm(
        ArmKind.LOCAL_GATEWAY, bgpSettings={"asn": 65010, "bgpPeeringAddress": "192.168.1.254"}
    ),
    "bgp-timers-differ": lambda: with_evidence(bgp=replace(EVIDENCE.bgp or RunningBgp(*[None] * 6), hold_s=9)),
    "bgp-policy-missing": lambda: bgp(error="no policy: FRR exchanges nothing without a route map in each direction"),
    "prefix-limit": lambda: bgp(error="Cease/Maximum Number of Prefixes Reached"),
    "bgp-half-open": lambda: with_peer(state=PeerState.CONNECTING),
    "bgp-down": bgp,
    "routes-incomplete": lambda: with_health(bgp=replace(HEALTH.bgp, received=())),
    "azure-lacks-prefixes": lambda: with_azure_bgp(learned=()),
    "prefix-leaked": lambda: with_azure_bgp(learned=("192.168.1.0/24", "192.168.7.0/24")),
    "probe-fails": lambda: with_health(probes=(ProbeHealth("10.0.0.4", False, None),)),
    "mss-unusual": lambda: said("spec.mss", 1440),
    "mss-differs": lambda: with_applied(mss=1440),
}
