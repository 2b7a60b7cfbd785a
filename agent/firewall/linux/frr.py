"""FRR over vtysh: one BGP neighbour per Connection, and nothing else of the configuration.

What is ours is recognised by name: the neighbour's description, the prefix lists and the route maps are called
`homelink-<connection>...`. `network` statements and the BGP instance cannot carry a name, so what was ours is passed in
from the driver's records. Lines are computed from `show running-config`, checked by vtysh's dry run, and then read in
as one file. Nothing is written to FRR's start-up configuration (that would save other people's unsaved lines, too):
after a restart of FRR the core's drift check puts our lines back.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.errors import FirewallBusy, FirewallError
from agent.firewall.linux.notified import Notified
from agent.firewall.linux.run import Ran, Runner
from agent.limits import shorten
from shared.wire.commands import DesiredTunnel
from shared.wire.reports import BgpHealth

NONE = BgpHealth("NONE", 0.0, (), ())
_SHOWN = (
    "localAs", "remoteAs", "updateSource", "hostLocal", "bgpState", "bgpTimerConfiguredHoldTimeMsecs",
    "bgpTimerConfiguredKeepAliveIntervalMsecs", "bgpTimerHoldTimeMsecs", "externalBgpNbrMaxHopsAway", "lastResetDueTo",
    "lastNotificationReason", "connectionsEstablished", "connectionsDropped",
)  # fmt: skip
CONNECT_S = 10
"""FRR's own is 120 s: too long to wait for after a repaired tunnel."""


@dataclass(frozen=True)
class Ours:
    """What of FRR's unnamed state Homelink put there."""

    instance: bool = False
    networks: tuple[str, ...] = ()


@dataclass
class Running:
    """The parts of a running configuration that matter here, line by line in order."""

    asn: int | None = None
    bgp: list[str] = field(default_factory=list)
    unicast: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)

    def neighbour(self, address: str) -> list[str]:
        return [line for line in self.bgp + self.unicast if line.startswith(f"neighbor {address} ")]

    def networks(self) -> list[str]:
        return [line.split()[1] for line in self.unicast if line.startswith("network ")]


class Frr:
    """`words` is how vtysh is called, as in ("vtysh", "--vty_socket", DIR)."""

    def __init__(self, words: tuple[str, ...], runner: Runner) -> None:
        self._words = words
        self._run = runner
        self._notified = Notified()

    def running(self) -> Running:
        return parse(self._ask("show running-config"))

    def apply(self, desired: DesiredTunnel, ours: Ours) -> Ours:
        """Make FRR carry it; returns what is ours now. FirewallError when foreign configuration is in the way."""
        running = self.running()
        lines = changes(running, desired, ours)
        if lines:
            self._configure(lines)
            self._notified.forget(desired.bgp.peer_address)
        return now_ours(running, desired, ours)

    def remove(self, connection: str, ours: Ours) -> None:
        lines = removal(self.running(), connection, ours)
        if lines:
            self._configure(lines)

    def health(self, desired: DesiredTunnel) -> BgpHealth:
        peer = desired.bgp.peer_address
        shows = [f"show bgp neighbors {peer} json"]
        shows += [f"show bgp ipv4 unicast neighbors {peer} {what} json" for what in ("advertised-routes", "routes")]
        # one vtysh, and to bgpd only: starting vtysh is most of what a heartbeat costs
        health = read_health(peer, self._call("-d", "bgpd", *(w for show in shows for w in ("-c", show))).out)
        return self._notified.told(peer, health)

    def neighbour(self, address: str) -> dict[str, Any]:
        return evidence(address, self._ask(f"show bgp neighbors {address} json"))

    def summary(self) -> str:
        return self._ask("show bgp summary json")

    def _ask(self, show: str) -> str:
        ran = self._call("-c", show)
        if ran.code != 0:
            raise FirewallBusy(f"FRR: `{show}`: {shorten(ran.err or ran.out, 200)}; is FRR running?", 10)
        return ran.out

    def _configure(self, lines: list[str]) -> None:
        with tempfile.TemporaryDirectory(prefix="homelink-") as folder:
            path = Path(folder) / "frr.conf"
            path.write_text("\n".join(lines) + "\n")
            for words in (("-C", "-f", str(path)), ("-f", str(path))):
                ran = self._call(*words)
                if ran.code != 0:
                    raise FirewallError(f"FRR refuses the configuration: {shorten(ran.err or ran.out, 300)}")

    def _call(self, *words: str) -> Ran:
        ran = self._run((*self._words, *words), "")
        if "failed to connect" in ran.err + ran.out:
            raise FirewallBusy("FRR: vtysh cannot reach bgpd; is FRR running with bgpd=yes?", 10)
        return ran


