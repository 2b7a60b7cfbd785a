"""What a tunnel is in pfSense's words: the entries of config.xml, and the lines that must come of them. Pure.

The document goes to the firewall as JSON and is kept there in the registry, so that the firewall itself can tell drift.
What only the firewall knows stands in it as a placeholder that the transaction fills in:
`@n@` the number that ikeid, reqid and ipsecN share, `@opt@` the assigned interface, `@lan@` the interface that carries
the BGP address, `@filter@` the tab where the firewall filters VTI traffic, `@uniqid@`, `@created@`, `@random@`.

Every select field of FRR's package is written, as `none` where nothing is wanted: a missing one makes the package write
half a line, which FRR refuses as a whole (reference of the package's generators, run).
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from agent.errors import FirewallError
from agent.firewall.pfsense import algorithms
from shared.wire.commands import DesiredTunnel

FORMAT = 1
MTU = 1400
MSS_HEADROOM = 40
"""pf gets `max-mss` of the field minus 40, so the field is the MSS plus 40."""
MULTIHOP = "255"
CONNECT_S = "10"
DPD_MAXFAIL = "5"
RETRANSMIT = {"tries": "3", "timeout": "3.0", "base": "1.8"}
"""3.0 * (1 + 1.8 + 1.8^2 + 1.8^3) = 36 s until a silent peer is given up; with 10 s of DPD that is Azure's own 45 s.
strongSwan's default is 165 s. These are global to charon: only set while no tunnel but ours is enabled."""
MAX_RULES = 64
_FRR, _BGP = "installedpackages/frr/config/0", "installedpackages/frrbgp/config/0"
_ROUTE_MAP_SELECTS = ("call", "exitaction", "acl_match", *(f"{x}_action" for x in ("nexthop", "metric", "localpref")))
_ROUTE_MAP_SELECTS += ("aspath_action", "community_action", "origin_value", "source_proto")
_NEIGHBOUR_SELECTS = tuple(
    f"{x}_{way}" for x in ("prefixfilter", "distribute", "aspathfilter") for way in ("in", "out")
)


def mark(connection: str) -> str:
    """The description of everything of ours, for the human eye; the registry is what decides."""
    return f"homelink-{connection}"


def interface_name(connection: str) -> str:
    """Letters, digits and underscores, at most 24 (`<name>_VTIV4` has at most 31 as a gateway), unique enough."""
    plain = re.sub(r"[^A-Z0-9]", "_", connection.upper())
    if len(plain) > 21:
        plain = f"{plain[:14]}_{hashlib.sha256(connection.encode()).hexdigest()[:6].upper()}"
    return f"HL_{plain}"


def wanted(desired: DesiredTunnel, wan: str) -> dict[str, Any]:
    """The document, without the key. `wan` is the friendly name of the interface towards the internet.

    Raises FirewallError for what this driver cannot express.
    """
    _check(desired)
    b, descr = desired.bgp, mark(desired.connection)
    in_, out = f"{descr}-in", f"{descr}-out"
    ike, esp = desired.ike, desired.esp
    return {
        "format": FORMAT,
        "connection": desired.connection,
        "tunnel_address": desired.transit.local,
        "bgp_address": b.local_address,
        "asn": str(b.local_asn),
        "peer": desired.peer_address,
        "bgp_peer": b.peer_address,
        "probe": desired.probe,
        "initiates": desired.initiates,
        "objects": {
            "phase1": [_phase1(desired, wan)],
            "phase2": [_phase2(desired)],
            "interface": [_interface(desired)],
            "gateway": [_gateway(desired)],
            "rule": _rules(desired),
            "prefix_list": [
                _prefix_list(in_, descr, [_or_longer(p) for p in b.accept]),
                _prefix_list(out, descr, [{"source": p} for p in b.advertise]),
            ],
            "route_map": [_route_map(in_, descr), _route_map(out, descr)],
            "neighbour": [_neighbour(desired)],
        },
        "networks": list(b.advertise),
        "scalars": _scalars(desired),
        "frr_lines": _frr_lines(desired),
        "swanctl_lines": [
            f"remote_addrs = {desired.peer_address}",
            f"proposals = {algorithms.ike_proposal(ike)}",
            f"esp_proposals = {algorithms.esp_proposal(esp)}",
            f"start_action = {_action(desired)}",
        ],
    }


