"""What a VPN gateway tells of BGP when it is asked: its neighbours, what it learned, what it announces to one of them.

ARM has these as POST operations (getBgpPeerStatus, getLearnedRoutes, getAdvertisedRoutes); their answers are read here.
What a Finding rests on must be right or the answer is refused; what is only shown may lack. An answer without a list
proves nothing, and must not look like "no routes".
"""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum
from ipaddress import ip_address, ip_network
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationError

from .model import Model


class BgpQuestion(StrEnum):
    """The value is the action of the URL."""

    PEERS = "getBgpPeerStatus"
    LEARNED = "getLearnedRoutes"
    ADVERTISED = "getAdvertisedRoutes"  # needs the neighbour's address


class PeerState(StrEnum):
    """ARM's enumeration (API 2026-03-01); what it does not name is UNKNOWN, too."""

    UNKNOWN = "Unknown"
    STOPPED = "Stopped"
    IDLE = "Idle"
    CONNECTING = "Connecting"
    CONNECTED = "Connected"


_SPAN = re.compile(r"(?:(\d{1,6})\.)?(\d{1,2}):(\d{1,2}):(\d{1,2}(?:\.\d{1,7})?)")


def _seconds(value: Any) -> Any:
    """.NET's TimeSpan (`3.03:14:13.1796961`: days, hours, minutes, seconds); None for what is none."""
    if not isinstance(value, str):
        return value if isinstance(value, float) else None
    found = _SPAN.fullmatch(value)
    if found is None:
        return None
    days, hours, minutes, seconds = found.groups()
    return (int(days or 0) * 24 + int(hours)) * 3600 + int(minutes) * 60 + float(seconds)


def _state(value: Any) -> Any:
    return next((s for s in PeerState if s == value), PeerState.UNKNOWN)


def _count(value: Any) -> Any:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _text(value: Any) -> Any:
    return value if isinstance(value, str) else None


Address = Annotated[str, AfterValidator(lambda v: str(ip_address(v)))]
Network = Annotated[str, AfterValidator(lambda v: str(ip_network(v, strict=False)))]
Count = Annotated[int | None, BeforeValidator(_count)]
Text = Annotated[str | None, BeforeValidator(_text)]


class _Told(Model):
    model_config = ConfigDict(extra="ignore")  # a newer API may tell more


class BgpPeer(_Told):
    """One neighbour of one of the gateway's instances, whose own address is `local_address`."""

    neighbor: Address
    asn: int = Field(ge=0, lt=2**32)
    state: Annotated[PeerState, BeforeValidator(_state)]
    connected_duration_s: Annotated[float | None, BeforeValidator(_seconds)] = Field(None, alias="connectedDuration")
    routes_received: Count = None
    messages_sent: Count = None
    messages_received: Count = None
    local_address: Text = None


class BgpRoute(_Told):
    """A route in an instance's table. `source_peer`: from whom; None for its own. `as_path` is joined by dashes."""

    network: Network
    source_peer: Text = None
    next_hop: Text = None
    as_path: Text = None
    origin: Text = None
    weight: Count = None
    local_address: Text = None


BgpAnswer = tuple[BgpPeer, ...] | tuple[BgpRoute, ...]
"""Peers to PEERS, routes to the others."""


def read(question: BgpQuestion, body: Any) -> BgpAnswer:
    """ARM's JSON. Raises ValueError saying which item and field is not as expected."""
    items = body.get("value") if isinstance(body, dict) else None
    if not isinstance(items, list):
        raise ValueError(f"{question.value}: no list 'value' in the answer")
    try:
        if question is BgpQuestion.PEERS:
            return tuple(BgpPeer.model_validate(item) for item in items)
        return tuple(BgpRoute.model_validate(item) for item in items)
    except ValidationError as e:
        first = e.errors()[0]
        raise ValueError(f"{question.value}: {'.'.join(map(str, first['loc'])) or 'item'}: {first['msg']}") from None


class AzureBgp(Model):
    """What Azure's gateway said of one home. `home`: the address that Azure speaks to it at. `learned`: prefixes that
    came from there, `advertised`: those that went there. None: not known. Both times bound when it was true."""

    asked: datetime
    at: datetime
    home: str
    peers: tuple[BgpPeer, ...] | None = None
    learned: tuple[str, ...] | None = None
    advertised: tuple[str, ...] | None = None

    def peer(self) -> BgpPeer | None:
        """The home among the neighbours; of several instances one that is connected."""
        mine = [p for p in self.peers or () if p.neighbor == self.home]
        return next((p for p in mine if p.state is PeerState.CONNECTED), mine[0] if mine else None)

    def up(self) -> bool | None:
        """Whether Azure says that the session stands; None where it does not know."""
        peer = self.peer()
        return None if peer is None or peer.state is PeerState.UNKNOWN else peer.state is PeerState.CONNECTED

    def announced(self) -> tuple[str, ...] | None:
        """What the home can take of `advertised`: bgpd announces a home's own prefixes back to it (captured), where
        they end as a loop."""
        return None if self.advertised is None else tuple(p for p in self.advertised if p not in (self.learned or ()))


def answered(told: AzureBgp, question: BgpQuestion, answer: BgpAnswer, at: datetime) -> AzureBgp:
    """With this answer, too. Routes that were learned from others are not kept."""
    routes = [r for r in answer if isinstance(r, BgpRoute)]
    if question is BgpQuestion.PEERS:
        return told.model_copy(update={"at": at, "peers": tuple(p for p in answer if isinstance(p, BgpPeer))})
    if question is BgpQuestion.LEARNED:
        found = {r.network for r in routes if r.source_peer == told.home}
        return told.model_copy(update={"at": at, "learned": tuple(sorted(found))})
    return told.model_copy(update={"at": at, "advertised": tuple(sorted({r.network for r in routes}))})
