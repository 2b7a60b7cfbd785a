"""A carrier that carries nothing: tunnels and sessions come up when the peer is in `answers`, at once.

For tests of what a driver does to a firewall. What depends on packets (that a wrong key fails, that a session drops
when an interface goes) is the network carrier's business.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from lab.pfsense import swanctl
from lab.pfsense.daemons import Attempt, Interface

NO_ANSWER = "CHILD_SA '{}' not established after {:.0f}ms"
NO_ANSWER_YET = "[IKE] retransmit 1 of request with message ID 0"


@dataclass
class _Sa:
    number: int
    peer: str
    local: str
    reqid: int
    child: bool = True


class Model:
    """`answers`: addresses of peers, of tunnels and of BGP alike. `refuses`: peers and the error that they notify.
    `offers`: what a BGP neighbour announces."""

    def __init__(self) -> None:
        self.answers: set[str] = set()
        self.refuses: dict[str, str] = {}
        self.offers: dict[str, tuple[str, ...]] = {}
        self.conns: dict[str, swanctl.Section] = {}
        self.up: dict[str, _Sa] = {}
        self.conf = ""
        self.starts = 0
        """How often FRR was started from nothing: all sessions dropped."""
        self.cycled: list[str] = []
        self._numbers = 0
        self._trying: set[str] = set()

    async def vti(self, interface: Interface) -> None: ...
    async def no_vti(self, name: str) -> None: ...

    async def load(self, swanctl_conf: str, settings: str) -> None:
        """Only what is new is started, and an SA whose connection is gone stays, as with charon."""
        before, self.conns = self.conns, swanctl.connections(swanctl_conf)
        self._trying &= set(self.conns)
        for name, conn in self.conns.items():
            children = conn.get("children", {})
            if before.get(name, {}).get("children") != children:
                self._trying |= {name for values in children.values() if values.get("start_action") == "start"}

    async def stop_ike(self) -> None:
        self.conns, self.up, self._trying = {}, {}, set()

    async def initiate(self, child: str, timeout_s: float) -> Attempt:
        name = child.partition("_")[0]
        conn = self.conns.get(name)
        if conn is None:
            return Attempt((), f"CHILD_SA config '{child}' not found")
        peer = conn["remote_addrs"]
        said = (f"[IKE] initiating IKE_SA {name}[{self._numbers + 1}] to {peer}",)
        if peer in self.refuses:
            refusal = f"[IKE] received {self.refuses[peer]} notify error"
            return Attempt((*said, refusal), f"establishing CHILD_SA '{child}' failed")
        if peer not in self.answers:
            return Attempt((*said, NO_ANSWER_YET), NO_ANSWER.format(child, timeout_s * 1000))
        if name not in self.up:
            self._numbers += 1
            reqid = int(next(iter(conn["children"].values())).get("reqid", 0))
            self._trying.discard(name)
            self.up[name] = _Sa(self._numbers, conn["remote_addrs"], conn["local_addrs"], reqid)
        return Attempt((*said, f"[IKE] CHILD_SA {child}{{{self.up[name].number}}} established"), None)

    async def terminate(self, ike: str) -> int:
        name = ike.partition("_")[0]
        self._trying.discard(name)
        return 1 if self.up.pop(name, None) else 0

    async def sas(self) -> list[dict[str, Any]]:
        for name in list(self._trying):  # charon asks again and again
            await self.initiate(name, 0)
        return [self._sa(name, sa) for name, sa in self.up.items() if sa.peer in self.answers]

    @staticmethod
    def _sa(name: str, sa: _Sa) -> dict[str, Any]:
        counted = dict.fromkeys(("bytes-in", "bytes-out", "packets-in", "packets-out"), "0")
        child = {
            "name": name,
            "uniqueid": str(sa.number),
            "reqid": str(sa.reqid),
            "state": "INSTALLED",
            "mode": "TUNNEL",
            "protocol": "ESP",
            "encap": "yes",
            "spi-in": "c0000001",
            "spi-out": "c0000002",
            "encr-alg": "AES_GCM_16",
            "encr-keysize": "256",
            **counted,
            "rekey-time": "24000",
            "life-time": "26990",
            "install-time": "10",
            "local-ts": ["0.0.0.0/0"],
            "remote-ts": ["0.0.0.0/0"],
        }
        return {
            "con-id": name,
            "uniqueid": str(sa.number),
            "version": "2",
            "state": "ESTABLISHED",
            "local-host": sa.local,
            "local-port": "4500",
            "local-id": sa.local,
            "remote-host": sa.peer,
            "remote-port": "4500",
            "remote-id": sa.peer,
            "nat-local": "yes",
            "nat-any": "yes",
            "initiator": "yes",
            "encr-alg": "AES_GCM_16",
            "encr-keysize": "256",
            "prf-alg": "PRF_HMAC_SHA2_384",
            "dh-group": "ECP_384",
            "established": "10",
            "rekey-time": "25000",
            "child-sas": [child],
        }

    # FRR -------------------------------------------------------------------------------------------------------

    async def start_frr(self, conf: str) -> None:
        self.starts += 1
        self.conf = conf

    async def reload_frr(self, conf: str) -> None:
        self.conf = conf

    async def stop_frr(self) -> None:
        self.conf = ""

    async def cycle(self, interface: str) -> None:
        self.cycled.append(interface)

    async def vtysh(self, words: Sequence[str]) -> tuple[int, str]:
        out = [self._ask(word) for flag, word in pairwise(words) if flag == "-c"]
        return (1 if any(o.startswith("%") for o in out) else 0), "\n".join(out)

    def _ask(self, command: str) -> str:
        text = command.removesuffix(" json").replace(" ipv4 unicast", "").strip()
        if text in ("show running-config", "show run"):
            return self.conf
        if text == "show version":
            return "FRRouting 9.1.2 (fw.home.arpa)."
        if text in ("show bgp summary", "show ip bgp summary"):
            peers = {p: self._peer(p) for p in self._neighbors()}
            summary = {"as": self._asn(), "peerCount": len(peers), "peers": peers}
            # without an address family in the question, FRR names it in the answer
            return json.dumps(summary if "ipv4 unicast" in command else {"ipv4Unicast": summary} if peers else {})
        if text == "show ip route bgp" or text == "show ip route":
            routes = {net: [self._route(net, p)] for p in self._sessions() for net in self.offers.get(p, ())}
            return json.dumps(routes)
        match = re.fullmatch(
            r"show (?:ip )?bgp neighbors?(?: (\S+))?(?: (advertised-routes|routes|received-routes))?", text
        )
        if match is None:
            return f"% Unknown command: {command}"
        peer, what = match.groups()
        if what == "advertised-routes":
            return json.dumps(
                {"advertisedRoutes": {n: {} for n in self._networks()} if peer in self._sessions() else {}}
            )
        if what:
            return json.dumps(
                {
                    "routes": {n: [{"valid": True}] for n in self.offers.get(peer, ())}
                    if peer in self._sessions()
                    else {}
                }
            )
        return json.dumps({p: self._neighbor(p) for p in self._neighbors() if peer in (None, p)})

    def _asn(self) -> int:
        found = re.search(r"^router bgp (\d+)", self.conf, re.M)
        return int(found.group(1)) if found else 0

    def _neighbors(self) -> dict[str, int]:
        return {p: int(a) for p, a in re.findall(r"^ neighbor (\S+) remote-as (\d+)", self.conf, re.M)}

    def _networks(self) -> list[str]:
        return re.findall(r"^  network (\S+)", self.conf, re.M)

    def _sessions(self) -> set[str]:
        return {p for p in self._neighbors() if p in self.answers}

    def _policy(self, peer: str) -> bool:
        """eBGP without a policy in both directions exchanges nothing."""
        if "no bgp ebgp-requires-policy" in self.conf:
            return True
        return all(
            re.search(rf"neighbor {re.escape(peer)} (route-map|prefix-list) \S+ {way}", self.conf)
            for way in ("in", "out")
        )

    def _peer(self, peer: str) -> dict[str, Any]:
        established, allowed = peer in self._sessions(), self._policy(peer)
        received = len(self.offers.get(peer, ())) if established and allowed else 0
        return {
            "remoteAs": self._neighbors()[peer],
            "localAs": self._asn(),
            "version": 4,
            "peerUptime": "00:00:10" if established else "never",
            "peerUptimeMsec": 10_000 if established else 0,
            "pfxRcd": received,
            "pfxSnt": len(self._networks()) if established and allowed else 0,
            "state": "Established" if established else "Active",
            "peerState": "OK" if allowed else "Policy",
            "connectionsEstablished": int(established),
            "connectionsDropped": 0,
            "idType": "ipv4",
        }

    def _neighbor(self, peer: str) -> dict[str, Any]:
        short = self._peer(peer)
        family = {"acceptedPrefixCounter": short["pfxRcd"], "sentPrefixCounter": short["pfxSnt"]}
        return {
            "remoteAs": short["remoteAs"],
            "localAs": short["localAs"],
            "bgpState": short["state"],
            "bgpTimerUpMsec": short["peerUptimeMsec"],
            "addressFamilyInfo": {"ipv4Unicast": family},
        }

    @staticmethod
    def _route(net: str, peer: str) -> dict[str, Any]:
        return {
            "prefix": net,
            "protocol": "bgp",
            "selected": True,
            "installed": True,
            "nexthops": [{"ip": peer, "active": True}],
        }

    async def default_route(self, gateway: str | None) -> None: ...

    async def ping(self, target: str, source: str | None) -> bool:
        return target in self.answers

    async def close(self) -> None: ...
