"""Breakages of a real tunnel, and what is collected of each: evidence as charon, FRR, DNS and the driver give it.

`collect` breaks one thing in the lab, lets the daemons find out, and returns the contents of a capture's folder. The
gateway is what resources in the simulated ARM make it (azure.py). No key is in any of it: charon's log has none at the
levels that the lab sets, and ARM's bodies are scrubbed as the product scrubs them.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import vici

from agent.firewall.contract import Revert
from agent.firewall.linux.run import run
from lab.net.run import nft
from lab.net.topology import RESOLVER
from shared.dns.resolver import DnsResolver
from shared.domain.arm import ArmKind
from shared.wire.decode import to_plain
from tests.agent.firewall.linux.world import HOME, Lab, LinuxBench, in_home, wait_for
from tests.captures.azure import NAME, LabAzure
from tests.captures.replay import ASN
from tests.shared.domain import situations as at

POLICY: dict[str, Any] = at.SPEC.ipsec.to_arm()
PEER = "10.0.1.30"
KEY = "TheKeyOfBothEnds0123456789"
CUT = """table ip cut {
  chain between {
    type filter hook forward priority 0
    ip saddr 203.0.113.10 drop
    ip daddr 203.0.113.10 drop
  }
}
"""
"""In the home's router: nothing goes between the home and the gateway, and neither is told."""


@dataclass(frozen=True)
class Azure:
    """What the resources in Azure say; `psk` None: the home's."""

    psk: str | None = None
    policy: dict[str, Any] = field(default_factory=dict)
    home_asn: int = ASN
    asn: int = 65_515
    home_bgp_address: str = "192.168.1.1"


@dataclass(frozen=True)
class Breakage:
    """`azure` None: the gateway does not answer at all. `home`: changes of the tunnel that the firewall is given.
    `then` breaks what was up; `seen` says when the daemons have found out. `name`: the name that is looked up."""

    expected: tuple[str, ...]
    azure: Azure | None = field(default_factory=Azure)
    home: dict[str, Any] = field(default_factory=dict)
    then: Callable[[Lab, LinuxBench], None] = lambda lab, bench: None
    seen: Callable[[Lab, LinuxBench], object] = lambda lab, bench: True
    within_s: float = 40
    name: str = "home.homelink.test"


def _health(bench: LinuxBench) -> Any:
    return bench.firewall.health().tunnels[0]


def _proven(lab: Lab, bench: LinuxBench) -> bool:
    health = _health(bench)
    return health.bgp.state == "Established" and bool(health.bgp.received and health.bgp.sent) and health.probes[0].ok


def _bgp_said(words: str) -> Callable[[Lab, LinuxBench], object]:
    return lambda lab, bench: words in str(_health(bench).bgp.last_error)


def _without_clamp(lab: Lab, bench: LinuxBench) -> None:
    wait_for(lambda: _proven(lab, bench), 40)
    assert in_home(("nft", "delete", "table", "inet", "homelink")).code == 0


def _without_neighbour(lab: Lab, bench: LinuxBench) -> None:
    wait_for(lambda: _proven(lab, bench), 40)
    bench.configure(f"router bgp {ASN}", f"no neighbor {PEER}")


def _other_timers(lab: Lab, bench: LinuxBench) -> None:
    wait_for(lambda: _proven(lab, bench), 40)
    bench.configure(f"router bgp {ASN}", f"neighbor {PEER} timers 3 9")


def _gone_without_a_word(lab: Lab, bench: LinuxBench) -> None:
    """As in an unplanned failover: Azure's end notices first, and charon at home keeps its SA."""
    wait_for(lambda: _proven(lab, bench), 40)
    _cut(lab)


def _cut(lab: Lab) -> None:
    lab.do(nft(lab.net.homes[HOME].home.nat_ns, CUT))


def _lost(lab: Lab, bench: LinuxBench) -> bool:
    return not lab.do(lab.plane.tunnel(HOME)).connected and _health(bench).child.installed


