"""Findings about what surrounds the tunnel: the control plane, Azure's resources, the home's address."""

from __future__ import annotations

from .finding_kind import (
    AZURE_DNS,
    BEAT,
    DNS,
    FULL,
    SWEEP,
    Kind,
)

OUTSIDE: dict[str, Kind] = {
    "control-plane-trouble": Kind(
        "error",
        "The vault, DNS, a queue or a token failed in the middle of a step.",
        "Read the evidence; it is tried again by itself.",
        SWEEP,
    ),
    "tables-restored": Kind(
        "warning",
        "The agent knows newer generations than the tables: they were restored from a backup.",
        "Look at the documents, for what was changed since the backup is lost. Numbers go on above the agent's.",
        BEAT,
    ),
    "not-ours": Kind(
        "error",
        "A resource of this name in Azure is not Homelink's, so it is only read.",
        "Adopt it, rename ours, or remove it.",
        SWEEP,
    ),
    "azure-refuses": Kind(
        "error",
        "Azure refuses a change.",
        "Read Azure's words in the evidence; it is tried again.",
        SWEEP,
        ("gateway-busy",),
    ),
    "gateway-missing": Kind(
        "error",
        "The VPN gateway does not exist, or not yet.",
        "Wait if it was just PUT (20 minutes, at times two hours); else see what Azure refuses.",
        SWEEP,
        ("azure-refuses", "not-ours"),
    ),
    "gateway-failed": Kind(
        "error",
        "Azure reports the VPN gateway as Failed.",
        "Homelink PUTs it again; if that fails too, read Azure's activity log and open a support request.",
        SWEEP,
    ),
    "gateway-busy": Kind(
        "info",
        "An operation runs on the gateway, and Azure takes one at a time.",
        "Wait: a gateway takes 16 to 120 minutes, the rest seconds.",
        SWEEP,
    ),
    "azure-missing": Kind(
        "info",
        "The local network gateway or the connection does not exist in Azure yet.",
        "Wait for the gateway; else see what Azure refuses.",
        SWEEP,
        ("gateway-missing", "gateway-busy", "azure-refuses", "not-ours"),
    ),
    "connection-failed": Kind(
        "error",
        "Azure reports the local network gateway or the connection as Failed.",
        "Homelink PUTs it again; two local network gateways with one address are a usual cause.",
        SWEEP,
        ("address-shared",),
    ),
    "connection-edited": Kind(
        "warning",
        "A resource in Azure is not as specified: somebody edited it, or a change has not got there yet.",
        "Leave it to Homelink, which puts it back; change the document if the edit was right.",
        SWEEP,
    ),
    "azure-failover": Kind(
        "info",
        "The tunnel dropped at an unchanged address: maintenance or a failover of the gateway's instances.",
        "Wait: a planned failover takes 10 to 15 s, an unplanned one up to 3 minutes.",
        BEAT,
    ),
    "prefix-overlap": Kind(
        "error",
        "A prefix of the home overlaps one in Azure: neither side can route it.",
        "Renumber one of them.",
        FULL,
    ),
    "fqdn-not-resolved": Kind(
        "error",
        "The name's own servers fail or differ, so nothing can be said of the home's address.",
        "Ask your DNS provider; Homelink changes nothing on account of it.",
        DNS,
    ),
    "fqdn-no-such-name": Kind(
        "error",
        "The name does not exist in DNS (NXDOMAIN).",
        "Check spec.fqdn and the account of your DDNS provider, which may have run out.",
        DNS,
    ),
    "fqdn-no-address": Kind(
        "error",
        "The name has no A record.",
        "Let the router's DDNS client write one.",
        DNS,
        ("fqdn-no-such-name",),
    ),
    "fqdn-ipv6-only": Kind(
        "error",
        "The name has AAAA records only, and Azure needs IPv4.",
        "Let the DDNS client write an A record; ask the provider for a public IPv4 address if there is none (DS-Lite).",
        DNS,
    ),
    "fqdn-several-addresses": Kind(
        "error",
        "The name has several A records, of which Azure takes any.",
        "Leave the home's one.",
        DNS,
    ),
    "fqdn-private-address": Kind(
        "error",
        "The name leads to an address that is no public one: the router that writes it is behind another NAT.",
        "Let the DDNS client find out the address from outside.",
        DNS,
        ("double-nat",),
    ),
    "fqdn-cgnat": Kind(
        "error",
        "The name leads into 100.64.0.0/10, which the provider shares among customers (CGNAT).",
        "Let the DDNS client find out the address from outside, or ask the provider for a public one.",
        DNS,
        ("double-nat",),
    ),
    "fqdn-server-fails": Kind(
        "warning",
        "Some of the name's own servers do not answer or differ from the rest.",
        "Ask your DNS provider; the majority still decides.",
        DNS,
    ),
    "resolver-differs": Kind(
        "info",
        "Recursive resolvers answer otherwise than the name's own servers: an old cache entry, or a lie.",
        "Wait for the TTL; if it stays so, that resolver is broken. It alone never triggers anything.",
        DNS,
    ),
    "address-shared": Kind(
        "error",
        "Another Connection of the gateway has this address, and Azure needs one for each.",
        "Two homes behind one address need two gateways.",
        BEAT,
    ),
    "home-address-changed": Kind(
        "info",
        "The home speaks from another address than the one from which the tunnel was last proven.",
        "Nothing: Homelink follows as soon as DNS agrees.",
        BEAT,
    ),
    "isp-reconnect": Kind(
        "info",
        "The home's address changes at about the same time every day or so: the provider cuts the line.",
        "Let the router do it at a quiet hour (FRITZ!Box: Internet > Account Information, the hours to which the "
        "provider's disconnection is moved). Homelink waits a little longer then before it repairs anything.",
        SWEEP,
    ),
    "ddns-not-updated": Kind(
        "error",
        "The home speaks from a new address, and its name still says the old one.",
        "See why the router's DDNS client has not written it: its login, its host name, its log.",
        BEAT,
        ("home-address-changed",),
    ),
    "azure-address-outdated": Kind(
        "error",
        "DNS and the home agree on an address, and Azure still has another.",
        "Homelink pins the new one, unless spec.repair forbids it; Azure itself looks every 5 minutes, at a dead "
        "tunnel only.",
        AZURE_DNS,
        ("home-address-changed",),
    ),
    "pinned": Kind(
        "info",
        "Azure is pointed at an address instead of the name.",
        "Nothing: the pin ends when the tunnel was healthy and all resolvers agree.",
        BEAT,
        ("home-address-changed",),
    ),
    "pin-forgotten": Kind(
        "warning",
        "Azure has been pointed at an address for long, and does not heal itself meanwhile.",
        "See which resolver still answers the old address, or why the tunnel is not healthy; an edit by hand is "
        "put back.",
        SWEEP,
        ("resolver-differs", "fqdn-not-resolved", "ddns-not-updated"),
    ),
    "double-nat": Kind(
        "warning",
        "There is another NAT between the router and the Internet.",
        "The home dials, so the tunnel works; the DDNS client has to ask from outside for the address.",
        BEAT,
    ),
    "port-forward-needed": Kind(
        "warning",
        "Azure is to dial, and the firewall has no public address.",
        "Forward UDP 500 and 4500 on the router, or use mode ResponderOnly.",
        BEAT,
        ("double-nat",),
    ),
}
