"""What the agent and its firewall tell beyond the Conditions: trouble of their own, changes by hand, commands."""

from __future__ import annotations

from collections.abc import Iterator

from . import limits
from .witnesses import CommandSeen, Seen, Witness, Witnesses

_NOTES = (
    ("REST API package is not there", "firewall-way-closed"),
    ("wait to be applied", "firewall-changes-pending"),
    ("rules on the IPsec tab block", "firewall-rule-missing"),
    ("disablevpnrules", "auto-rules-off"),
)
"""What a driver's notes say (agent/firewall/pfsense), and the Finding that it is."""
_DRIFT = (
    ("rule ", "firewall-rule-missing"),
    ("no_apipa_block", "apipa-blocked"),
    ("disablevpnrules", "auto-rules-off"),
)
PAUSED, ROLLED_BACK = "paused by the home owner", "rolled back"


def at_home(s: Witnesses) -> Iterator[Seen]:
    yield from _silence(s)
    yield from _report(s)
    yield from _firewall(s)
    yield from _commands(s)


def _silence(s: Witnesses) -> Iterator[Seen]:
    """The agent alone, or the whole home? Azure's view of the tunnel tells them apart."""
    silent = s.report is None and s.link.heartbeat_age_s is not None and s.link.agent_known
    if silent and s.azure_status is not None and s.azure_status != "Connected":
        what = f"no heartbeat for {s.link.heartbeat_age_s:.0f} s, and Azure says {s.azure_status}"
        yield s.seen("home-offline", "azure", what)


def _report(s: Witnesses) -> Iterator[Seen]:
    report = s.report
    if report is None:
        return
    if report.paused:
        yield s.seen("agent-paused", "heartbeat", "the kill switch at home is on")
    skew = report.clock_skew_s
    if skew is not None and abs(skew) > limits.CLOCK_SKEW_S:
        yield s.seen("clock-skew", "heartbeat", f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the server")
    if not report.firewall.reachable:
        yield s.seen("firewall-unreachable", "heartbeat", report.firewall.error or "no reason given")


def _firewall(s: Witnesses) -> Iterator[Seen]:
    evidence = s.ends.evidence
    notes: list[tuple[Witness, str]] = []
    if s.report is not None:
        notes += [("heartbeat", note) for note in s.report.firewall.notes]
    notes += [("diagnosis", note) for note in evidence.notes] if evidence else []
    for witness, note in notes:
        yield from (s.seen(code, witness, note) for words, code in _NOTES if words in note)
    for line in evidence.drift if evidence else ():
        yield s.seen("firewall-drift", "diagnosis", line)
        yield from (s.seen(code, "diagnosis", line) for words, code in _DRIFT if words in line)


def _commands(s: Witnesses) -> Iterator[Seen]:
    """Of each kind the newest that has ended: an older one was made good, or is told by it."""
    newest: dict[str, CommandSeen] = {c.kind: c for c in s.commands if c.outcome is not None or c.over}
    for command in newest.values():
        what = f"{command.kind} of {command.issued:%H:%M:%S} UTC: {command.outcome or 'no answer'}. {command.detail}"
        if PAUSED in command.detail:
            yield s.seen("agent-paused", "heartbeat", what)
        elif ROLLED_BACK in command.detail:
            yield s.seen("firewall-rolled-back", "heartbeat", what)
        elif command.outcome in ("refused", "failed"):
            yield s.seen("command-refused", "heartbeat", what)
        elif command.outcome in (None, "expired"):
            yield s.seen("command-expired", "control-plane", what)
