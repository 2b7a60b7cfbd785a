"""bgpd's JSON tables as ARM's vocabulary has them. Pure: what FRR 8 printed goes in, the seam's views come out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lab.dataplane import BgpPeer, GatewayView, Route


def peers(summary: Mapping[str, Any]) -> list[BgpPeer]:
    """`show bgp ipv4 unicast summary json`."""
    return [
        BgpPeer(
            neighbor=address,
            asn=int(peer["remoteAs"]),
            state=str(peer["state"]),
            uptime_s=float(peer.get("peerUptimeMsec", 0)) / 1000,
            routes_received=int(peer.get("pfxRcd", 0)),
            messages_sent=int(peer.get("msgSent", 0)),
            messages_received=int(peer.get("msgRcvd", 0)),
        )
        for address, peer in summary.get("peers", {}).items()
    ]


def learned(table: Mapping[str, Any], gateway: GatewayView) -> list[Route]:
    """`show bgp ipv4 unicast json`: every valid path, the gateway's own prefixes among them, as ARM lists them."""
    return [
        _route(network, path, gateway)
        for network, paths in table.get("routes", {}).items()
        for path in paths
        if path.get("valid")
    ]


def advertised(table: Mapping[str, Any], gateway: GatewayView) -> list[Route]:
    """`show bgp ipv4 unicast neighbors X advertised-routes json`, which shows paths as they were before sending: the
    own ASN and next hop are put in here, as they are on the wire. FRR also sends a peer its own prefixes back."""
    routes = []
    for network, path in table.get("advertisedRoutes", {}).items():
        as_path = "-".join([str(gateway.asn), *str(path.get("path", "")).split()])
        routes.append(Route(network, gateway.bgp_address, as_path, None, _origin(path), int(path.get("weight", 0))))
    return routes


def _route(network: str, path: Mapping[str, Any], gateway: GatewayView) -> Route:
    peer = str(path.get("peerId", ""))
    own = peer in {"", "(unspec)"}
    hops = [str(hop["ip"]) for hop in path.get("nexthops", []) if hop.get("ip")]
    next_hop = gateway.bgp_address if own or not hops else hops[0]
    as_path = "-".join(str(path.get("path", "")).split())
    return Route(network, next_hop, as_path, None if own else peer, _origin(path), int(path.get("weight", 0)))


def _origin(path: Mapping[str, Any]) -> str:
    """Where a path came from in ARM's words: Network (own), EBgp or Incomplete."""
    if path.get("origin") == "incomplete" or path.get("bgpOriginCode") == "?":
        return "Incomplete"
    if not path.get("path"):  # nobody's AS before ours: the gateway's own (iBGP is not spoken here)
        return "Network"
    return "EBgp"