def _check(d: DesiredTunnel) -> None:
    if d.transit.remote != d.bgp.peer_address:
        raise FirewallError(
            f"the BGP peer {d.bgp.peer_address} is not the far end of the tunnel ({d.transit.remote}): "
            "on pfSense the tunnel interface must lead to it; choose another transit mode"
        )
    if d.transit.mode != "apipa" and d.transit.local == d.bgp.local_address:
        raise FirewallError("the home's BGP address must be the firewall's LAN address, not the tunnel's")
    if not d.bgp.advertise or not d.bgp.accept:
        raise FirewallError("a Connection on pfSense needs at least one prefix in each direction")
    if len(_rules(d)) > MAX_RULES:
        raise FirewallError(
            f"{len(_rules(d))} firewall rules would be needed, at most {MAX_RULES} are made: summarise the prefixes"
        )


def _action(d: DesiredTunnel) -> str:
    return "start" if d.initiates else "none"


def _phase1(d: DesiredTunnel, wan: str) -> dict[str, Any]:
    lifetime = d.ike.lifetime_s
    rekey = lifetime * 9 // 10
    by_address = d.peer_id == d.peer_address
    return {
        "ikeid": "@n@",
        "iketype": "ikev2",
        "interface": wan,
        "remote-gateway": d.peer_address,
        "protocol": "inet",
        "myid_type": "myaddress",
        "myid_data": "",
        "peerid_type": "peeraddress" if by_address else "address",
        "peerid_data": "" if by_address else d.peer_id,
        "encryption": {"item": [algorithms.ike_item(d.ike)]},
        "lifetime": str(lifetime),
        "rekey_time": str(rekey),
        "reauth_time": "0",
        "rand_time": str(lifetime - rekey),
        "private-key": "",
        "certref": "",
        "caref": "",
        "authentication_method": "pre_shared_key",
        "descr": mark(d.connection),
        "nat_traversal": "on",
        "mobike": "off",
        "startaction": _action(d),
        "closeaction": _action(d),
        "dpd_delay": str(d.dpd_delay_s),
        "dpd_maxfail": DPD_MAXFAIL,
    }


def _phase2(d: DesiredTunnel) -> dict[str, Any]:
    lifetime = d.esp.lifetime_s
    rekey = lifetime * 9 // 10
    return {
        "ikeid": "@n@",
        "uniqid": "@uniqid@",
        "mode": "vti",
        "reqid": "@n@",
        "localid": {"type": "address", "address": d.transit.local},
        "remoteid": {"type": "address", "address": d.transit.remote},
        "protocol": "esp",
        "encryption-algorithm-option": [algorithms.encryption(d.esp.encryption)],
        "hash-algorithm-option": [algorithms.esp_hash(d.esp)],
        "pfsgroup": algorithms.pfs_group(d.esp),
        "lifetime": str(lifetime),
        "rekey_time": str(rekey),
        "rand_time": str(lifetime - rekey),
        "pinghost": "",
        "keepalive": "disabled",
        "descr": mark(d.connection),
    }


def _interface(d: DesiredTunnel) -> dict[str, Any]:
    return {
        "enable": True,
        "if": "ipsec@n@",
        "descr": interface_name(d.connection),
        "mtu": str(MTU),
        "mss": str(d.mss + MSS_HEADROOM),
    }


def _gateway(d: DesiredTunnel) -> dict[str, Any]:
    """pfSense would make this one itself, in a write of its own. `force_down` keeps the default route away from it,
    `action_disable` keeps its alarms from reloading IPsec, and without a monitor there is no dpinger to hang."""
    return {
        "interface": "@opt@",
        "gateway": "dynamic",
        "name": f"{interface_name(d.connection)}_VTIV4",
        "weight": "1",
        "ipprotocol": "inet",
        "monitor_disable": True,
        "action_disable": True,
        "force_down": True,
        "descr": mark(d.connection),
        "gw_down_kill_states": "",
    }


def _rules(d: DesiredTunnel) -> list[dict[str, Any]]:
    """`key` names a rule across changes, so that it keeps its tracker; it is not written."""
    bgp = {"protocol": "tcp", "source": {"address": d.bgp.peer_address}}
    found = [_rule(d, "bgp", {**bgp, "destination": {"address": d.bgp.local_address, "port": "179"}})]
    for theirs in d.bgp.accept:
        for ours in d.bgp.advertise:
            ends = {"source": {"address": theirs}, "destination": {"address": ours}}
            found.append(_rule(d, f"{theirs} to {ours}", ends))
    return found