def parse(text: str) -> Running:
    """FRR's running configuration; contexts that do not matter here are kept as plain lines."""
    running = Running()
    where = running.other
    for raw in text.splitlines():
        line = raw.strip()
        instance = re.fullmatch(r"router bgp (\d+)", line)
        if instance:
            running.asn, where = int(instance.group(1)), running.bgp
        elif where is running.bgp and re.fullmatch(r"address-family ipv4 unicast", line):
            where = running.unicast
        elif where is running.unicast and line == "exit-address-family":
            where = running.bgp
        elif line in ("exit", "!") and not raw.startswith(" "):
            where = running.other
        elif line and line != "!":
            where.append(line)
    return running


def wanted(desired: DesiredTunnel) -> tuple[list[str], list[str], list[str]]:
    """The lines for the top level, the BGP instance, and its IPv4 unicast family."""
    name, b = f"homelink-{desired.connection}", desired.bgp
    top = [f"ip prefix-list {name}-out seq {5 * i} permit {p}" for i, p in enumerate(b.advertise, 1)]
    top += [f"ip prefix-list {name}-in seq {5 * i} permit {_or_longer(p)}" for i, p in enumerate(b.accept, 1)]
    for way, prefixes in (("in", b.accept), ("out", b.advertise)):
        if prefixes:
            top += [f"route-map {name}-{way} permit 10", f"match ip address prefix-list {name}-{way}"]
        else:
            top += [f"route-map {name}-{way} deny 10"]
    who = f"neighbor {b.peer_address}"
    bgp = [f"{who} remote-as {b.peer_asn}", f"{who} description {name}", f"{who} ebgp-multihop 255"]
    bgp += [f"{who} update-source {b.local_address}", f"{who} timers {b.keepalive_s} {b.hold_s}"]
    bgp += [f"{who} timers connect {CONNECT_S}"]
    unicast = [f"network {p}" for p in b.advertise]
    unicast += [f"{who} route-map {name}-in in", f"{who} route-map {name}-out out"]
    return top, bgp, unicast


def problems(running: Running, desired: DesiredTunnel) -> list[str]:
    """Foreign configuration that is in the way."""
    b, found = desired.bgp, []
    if running.asn is not None and running.asn != b.local_asn:
        found.append(
            f"FRR runs BGP with ASN {running.asn}, the Connection wants {b.local_asn}: "
            "one firewall has one ASN; change the spec or FRR's configuration"
        )
    theirs = running.neighbour(b.peer_address)
    if theirs and not any(_is_ours(line) for line in theirs):
        found.append(f"FRR has a neighbour {b.peer_address} that Homelink did not make: remove it there first")
    return found


def changes(running: Running, desired: DesiredTunnel, ours: Ours) -> list[str]:
    """Configuration lines that lead from `running` to `desired`; empty if it is so. FirewallError if foreign lines
    are in the way."""
    blocked = problems(running, desired)
    if blocked:
        raise FirewallError("; ".join(blocked))
    top, bgp, unicast = wanted(desired)
    b, name = desired.bgp, f"homelink-{desired.connection}"
    lines: list[str] = []
    have = [line for line in running.other if _about(line, name)]
    # a map's `match` follows its head; `have` keeps FRR's order, in which lists come before maps
    bodies = [line for line in running.other if line.startswith("match ip address prefix-list " + name + "-")]
    if sorted(have + bodies) != sorted(top):
        lines += _no_policy(running, name)
        for line in top:
            lines += [line, "exit"] if line.startswith("match ") else [line]
    inside: list[str] = []
    if running.asn is None:
        inside.append(f"bgp router-id {b.local_address}")
    inside += [f"no neighbor {a}" for a in _peers_of(running, name) if a != b.peer_address]
    here = running.neighbour(b.peer_address)
    # our line overrides one of another value; what somebody added to our neighbour (BFD, a password) is left alone
    inside += [line for line in bgp if line not in here]
    family = [f"no network {n}" for n in ours.networks if n not in b.advertise and n in running.networks()]
    family += [line for line in unicast if line not in running.unicast]
    activate = f"neighbor {b.peer_address} activate"
    if not here or ("no bgp default ipv4-unicast" in running.bgp and activate not in here):
        family.append(activate)
    if family:
        inside += ["address-family ipv4 unicast", *family, "exit-address-family"]
    if inside:
        lines += [f"router bgp {b.local_asn}", *inside, "exit"]
    return lines


