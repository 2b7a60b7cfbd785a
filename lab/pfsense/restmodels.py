"""The REST package's models that concern a tunnel: phase 1 and 2, interfaces, rules, gateways, static routes.

Fields, defaults, choices and conditions are those of the package's v2.10.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lab.pfsense.restfield import Field, Json

ENCRYPTIONS = ("aes", "aes128gcm", "aes192gcm", "aes256gcm", "chacha20poly1305")
GROUPS = (1, 2, 5, *range(14, 33))
HASHES = ("sha1", "sha256", "sha384", "sha512", "aesxcbc")
_WITH_LENGTH = ENCRYPTIONS[:4]
_ID_TYPES = ("address", "fqdn", "user_fqdn", "asn1dn", "keyid tag", "dyn_dns", "auto")
_ACTIONS = ("", "none", "start", "trap")
_P2_HASHES = (*(f"hmac_{h}" for h in HASHES[:4]), "aesxcbc")
_PSK, _CERT = (("authentication_method", ("pre_shared_key",)),), (("authentication_method", ("cert",)),)
Config = Json


@dataclass(frozen=True)
class Model:
    """`path` in config.xml. `merge`: a PATCH keeps keys that the model does not know. `prepare` fills read-only fields
    of a new object, `validate` looks at the whole configuration; the numbers given are None for a new object."""

    title: str
    path: str
    fields: tuple[Field, ...]
    subsystem: str = ""
    merge: bool = True
    keyed: bool = False
    """By name (`opt1`) instead of by index."""
    prepare: Callable[[Json, Config, float], None] | None = None
    validate: Callable[[Json, Config, int | str | None], None] | None = None
    nulls: tuple[str, ...] = ()
    """Fields that an answer shows although nothing here uses them."""


PHASE1_ENCRYPTION = (
    Field("encryption_algorithm_name", xml="encryption-algorithm/name", required=True, choices=ENCRYPTIONS),
    Field(
        "encryption_algorithm_keylen",
        int,
        "encryption-algorithm/keylen",
        required=True,
        when=(("encryption_algorithm_name", _WITH_LENGTH),),
    ),
    Field("hash_algorithm", xml="hash-algorithm", required=True, choices=HASHES),
    Field("dhgroup", int, required=True, choices=GROUPS),
    Field("prf_algorithm", xml="prf-algorithm", default="sha256", choices=HASHES),
)
PHASE2_ENCRYPTION = (
    Field("name", required=True, choices=ENCRYPTIONS),
    Field("keylen", int, required=True, when=(("name", _WITH_LENGTH),)),
)
PHASE1 = (
    Field("ikeid", int, read_only=True),
    Field("descr", default=""),
    Field("disabled", bool, default=False),
    Field("iketype", required=True, choices=("ikev1", "ikev2", "auto")),
    Field("mode", required=True, choices=("main", "aggressive"), when=(("iketype", ("ikev1", "auto")),)),
    Field("protocol", required=True, choices=("inet", "inet6", "both")),
    Field("interface", required=True),
    Field("remote_gateway", xml="remote-gateway", required=True),
    Field("authentication_method", required=True, choices=("pre_shared_key", "cert")),
    Field("myid_type", required=True, choices=("myaddress", *_ID_TYPES)),
    Field("myid_data", required=True, when=(("!myid_type", ("myaddress",)),)),
    Field("peerid_type", required=True, choices=("any", "peeraddress", *_ID_TYPES)),
    Field("peerid_data", required=True, when=(("!peerid_type", ("any", "peeraddress")),)),
    Field("pre_shared_key", xml="pre-shared-key", required=True, sensitive=True, when=_PSK),
    Field("certref", required=True, when=_CERT),
    Field("caref", required=True, when=_CERT),
    Field("rekey_time", int, default=25920),
    Field("reauth_time", int, default=0),
    Field("rand_time", int, default=2880),
    Field("lifetime", int, default=28800),
    Field("startaction", default="", choices=_ACTIONS),
    Field("closeaction", default="", choices=_ACTIONS),
    Field("nat_traversal", default="on", choices=("on", "force")),
    Field("gw_duplicates", bool, default=False),
    Field("mobike", bool, default=False, true="on", false="off"),
    Field("splitconn", bool, default=False),
    Field("prfselect_enable", bool, default=False, true="yes"),
    Field("ikeport", default="500"),
    Field("nattport", default="4500"),
    Field("dpd_delay", int, default=10, null=True),
    Field("dpd_maxfail", int, default=5, null=True),
    Field("encryption", xml="encryption/item", required=True, many=True, nested=PHASE1_ENCRYPTION),
)


def _side(name: str, when: tuple[tuple[str, tuple[Any, ...]], ...], required: bool) -> tuple[Field, ...]:
    kind = f"{name}_type"
    return (
        Field(kind, xml=f"{name}/type", required=required, null=not required, when=when),
        Field(f"{name}_address", xml=f"{name}/address", required=True, when=((kind, ("address", "network")),)),
        Field(f"{name}_netbits", int, f"{name}/netbits", required=True, high=128, when=((kind, ("network",)),)),
    )


PHASE2 = (
    Field("uniqid", read_only=True),
    Field("reqid", int, read_only=True),
    Field("ikeid", int, required=True, foreign=True),
    Field("descr", default=""),
    Field("disabled", bool, default=False),
    Field("mode", required=True, choices=("tunnel", "tunnel6", "transport", "vti")),
    *_side("localid", (("!mode", ("transport",)),), True),
    *_side("natlocalid", (("!mode", ("transport", "vti")),), False),
    *_side("remoteid", (("!mode", ("transport",)),), True),
    Field("protocol", default="esp", choices=("esp", "ah")),
    Field(
        "encryption_algorithm_option",
        xml="encryption-algorithm-option",
        required=True,
        many=True,
        nested=PHASE2_ENCRYPTION,
        when=(("protocol", ("esp",)),),
    ),
    Field(
        "hash_algorithm_option",
        xml="hash-algorithm-option",
        required=True,
        many=True,
        xml_list=True,
        choices=_P2_HASHES,
    ),
    Field("pfsgroup", int, default=14, choices=(0, *GROUPS)),
    Field("rekey_time", int, default=3240),
    Field("rand_time", int, default=360),
    Field("lifetime", int, default=3600),
    Field("pinghost", default=""),
    Field("keepalive", bool, default=False, true="enabled", false="disabled"),
)
INTERFACE = (
    Field("if", required=True, longest=128),
    Field("enable", bool, default=False),
    Field("descr", required=True, longest=128),
    Field("spoofmac", default="", longest=17),
    Field("mtu", int, null=True, low=1280, high=8192),
    Field("mss", int, null=True, low=576, high=65535),
    Field("media", default=""),
    Field("mediaopt", default=""),
    Field("blockpriv", bool, default=False),
    Field("blockbogons", bool, default=False),
    Field("typev4", required=True, choices=("static", "dhcp", "none")),
    Field("ipaddr", required=True, when=(("typev4", ("static",)),)),
    Field("subnet", int, required=True, low=1, high=32, when=(("typev4", ("static",)),)),
    Field("gateway", null=True, when=(("typev4", ("static",)),)),
)
_DHCP_AND_IPV6 = """
dhcphostname alias_address alias_subnet dhcprejectfrom adv_dhcp_config_advanced adv_dhcp_pt_values
adv_dhcp_pt_timeout adv_dhcp_pt_retry adv_dhcp_pt_select_timeout adv_dhcp_pt_reboot adv_dhcp_pt_backoff_cutoff
adv_dhcp_pt_initial_interval adv_dhcp_send_options adv_dhcp_request_options adv_dhcp_required_options
adv_dhcp_option_modifiers adv_dhcp_config_file_override adv_dhcp_config_file_override_path typev6 ipaddrv6
subnetv6 gatewayv6 ipv6usev4iface slaacusev4iface prefix_6rd gateway_6rd prefix_6rd_v4plen track6_interface
track6_prefix_id_hex
"""
INTERFACE_NULLS = tuple(_DHCP_AND_IPV6.split())
_PROTOCOLS = ("tcp", "udp", "tcp/udp", "icmp", "esp", "ah", "gre", "ipv6", "igmp", "pim", "ospf", "carp", "pfsync")
_PORTS = (("protocol", ("tcp", "udp", "tcp/udp")),)
_FLOATING = (("floating", (True,)),)
RULE = (
    Field("type", required=True, choices=("pass", "block", "reject")),
    Field("interface", required=True, many=True),
    Field("ipprotocol", required=True, choices=("inet", "inet6", "inet46")),
    Field("protocol", null=True, choices=_PROTOCOLS),
    Field("icmptype", many=True, default=["any"], when=(("protocol", ("icmp",)),)),
    Field("source", required=True, address=True),
    Field("source_port", xml="source/port", null=True, when=_PORTS),
    Field("destination", required=True, address=True),
    Field("destination_port", xml="destination/port", null=True, when=_PORTS),
    Field("descr", default=""),
    Field("disabled", bool, default=False),
    Field("log", bool, default=False),
    Field("dscp", null=True),
    Field("tag", default=""),
    Field("statetype", default="keep state", choices=("keep state", "sloppy state", "synproxy state", "none")),
    Field("tcp_flags_any", bool, "tcpflags_any", default=False),
    Field("tcp_flags_out_of", xml="tcpflags2", many=True, null=True),
    Field("tcp_flags_set", xml="tcpflags1", many=True, null=True),
    Field("gateway", null=True),
    Field("sched", null=True),
    Field("dnpipe", null=True),
    Field("pdnpipe", null=True),
    Field("defaultqueue", null=True),
    Field("ackqueue", null=True),
    Field("floating", bool, default=False, true="yes"),
    Field("quick", bool, default=False, true="yes", when=_FLOATING),
    Field("direction", default="any", choices=("any", "in", "out"), when=_FLOATING),
    Field("tracker", int, read_only=True),
    Field("associated_rule_id", xml="associated-rule-id", read_only=True),
    Field("created_time", int, "created/time", read_only=True),
    Field("created_by", xml="created/username", read_only=True),
    Field("updated_time", int, "updated/time", read_only=True),
    Field("updated_by", xml="updated/username", read_only=True),
)
GATEWAY = (
    Field("name", required=True, longest=31),
    Field("descr", default=""),
    Field("disabled", bool, default=False),
    Field("ipprotocol", required=True, choices=("inet", "inet6")),
    Field("interface", required=True),
    Field("gateway", required=True),
    Field("monitor_disable", bool, default=False),
    Field("monitor", null=True, when=(("monitor_disable", (False,)),)),
    Field("action_disable", bool, default=False),
    Field("force_down", bool, default=False),
    Field("dpinger_dont_add_static_route", bool, default=False),
    Field("gw_down_kill_states", default="", choices=("", "none", "down")),
    Field("nonlocalgateway", bool, default=False),
    Field("weight", int, default=1, low=1, high=30),
    Field("data_payload", int, default=1),
    Field("latencylow", int, default=200),
    Field("latencyhigh", int, default=500),
    Field("losslow", int, default=10),
    Field("losshigh", int, default=20),
    Field("interval", int, default=500),
    Field("loss_interval", int, default=2000),
    Field("time_period", int, default=60000),
    Field("alert_interval", int, default=1000),
)
STATIC_ROUTE = (
    Field("network", required=True),
    Field("gateway", required=True),
    Field("descr", default=""),
    Field("disabled", bool, default=False),
)
