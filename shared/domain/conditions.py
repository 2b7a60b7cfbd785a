"""Conditions: what is true of a Gateway or Connection, why, and since when. Kubernetes' meaning of the words.

Pure: the reconciler hands in what it saw. A message says what to do next wherever there is something to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from shared.wire.commands import DesiredTunnel
from shared.wire.reports import TunnelHealth

from . import addressing, limits
from .arm import ArmKind
from .dns import DnsFault, DnsView
from .model import Model
from .plan import Plan, is_settled, provisioning_state
from .reconnect import Hour
from .refusals import REFUSALS
from .render import Json
from .spec import ConnectionSpec

Status = Literal["True", "False", "Unknown"]
Verdict = tuple[Status, str, str]  # status, reason, message
Resources = Mapping[ArmKind, Json | None]

NOT_APPLIED = "the firewall has another configuration"
"""Of what missing_evidence may say, what a planned change looks like until it is applied."""


class Condition(Model):
    """`lastTransitionTime`: when `status` last changed, UTC."""

    type: str
    status: Status
    reason: str
    message: str
    last_transition_time: datetime


@dataclass(frozen=True)
class Link:
    """What is known of one Connection at one moment. `health` is None when the last heartbeat is not fresh, `resources`
    while an operation runs. `trouble`: why there is no desired tunnel although Azure's addresses are known. `dns`: the
    whole view that `resolved` comes from. `taken`: the addresses of the gateway's other Connections, by their names.
    `wan_address`: what the firewall has on its WAN, if it says. `operated`: an operation on its own resources runs.
    `azure_before`: its last AzureReady, which holds while nothing can be read and nothing of it is operated on.
    `reconnect`: the hour at which the provider cuts the line, if it has one. `key_age_days`: since its
    version was first seen. `key_unusual`: the pre-shared key came
    from Azure at adoption and would be refused in a new Connection."""

    resources: Resources | None
    desired: DesiredTunnel | None
    trouble: str
    agent_known: bool
    health: TunnelHealth | None
    heartbeat_age_s: float | None
    pin: str | None
    fqdn: str
    resolved: str | None
    reported_address: str | None
    spec: ConnectionSpec | None = None
    dns: DnsView | None = None
    taken: Mapping[str, str] = field(default_factory=dict)
    wan_address: str | None = None
    operated: bool = False
    azure_before: Verdict | None = None
    reconnect: Hour | None = None
    key_unusual: bool = False
    key_age_days: int = 0


def transitioned(old: Iterable[Condition], verdicts: Mapping[str, Verdict], now: datetime) -> tuple[Condition, ...]:
    """The new Conditions, keeping the time of those whose status is the same."""
    since = {c.type: (c.status, c.last_transition_time) for c in old}
    made = []
    for kind, (status, reason, message) in verdicts.items():
        before = since.get(kind)
        at = before[1] if before and before[0] == status else now
        made.append(Condition(type=kind, status=status, reason=reason, message=message, last_transition_time=at))
    return tuple(made)


def gateway(resources: Resources | None, plan: Plan, note: str, old: Iterable[Condition]) -> dict[str, Verdict]:
    """`note` is what the running operation or ARM's last refusal says, empty when there is none. While an operation
    runs nothing is read (`resources` None): what was true before stays, and InSync tells."""
    kinds = {
        "VirtualNetworkReady": ArmKind.VIRTUAL_NETWORK,
        "PublicIpReady": ArmKind.PUBLIC_IP,
        "GatewayReady": ArmKind.GATEWAY,
    }
    before = {c.type: (c.status, c.reason, c.message) for c in old}
    verdicts: dict[str, Verdict] = {
        name: before.get(name, ("False", "Missing", note))
        if resources is None
        else _resource(resources.get(kind), note)
        for name, kind in kinds.items()
    }
    blocked = [c.reason for c in plan.changes if c.reason]
    if blocked:
        verdicts["InSync"] = ("False", "Blocked", " ".join(blocked))
    elif plan.changes or resources is None:
        verdicts["InSync"] = ("False", "Pending", note or f"{len(plan.changes)} changes to go.")
    else:
        verdicts["InSync"] = ("True", "AsSpecified", "Azure is as the specs say.")
    return {"Ready": _summary(verdicts), **verdicts}


def connection(link: Link, note: str) -> dict[str, Verdict]:
    """All Conditions of a Connection; Ready is true when the tunnel is proven to work end to end."""
    verdicts = {
        "AzureReady": _azure(link, note),
        "AgentConnected": _agent(link),
        "FirewallReady": _firewall(link),
        "TunnelUp": _tunnel(link),
        "BgpEstablished": _bgp(link),
        "RoutesExchanged": _routes(link),
        "TrafficFlows": _traffic(link),
    }
    ready = _summary(verdicts)
    verdicts["AddressCurrent"] = _address(link)
    verdicts["Recommended"] = _recommended(link)
    return {"Ready": ready, **verdicts}


def probe_ok(desired: DesiredTunnel, health: TunnelHealth | None) -> bool:
    """A ping through the tunnel was answered."""
    return health is not None and any(p.ok for p in health.probes if p.target == desired.probe)


def missing_evidence(desired: DesiredTunnel, health: TunnelHealth | None) -> list[str]:
    """What still lacks for a tunnel to count as proven; empty when SA, BGP, routes both ways and probe all hold."""
    if health is None:
        return ["no fresh heartbeat"]
    lacks = []
    if health.digest != desired.digest():
        lacks.append(NOT_APPLIED)
    if not health.child.installed:
        lacks.append("no child SA")
    if health.bgp.state != "Established":
        lacks.append(f"BGP is {health.bgp.state}")
    if set(desired.bgp.accept) - set(health.bgp.received):
        lacks.append("Azure's prefixes are not received")
    if set(desired.bgp.advertise) - set(health.bgp.sent):
        lacks.append("the home's prefixes are not sent")
    if desired.probe and not probe_ok(desired, health):
        lacks.append(f"the probe to {desired.probe} fails")
    return lacks


def _summary(verdicts: Mapping[str, Verdict]) -> Verdict:
    for kind, (status, reason, message) in verdicts.items():
        if status != "True":
            return status, reason, f"{kind}: {message}"
    return "True", "Verified", "Everything holds."


def _resource(resource: Json | None, note: str) -> Verdict:
    if resource is None:
        return "False", "Missing", note or "Not created yet."
    state = provisioning_state(resource)
    if is_settled(resource):
        return "True", "Succeeded", f"{resource.get('name')} exists."
    return "False", state.capitalize() or "Unknown", note or f"Azure reports {state or 'nothing'}."


def _azure(link: Link, note: str) -> Verdict:
    if link.resources is None:
        running: Verdict = ("False", "OperationRunning", note)
        return running if link.operated or link.azure_before is None else link.azure_before
    for kind in (ArmKind.LOCAL_GATEWAY, ArmKind.CONNECTION):
        verdict = _resource(link.resources.get(kind), note)
        if verdict[0] != "True":
            return verdict
    status = (link.resources[ArmKind.CONNECTION] or {}).get("properties", {}).get("connectionStatus", "Unknown")
    return "True", "Succeeded", f"Azure's connection exists and reports {status}."


def _agent(link: Link) -> Verdict:
    if not link.agent_known:
        return (
            "False",
            "NotEnrolled",
            "No agent of that name has enrolled: POST /api/agents/{name}/token, then enrol it.",
        )
    if link.heartbeat_age_s is None:
        return "False", "NeverSeen", "The agent enrolled but has sent no heartbeat: is its service running?"
    if link.health is None and link.reported_address is None:
        return (
            "Unknown",
            "Silent",
            f"No heartbeat for {link.heartbeat_age_s:.0f} s: power, Internet or the agent is down.",
        )
    return "True", "Heartbeats", "The agent reports."


def _firewall(link: Link) -> Verdict:
    if link.desired is None and link.trouble:
        return "False", "Impossible", link.trouble  # first, since nothing is sent that the agent could report
    if link.health is None:
        return "Unknown", "NoReport", "The agent has not reported this tunnel yet."
    if link.desired is None:
        return "Unknown", "Waiting", "Waits for Azure."
    if link.health.digest != link.desired.digest():
        return "False", "Pending", "The firewall does not have the desired configuration yet."
    if not link.health.confirmed:
        return "False", "Unconfirmed", "Applied, and reverted by the firewall itself unless it proves to work."
    return "True", "Applied", f"Generation {link.health.generation} is applied."


def _tunnel(link: Link) -> Verdict:
    if link.health is None:
        return "Unknown", "NoReport", "The agent has not reported this tunnel."
    if link.health.child.installed:
        return "True", "Installed", f"IKE {link.health.ike.state}, child SA installed."
    refusal = REFUSALS.get(link.health.ike_error or "")
    if refusal is not None and refusal.reason:
        return "False", refusal.reason, refusal.message
    error = f" ({link.health.ike_error})" if link.health.ike_error else ""
    return "False", "Down", f"IKE is {link.health.ike.state}, no child SA{error}."


def _bgp(link: Link) -> Verdict:
    if link.health is None:
        return "Unknown", "NoReport", "The agent has not reported this tunnel."
    bgp = link.health.bgp
    if bgp.state == "Established":
        return "True", "Established", f"For {bgp.uptime_s:.0f} s."
    if "peer as" in (bgp.last_error or "").lower():
        return "False", "AsnMismatch", "The ends do not agree on the ASNs: compare the firewall's with spec.home.asn and the gateway's with spec.asn."  # fmt: skip  # noqa: E501
    return "False", "Down", f"BGP is {bgp.state}" + (f" ({bgp.last_error})." if bgp.last_error else ".")


def _routes(link: Link) -> Verdict:
    if link.health is None or link.desired is None:
        return "Unknown", "NoReport", "The agent has not reported this tunnel."
    here = set(link.desired.bgp.accept) - set(link.health.bgp.received)
    there = set(link.desired.bgp.advertise) - set(link.health.bgp.sent)
    if here or there:
        parts = [f"not received: {', '.join(sorted(here))}"] if here else []
        parts += [f"not sent: {', '.join(sorted(there))}"] if there else []
        return "False", "Incomplete", "; ".join(parts) + "."
    return "True", "Exchanged", "Prefixes go both ways."


def _traffic(link: Link) -> Verdict:
    if link.health is None or link.desired is None:
        return "Unknown", "NoReport", "The agent has not reported this tunnel."
    if link.desired.probe is None:
        return "True", "NotProbed", "spec.probe names nothing to ping."
    if probe_ok(link.desired, link.health):
        return "True", "ProbeAnswers", f"{link.desired.probe} answers through the tunnel."
    return "False", "ProbeFails", f"{link.desired.probe} does not answer through the tunnel."


UNEXPLAINED = (DnsFault.NOT_RESOLVED, DnsFault.NO_ADDRESS)
"""What the resolver noted about these (SERVFAIL, NXDOMAIN, a CNAME that leads nowhere) tells what to mend."""
_DNS_FAULTS: Mapping[DnsFault, str] = {
    DnsFault.NOT_RESOLVED: "has no single IPv4 address that its servers agree on",
    DnsFault.NO_ADDRESS: "has no A record: let the router's DDNS client write one",
    DnsFault.IPV6_ONLY: "has AAAA records only, and Azure needs IPv4: let the DDNS client write an A record, and "
    "ask the provider for a public IPv4 address if there is none (DS-Lite)",
    DnsFault.SEVERAL_ADDRESSES: "has several A records, of which Azure takes any: leave the home's one",
    DnsFault.PRIVATE_ADDRESS: "leads to an address that is no public one: the router that updates it is behind another "
    "NAT (double NAT). Let the DDNS client find out the address from outside",
    DnsFault.CGNAT: "leads into 100.64.0.0/10, which the provider shares among customers (CGNAT): let the DDNS client "
    "find out the address from outside, or ask the provider for a public one",
}


def _address(link: Link) -> Verdict:
    if link.pin:
        return "True", "Pinned", f"Azure is pointed at {link.pin} until {link.fqdn} has settled."
    fault = link.dns.fault() if link.dns else None
    if fault is not None:
        found = f" ({link.resolved})" if link.resolved else ""
        note = f" ({link.dns.note})" if link.dns and link.dns.note and fault in UNEXPLAINED else ""
        return "False", fault.value, f"{link.fqdn} {_DNS_FAULTS[fault]}{found}{note}."
    if link.resolved is None:
        return "False", "NotResolved", f"{link.fqdn} {_DNS_FAULTS[DnsFault.NOT_RESOLVED]}."
    for name, address in link.taken.items():
        if address in (link.resolved, link.reported_address):
            return "False", "Shared", f"{address} is the address of Connection {name} too, and Azure needs one for each: two homes behind one address need two gateways."  # fmt: skip  # noqa: E501
    if link.reported_address and link.reported_address != link.resolved:
        return "False", "Stale", f"{link.fqdn} says {link.resolved}, but the home now speaks from {link.reported_address}: the router has not updated DDNS."  # fmt: skip  # noqa: E501
    return "True", "Agrees", f"{link.fqdn} is {link.resolved}."


def remarks(link: Link) -> list[tuple[str, str]]:
    """What may work, but is out of the ordinary: (reason, text), told and never in the way of Ready."""
    found: list[tuple[str, str]] = []
    if link.key_age_days >= limits.KEY_OLD_DAYS:
        known = f"The pre-shared key is {link.key_age_days} days old"
        found.append(("KeyOld", f"{known}: PUT a new one to .../psk, it costs no packet."))
    wan = addressing.address(link.wan_address) if link.wan_address else None
    if link.dns is not None and link.dns.fault() in (DnsFault.PRIVATE_ADDRESS, DnsFault.CGNAT):
        found.append(("DoubleNat", f"{link.fqdn} leads to {link.resolved}, so there is a NAT beyond the router."))
    elif wan is not None and wan in addressing.CGNAT:
        found.append(("DoubleNat", f"The firewall's WAN has {wan}, an address that the provider shares (CGNAT)."))
    if link.spec is not None and link.spec.mode != "ResponderOnly":
        to = f"the firewall's WAN address {wan}" if wan else "the firewall"
        if wan is None or not addressing.is_public(wan):
            found.append(
                (
                    "PortForwardNeeded",
                    f"Mode {link.spec.mode} lets Azure dial: forward UDP 500 and 4500 on the router to {to}.",
                )
            )
    if link.spec is not None and not limits.MSS_USUAL.least <= link.spec.mss <= limits.MSS_USUAL.most:
        usual = f"{limits.MSS_USUAL.least} to {limits.MSS_USUAL.most}"
        found.append(
            ("MssUnusual", f"spec.mss is {link.spec.mss}: {usual} is usual, {limits.MSS_USUAL.default} is Azure's.")
        )
    if link.key_unusual:
        found.append(("KeyUnusual", "The adopted pre-shared key is short, or has characters that one end may lack."))
    return found


def _recommended(link: Link) -> Verdict:
    found = remarks(link)
    if not found:
        return "True", "AsRecommended", "Nothing is out of the ordinary."
    return "False", found[0][0], " ".join(text for _, text in found)
