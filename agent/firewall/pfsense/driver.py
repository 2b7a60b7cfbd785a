"""The pfSense driver: the contract of `firewall/contract.py` by calls of the PHP on the firewall.

The records, the snapshot and the dead-man timer are on the firewall, so this side keeps nothing: an agent that was
killed, restored or reinstalled sees what is there. What it costs is a call of a third of a second for each look; one
answer serves all questions of a step (`FRESH_S`), and no longer than until the next change.
"""

from __future__ import annotations

from typing import Any

from agent.config import Config
from agent.errors import AgentError, FirewallError
from agent.firewall.contract import Change, Health, Revert, State
from agent.firewall.linux.notified import Notified
from agent.firewall.linux.refusal import refusal, why
from agent.firewall.linux.rekeys import Rekeys
from agent.firewall.pfsense import status as read_status
from agent.firewall.pfsense.box import Box
from agent.firewall.pfsense.seal import seal
from agent.firewall.pfsense.status import Status
from agent.firewall.pfsense.wanted import wanted
from agent.firewall.pfsense.ways import Local, Rest, Way, Web, XmlRpc
from agent.limits import shorten
from agent.seams import Clock, Random
from shared.wire.commands import DesiredTunnel
from shared.wire.decode import to_plain
from shared.wire.reports import FirewallHealth

FRESH_S = 2.0
MAX_NOTES = 10
VERSIONS_S = 3600.0
"""So often are the versions asked anew: two commands more, and an upgrade is rare."""
START_S, INITIATE_S = 4, 8
"""How long to wait for an SA: a sound negotiation takes two round trips; the rest goes on without us."""