def _mend(lab: Lab) -> None:
    lab.do(nft(lab.net.homes[HOME].home.nat_ns, "table ip cut\ndelete table ip cut"))


def _nothing_sent(lab: Lab, bench: LinuxBench) -> None:
    """Somebody's route map in place of ours: the session stands, and the home's prefixes stay at home."""
    wait_for(lambda: _proven(lab, bench), 40)
    bench.configure("route-map nothing deny 10", "exit", *_outgoing("nothing"))


def _more_sent(lab: Lab, bench: LinuxBench) -> None:
    """Somebody's route map lets everything out, and there is more than the home's prefixes."""
    wait_for(lambda: _proven(lab, bench), 40)
    bench.configure("route-map everything permit 10", "exit", f"router bgp {ASN}", "no bgp network import-check")
    bench.configure(f"router bgp {ASN}", "address-family ipv4 unicast", "network 172.20.0.0/16")
    bench.configure(*_outgoing("everything"))


def _outgoing(route_map: str) -> tuple[str, ...]:
    return (f"router bgp {ASN}", "address-family ipv4 unicast", f"neighbor {PEER} route-map {route_map} out")


def _learned(lab: Lab) -> set[str]:
    """What the gateway has from the home."""
    return {r.network for r in lab.do(lab.plane.learned_routes(NAME)) if r.source_peer == "192.168.1.1"}


BREAKAGES: dict[str, Breakage] = {
    "healthy": Breakage((), seen=_proven),
    "wrong-key": Breakage(("psk-mismatch", "tunnel-down"), Azure(psk="SomebodyElsesKey0123456789")),
    "wrong-dh-group": Breakage(
        ("ike-policy-differs", "ike-proposal-mismatch", "tunnel-down"), Azure(policy={"dhGroup": "ECP256"})
    ),
    "wrong-esp-cipher": Breakage(
        ("esp-policy-differs", "esp-proposal-mismatch", "tunnel-down"),
        Azure(policy={"ipsecEncryption": "AES256", "ipsecIntegrity": "SHA256"}),
    ),
    "wrong-pfs-group": Breakage(("pfs-differs",), Azure(policy={"pfsGroup": "PFS2048"}), seen=_proven),
    "wrong-peer-id": Breakage(("peer-id-differs", "psk-mismatch", "tunnel-down"), home={"peer_id": "203.0.113.99"}),
    "wrong-home-asn": Breakage(
        ("home-asn-differs", "asn-mismatch", "bgp-down"),
        Azure(home_asn=64_999),
        seen=_bgp_said("Bad Peer AS"),
        within_s=90,
    ),
    "wrong-azure-asn": Breakage(
        ("azure-asn-differs", "asn-mismatch", "bgp-down"), Azure(asn=65_514), seen=_bgp_said("Bad Peer AS"), within_s=90
    ),
    "transit-as-peer": Breakage(
        ("bgp-peer-is-transit", "bgp-peer-address-wrong", "bgp-down"), Azure(home_bgp_address="10.0.1.29"), within_s=5
    ),
    "dead-peer": Breakage(("peer-not-responding", "tunnel-down"), None),
    "half-open": Breakage(("half-open",), then=_gone_without_a_word, seen=_lost, within_s=90),
    "clamp-gone": Breakage(("firewall-drift",), then=_without_clamp),
    "neighbour-gone": Breakage(("firewall-drift", "bgp-down"), then=_without_neighbour),
    "other-timers": Breakage(("firewall-drift", "bgp-timers-differ"), then=_other_timers),
    "nothing-sent": Breakage(
        ("firewall-drift", "routes-incomplete", "azure-lacks-prefixes"),
        then=_nothing_sent,
        seen=lambda lab, bench: not _learned(lab),
    ),
    "more-sent": Breakage(
        ("firewall-drift", "prefix-leaked"), then=_more_sent, seen=lambda lab, bench: "172.20.0.0/16" in _learned(lab)
    ),
    "no-such-name": Breakage(("fqdn-no-such-name", "fqdn-no-address"), seen=_proven, name="nobody.homelink.test"),
}
"""`expected` are codes that must be found, in this order; symptoms of them may stand between."""
LIVE = (
    "wrong-key",
    "wrong-dh-group",
    "wrong-esp-cipher",
    "wrong-peer-id",
    "wrong-home-asn",
    "dead-peer",
    "nothing-sent",
)


