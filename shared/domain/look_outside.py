"""What surrounds the tunnel and no Condition of the Connection tells: Azure's resources, DNS, the home's address."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from . import addressing, limits, refusals
from .arm import ArmKind
from .dns import DnsFault
from .plan import Action, provisioning_state
from .witnesses import Seen, Witness, Witnesses


def outside(s: Witnesses) -> Iterator[Seen]:
    yield from _control_plane(s)
    yield from _gateway(s)
    yield from _edits(s)
    yield from _overlaps(s)
    yield from _failover(s)
    yield from _names(s)
    yield from _addresses(s)
    yield from _pins(s)


def _control_plane(s: Witnesses) -> Iterator[Seen]:
    for c in s.gateway:
        if c.type == "Ready" and c.reason == "ControlPlaneTrouble":
            yield s.seen("control-plane-trouble", "control-plane", c.message)
    if s.restored:
        what = "the agent was given newer generations than the documents have"
        yield s.seen("tables-restored", "heartbeat", what)


def _gateway(s: Witnesses) -> Iterator[Seen]:
    if s.operation:
        yield s.seen("gateway-busy", "azure", s.operation)
    if s.refusal:
        yield s.seen("azure-refuses", "azure", s.refusal)
    known = s.ends.resources
    if ArmKind.GATEWAY in known:
        gateway = known[ArmKind.GATEWAY]
        state = provisioning_state(gateway) if gateway else "missing"
        said = f"the gateway's provisioning state is {state}"
    else:
        ready = next((c for c in s.gateway if c.type == "GatewayReady"), None)
        state, said = (ready.reason.lower(), ready.message) if ready else ("", "")
    if state in ("missing", "failed"):
        yield s.seen(f"gateway-{state}", "azure", said)


def _edits(s: Witnesses) -> Iterator[Seen]:
    """A Plan that has something to do although no operation runs: somebody else did something."""
    blocked = [c.message for c in s.gateway if c.reason == "Blocked"]
    for change in s.plan.changes if s.plan else ():
        about = f"{change.ref.kind.value}/{change.ref.name}"
        if change.action is Action.BLOCKED:
            blocked.append(change.reason)
        elif change.action is Action.UPDATE and change.differences:
            fields = "; ".join(f"{d.path}: {d.observed!r}, specified {d.desired!r}" for d in change.differences[:10])
            yield s.seen("connection-edited", "azure", f"{about}: {fields}")
    if blocked:
        yield s.seen("not-ours", "azure", blocked[-1])


def _overlaps(s: Witnesses) -> Iterator[Seen]:
    """The documents cannot overlap; a network that was edited, or that is peered, can."""
    net = (s.ends.resources.get(ArmKind.VIRTUAL_NETWORK) or {}).get("properties") or {}
    spaces = (net.get("addressSpace") or {}).get("addressPrefixes") or ()
    there: list[tuple[Witness, str, str]] = [("azure", "the virtual network has", str(p)) for p in spaces]
    if s.link.health is not None:
        there += [("heartbeat", "Azure announces", p) for p in s.link.health.bgp.received]
    for witness, who, text in there:
        theirs = addressing.network(text)
        for mine in s.ends.spec.home.prefixes:
            ours = addressing.network(mine)
            if theirs is not None and ours is not None and theirs.overlaps(ours):
                yield s.seen("prefix-overlap", witness, f"{who} {text}, the home {mine}")


def _failover(s: Witnesses) -> Iterator[Seen]:
    """At an unchanged address, for less time than a failover takes, and with no refusal: most likely Azure's."""
    health, since = s.link.health, s.down_since
    if health is None or since is None or health.ike_error not in (None, refusals.NOT_RESPONDING):
        return
    moved = s.known_address is not None and s.link.reported_address not in (None, s.known_address)
    age = s.now - since
    if moved or health.child.installed or age > timedelta(seconds=limits.FAILOVER_S):
        return
    company = f", and so are {', '.join(s.down_elsewhere)}" if s.down_elsewhere else ""
    alone = " The gateway's other Connections are up." if s.others and not s.down_elsewhere else ""
    if not alone:
        what = f"down for {age.total_seconds():.0f} s at an unchanged address{company}"
        yield s.seen("azure-failover", "heartbeat", what)


def _names(s: Witnesses) -> Iterator[Seen]:
    view = s.link.dns
    if view is None:
        return
    if view.fault() in (DnsFault.NO_ADDRESS, DnsFault.NOT_RESOLVED) and "NXDOMAIN" in view.note:
        yield s.seen("fqdn-no-such-name", "dns", f"{view.name}: {view.note}")
    agreed = view.agreed()
    if agreed is None:
        return
    for server, answer in view.authoritative.items():
        if answer != (agreed,):
            said = "does not answer" if answer is None else f"says {', '.join(answer) or 'nothing'}"
            yield s.seen("fqdn-server-fails", "dns", f"{server} {said}, the others {agreed}")
    for resolver, answer in view.recursive.items():
        if answer is not None and answer != (agreed,):
            said = f"{resolver} says {', '.join(answer) or 'nothing'}, not {agreed} (its TTL is {view.ttl_s} s)"
            yield s.seen("resolver-differs", "dns", said)


def _addresses(s: Witnesses) -> Iterator[Seen]:
    if s.link.reconnect is not None:
        yield s.seen("isp-reconnect", "control-plane", f"the address changed at about {s.link.reconnect}")
    reported, known = s.link.reported_address, s.known_address
    if reported is None:
        return
    if known is not None and reported != known:
        yield s.seen("home-address-changed", "heartbeat", f"the home speaks from {reported}, before from {known}")
    if s.link.resolved != reported:
        return
    row = next((r for r in s.rows if r.field == "home.address"), None)
    lng = (s.ends.resources.get(ArmKind.LOCAL_GATEWAY) or {}).get("properties") or {}
    if row is not None and lng.get("gatewayIpAddress") and row.azure != reported:
        what = f"Azure's local network gateway names {row.azure}, DNS and the home say {reported}"
        yield s.seen("azure-address-outdated", "azure", what)
    elif s.link.pin is not None and s.link.pin != reported:
        what = f"Azure is pinned to {s.link.pin}, DNS and the home say {reported}"
        yield s.seen("azure-address-outdated", "heartbeat", what)
    elif s.link.pin is None and known not in (None, reported) and s.azure_status == "NotConnected":
        what = f"DNS and the home say {reported}, and Azure is not connected: it may still have {known} in its cache"
        yield s.seen("azure-address-outdated", "azure", what)


def _pins(s: Witnesses) -> Iterator[Seen]:
    lng = (s.ends.resources.get(ArmKind.LOCAL_GATEWAY) or {}).get("properties") or {}
    if s.link.pin is None and lng.get("gatewayIpAddress"):
        what = f"the local network gateway names {lng['gatewayIpAddress']}, and Homelink has not pinned it"
        yield s.seen("pin-forgotten", "azure", what)
    if s.link.pin is None or s.pinned_since is None:
        return
    age = s.now - s.pinned_since
    yield s.seen("pinned", "control-plane", f"to {s.link.pin} since {s.pinned_since:%Y-%m-%d %H:%M} UTC")
    if age > timedelta(seconds=limits.PIN_LONG_S):
        yield s.seen("pin-forgotten", "control-plane", f"pinned to {s.link.pin} for {age.total_seconds() / 3600:.0f} h")
