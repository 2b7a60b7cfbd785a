"""Findings about the agent and its firewall."""

from __future__ import annotations

from .finding_kind import (
    ASKED,
    AT_ONCE,
    BEAT,
    COMMAND,
    HOME_IS_SILENT,
    REFUSED,
    SILENCE,
    Kind,
)

AT_HOME: dict[str, Kind] = {
    "agent-not-enrolled": Kind(
        "error",
        "No agent of that name has enrolled.",
        "POST /api/agents/{name}/token, then enrol it.",
        AT_ONCE,
    ),
    "agent-never-seen": Kind(
        "error",
        "The agent enrolled and has not sent a heartbeat.",
        "Start its service and read its log.",
        SILENCE,
    ),
    "agent-silent": Kind(
        "error",
        "The agent does not report: its host or its service stopped, or it does not reach the API.",
        "Look at the service and its log; the tunnel itself does not need it.",
        SILENCE,
        ("home-offline",),
    ),
    "home-offline": Kind(
        "error",
        "Neither the agent nor the tunnel is heard of: power or Internet at home is gone.",
        "Call the home. Nothing at Azure's end can help, and nothing is tried.",
        SILENCE,
    ),
    "agent-paused": Kind(
        "warning",
        "The owner of the home paused the agent: it reports, and changes nothing.",
        "Ask the owner; `homelink-agent resume` ends it.",
        BEAT,
    ),
    "clock-skew": Kind(
        "warning",
        "The clock of the agent's host is wrong.",
        "Set up NTP there. Commands go by the server's time, but TLS certificates do not.",
        BEAT,
    ),
    "firewall-unreachable": Kind(
        "error",
        "The agent does not get into the firewall, or charon or FRR does not run.",
        "The evidence has the reason; check the credential and the services.",
        BEAT,
    ),
    "firewall-way-closed": Kind(
        "warning",
        "A way into the firewall is gone: an upgrade of pfSense removes the REST package.",
        "Install the package again; XML-RPC, if it is set up, serves meanwhile.",
        BEAT,
    ),
    "firewall-changes-pending": Kind(
        "warning",
        "Changes made by hand on the firewall wait to be applied, and Homelink's apply would carry them out.",
        "Apply or discard them in the firewall's web interface.",
        BEAT,
    ),
    "firewall-pending": Kind(
        "info",
        "The firewall does not have the desired configuration yet.",
        "Wait for the agent's next poll; see its commands if it stays so.",
        BEAT,
        (
            "agent-paused",
            "firewall-unreachable",
            "command-refused",
            "command-expired",
            "firewall-rolled-back",
            *HOME_IS_SILENT,
        ),
    ),
    "firewall-unconfirmed": Kind(
        "info",
        "The change is applied, and the firewall reverts it unless it proves to work.",
        "Wait; it is confirmed when SA and BGP are up.",
        BEAT,
        REFUSED,
    ),
    "firewall-rolled-back": Kind(
        "error",
        "The firewall took a change back, because it did not prove to work in time.",
        "The evidence says what was missing: repair that, then PUT the document again.",
        COMMAND,
    ),
    "firewall-drift": Kind(
        "warning",
        "Somebody changed on the firewall what Homelink applied.",
        "The agent puts it back, unless it is paused.",
        ASKED,
        ("agent-paused",),
    ),
    "transit-impossible": Kind(
        "error",
        "The transit mode asked for cannot be with Azure's BGP address.",
        "Set spec.transit as the evidence says.",
        AT_ONCE,
    ),
    "command-refused": Kind(
        "error",
        "The agent refused or could not do a command.",
        "The evidence has its words.",
        COMMAND,
        ("agent-paused",),
    ),
    "command-expired": Kind(
        "warning",
        "A command ran out before the agent did it, or nothing was heard of it.",
        "See whether the agent reaches the queue; it is issued again.",
        COMMAND,
        HOME_IS_SILENT,
    ),
    "firewall-rule-missing": Kind(
        "error",
        "A rule of Homelink on the IPsec tab is gone or never matches.",
        "Put it first again, or let the agent put it back.",
        BEAT,
        ("firewall-drift",),
    ),
    "auto-rules-off": Kind(
        "warning",
        "pfSense's auto-added VPN rules are switched off: what Azure begins is blocked on the WAN, what this home "
        "begins is not.",
        "System > Advanced > Firewall: allow them again, or pass UDP 500, 4500 and ESP by rules of your own.",
        BEAT,
    ),
    "apipa-blocked": Kind(
        "error",
        "The firewall blocks 169.254.0.0/16, so BGP over link-local addresses does not work.",
        "System > Advanced > Firewall > Allow APIPA; the agent sets it unless it is paused.",
        ASKED,
        ("firewall-drift",),
    ),
}