def collect(lab: Lab, bench: LinuxBench, breakage: Breakage) -> dict[str, Any]:
    """File name -> contents (text, or JSON). Leaves the lab as the bench's own `clean` and `no_azure` expect it."""
    wanted = bench.desired()
    given = bench.desired(**breakage.home)
    azure, end = LabAzure(lab), breakage.azure or Azure()
    _order(azure, end)
    if breakage.azure is None:
        _cut(lab)
    logs = {p: p.stat().st_size for p in sorted(lab.net.directory.rglob("charon.log"))}
    bench.firewall.apply(given, 1, KEY, Revert(600.0, ()))
    breakage.then(lab, bench)
    wait_for(lambda: breakage.seen(lab, bench), breakage.within_s)
    if _health(bench).child.installed:
        bench.firewall.confirm()
    health = bench.firewall.health()
    view = lab.do(DnsResolver([RESOLVER]).look(breakage.name))
    files = {
        "expected.json": {"findings": list(breakage.expected), "captured": f"{datetime.now(UTC):%Y-%m-%d}"},
        "wanted.json": to_plain(wanted),
        "charon-home.log": _tail(logs, at_home=True),
        "charon-azure.log": _tail(logs, at_home=False),
        "vici.json": _vici(lab),
        "vtysh.json": _vtysh(bench),
        "health.json": to_plain(health),
        "diagnose.json": bench.firewall.diagnose(HOME),
        "arm.json": azure.bodies(),
        "azure-bgp.json": azure.bgp(end.home_bgp_address),
        "dns.json": to_plain(view),
    }
    _mend(lab)
    azure.close()
    for key in (KEY, end.psk):
        assert key is None or key not in json.dumps(files), "a key is in the evidence"
    return files


def _order(azure: LabAzure, wanted: Azure) -> None:
    local = {"bgpSettings": {"asn": wanted.home_asn, "bgpPeeringAddress": wanted.home_bgp_address, "peerWeight": 0}}
    changes: dict[ArmKind, dict[str, Any]] = {
        ArmKind.GATEWAY: {"bgpSettings": {"asn": wanted.asn}},
        ArmKind.LOCAL_GATEWAY: local,
        ArmKind.CONNECTION: {"ipsecPolicies": [{**POLICY, **wanted.policy}]},
    }
    azure.order(ASN, wanted.psk or KEY, changes)


def _tail(before: dict[Path, int], at_home: bool) -> str:
    """What the charons of one side have logged since."""
    said = []
    for path, size in before.items():
        if (path.parent.name == HOME) == at_home:
            with path.open(encoding="utf-8", errors="replace") as log:
                log.seek(size)
                said.append(log.read())
    return "".join(said)


def _vici(lab: Lab) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(lab.net.homes[HOME].vici))
        session = vici.Session(sock)
        return {"list-sas": _text(list(session.list_sas())), "list-conns": _text(list(session.list_conns()))}


def _text(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _text(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_text(v) for v in value]
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _vtysh(bench: LinuxBench) -> dict[str, Any]:
    """By command, as bgpd answered: documents, or the text where it is none."""
    shows = [f"show bgp neighbors {PEER} json", "show bgp summary json"]
    shows += [f"show bgp ipv4 unicast neighbors {PEER} {what} json" for what in ("advertised-routes", "routes")]
    return {show: _json(run((*bench.vtysh, "-d", "bgpd", "-c", show)).out) for show in shows}


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