def now_ours(before: Running, desired: DesiredTunnel, ours: Ours) -> Ours:
    """Networks that were there before us stay foreign."""
    foreign = set(before.networks()) - set(ours.networks)
    return Ours(
        instance=ours.instance or before.asn is None,
        networks=tuple(p for p in desired.bgp.advertise if p not in foreign),
    )


def removal(running: Running, connection: str, ours: Ours) -> list[str]:
    """Lines that take away what is ours and nothing else."""
    name = f"homelink-{connection}"
    peers = _peers_of(running, name)
    lines: list[str] = []
    if running.asn is not None:
        others = [line for line in running.bgp if line.startswith("neighbor ") and line.split()[1] not in peers]
        networks = [n for n in running.networks() if n not in ours.networks]
        if ours.instance and not others and not networks:
            lines.append(f"no router bgp {running.asn}")
        else:
            inside = [f"no neighbor {a}" for a in peers]
            gone = [f"no network {n}" for n in ours.networks if n in running.networks()]
            if gone:
                inside += ["address-family ipv4 unicast", *gone, "exit-address-family"]
            if inside:
                lines += [f"router bgp {running.asn}", *inside, "exit"]
    return lines + _no_policy(running, name)


def read_health(peer: str, text: str) -> BgpHealth:
    """From the three `show ... json` answers in a row; each may be missing."""
    state, uptime, error = "NONE", 0.0, None
    received: Iterable[str] = ()
    sent: Iterable[str] = ()
    for doc in _documents(text):
        if isinstance(doc.get("advertisedRoutes"), dict):
            sent = doc["advertisedRoutes"]
        elif isinstance(doc.get("routes"), dict):
            received = doc["routes"]
        elif isinstance(doc.get(peer), dict):
            n = doc[peer]
            state = str(n.get("bgpState", "NONE"))
            milliseconds = n.get("bgpTimerUpMsec", 0)
            uptime = milliseconds / 1000 if isinstance(milliseconds, int | float) else 0.0
            error = _error(n) if state != "Established" else None
    if state != "Established":
        return BgpHealth(state, 0.0, (), (), error)
    return BgpHealth(state, uptime, tuple(sorted(map(str, received))), tuple(sorted(map(str, sent))), None)


def evidence(peer: str, text: str) -> dict[str, Any]:
    """The neighbour as bgpd has it, without counters; empty if it is not there."""
    told = next((d[peer] for d in _documents(text) if isinstance(d.get(peer), dict)), None)
    return {} if told is None else {"address": peer} | {n: told[n] for n in _SHOWN if n in told}


def _error(n: dict[str, Any]) -> str | None:
    """FRR's own words: the last notification if there was one (as "OPEN Message Error/Bad Peer AS"), else the reset."""
    for key in ("lastNotificationReason", "lastResetDueTo"):
        said = n.get(key)
        if isinstance(said, str) and said:
            return shorten(said, 200)
    return None


def _documents(text: str) -> list[dict[str, Any]]:
    decoder, found, at = json.JSONDecoder(), [], 0
    while (start := text.find("{", at)) >= 0:
        try:
            doc, at = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            at = start + 1
            continue
        if isinstance(doc, dict):
            found.append(doc)
    return found


def _or_longer(prefix: str) -> str:
    return prefix if prefix.endswith("/32") else f"{prefix} le 32"


def _is_ours(line: str) -> bool:
    return " description homelink-" in line


def _about(line: str, name: str) -> bool:
    return bool(re.match(rf"(ip prefix-list|route-map) {re.escape(name)}-(in|out) ", line))


def _no_policy(running: Running, name: str) -> list[str]:
    """Only what exists: FRR calls the removal of something missing an error."""
    have = {tuple(line.split()[:3]) for line in running.other if _about(line, name) and line.startswith("ip ")}
    maps = {line.split()[1] for line in running.other if _about(line, name) and line.startswith("route-map ")}
    return [f"no route-map {m}" for m in sorted(maps)] + [f"no ip prefix-list {words[2]}" for words in sorted(have)]


def _peers_of(running: Running, name: str) -> list[str]:
    return [
        line.split()[1] for line in running.bgp if re.fullmatch(rf"neighbor \S+ description {re.escape(name)}", line)
    ]
