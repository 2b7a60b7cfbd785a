"""Both ends of a Connection in one table: what Azure has, what the firewall was given, what runs, and what was wished.

One row per field that the ends must agree on, in the words of the spec. A column is None where that place has no such
field, or where nobody told; it never counts as a difference. Keys are compared by the names of their versions, and
their values are nowhere in here. What runs may lag behind what is configured: an SA keeps its algorithms until it is
negotiated anew, and Azure's fixed timers are not read from anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import JsonValue

from shared.wire.commands import DesiredTunnel
from shared.wire.reports import TunnelHealth

from .arm import ArmKind
from .bgp import AzureBgp
from .home_evidence import HomeEvidence
from .model import Model
from .render import Json, azure_end
from .spec import ConnectionSpec, GatewaySpec

Column = dict[str, Any]
_ALIKE = {"DHGROUP2048": "DHGROUP14", "PFS14": "PFS2048", "CONNECTED": "ESTABLISHED"}
"""Two names of Azure's for one group (Azure FAQ); Azure's word for FRR's."""
_ALIKE |= dict.fromkeys(("CONNECTING", "STOPPED", "ACTIVE", "CONNECT", "OPENSENT", "OPENCONFIRM", "NONE"), "IDLE")
"""States of a BGP session that does not stand."""
_AT_LEAST = {"azure.prefixes"}
"""More than wished is no fault there: Azure announces peered networks, too."""


class Row(Model):
    """`change`: the side to change, None where nothing differs or nobody knows what was wished. `spec`: both ends agree
    with each other, so the document may be what is wrong. Where each end has a value of its own, Azure is first."""

    field: str
    azure: JsonValue = None
    firewall: JsonValue = None
    running_sa: JsonValue = None
    frr: JsonValue = None
    desired: JsonValue = None
    differs: bool = False
    change: Literal["azure", "firewall", "spec"] | None = None


@dataclass(frozen=True)
class Ends:
    """What is known of both ends. `resources`: as ARM returns them, empty when ARM was not asked. `azure_bgp`: what its
    gateway said of BGP within the last minutes. `health`: of a fresh heartbeat. `last_sent`: what the agent was last
    told to have. `home_address`: where Azure should look for the home. `reported_address`: where the home speaks from.
    """

    spec: ConnectionSpec
    gateway: GatewaySpec
    desired: DesiredTunnel | None = None
    resources: Mapping[ArmKind, Json | None] = field(default_factory=dict)
    azure_bgp: AzureBgp | None = None
    health: TunnelHealth | None = None
    evidence: HomeEvidence | None = None
    last_sent: DesiredTunnel | None = None
    psk_version: str | None = None
    azure_psk_version: str | None = None
    home_address: str | None = None
    reported_address: str | None = None

    def applied(self) -> DesiredTunnel | None:
        """The tunnel that the firewall has: a heartbeat names it by its digest, an answer to a diagnose in full."""
        told = self.evidence.applied if self.evidence else None
        if self.health is None:
            return told
        known = (t for t in (self.desired, told, self.last_sent) if t is not None)
        return next((t for t in known if t.digest() == self.health.digest), None)


def table(ends: Ends) -> tuple[Row, ...]:
    """Every field that somebody tells something of, in the order of FIELDS."""
    wished, azure = _wished(ends), _azure(ends)
    firewall, sa, frr = _firewall(ends), _running(ends), _frr(ends)
    rows = (_row(f, wished.get(f), azure.get(f), firewall.get(f), sa.get(f), frr.get(f)) for f in FIELDS)
    return tuple(r for r in rows if any(v is not None for v in (r.azure, r.firewall, r.running_sa, r.frr, r.desired)))


IKE_FIELDS = ("ipsec.ikeEncryption", "ipsec.ikeIntegrity", "ipsec.dhGroup")
ESP_FIELDS = ("ipsec.ipsecEncryption", "ipsec.ipsecIntegrity")
PFS_FIELD = "ipsec.pfsGroup"
FIELDS = (
    "home.address",
    "azure.address",
    "azure.ikeIdentity",
    "psk.version",
    *IKE_FIELDS,
    *ESP_FIELDS,
    PFS_FIELD,
    "ipsec.saLifetimeSeconds",
    "mode",
    "dpdTimeoutSeconds",
    "bgp.enabled",
    "home.asn",
    "home.bgpAddress",
    "azure.asn",
    "azure.bgpAddress",
    "bgp.keepaliveSeconds",
    "bgp.holdSeconds",
    "bgp.homeAsn",
    "bgp.homeAddress",
    "bgp.state",
    "home.prefixes",
    "bgp.learnedByAzure",
    "azure.prefixes",
    "bgp.announcedByAzure",
    "transit.local",
    "transit.remote",
    "mss",
)


