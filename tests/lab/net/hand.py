"""A home configured by hand, and the Azure end it belongs to: what the agent and ARM do in the product."""

from __future__ import annotations

from lab.dataplane import ConnectionView, GatewayView
from lab.net.charon import TUN
from lab.net.dataplane import NetDataPlane
from lab.net.run import ip, until
from lab.net.world import HomeDaemons

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


def ike(home: HomeDaemons, *, start: bool = True, dpd_s: int = 10) -> dict[str, object]:
    return {
        "version": "2",
        "local_addrs": ["%any"],
        "remote_addrs": [GATEWAY.public_ip],
        "proposals": ["aes256gcm128-sha384-ecp384"],
        "mobike": "no",
        "unique": "replace",
        "dpd_delay": f"{dpd_s}s",
        "keyingtries": "0",
        "reauth_time": "0s",
        "local": {"auth": "psk", "id": home.home.wan},
        "remote": {"auth": "psk", "id": GATEWAY.public_ip},
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


def bgp(home: HomeDaemons, asn: int = ASN) -> list[str]:
    peer = GATEWAY.bgp_address
    return [
        f"router bgp {asn}",
        f"bgp router-id {home.home.lan}",
        "no bgp ebgp-requires-policy",
        f"neighbor {peer} remote-as {GATEWAY.asn}",
        f"neighbor {peer} ebgp-multihop 255",
        f"neighbor {peer} update-source {home.home.lan}",
        f"neighbor {peer} timers 60 180",
        f"neighbor {peer} timers connect 5",
        "address-family ipv4 unicast",
        f"network {home.home.lan_prefix}",
    ]


async def configure(home: HomeDaemons, *, psk: str = PSK, asn: int = ASN, dpd_s: int = 10) -> None:
    """Everything a home needs: the route to Azure's BGP address, BGP, and a tunnel that starts by itself."""
    await ip(home.home.firewall_ns, [f"route replace {GATEWAY.bgp_address}/32 dev {TUN} src {home.home.lan}"])
    await home.frr.configure(bgp(home, asn))
    await home.charon.load("hand", ike(home, dpd_s=dpd_s), psk)


async def tunnel_up(plane: NetDataPlane, name: str = "home-link") -> None:
    async def up() -> bool:
        return (await plane.tunnel(name)).connected

    await until(f"tunnel of {name} coming up", up, within=15)


async def tunnel_down(plane: NetDataPlane, name: str = "home-link", within: float = 15) -> None:
    async def down() -> bool:
        return not (await plane.tunnel(name)).connected

    await until(f"tunnel of {name} going down", down, within=within)


async def bgp_up(plane: NetDataPlane, home: HomeDaemons) -> None:
    """Established, and prefixes in both directions installed."""

    async def up() -> bool:
        peers = {p.neighbor: p for p in await plane.bgp_peers(GATEWAY.name)}
        mine = peers.get(home.home.lan)
        if mine is None or mine.state != "Established" or mine.routes_received == 0:
            return False
        table = (await home.frr.show("show bgp ipv4 unicast json")).get("routes", {})
        return set(GATEWAY.vnet_prefixes) <= set(table)

    await until("BGP with prefixes both ways", up, within=30)
