"""bgpd's JSON tables as ARM's vocabulary has them. Pure: what FRR 8 printed goes in, the seam's views come out.

`me` is the BGP address of the instance that was asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lab.dataplane import BgpPeer, Route


def peers(summary: Mapping[str, Any], me: str, towards: Mapping[str, str]) -> list[BgpPeer]:
    """`show bgp ipv4 unicast summary json`; `towards` is the local address per neighbour where it is not `me`."""
    return [
        BgpPeer(
            neighbor=address,
            asn=int(peer["remoteAs"]),
            state=str(peer["state"]),
            uptime_s=float(peer.get("peerUptimeMsec", 0)) / 1000,
            routes_received=int(peer.get("pfxRcd", 0)),
            messages_sent=int(peer.get("msgSent", 0)),
            messages_received=int(peer.get("msgRcvd", 0)),
            local_address=towards.get(address, me),
        )
        for address, peer in summary.get("peers", {}).items()
    ]


def learned(table: Mapping[str, Any], me: str) -> list[Route]:
    """`show bgp ipv4 unicast json`: every valid path, the gateway's own prefixes among them, as ARM lists them."""
    return [
        _route(network, path, me)
        for network, paths in table.get("routes", {}).items()
        for path in paths
        if path.get("valid")
    ]


def advertised(table: Mapping[str, Any], asn: int | None, me: str, local: str) -> list[Route]:
    """`show bgp ipv4 unicast neighbors X advertised-routes json`, which shows paths as they were before sending: the
    own ASN (None towards the other instance) and next hop (`local`, our end of the session) are put in here, as they
    are on the wire. FRR also sends a peer its own prefixes back."""
    routes = []
    for network, path in table.get("advertisedRoutes", {}).items():
        as_path = "-".join([*([] if asn is None else [str(asn)]), *str(path.get("path", "")).split()])
        routes.append(Route(network, local, as_path, None, _origin(path), int(path.get("weight", 0)), me))
    return routes


def _route(network: str, path: Mapping[str, Any], me: str) -> Route:
    peer = str(path.get("peerId", ""))
    own = peer in {"", "(unspec)"}
    hops = [str(hop["ip"]) for hop in path.get("nexthops", []) if hop.get("ip")]
    next_hop = me if own or not hops else hops[0]
    as_path = "-".join(str(path.get("path", "")).split())
    return Route(network, next_hop, as_path, None if own else peer, _origin(path), int(path.get("weight", 0)), me)


def _origin(path: Mapping[str, Any]) -> str:
    """Where a path came from in ARM's words: Network (own), IBgp (the other instance), EBgp or Incomplete."""
    if path.get("origin") == "incomplete" or path.get("bgpOriginCode") == "?":
        return "Incomplete"
    if path.get("pathFrom") == "internal":
        return "IBgp"
    if not path.get("path"):  # nobody's AS before ours: the gateway's own
        return "Network"
    return "EBgp"