def _row(name: str, wished: Any, azure: Any, firewall: Any, sa: Any, frr: Any) -> Row:
    home = [v for v in (firewall, sa, frr) if v is not None]
    row = Row(field=name, azure=azure, firewall=firewall, running_sa=sa, frr=frr, desired=wished)
    if wished is None:
        told = [v for v in (azure, *home) if v is not None]
        return row.model_copy(update={"differs": any(not _same(name, told[0], v) for v in told[1:])})
    azure_off = azure is not None and not _same(name, wished, azure)
    home_off = [v for v in home if not _same(name, wished, v)]
    if not azure_off and not home_off:
        return row
    agree = azure_off and len(home_off) == len(home) > 0 and all(_same(name, azure, v) for v in home)
    change = "spec" if agree else "azure" if azure_off else "firewall"
    return row.model_copy(update={"differs": True, "change": change})


def _same(name: str, wished: Any, seen: Any) -> bool:
    if isinstance(wished, list | tuple) and isinstance(seen, list | tuple):
        have = {_plain(v) for v in seen}
        want = {_plain(v) for v in wished}
        return want <= have if name in _AT_LEAST else want == have
    return bool(_plain(wished) == _plain(seen))


def _plain(value: Any) -> Any:
    text = value.upper() if isinstance(value, str) else value
    return _ALIKE.get(text, text) if isinstance(text, str) else text


def _wished(ends: Ends) -> Column:
    spec, desired = ends.spec, ends.desired
    column: Column = {
        "home.address": ends.home_address,
        "psk.version": ends.psk_version,
        **{f"ipsec.{k}": v for k, v in spec.ipsec.model_dump(by_alias=True).items()},
        "mode": spec.mode,
        "dpdTimeoutSeconds": spec.dpd_timeout_seconds,
        "bgp.enabled": True,
        "home.asn": spec.home.asn,
        "bgp.homeAsn": spec.home.asn,
        "azure.asn": ends.gateway.asn,
        "home.prefixes": list(spec.home.prefixes),
        "azure.prefixes": list(ends.gateway.virtual_network.address_space),
        "mss": spec.mss,
    }
    home = {} if desired is None else {**_of_tunnel(desired), "bgp.homeAddress": desired.bgp.local_address}
    return home | {k: v for k, v in column.items() if v is not None}


def _of_tunnel(t: DesiredTunnel) -> Column:
    """The home half, whether wished or applied."""
    return {
        "azure.address": t.peer_address,
        "azure.ikeIdentity": t.peer_id,
        "psk.version": t.psk.version,
        "ipsec.ikeEncryption": t.ike.encryption,
        "ipsec.ikeIntegrity": t.ike.integrity,
        "ipsec.dhGroup": t.ike.dh_group,
        "ipsec.ipsecEncryption": t.esp.encryption,
        "ipsec.ipsecIntegrity": t.esp.integrity,
        "ipsec.pfsGroup": t.esp.pfs_group,
        "ipsec.saLifetimeSeconds": t.esp.lifetime_s,
        "home.asn": t.bgp.local_asn,
        "home.bgpAddress": t.bgp.local_address,
        "azure.asn": t.bgp.peer_asn,
        "azure.bgpAddress": t.bgp.peer_address,
        "bgp.keepaliveSeconds": t.bgp.keepalive_s,
        "bgp.holdSeconds": t.bgp.hold_s,
        "home.prefixes": list(t.bgp.advertise),
        "azure.prefixes": list(t.bgp.accept),
        "transit.local": t.transit.local,
        "transit.remote": t.transit.remote,
        "mss": t.mss,
    }