class PfSense:
    driver = "pfsense"

    def __init__(self, box: Box, wan: str, consent: bool, clock: Clock, random: Random) -> None:
        """`consent`: the home owner lets Homelink add its neighbour to a BGP that runs already."""
        self._box = box
        self._wan = wan
        self._consent = consent
        self._clock = clock
        self._random = random
        self._last: Status | None = None
        self._versions: dict[str, Any] | None = None
        self._versions_at = float("-inf")
        self._errors: dict[str, str] = {}
        self._said: dict[str, list[str]] = {}
        """Connection -> charon's log of the last attempt that was made here."""
        self._rekeys = Rekeys()
        self._notified = Notified()

    # state -----------------------------------------------------------------------------------------------------

    def read(self) -> State:
        last = self._last
        if last is None or self._clock.monotonic() - last.taken_at > FRESH_S:
            last = self._status()
        return last.state()

    def diff(self, desired: DesiredTunnel) -> tuple[Change, ...]:
        status = self._status()
        tunnel = status.tunnel(desired.connection)
        if tunnel is None:
            return (Change("tunnel", "not applied"),)
        found: list[Change] = []
        if tunnel.desired != desired:
            found.append(Change("tunnel", "applied with other values"))
        elif tunnel.wanted != wanted(desired, self._wan):
            found.append(Change("tunnel", "this version of the agent, or its settings, render it differently"))
        if status.unapplied:
            found.append(Change("firewall", "an earlier change was cut short"))
        return (*found, *(Change("firewall", text) for text in tunnel.drift))

    # changes ---------------------------------------------------------------------------------------------------

    def apply(self, desired: DesiredTunnel, generation: int, psk: str, revert: Revert | None) -> None:
        document = wanted(desired, self._wan)
        pair = self._box.call("key", {})
        request = {
            "wanted": document,
            "desired": to_plain(desired),
            "generation": generation,
            "consent": self._consent,
            "key": seal(psk, _number(pair, "n"), _number(pair, "e"), self._random),
            "revert": None
            if revert is None
            else {"id": self._random.token(16).hex(), "after_s": revert.after_s, "up_before": list(revert.up_before)},
        }
        if "frr" in self._change("apply", request).get("changed", ()):
            self._notified.forget(desired.bgp.peer_address)

    def confirm(self) -> None:
        self._change("confirm", {})

    def rollback(self) -> None:
        self._change("rollback", {})

    def remove(self, connection: str) -> None:
        self._change("remove", {"connection": connection})
        self._errors.pop(connection, None)
        self._said.pop(connection, None)

    def start(self, connection: str) -> None:
        self._start("start", connection, START_S)

    def initiate(self, connection: str) -> str:
        answer = self._start("initiate", connection, INITIATE_S)
        if not answer.get("owned"):
            raise FirewallError(f"Connection {connection} is not applied on this firewall")
        return "SA installed" if answer.get("up") else f"not established: {self._errors[connection]}"

    # looking ---------------------------------------------------------------------------------------------------

    def health(self) -> Health:
        try:
            status = self._status(look=True)
        except AgentError as e:
            firewall = FirewallHealth(self.driver, self._version(), None, False, shorten(str(e), 300))
            return Health(firewall, ())
        tunnels = []
        for t in status.tunnels:
            error = self._errors.get(t.desired.connection)
            one = read_status.tunnel_health(t, status, error, self._rekeys, self._notified)
            if one.child.installed:
                self._errors.pop(one.connection, None)
            tunnels.append(one)
        wan, notes = status.answer.get("wan"), tuple(shorten(n, 300) for n in self._notes(status)[:MAX_NOTES])
        address = str(wan) if wan else None
        firewall = FirewallHealth(self.driver, self._version(), address, True, notes=notes)
        return Health(firewall, tuple(tunnels))

    def diagnose(self, connection: str) -> dict[str, Any]:
        evidence: dict[str, Any] = {"ways": [self._box.used, *self._box.closed()]}
        try:
            status = self._status(look=True)
        except AgentError as e:
            return {**evidence, "firewall": f"cannot be read: {shorten(str(e), 300)}"}
        tunnel = status.tunnel(connection)
        evidence |= {"owned": tunnel is not None, "version": self._version(), "notes": self._notes(status)}
        evidence |= {key: status.answer.get(key) for key in ("wan", "revision", "unapplied")}
        if tunnel is not None:
            evidence["drift"] = list(tunnel.drift[:40])
            evidence |= {key: tunnel.seen.get(key) for key in ("con", "interface", "opt", "routes")}
            evidence |= read_status.evidence(tunnel, status)
            evidence["refusal"] = self._refusal(connection)
        return evidence

    def _refusal(self, connection: str) -> dict[str, Any] | None:
        """Only while it is refused: what was said before the last success explains nothing."""
        found = refusal(self._said.get(connection, ())) if connection in self._errors else None
        return None if found is None else to_plain(found)

    # inside ----------------------------------------------------------------------------------------------------

    def _status(self, look: bool = False) -> Status:
        known = self._versions is not None and bool(self._versions.get("frr"))
        known = known and self._clock.monotonic() - self._versions_at < VERSIONS_S
        request = {"look": look, "wan": self._wan, "versions": look and not known}
        answer = self._box.call("status", request)
        now = self._clock.monotonic()
        if answer.get("versions"):
            self._versions, self._versions_at = answer["versions"], now
        self._last = read_status.parse(answer, now)
        return self._last

    def _change(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        self._last = None  # also when it fails: something may have been done
        return self._box.call(action, request)

    def _start(self, action: str, connection: str, within_s: int) -> dict[str, Any]:
        answer = self._box.call(action, {"connection": connection, "timeout_s": within_s}, within_s + 30.0)
        if answer.get("started"):
            if answer.get("up"):
                self._errors.pop(connection, None)
            else:
                said = str(answer.get("said", ""))
                self._said[connection] = said.splitlines()
                self._errors[connection] = why(self._said[connection]) or _unexplained(said)
        return answer

    def _notes(self, status: Status) -> list[str]:
        found = [*self._box.closed(), *(str(n) for n in status.answer.get("notes") or ())]
        dirty = [str(d) for d in status.answer.get("dirty") or ()]
        if dirty:
            found.append(f"changes made by hand wait to be applied: {', '.join(dirty)}")
        return found

    def _version(self) -> str:
        return read_status.version(self._versions, self._box.used or "no way")


def _number(pair: dict[str, Any], key: str) -> int:
    try:
        return int(str(pair[key]), 16)
    except (KeyError, ValueError):
        raise FirewallError("the firewall gave no public key to seal the pre-shared key with") from None


def _unexplained(said: str) -> str:
    return (
        "PEER_NOT_RESPONDING"
        if "not established after" in said
        else shorten(said[-120:], 120) or "no answer from charon"
    )


def build(config: Config, clock: Clock, random: Random) -> PfSense:
    """The driver as agent.toml wants it: on the firewall itself, or over REST with XML-RPC behind it."""
    s = config.pfsense
    ways: list[Way] = []
    if s.url:
        web = Web(s.url, s.ca, s.fingerprint)
        if s.api_key:
            ways.append(Rest(web, s.api_key))
        if s.user:
            ways.append(XmlRpc(web, s.user, s.password))
    else:
        ways.append(Local())
    return PfSense(Box(ways, clock, random), s.wan, s.merge_bgp, clock, random)