def _rule(d: DesiredTunnel, key: str, what: dict[str, Any]) -> dict[str, Any]:
    return {
        "key": key,
        "id": "",
        "tracker": "@tracker@",
        "type": "pass",
        "interface": "@filter@",
        "ipprotocol": "inet",
        "statetype": "keep state",
        **what,
        "descr": f"{mark(d.connection)} {key}",
        "created": {"time": "@created@", "username": "homelink"},
    }


def _or_longer(prefix: str) -> dict[str, str]:
    return {"source": prefix} if prefix.endswith("/32") else {"source": prefix, "le": "32"}


def _prefix_list(name: str, descr: str, rows: list[dict[str, str]]) -> dict[str, Any]:
    numbered = [{"seq": str(10 * i), "action": "permit", **row} for i, row in enumerate(rows, 1)]
    return {"iptype": "IPv4", "name": name, "descr": descr, "row": numbered}


def _route_map(name: str, descr: str) -> dict[str, Any]:
    return {
        "name": name,
        "descr": descr,
        "action": "permit",
        "seq": "10",
        "prefix_match": name,
        **dict.fromkeys(_ROUTE_MAP_SELECTS, "none"),
    }


def _neighbour(d: DesiredTunnel) -> dict[str, Any]:
    b, descr = d.bgp, mark(d.connection)
    return {
        "peer": b.peer_address,
        "descr": descr,
        "peergroup": "none",
        "password": "",
        "password_type": "none",
        "asnum": str(b.peer_asn),
        "updatesource_type": "ipv4",
        "updatesource": "@opt@" if d.transit.mode == "apipa" else "@lan@",
        "sendcommunity": "disabled",
        "nexthopself": "disabled",
        "timers_keepalive": str(b.keepalive_s),
        "timers_holdtime": str(b.hold_s),
        "timers_connect": CONNECT_S,
        **dict.fromkeys((*_NEIGHBOUR_SELECTS, "unsuppressmap"), "none"),
        "routemap_in": f"{descr}-in",
        "routemap_out": f"{descr}-out",
        "ebgpmultihop": MULTIHOP,
        "grmode": "default",
    }


def _scalars(d: DesiredTunnel) -> dict[str, Any]:
    """Singletons and globals: set only where nothing is set, taken back with the last Connection that uses them."""
    router = d.bgp.local_address
    found: dict[str, Any] = {
        f"{_FRR}/enable": "on",
        f"{_FRR}/routerid": router,
        f"{_FRR}/password": "@random@",
        f"{_FRR}/carpstatusvid": "none",
        f"{_FRR}/pkgloglevel": "0",
        f"{_FRR}/nht": "none",
        f"{_BGP}/enable": "on",
        f"{_BGP}/adjacencylog": "on",
        f"{_BGP}/asnum": str(d.bgp.local_asn),
        f"{_BGP}/routerid": router,
    }
    found |= {f"{_BGP}/redistribute{p}": "no" for p in ("connected", "static", "kernel", "ospf", "ospf6", "rip")}
    found |= {f"ipsec/ikev2_retransmit_{k}": v for k, v in RETRANSMIT.items()}
    if any(a.startswith("169.254.") for a in (d.transit.local, d.bgp.peer_address)):
        found["system/no_apipa_block"] = True
    return found


def _frr_lines(d: DesiredTunnel) -> list[str]:
    """What frr.conf must hold before it may be applied: FRR's package drops a reference that it does not find,
    silently, and a neighbour without its filter would tell Azure everything."""
    b, name = d.bgp, mark(d.connection)
    who = f"neighbor {b.peer_address}"
    lines = [
        f"{who} remote-as {b.peer_asn}",
        f"{who} update-source {b.local_address}",
        f"{who} ebgp-multihop {MULTIHOP}",
    ]
    for way, rows in (("in", [_or_longer(p) for p in b.accept]), ("out", [{"source": p} for p in b.advertise])):
        lines += [f"{who} route-map {name}-{way} {way}", f"route-map {name}-{way} permit 10"]
        lines.append(f"match ip address prefix-list {name}-{way}")
        for i, row in enumerate(rows, 1):
            longer = f" le {row['le']}" if "le" in row else ""
            lines.append(f"ip prefix-list {name}-{way} seq {10 * i} permit {row['source']}{longer}")
    return lines + [f"network {p}" for p in b.advertise]
