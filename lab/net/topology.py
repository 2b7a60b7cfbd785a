"""The lab's hosts and wires, before any daemon runs: namespaces, links, addresses, NAT.

    vm -- az == gw-<connection> == edge --+                +-- nat -- home -- lan
                                          inet (router) ---+
               cloud (the sandbox itself), dns --+         +-- nat-<home> -- ...

Every public host hangs on the internet router by a /32 and a default route, so an address can move or vanish without
touching anybody else. `gw-*` namespaces are not built here: they follow the connections (lab.net.link), and so do the
`az` and `vm` of further gateways (lab.net.vnet). What a process other than the builder needs to know is left in
`topology.json`, and each gateway's machine in `machines/`.

A home's router is a FRITZ!Box in all that matters here: it masquerades, forgets its connections with its address, and
every home may use the same private addresses as the next one. A home has one tunnel, because userspace ESP serves one
per namespace; `second_tunnel` gives it a namespace `<home>~1` behind its firewall with a charon of its own, which is
the only way to hold both tunnels to an active-active gateway here. A pfSense makes a namespace `<home>~ipsecN` for each
of its tunnels itself (lab.pfsense.carrier).
"""

from __future__ import annotations

import asyncio
import json
import shutil
import zlib
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from lab.net.run import LabNetError, add_namespace, drop_namespace, inside, ip, namespaces, nft, run

STATE_FILE = "topology.json"
DEFAULT_DIR = Path("/var/tmp/homelink")
"""A tmpfs of the sandbox, so it is as private and short-lived as the sandbox; short, for socket paths (108 bytes)."""

CLOUD = "203.0.113.80"
DNS = "203.0.113.53"
RESOLVER = "203.0.113.54"
GATEWAY = "203.0.113.10"
GATEWAYS = tuple(f"203.0.113.{n}" for n in range(10, 50, 10))
"""The public addresses that the lab's Azure may hand out; any free one of 203.0.113.0/24 would do."""
ROUTER = "203.0.113.1"
HOMES_ROUTER = "198.51.100.1"
VM = "10.0.0.4"
VM_ROUTER = "10.0.0.1"
SECOND_FIREWALL, SECOND_TUNNEL = "100.64.255.1", "100.64.255.2"
SECOND_DEVICE = "tun1"
"""The firewall's device towards its second tunnel, with SECOND_TUNNEL as next hop."""
OWN_PREFIXES = ("gw-", "az-", "az~", "vm-")
"""Namespaces that come and go with gateways and connections."""


def interface(name: str) -> str:
    """An interface name: at most 15 characters, different for different names."""
    return name if len(name) <= 15 else f"{name[:9]}-{zlib.crc32(name.encode()) & 0xFFFFF:05x}"


@dataclass(frozen=True)
class Home:
    """One home behind a router of its own. Private addresses may be the same in every home; names and public may not.

    `port_forward` opens UDP 500 and 4500 at the router towards the firewall (for InitiatorOnly and Default).
    `second_tunnel` is for a Linux firewall only.
    """

    name: str = "home"
    public: str = "198.51.100.23"
    router: str = "192.168.178.1"
    wan: str = "192.168.178.2"
    lan: str = "192.168.1.1"
    lan_prefix: str = "192.168.1.0/24"
    lan_host: str = "192.168.1.50"
    port_forward: bool = False
    second_tunnel: bool = False
    firewall: Literal["linux", "pfsense"] = "linux"

    @property
    def firewall_ns(self) -> str:
        return self.name

    @property
    def agent_ns(self) -> str:
        """Where the agent runs: on a Linux firewall itself; with a pfSense on a host in the LAN, whose way out leads
        by the firewall's WAN, as docs/pfsense.md asks."""
        return self.lan_ns if self.firewall == "pfsense" else self.firewall_ns

    @property
    def nat_ns(self) -> str:
        return "nat" if self.name == "home" else f"nat-{self.name}"

    @property
    def lan_ns(self) -> str:
        return "lan" if self.name == "home" else f"lan-{self.name}"

    @property
    def link(self) -> str:
        """The internet router's interface towards this home."""
        return interface(f"to-{self.name}")

    @property
    def second_ns(self) -> str:
        """Where the second tunnel ends, if there is one."""
        return f"{self.name}~1"


@dataclass(frozen=True)
class Machine:
    """A host in a gateway's virtual network: its namespace and address."""

    namespace: str
    address: str


