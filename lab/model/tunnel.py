"""Both ends of a tunnel, what they must agree on, and what each believes.

An SA or a BGP session is one object that either end holds or has forgotten: most of what goes wrong with tunnels is
that one end still believes. Nothing here knows the time or changes by itself; `lab.model.fabric` does that.
Refusals are named as agent.firewall.linux.charon and FRR name them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Network

from lab.dataplane import ConnectionView, GatewayView, InstanceView
from lab.model.home import Home
from shared.wire.commands import Bgp, DesiredTunnel, Esp, Ike

NOT_RESPONDING = "PEER_NOT_RESPONDING"
AUTHENTICATION_FAILED = "AUTHENTICATION_FAILED"
NO_PROPOSAL_CHOSEN = "NO_PROPOSAL_CHOSEN"
IDENTITY_MISMATCH = "PEER_IDENTITY_MISMATCH"
BAD_PEER_AS = "OPEN Message Error/Bad Peer AS"
HOLD_EXPIRED = "Hold Timer Expired"
SHUT_DOWN = "Cease/Administrative Shutdown"
CLOSED = "Peer closed the session"

_SAME_GROUP = {"DHGroup2048": "DHGroup14", "PFS2048": "PFS14"}
_DEFAULT_IKE = frozenset((c, h, "DHGroup2") for c in ("AES256", "AES128") for h in ("SHA1", "SHA256"))
_DEFAULT_ESP = frozenset({("GCMAES256", "GCMAES256"), ("AES256", "SHA1"), ("AES256", "SHA256"), ("AES128", "SHA1")})
_DEFAULT_PFS = frozenset({"None", "PFS2", "PFS14", "ECP256", "ECP384"})
"""Azure's default sets for route-based gateways (its VPN device page), without 3DES; the lab's charon has the same."""


@dataclass(eq=False)
class HomeEnd:
    """A tunnel as the firewall carries it. `connecting_since`: charon is dialling; `error` is what the agent saw of the
    last refusal, `bgp_error` what bgpd keeps."""

    home: Home
    desired: DesiredTunnel
    psk: str = field(repr=False)
    sa: Sa | None = None
    session: Session | None = None
    connecting_since: float | None = None
    error: str | None = None
    bgp_error: str | None = None


@dataclass(eq=False)
class AzureEnd:
    """A connection on one instance of its gateway. `dialling_since`: without an SA since then (where Azure initiates,
    it dials at that pace)."""

    view: ConnectionView
    ordinal: int
    instance: InstanceView
    dialling_since: float
    sa: Sa | None = None
    session: Session | None = None

    @property
    def initiates(self) -> bool:
        return self.view.mode != "ResponderOnly"

    @property
    def bgp_address(self) -> str:
        apipa = self.view.apipa
        return apipa[self.ordinal] if len(apipa) > self.ordinal else self.instance.bgp_address


@dataclass(eq=False)
class Sa:
    """An IKE SA, with a child if `child`. `source` is the home's address that Azure sends to. `*_dies`: when that end
    gives it up unless it hears from the other again. `bgp_due`: when a BGP session through it is tried next."""

    home: HomeEnd
    azure: AzureEnd
    source: str
    since: float
    child: bool
    home_dies: float | None = None
    azure_dies: float | None = None
    bgp_due: float | None = None
    whole_since: float | None = None
    carried_s: float = 0.0

    @property
    def held(self) -> bool:
        """By both ends."""
        return self.home.sa is self and self.azure.sa is self

    def seconds_carried(self, now: float) -> float:
        return self.carried_s + (now - self.whole_since if self.whole_since is not None else 0.0)


@dataclass(eq=False)
class Session:
    """A BGP session. Keepalives go both ways at whole multiples of `keepalive_s` since its beginning. `half`: only one
    end holds it, and the other is there to say so."""

    home: HomeEnd
    azure: AzureEnd
    since: float
    keepalive_s: float
    hold_s: float
    home_dies: float | None = None
    azure_dies: float | None = None
    half: bool = False

    @property
    def held(self) -> bool:
        return self.home.session is self and self.azure.session is self

    def expires(self, deaf: float) -> float:
        """When the hold timer ends if nothing is heard any more from then on."""
        return self.since + math.floor((deaf - self.since) / self.keepalive_s) * self.keepalive_s + self.hold_s

    def next_keepalive(self, now: float) -> float:
        return self.since + (math.floor((now - self.since) / self.keepalive_s) + 1) * self.keepalive_s


# what the ends must agree on -------------------------------------------------------------------------------------


def refusal(home: HomeEnd, azure: AzureEnd) -> str | None:
    """Why there is no IKE SA, in the order in which IKE finds out; None if there is one."""
    d = home.desired
    if not _ike_fits(d.ike, azure.view.policy):
        return NO_PROPOSAL_CHOSEN
    if home.psk != azure.view.psk:
        return AUTHENTICATION_FAILED
    return None if d.peer_id == azure.instance.public_ip else IDENTITY_MISMATCH


def child_fits(esp: Esp, policy: Mapping[str, object] | None) -> bool:
    """Whether an ARM `ipsecPolicies[0]` (None: Azure's defaults) allows this phase 2."""
    pfs = _group(esp.pfs_group)
    if policy is None:
        return (esp.encryption, esp.integrity) in _DEFAULT_ESP and pfs in _DEFAULT_PFS
    theirs = policy.get("ipsecEncryption"), policy.get("ipsecIntegrity"), _group(policy.get("pfsGroup"))
    return (esp.encryption, esp.integrity, pfs) == theirs


def _ike_fits(ike: Ike, policy: Mapping[str, object] | None) -> bool:
    ours = ike.encryption, ike.integrity, _group(ike.dh_group)
    if policy is None:
        return ours in _DEFAULT_IKE
    return ours == (policy.get("ikeEncryption"), policy.get("ikeIntegrity"), _group(policy.get("dhGroup")))


def _group(name: object) -> str:
    return _SAME_GROUP.get(str(name), str(name))


def negotiated(d: DesiredTunnel) -> tuple[object, ...]:
    """What a live SA depends on: a change ends it. A new key alone does not."""
    return d.peer_address, d.peer_id, d.ike, d.esp


def session_of(b: Bgp) -> tuple[object, ...]:
    """What a live BGP session depends on."""
    return b.local_asn, b.local_address, b.peer_asn, b.peer_address, b.keepalive_s, b.hold_s


def neighbour_of(azure: AzureEnd) -> tuple[object, ...]:
    """The same at the Azure end."""
    v = azure.view
    return v.enable_bgp, v.peer_asn, v.peer_bgp_address, azure.bgp_address


def open_outcome(home: HomeEnd, azure: AzureEnd, gateway: GatewayView) -> str | None:
    """What comes of an attempt at a session: "Established", BAD_PEER_AS, or None where not even TCP connects."""
    b, v = home.desired.bgp, azure.view
    if not v.enable_bgp or v.peer_asn is None or v.peer_bgp_address != b.local_address:
        return None
    if b.peer_address != azure.bgp_address:
        return None
    return "Established" if (b.local_asn, b.peer_asn) == (v.peer_asn, gateway.asn) else BAD_PEER_AS


# routes ----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def covers(outer: str, inner: str) -> bool:
    return IPv4Network(inner).subnet_of(IPv4Network(outer))


def learned(azure: AzureEnd, gateway: GatewayView) -> tuple[str, ...]:
    """What the gateway takes from this peer; prefixes equal to the virtual network's are rejected (documented)."""
    if azure.session is None:
        return ()
    return tuple(p for p in azure.session.home.desired.bgp.advertise if p not in gateway.vnet_prefixes)


def accepted(home: HomeEnd, announced: tuple[str, ...]) -> tuple[str, ...]:
    """What gets through the filter of the home's neighbour: what it accepts, or longer."""
    return tuple(sorted(p for p in announced if any(covers(a, p) for a in home.desired.bgp.accept)))


def announced(ends: Sequence[AzureEnd], to: AzureEnd, gateway: GatewayView) -> tuple[str, ...]:
    """What the gateway tells this peer: its virtual network's prefixes, and what its other peers (`ends` are all of its
    ends) tell it, except to a peer of the same AS (it would refuse its own)."""
    found = list(gateway.vnet_prefixes)
    for end in ends:
        if end.view.peer_asn != to.view.peer_asn:
            found += [p for p in learned(end, gateway) if p not in found]
    return tuple(found)