def _azure(ends: Ends) -> Column:
    def properties(kind: ArmKind) -> Json:
        return (ends.resources.get(kind) or {}).get("properties") or {}

    gateway, lng = properties(ArmKind.GATEWAY), properties(ArmKind.LOCAL_GATEWAY)
    link, net = properties(ArmKind.CONNECTION), properties(ArmKind.VIRTUAL_NETWORK)
    end = azure_end(ends.resources.get(ArmKind.GATEWAY), ends.resources.get(ArmKind.PUBLIC_IP))
    policies = link.get("ipsecPolicies") or [{}]
    policy: Column = {f"ipsec.{k}": v for k, v in policies[0].items()}
    policy["ipsec.saLifetimeSeconds"] = policies[0].get("saLifeTimeSeconds")
    home_bgp = lng.get("bgpSettings") or {}
    where = lng.get("gatewayIpAddress") or (ends.home_address if lng.get("fqdn") == ends.spec.fqdn else lng.get("fqdn"))
    apipa = [i.get("customBgpIpAddress") for i in link.get("gatewayCustomBgpIpAddresses") or []]
    return {
        **policy,
        "home.address": where,
        "azure.address": end.public_ip if end else None,
        "azure.ikeIdentity": end.public_ip if end else None,
        "psk.version": ends.azure_psk_version,
        "mode": link.get("connectionMode"),
        "dpdTimeoutSeconds": link.get("dpdTimeoutSeconds"),
        "bgp.enabled": link.get("enableBgp"),
        "home.asn": home_bgp.get("asn"),
        "home.bgpAddress": home_bgp.get("bgpPeeringAddress"),
        "azure.asn": (gateway.get("bgpSettings") or {}).get("asn"),
        "azure.bgpAddress": apipa[0] if apipa else end.bgp_address if end else None,
        "azure.prefixes": (net.get("addressSpace") or {}).get("addressPrefixes"),
        **_azure_bgp(ends.azure_bgp),
    }


def _azure_bgp(told: AzureBgp | None) -> Column:
    """What Azure's bgpd has, which may not be what the resources say. Without a session it has nobody's routes."""
    peer = told.peer() if told else None
    if told is None or peer is None:
        return {}
    column: Column = {"bgp.homeAsn": peer.asn, "bgp.homeAddress": peer.neighbor}
    if told.up() is not None:
        column["bgp.state"] = peer.state.value
    if told.up():
        lists = {"bgp.learnedByAzure": told.learned, "bgp.announcedByAzure": told.announced()}
        column |= {name: list(prefixes) for name, prefixes in lists.items() if prefixes is not None}
    return column


def _firewall(ends: Ends) -> Column:
    applied = ends.applied()
    column = {} if applied is None else _of_tunnel(applied)
    if ends.health is not None:
        column["psk.version"] = ends.health.psk_version
    return {**column, "home.address": ends.reported_address}


def _running(ends: Ends) -> Column:
    sa = ends.evidence.sa if ends.evidence else None
    if sa is None:
        ike = ends.health.ike if ends.health else None
        return {"azure.address": ike.remote_address if ike and ike.state == "ESTABLISHED" else None}
    return {
        "azure.address": sa.remote_address,
        "azure.ikeIdentity": sa.remote_id,
        "ipsec.ikeEncryption": sa.ike_encryption,
        "ipsec.ikeIntegrity": sa.ike_integrity,
        "ipsec.dhGroup": sa.dh_group,
        "ipsec.ipsecEncryption": sa.ipsec_encryption,
        "ipsec.ipsecIntegrity": sa.ipsec_integrity,
        "ipsec.pfsGroup": sa.pfs_group,
    }


def _frr(ends: Ends) -> Column:
    column: Column = {} if ends.health is None else {"bgp.state": ends.health.bgp.state}
    if ends.health is not None and ends.health.bgp.state == "Established":
        sent, received = list(ends.health.bgp.sent), list(ends.health.bgp.received)
        column |= {"home.prefixes": sent, "azure.prefixes": received}
        column |= {"bgp.learnedByAzure": sent, "bgp.announcedByAzure": received}
    bgp = ends.evidence.bgp if ends.evidence else None
    if bgp is not None:
        column |= {
            "home.asn": bgp.local_asn,
            "home.bgpAddress": bgp.local_address,
            "azure.asn": bgp.peer_asn,
            "azure.bgpAddress": bgp.peer_address,
            "bgp.keepaliveSeconds": bgp.keepalive_s,
            "bgp.holdSeconds": bgp.hold_s,
        }
    return column
