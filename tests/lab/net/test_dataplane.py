"""The real thing: charon and bgpd of both ends, through the NAT. Homes are configured by tests.lab.net.hand."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from lab.dataplane import DataPlane, Route
from lab.net.dataplane import NetDataPlane
from lab.net.run import LabNetError, inside, namespaces, run, until
from lab.net.topology import Home
from lab.net.world import Network
from tests.lab.net import hand

pytestmark = pytest.mark.lab


async def _both_ways(net: Network, home: Home) -> tuple[bool, bool]:
    out, back = await asyncio.gather(net.ping("vm", home.lan_host), net.ping(home.lan_ns, "10.0.0.4"))
    return out, back


async def _works(net: Network, home: Home) -> None:
    async def works() -> bool:
        return await _both_ways(net, home) == (True, True)

    await until("ping in both directions", works, within=15)


async def test_a_tunnel_carries_bgp_and_pings_both_ways(net: Network, plane: NetDataPlane) -> None:
    seam: DataPlane = plane
    home = net.homes["home"]
    await seam.set_gateway(hand.GATEWAY)
    await seam.set_connection(hand.connection())
    assert not (await seam.tunnel("home-link")).connected
    assert await _both_ways(net, home.home) == (False, False)

    await hand.configure(home)
    await hand.tunnel_up(plane)
    await hand.bgp_up(plane, home)
    await _works(net, home.home)

    status = await seam.tunnel("home-link")
    assert status.ingress_bytes > 0
    assert status.egress_bytes > 0
    assert status.established_at is not None
    (peer,) = await seam.bgp_peers("gw")
    assert (peer.neighbor, peer.asn, peer.state, peer.routes_received) == ("192.168.1.1", 64600, "Established", 1)
    learned = await seam.learned_routes("gw")
    assert Route("192.168.1.0/24", "192.168.1.1", "64600", "192.168.1.1", "EBgp", 0, "10.0.1.30") in learned
    assert Route("10.0.0.0/16", "10.0.1.30", "", None, "Network", 32768, "10.0.1.30") in learned
    sent = {r.network: r for r in await seam.advertised_routes("gw", "192.168.1.1")}
    assert (sent["10.0.0.0/16"].as_path, sent["10.0.0.0/16"].next_hop) == ("65515", "10.0.1.30")
    (sa,) = await seam.ike_sas("home-link")
    assert (sa["state"], sa["encr-alg"], sa["nat-remote"]) == ("ESTABLISHED", "AES_GCM_16", "yes")
    assert hand.PSK not in repr(sa)


async def test_bulk_data_passes_in_spite_of_the_smaller_mtu(net: Network, plane: NetDataPlane) -> None:
    home = net.homes["home"]
    await plane.set_gateway(hand.GATEWAY)
    await plane.set_connection(hand.connection())
    await hand.configure(home)
    await hand.bgp_up(plane, home)
    for receiver, sender, address in (("lan", "vm", "192.168.1.50"), ("vm", "lan", "10.0.0.4")):
        take = (
            "import socket; s = socket.create_server(('', 9)); c = s.accept()[0]; n = 0\n"
            "while d := c.recv(65536): n += len(d)\n"
            "print(n)"
        )
        give = f"import socket; s = socket.create_connection(('{address}', 9), 5); s.sendall(bytes(300000))"
        taking = asyncio.create_task(run(*inside(receiver), sys.executable, "-c", take))

        async def given(sender: str = sender, give: str = give) -> bool:
            try:
                await run(*inside(sender), sys.executable, "-c", give)
            except LabNetError:
                return False
            return True

        await until("the receiver listening", given, within=10)
        assert int(await asyncio.wait_for(taking, 20)) == 300000


async def test_a_wrong_key_fails_in_charon(net: Network, plane: NetDataPlane) -> None:
    home = net.homes["home"]
    await plane.set_gateway(hand.GATEWAY)
    await plane.set_connection(hand.connection())
    await hand.configure(home, psk="not.the.key")

    async def refused() -> bool:
        return "AUTH_FAILED" in home.charon.log()

    await until("AUTH_FAILED in the home's log", refused, within=10)
    assert not (await plane.tunnel("home-link")).connected
    logs = [p.read_text(errors="replace") for p in net.directory.rglob("charon.log")]
    assert any("N(AUTH_FAILED)" in log for log in logs)
    assert not any(hand.PSK in log or "not.the.key" in log for log in logs)

    await hand.configure(home)  # and with the right one it works at once
    await home.charon.terminate("hand")
    assert await home.charon.initiate("hand") is None
    await hand.tunnel_up(plane)


async def test_a_wrong_asn_fails_in_bgpd_while_the_tunnel_is_up(net: Network, plane: NetDataPlane) -> None:
    home = net.homes["home"]
    await plane.set_gateway(hand.GATEWAY)
    await plane.set_connection(hand.connection(peer_asn=64601))
    await hand.configure(home)
    await hand.tunnel_up(plane)

    async def complained() -> bool:
        shown = await home.frr.show("show bgp neighbors 10.0.1.30 json")
        return "Bad Peer AS" in str(shown["10.0.1.30"].get("lastNotificationReason"))

    await until("bgpd naming the wrong AS", complained, within=30)
    assert [p.state == "Established" for p in await plane.bgp_peers("gw")] == [False]
    assert [r.network for r in await plane.learned_routes("gw")] == ["10.0.0.0/16"]

    await plane.set_connection(hand.connection())
    await hand.bgp_up(plane, home)


async def test_a_new_address_kills_traffic_until_the_gateway_means_it(net: Network, plane: NetDataPlane) -> None:
    home = net.homes["home"]
    await plane.set_gateway(hand.GATEWAY)
    await plane.set_connection(hand.connection())
    await hand.configure(home)
    await hand.bgp_up(plane, home)
    await _works(net, home.home)

    await net.change_public_address("198.51.100.77")
    assert await _both_ways(net, home.home) == (False, False)
    await home.charon.terminate("hand")
    assert await home.charon.initiate("hand", within=2) is not None  # edge drops what comes from an unknown address
    assert await _both_ways(net, home.home) == (False, False)

    await plane.set_peer("home-link", "198.51.100.77")
    assert not (await plane.tunnel("home-link")).connected
    await home.charon.terminate("hand")
    assert await home.charon.initiate("hand") is None
    await _works(net, home.home)
    (sa,) = await plane.ike_sas("home-link")
    assert sa["remote-host"] == "198.51.100.77"


async def test_a_silent_peer_is_dead_after_about_the_dpd_timeout(net: Network, plane: NetDataPlane) -> None:
    home = net.homes["home"]
    await plane.set_gateway(hand.GATEWAY)
    await plane.set_connection(hand.connection(dpd_timeout_s=9))
    await hand.configure(home, dpd_s=60)
    await hand.tunnel_up(plane)
    await net.change_public_address("198.51.100.78")
    began = time.monotonic()
    await hand.tunnel_down(plane, within=20)
    assert 5 < time.monotonic() - began < 13


async def test_resets_and_removal(net: Network, plane: NetDataPlane) -> None:
    home = net.homes["home"]
    await plane.set_gateway(hand.GATEWAY)
    await plane.set_connection(hand.connection())
    await hand.configure(home)
    await hand.bgp_up(plane, home)
    before = (await plane.ike_sas("home-link"))[0]["responder-spi"]

    await plane.reset_connection("home-link")
    assert await home.charon.initiate("hand") is None
    await hand.tunnel_up(plane)
    assert (await plane.ike_sas("home-link"))[0]["responder-spi"] != before

    await plane.reset_gateway("gw")
    assert not (await plane.tunnel("home-link")).connected
    assert [p.state == "Established" for p in await plane.bgp_peers("gw")] == [False]
    await home.charon.terminate("hand")
    assert await home.charon.initiate("hand") is None
    await hand.bgp_up(plane, home)

    await plane.drop_connection("home-link")
    await plane.drop_connection("home-link")
    assert await plane.bgp_peers("gw") == []
    assert "gw-home-link" not in await namespaces()
    await plane.drop_gateway("gw")
    assert (await run("ip", "netns", "pids", "az")).split() == []
    assert not await net.ping(None, hand.GATEWAY.public_ip)

    await plane.set_gateway(hand.GATEWAY)
    await plane.set_connection(hand.connection())
    await home.charon.terminate("hand")
    assert await home.charon.initiate("hand") is None


async def test_a_key_or_a_policy_can_be_changed_on_a_living_connection(net: Network, plane: NetDataPlane) -> None:
    home = net.homes["home"]
    await plane.set_gateway(hand.GATEWAY)
    await plane.set_connection(hand.connection(psk="another.key"))
    await plane.set_connection(hand.connection())
    await hand.configure(home)
    await hand.tunnel_up(plane)

    await plane.set_connection(hand.connection(psk="another.key"))
    assert (await plane.tunnel("home-link")).connected  # a live SA proves no key
    assert await home.charon.terminate("hand") == 1
    assert await home.charon.initiate("hand") is not None

    await plane.set_connection(hand.connection(policy={**hand.POLICY, "dhGroup": "ECP256"}))
    assert await home.charon.initiate("hand") is not None
    assert "NO_PROPOSAL_CHOSEN" in home.charon.log() or "INVALID_KE_PAYLOAD" in home.charon.log()


async def test_azure_can_initiate_where_the_router_forwards(_sandbox: None) -> None:
    async with Network(homes=(Home(port_forward=True),)) as net:
        plane = NetDataPlane(net.directory)
        home = net.homes["home"]
        await home.charon.load("hand", hand.ike(home, start=False), hand.PSK)
        await plane.set_gateway(hand.GATEWAY)
        await plane.set_connection(hand.connection(mode="InitiatorOnly"))
        await hand.tunnel_up(plane)
        await plane.close()


async def test_a_new_owner_clears_away_what_a_crashed_one_left(net: Network) -> None:
    crashed = NetDataPlane(net.directory)  # never closed
    await crashed.set_gateway(hand.GATEWAY)
    await crashed.set_connection(hand.connection())
    heir = NetDataPlane(net.directory)
    await heir.set_gateway(hand.GATEWAY)
    assert not any(n.startswith("gw-") for n in await namespaces())
    await heir.set_connection(hand.connection())
    await hand.configure(net.homes["home"])
    await hand.tunnel_up(heir)
    await hand.bgp_up(heir, net.homes["home"])
    await heir.close()


async def test_refusals_say_what_to_do(net: Network, plane: NetDataPlane, tmp_path: Path) -> None:
    with pytest.raises(LabNetError, match="build the network first"):
        NetDataPlane(tmp_path)
    with pytest.raises(LabNetError, match="gateway `gw` is not in"):
        await plane.set_connection(hand.connection())
    await plane.set_gateway(hand.GATEWAY)
    with pytest.raises(LabNetError, match="is the public address of gateway `gw`"):
        await plane.set_gateway(replace(hand.GATEWAY, name="other"))
    with pytest.raises(LabNetError, match="has no `DES3`"):
        await plane.set_connection(hand.connection(policy={**hand.POLICY, "ikeEncryption": "DES3"}))
    assert "gw-home-link" not in await namespaces()
    with pytest.raises(LabNetError, match="not in the lab's network"):
        await plane.tunnel("home-link")
