"""Every number and behaviour that the model world stands on, in one place, each with its reason.

A reason is a document, a recording, a measurement in the lab, or the word "assumption". Where nobody knows how Azure
behaves, both ways are run (`unknown_source`). Medians of ARM operations stay in `lab.azure.durations`; `draw` gives
their spread, because a history in which everything takes the median proves little.
Simplifications that cost nothing in truth: rekeys are not modelled (with `reauth_time=0` they prove nothing about the
key), a mismatch of the PFS group is refused at once (in truth at the first rekey), traffic selectors always fit, and a
router keeps its NAT mappings for as long as its address stays (NAT-T keepalives of 20 s are quicker than any router
forgets). The home has a route to every prefix that its spec names (without one, FRR on Linux does not advertise it).
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal

from lab.azure import durations


@dataclass(frozen=True)
class Assumptions:
    """Seconds unless said otherwise."""

    unknown_source: Literal["dropped", "answered"] = "dropped"
    """Whether Azure takes a valid peer from an address that no local network gateway means. "answered": it finds the
    connection by its key, and a live SA follows its peer (RFC 7296 2.23). No source was found: both are run."""
    applies_bounce_all: bool = False
    """pfSense (run there): its own apply destroys and creates every VTI, and FRR cycles them: all BGP sessions end. The
    pfSense driver goes that way only where mobile clients leave it none; the Linux driver touches what differs only."""
    reset_tells_peers: bool = True
    """Assumption, as in the lab: a machine told to reboot sends DELETE and NOTIFICATION first."""

    azure_dpd_s: float = 45.0
    """Documented: Azure's default where the connection says 0."""
    retransmits_s: tuple[float, ...] = (0.0, 4.0, 11.2, 24.2, 47.5, 89.5, 165.1)
    """strongSwan's documented schedule (4 s, base 1.8, 5 tries): when a request is sent again, and when it is given up.
    A dead SA is noticed `dpd_delay` plus the last of these after the path died."""
    azure_dial_s: float = 10.0
    """Assumption: how often Azure dials where it initiates. Not documented."""

    bgp_keepalive_s: int = 60
    bgp_hold_s: int = 180
    """Documented: fixed in Azure; a session has the smaller hold time of the two ends."""
    bgp_connect_s: float = 2.0
    """Measured in the lab: from an installed SA to Established, where either end may open the session."""
    bgp_home_connect_s: float = 10.0
    """Where only the home opens it (APIPA, documented): FRR's connect timer as the Linux driver sets it."""

    bgp_refusal_s: float = 40.0
    """Measured in the lab (42 s): until the home's bgpd keeps Azure's "Bad Peer AS". Azure's end tries more often than
    the home's, and FRR keeps no notification of an attempt that the other end began. What the home itself refuses, it
    knows at its first attempt."""

    failover_planned_s: tuple[float, float] = (10.0, 15.0)
    failover_unplanned_s: tuple[float, float] = (60.0, 180.0)
    """Documented: least and most; a planned one keeps the sessions (assumption), an unplanned one loses them."""

    isp_outage_s: float = 15.0
    """Assumption: a forced reconnect of a DSL line, often once a day."""
    ddns_lag_s: float = 5.0
    """Assumption, as in the lab: from a new address to the router's report. Slow routers are a fault, not a default."""
    ddns_ttl_s: int = 60
    """Usual with dynamic DNS providers."""
    negative_ttl_s: float = 60.0
    """Assumption: how long a cache keeps "no such name" (RFC 2308; the zone's SOA decides)."""

    apply_s: float = 2.0
    """pfSense, run there: 170 to 420 ms for IPsec, filter and FRR besides; about a second for each VTI that FRR cycles.
    Only the agent's time: the effect counts from the beginning."""
    boot_s: float = 60.0
    """Assumption: a firewall from power-on to IKE and FRR."""
    bytes_per_s: float = 20.0
    """Assumption: what an idle tunnel carries each way (BGP keepalives, pings)."""


_RECORDED: dict[str, tuple[float, ...]] = {
    "GATEWAY_CREATE": (
        *(977, 1003, 1005, 1040, 1042, 1042, 1042, 1120, 1158, 1158, 1161, 1166, 1170, 1206, 1241, 1243),
        *(1258, 1440, 1440, 1484, 1529, 1529, 1761, 1761, 1874, 1874, 2185, 2295, 2295, 4264, 7207),
    ),
    "GATEWAY_UPDATE": (*(30,) * 4, *(31,) * 10, 62, 62, 124, 151, 153, 153, 183, 183, 187, 187, 1446),
    "GATEWAY_DELETE": (61, 61, 93, 93, 93, 93, 334, 434, 436, 448, 1066),
    "GATEWAY_RESET": (789, 811),
    "CONNECTION_CREATE": (*(10,) * 8, 11, 11, 20, 20, 21, 30, 32, 32, 40, 61, 61),
    "CONNECTION_UPDATE": (12, 31, 31, 31, 31),
    "CONNECTION_DELETE": (10, 10, 11, 12, 30, 30, 62, 62),
    "LOCAL_GATEWAY_CREATE": (10, 10, 10, 11, 11, 11, 12, 31, 31, 32, 32),
    "LOCAL_GATEWAY_UPDATE": (10, 11, 31, 31),
    "LOCAL_GATEWAY_DELETE": (11, 32, 32),
    "VNET_CREATE": (0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 3, 3, 3, 3, 4, 4, 4, 13, 21, 21, 23, 30, 30, 31, 31, 31, 31, 34),
    "SUBNET_CREATE": (2, 2, 3, 3, 4, 31, 31, 31, 31, 31, 31),
    "PUBLIC_IP_CREATE": (*(0,) * 7, *(1,) * 7, *(2,) * 5, 10, 10, 30, 30, *(31,) * 8),
}
"""Every observation behind the medians of lab.azure.durations: published session records of Microsoft's SDK tests
(data/azure/operation-durations.json), sorted, upper bounds with about 10 s of grain."""


def draw(kind: str, random: Random) -> float:
    """Seconds of one operation; `kind` is a name of lab.azure.durations. Between two neighbouring observations of the
    records, evenly; what was never recorded takes what durations.py assumes. AttributeError for an unknown name."""
    seen = _RECORDED.get(kind)
    if seen is None:
        return float(getattr(durations, kind))
    at = random.random() * (len(seen) - 1)
    low = int(at)
    return seen[low] + (seen[low + 1] - seen[low]) * (at - low)
