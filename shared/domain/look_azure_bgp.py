"""What Azure's gateway says of BGP, held against the home's own words and the documents.

The two ends speak of different moments, some seconds to a minute apart. So a session counts as half open only where the
end that has it had it before the other denied it; what just came up or went is left for the next question.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import timedelta

from . import limits
from .bgp import AzureBgp
from .witnesses import Seen, Witnesses

_SHOWN = 10


def azure_bgp(s: Witnesses) -> Iterator[Seen]:
    told = s.ends.azure_bgp
    if told is not None:
        yield from _neighbour(s, told)
        yield from _session(s, told)
        yield from _learned(s, told)
        yield from _announced(s, told)


def _neighbour(s: Witnesses, told: AzureBgp) -> Iterator[Seen]:
    """A gateway without any neighbour tells nothing: an instance may be on its way back."""
    peer, desired = told.peer(), s.ends.desired
    if peer is None:
        if told.peers:
            there = _some({f"{p.neighbor} (AS {p.asn})" for p in told.peers})
            what = f"Azure's gateway has no BGP neighbour {told.home}; it has {there}"
            yield s.seen("bgp-peer-address-wrong", "azure-bgp", what)
        return
    if desired is not None and peer.neighbor != desired.bgp.local_address:
        what = f"Azure's gateway speaks BGP to {peer.neighbor}, the home is {desired.bgp.local_address}: change azure"
        yield s.seen("bgp-peer-address-wrong", "azure-bgp", what)
    if peer.asn != s.ends.spec.home.asn:
        what = f"Azure's gateway expects AS {peer.asn}, specified {s.ends.spec.home.asn}: change azure"
        yield s.seen("home-asn-differs", "azure-bgp", what)
    if (peer.routes_received or 0) >= limits.PREFIXES.most:
        what = f"Azure's gateway has {peer.routes_received} routes of the home, and takes {limits.PREFIXES.most}"
        yield s.seen("prefix-limit", "azure-bgp", what)


def _session(s: Witnesses, told: AzureBgp) -> Iterator[Seen]:
    peer, health = told.peer(), s.link.health
    if peer is None or told.up() is None or health is None or s.heard is None or s.heard < told.asked:
        return
    here, since = health.bgp.state, s.heard - timedelta(seconds=health.bgp.uptime_s)
    if not told.up() and here == "Established" and since <= told.asked:
        what = f"Azure says {peer.state.value}, the home {here} for {health.bgp.uptime_s:.0f} s"
        yield s.seen("bgp-half-open", "azure-bgp", what)
    elif told.up() and here != "Established":
        lasted = peer.connected_duration_s or 0.0
        if told.at - timedelta(seconds=lasted) <= s.heard:
            what = f"Azure says {peer.state.value} for {lasted:.0f} s, the home {here}"
            yield s.seen("bgp-half-open", "azure-bgp", what)


def _learned(s: Witnesses, told: AzureBgp) -> Iterator[Seen]:
    if not told.up() or told.learned is None:
        return
    wished, learned = set(s.ends.spec.home.prefixes), set(told.learned)
    if missing := wished - learned:
        sent = f"; the home sends {_some(s.link.health.bgp.sent) or 'nothing'}" if s.link.health else ""
        yield s.seen("azure-lacks-prefixes", "azure-bgp", f"not learned: {_some(missing)}{sent}")
    if more := learned - wished:
        yield s.seen("prefix-leaked", "azure-bgp", f"learned from {told.home}, not in home.prefixes: {_some(more)}")


def _announced(s: Witnesses, told: AzureBgp) -> Iterator[Seen]:
    """Whether what the home lacks is lost on its own side or never announced."""
    health, desired = s.link.health, s.ends.desired
    if not told.up() or told.advertised is None or health is None or desired is None:
        return
    missing, announced = set(desired.bgp.accept) - set(health.bgp.received), set(told.advertised)
    for prefixes, what in (
        (missing & announced, "Azure announces, and the home has not taken"),
        (missing - announced, "Azure does not announce"),
    ):
        if prefixes:
            yield s.seen("routes-incomplete", "azure-bgp", f"{what} {_some(prefixes)}")


def _some(items: Collection[str]) -> str:
    """The first few in order, and how many more there are."""
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return ", ".join(sorted(items)[:_SHOWN]) + more