@dataclass(frozen=True)
class Topology:
    """What was built, as any process of the sandbox may read it. `homes` holds each home's current public address."""

    directory: Path
    homes: tuple[Home, ...] = field(default_factory=lambda: (Home(),))
    edge_ns: str = "edge"
    az_ns: str = "az"
    inet_ns: str = "inet"
    dns_ns: str = "dns"
    vm_ns: str = "vm"
    public_ip: str = GATEWAY

    def home(self, name: str = "home") -> Home:
        for home in self.homes:
            if home.name == name:
                return home
        raise LabNetError(f"no home `{name}` in the lab's network; there are: {[h.name for h in self.homes]}")

    @property
    def names(self) -> tuple[str, ...]:
        """All namespaces that this module makes."""
        homes = (ns for h in self.homes for ns in (h.nat_ns, h.firewall_ns, h.lan_ns))
        seconds = (h.second_ns for h in self.homes if h.second_tunnel)
        return (self.inet_ns, self.dns_ns, self.edge_ns, self.az_ns, self.vm_ns, *homes, *seconds)

    def machine(self, gateway: str) -> Machine:
        """The machine in a gateway's virtual network, as the data plane has left it for everybody."""
        try:
            return Machine(**json.loads(self.machine_file(gateway).read_text()))
        except FileNotFoundError:
            raise LabNetError(f"gateway `{gateway}` is not in the lab's network, so nothing is behind it") from None

    def machine_file(self, gateway: str) -> Path:
        return self.directory / "machines" / f"{gateway}.json"

    def save(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        partial = self.directory / f"{STATE_FILE}.new"
        partial.write_text(json.dumps({**asdict(self), "directory": str(self.directory)}, indent=1))
        partial.replace(self.directory / STATE_FILE)

    @classmethod
    def load(cls, directory: Path) -> Topology:
        try:
            raw = json.loads((directory / STATE_FILE).read_text())
        except FileNotFoundError:
            raise LabNetError(
                f"{directory / STATE_FILE} is not there: build the network first (lab.net.world)"
            ) from None
        homes = tuple(Home(**home) for home in raw.pop("homes"))
        return cls(**{**raw, "directory": Path(raw["directory"]), "homes": homes})


def _public(namespace: str | None, link: str, *addresses: str) -> tuple[list[str], list[str]]:
    """Commands for the host's and the router's side of a public host's wire (both ends exist)."""
    host = [f"addr add {a}/32 dev pub0" for a in addresses]
    host += ["link set pub0 up", f"route add {ROUTER} dev pub0", f"route add default via {ROUTER} src {addresses[0]}"]
    router = [f"link set {link} up", *(f"route add {a}/32 dev {link}" for a in addresses)]
    return host, router


async def build(directory: Path = DEFAULT_DIR, homes: tuple[Home, ...] = (Home(),)) -> Topology:
    """Build everything in this sandbox (one network at a time), and write `topology.json`."""
    topology = Topology(directory, homes)
    t = topology
    if t.inet_ns in await namespaces():
        raise LabNetError("this sandbox holds a network already; close that one first, or use a sandbox of its own")
    if (directory / STATE_FILE).exists():
        shutil.rmtree(directory)  # a finished network's; its logs would be read as this one's
    await asyncio.gather(*(add_namespace(name) for name in t.names))
    inet = [
        f"addr add {ROUTER}/32 dev lo",
        f"addr add {HOMES_ROUTER}/32 dev lo",
        "route add blackhole 198.51.100.0/24",  # an address nobody holds is silent, as it is on the internet
        "route add blackhole 203.0.113.0/24",
    ]
    hosts: dict[str | None, list[str]] = {}
    for link, namespace, addresses in (
        ("to-cloud", None, (CLOUD,)),
        ("to-dns", t.dns_ns, (DNS, RESOLVER)),
        ("to-edge", t.edge_ns, (t.public_ip,)),
    ):
        where = "netns 1" if namespace is None else f"netns {namespace}"
        hosts[namespace], router = _public(namespace, link, *addresses)
        inet += [f"link add {link} type veth peer name pub0 {where}", *router]
    for home in homes:
        inet += [f"link add {home.link} type veth peer name wan0 netns {home.nat_ns}", f"link set {home.link} up"]
    await ip(t.inet_ns, inet)
    hosts[t.vm_ns] = [
        f"link add eth0 type veth peer name vm0 netns {t.az_ns}",
        f"addr add {VM}/32 dev eth0",
        "link set eth0 up",
        f"route add {VM_ROUTER} dev eth0",
        f"route add default via {VM_ROUTER} src {VM}",
    ]
    await asyncio.gather(
        *(ip(namespace, lines) for namespace, lines in hosts.items()), *(_home(home) for home in homes)
    )
    await ip(t.az_ns, [f"addr add {VM_ROUTER}/32 dev vm0", "link set vm0 up", f"route add {VM}/32 dev vm0"])
    await nft(t.edge_ns, _EDGE)
    for home in homes:
        await _take_address(t, home)
    topology.save()
    return topology


_EDGE = """
table ip gw {
  map peers { type ipv4_addr . ipv4_addr : ipv4_addr; }
  map owners { type ipv4_addr : ipv4_addr; }
  chain prerouting {
    type nat hook prerouting priority dstnat;
    iifname "pub0" udp dport { 500, 4500 } dnat to ip saddr . ip daddr map @peers
  }
  chain postrouting { type nat hook postrouting priority srcnat; oifname "pub0" snat to ip saddr map @owners; }
  chain input {
    type filter hook input priority filter;
    iifname "pub0" udp dport { 500, 4500 } counter drop comment "from an address that no local network gateway means"
  }
}
"""


async def _home(home: Home) -> None:
    prefix = home.lan_prefix.partition("/")[2]
    await ip(
        home.firewall_ns,
        [
            f"link add wan0 type veth peer name lan0 netns {home.nat_ns}",
            f"link add lan0 type veth peer name eth0 netns {home.lan_ns}",
            f"addr add {home.wan}/24 dev wan0",
            f"addr add {home.lan}/{prefix} dev lan0",
            "link set wan0 up",
            "link set lan0 up",
            f"route add default via {home.router}",
        ],
    )
    lan = [f"addr add {home.lan_host}/{prefix} dev eth0", "link set eth0 up", f"route add default via {home.lan}"]
    forward = f'iifname "wan0" udp dport {{ 500, 4500 }} dnat to {home.wan}' if home.port_forward else ""
    await asyncio.gather(
        ip(home.lan_ns, lan),
        ip(home.nat_ns, [f"addr add {home.router}/24 dev lan0", "link set lan0 up", "link set wan0 up"]),
        nft(
            home.nat_ns,
            f"""table ip nat {{
              chain prerouting {{ type nat hook prerouting priority dstnat; {forward}
              }}
              chain postrouting {{ type nat hook postrouting priority srcnat; oifname "wan0" masquerade; }}
            }}""",
        ),
        nft(
            home.firewall_ns,
            f"""table ip nat {{
              chain postrouting {{
                type nat hook postrouting priority srcnat;
                oifname "wan0" ip saddr {{ {home.lan_prefix}, {SECOND_TUNNEL} }} masquerade
              }}
            }}""",
        ),
    )
    if home.second_tunnel:
        await _second_tunnel(home)


async def _second_tunnel(home: Home) -> None:
    """As at the gateway's end (lab.net.link): what comes from the firewall goes into the tunnel and back again."""
    await ip(
        home.second_ns,
        [
            f"link add fw0 type veth peer name {SECOND_DEVICE} netns {home.firewall_ns}",
            f"addr add {SECOND_TUNNEL}/30 dev fw0",
            "link set fw0 up",
            f"route add default via {SECOND_FIREWALL}",
            f"route add default via {SECOND_FIREWALL} table 101",
            "rule add iif fw0 table 100 priority 1000",
            "rule add iif ipsec0 table 101 priority 1001",
        ],
    )
    await ip(home.firewall_ns, [f"addr add {SECOND_FIREWALL}/30 dev {SECOND_DEVICE}", f"link set {SECOND_DEVICE} up"])


async def _take_address(topology: Topology, home: Home) -> None:
    await ip(
        home.nat_ns,
        [
            f"addr add {home.public}/32 dev wan0",
            f"route replace {HOMES_ROUTER} dev wan0",
            f"route replace default via {HOMES_ROUTER} src {home.public}",
        ],
    )
    await ip(topology.inet_ns, [f"route replace {home.public}/32 dev {home.link}"])


async def change_public_address(topology: Topology, home: str, new: str, *, outage_s: float = 0.0) -> Topology:
    """What an ISP's forced reconnect does to a home: the address goes, the router forgets its connections, and after
    `outage_s` seconds of real time another address comes. Returns the new topology, which is also saved."""
    old = topology.home(home)
    taken = {h.public for h in topology.homes}
    if new in taken:
        raise LabNetError(f"{new} is the public address of a home already; take another one of 198.51.100.0/24")
    await ip(topology.inet_ns, [f"route del {old.public}/32 dev {old.link}"])
    await ip(old.nat_ns, [f"addr del {old.public}/32 dev wan0"])
    await run(*inside(old.nat_ns), "conntrack", "-F", check=False)
    if outage_s > 0:
        await asyncio.sleep(outage_s)
    renewed = replace(old, public=new)
    changed = replace(topology, homes=tuple(renewed if h.name == home else h for h in topology.homes))
    await _take_address(changed, renewed)
    changed.save()
    return changed


async def demolish(topology: Topology) -> None:
    """Remove every namespace of the network, the gateway's own included, and what ran in them."""
    own = (*OWN_PREFIXES, *(f"{home.firewall_ns}~ipsec" for home in topology.homes))
    gone = [n for n in await namespaces() if n in topology.names or n.startswith(own)]
    await asyncio.gather(*(drop_namespace(name) for name in gone))
    await run("ip", "link", "del", "pub0", check=False)
