"""A home configured by hand, and the Azure end it belongs to: what the agent and ARM do in the product."""

from __future__ import annotations

from collections.abc import Sequence

from lab.dataplane import ConnectionView, GatewayView, InstanceView
from lab.net.charon import TUN
from lab.net.dataplane import NetDataPlane
from lab.net.run import ip, until
from lab.net.topology import SECOND_DEVICE, SECOND_TUNNEL, Home
from lab.net.world import HomeDaemons, Network

PSK = "kQ3.fo4_Wz8+Lm1"
ASN = 64600
POLICY: dict[str, object] = {
    "saLifeTimeSeconds": 27000,
    "saDataSizeKilobytes": 102400000,
    "ipsecEncryption": "GCMAES256",
    "ipsecIntegrity": "GCMAES256",
    "ikeEncryption": "GCMAES256",
    "ikeIntegrity": "SHA384",
    "dhGroup": "ECP384",
    "pfsGroup": "ECP384",
}
GATEWAY = GatewayView("gw", 65515, "203.0.113.10", "10.0.1.30", ("10.0.0.0/16",))
ACTIVE_ACTIVE = GatewayView(
    "gw", 65515, "203.0.113.10", "10.0.1.4", ("10.0.0.0/16",), InstanceView("203.0.113.20", "10.0.1.5")
)


def another_home(number: int) -> Home:
    """Its own public address and LAN; everything else as in every other home."""
    lan = f"192.168.{number}"
    return Home(
        name=f"home{number}",
        public=f"198.51.100.{100 + number}",
        lan=f"{lan}.1",
        lan_prefix=f"{lan}.0/24",
        lan_host=f"{lan}.50",
    )


def connection(name: str = "home-link", **changes: object) -> ConnectionView:
    values: dict[str, object] = {
        "name": name,
        "gateway": GATEWAY.name,
        "peer_address": "198.51.100.23",
        "psk": PSK,
        "mode": "ResponderOnly",
        "enable_bgp": True,
        "peer_asn": ASN,
        "peer_bgp_address": "192.168.1.1",
        "static_prefixes": (),
        "policy": POLICY,
        "dpd_timeout_s": 45,
    }
    return ConnectionView(**{**values, **changes})  # type: ignore[arg-type]


def ike(
    home: HomeDaemons, *, start: bool = True, dpd_s: int = 10, remote: str = GATEWAY.public_ip
) -> dict[str, object]:
    return {
        "version": "2",
        "local_addrs": ["%any"],
        "remote_addrs": [remote],
        "proposals": ["aes256gcm128-sha384-ecp384"],
        "mobike": "no",
        "unique": "replace",
        "dpd_delay": f"{dpd_s}s",
        "keyingtries": "0",
        "reauth_time": "0s",
        "local": {"auth": "psk", "id": home.home.wan},
        "remote": {"auth": "psk", "id": remote},
        "children": {
            "hand": {
                "mode": "tunnel",
                "local_ts": ["0.0.0.0/0"],
                "remote_ts": ["0.0.0.0/0"],
                "esp_proposals": ["aes256gcm128-ecp384"],
                "start_action": "start" if start else "none",
                "dpd_action": "restart",
            }
        },
    }


def bgp(
    home: HomeDaemons, asn: int = ASN, peers: Sequence[str] = (GATEWAY.bgp_address,), local: str | None = None
) -> list[str]:
    lines = [f"router bgp {asn}", f"bgp router-id {home.home.lan}", "no bgp ebgp-requires-policy"]
    for peer in peers:
        lines += [
            f"neighbor {peer} remote-as {GATEWAY.asn}",
            f"neighbor {peer} ebgp-multihop 255",
            f"neighbor {peer} update-source {local or home.home.lan}",
            f"neighbor {peer} timers 60 180",
            f"neighbor {peer} timers connect 5",
        ]
    return [*lines, "address-family ipv4 unicast", f"network {home.home.lan_prefix}"]


async def configure(
    home: HomeDaemons, *, psk: str = PSK, asn: int = ASN, dpd_s: int = 10, gateway: GatewayView = GATEWAY
) -> None:
    """Everything a home needs: the route to Azure's BGP address, BGP, and a tunnel that starts by itself. To an
    active-active gateway both of it, if the home has a second tunnel."""
    ends = gateway.instances if home.second is not None else gateway.instances[:1]
    hops = (f"dev {TUN}", f"via {SECOND_TUNNEL} dev {SECOND_DEVICE}")
    routes = [
        f"route replace {end.bgp_address}/32 {hop} src {home.home.lan}" for end, hop in zip(ends, hops, strict=False)
    ]
    await ip(home.home.firewall_ns, routes)
    await home.frr.configure(bgp(home, asn, [end.bgp_address for end in ends]))
    for charon, end in zip((home.charon, home.second), ends, strict=False):
        assert charon is not None
        await charon.load("hand", ike(home, dpd_s=dpd_s, remote=end.public_ip), psk)


async def configure_apipa(home: HomeDaemons, *, mine: str, azure: str) -> None:
    """As `configure`, with APIPA addresses at both ends of the tunnel; the home opens the BGP session."""
    await ip(home.home.firewall_ns, [f"addr add {mine}/30 dev {TUN}", f"route replace {azure}/32 dev {TUN} src {mine}"])
    await home.frr.configure(bgp(home, ASN, [azure], mine))
    await home.charon.load("hand", ike(home), PSK)


async def tunnel_up(plane: NetDataPlane, name: str = "home-link") -> None:
    async def up() -> bool:
        return (await plane.tunnel(name)).connected

    await until(f"tunnel of {name} coming up", up, within=15)


async def tunnel_down(plane: NetDataPlane, name: str = "home-link", within: float = 15) -> None:
    async def down() -> bool:
        return not (await plane.tunnel(name)).connected

    await until(f"tunnel of {name} going down", down, within=within)


async def bgp_up(plane: NetDataPlane, home: HomeDaemons, gateway: GatewayView = GATEWAY, peer: str = "") -> None:
    """Established, and prefixes in both directions installed."""

    async def up() -> bool:
        peers = [p for p in await plane.bgp_peers(gateway.name) if p.neighbor == (peer or home.home.lan)]
        if not any(p.state == "Established" and p.routes_received for p in peers):
            return False
        table = (await home.frr.show("show bgp ipv4 unicast json")).get("routes", {})
        return set(gateway.vnet_prefixes) <= set(table)

    await until("BGP with prefixes both ways", up, within=30)


async def works(net: Network, home: Home, gateway: GatewayView = GATEWAY) -> None:
    """Pings both ways between the machine behind the gateway and the host in the LAN."""
    machine = net.topology.machine(gateway.name)

    async def both() -> bool:
        return await net.ping(machine.namespace, home.lan_host) and await net.ping(home.lan_ns, machine.address)

    await until(f"pings both ways between {gateway.name} and {home.name}", both, within=15)
