"""The twin in the network: its VTIs carry packets to the simulated gateway, and an apply really bounces them."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from lab.net.dataplane import NetDataPlane
from lab.net.run import Daemon, inside, ip_json, namespaces, run, until
from lab.net.world import Network
from tests.lab.net.hand import ASN, GATEWAY, PSK, connection, tunnel_down, tunnel_up
from tests.lab.pfsense.azure import FOREIGN, PLAIN, tunnel

pytestmark = pytest.mark.lab
BGP = GATEWAY.bgp_address


class Process:
    """A twin in the home's namespace, spoken to from there."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self._session = session

    async def sh(self, *command: str, stdin: str = "") -> str:
        async with self._session.post(
            f"{self.url}/lab/pfsense/run", json={"command": command, "stdin": stdin}
        ) as answer:
            ran = await answer.json()
        assert ran["code"] == 0, ran
        return str(ran["out"])

    async def php(self, code: str) -> str:
        prelude = "require_once('config.inc'); require_once('functions.inc'); require_once('/usr/local/pkg/frr.inc');"
        return await self.sh("/usr/local/bin/php", "-r", f"{prelude} {code}")

    async def look(self) -> dict[str, Any]:
        async with self._session.get(f"{self.url}/lab/pfsense") as answer:
            return dict(await answer.json())

    async def reboot(self) -> None:
        async with self._session.post(f"{self.url}/lab/pfsense/reboot") as answer:
            assert answer.status == 200

    async def session(self, peer: str = BGP) -> dict[str, Any]:
        text = await self.sh("sh", "-c", "vtysh -c 'show bgp ipv4 unicast summary json' || true")
        return dict(json.loads(text).get("peers", {}).get(peer, {})) if text.startswith("{") else {}


@asynccontextmanager
async def twin(net: Network, config: Path) -> AsyncIterator[Process]:
    home = net.homes["home"]
    await asyncio.gather(home.charon.stop(), home.frr.stop())
    directory = net.directory / "pf"
    words = [
        "nsenter",
        f"--net=/run/netns/{home.home.firewall_ns}",
        sys.executable,
        "-m",
        "lab.pfsense",
        "--namespace",
        home.home.firewall_ns,
    ]
    words += ["--config", str(config), "--directory", str(directory), "--listen", home.home.lan, "--port", "8443"]
    log = net.directory / "twin.log"
    log.unlink(missing_ok=True)  # of another twin, which has said what is waited for
    daemon = await Daemon.start("the twin", words, log)

    async def said() -> bool:
        return '"url"' in daemon.log.read_text()

    await daemon.ready(said, within=30)
    # the control endpoint is in the home's namespace; this process is in the cloud's, so it goes by the tests' own wire
    await run("ip", "link", "add", "test0", "type", "veth", "peer", "name", "test1", "netns", home.home.firewall_ns)
    await run("ip", "addr", "add", "100.127.0.2/30", "dev", "test0")
    await run("ip", "link", "set", "test0", "up")
    await run(*inside(home.home.firewall_ns), "sh", "-c", "ip addr add 100.127.0.1/30 dev test1; ip link set test1 up")
    await run("ip", "route", "add", home.home.lan, "via", "100.127.0.1")
    try:
        async with aiohttp.ClientSession() as session:
            yield Process(f"http://{home.home.lan}:8443", session)
    finally:
        await daemon.stop(grace=20)
        await run("ip", "link", "del", "test0", check=False)


async def apply(fw: Process, code: str) -> None:
    """An edit and the full apply, in the order that the reference gives."""
    await fw.php(
        f"{code} write_config('test'); ipsec_configure();"
        " foreach (array_keys(config_get_path('interfaces')) as $o) {"
        " if (str_starts_with($o, 'opt')) { interface_configure($o, false); } } $interface_ip_arr_cache = [];"
        " filter_configure_sync(); ipsec_reload_package_hook(); frr_generate_config(); setup_gateways_monitor();"
    )


async def test_a_tunnel_and_bgp_come_up_and_every_apply_bounces_them(net: Network, plane: NetDataPlane) -> None:
    await plane.set_gateway(GATEWAY)
    await plane.set_connection(connection())
    async with twin(net, PLAIN) as fw:
        await apply(fw, tunnel(1, GATEWAY.public_ip, PSK, "10.0.1.29", BGP, ASN, GATEWAY.asn))
        await tunnel_up(plane)

        async def established() -> bool:
            return (await fw.session()).get("state") == "Established" and (await fw.session()).get("pfxRcd") == 1

        async def each_way() -> bool:
            """A prefix that the home has says nothing of the gateway or of either kernel yet: they follow soon."""
            return await net.ping("lan", "10.0.0.4") and await net.ping("vm", "192.168.1.50")

        await until("BGP", established, within=40)
        await until("a ping each way", each_way, within=10)
        seen = await fw.look()
        assert seen["default"] == "192.168.178.1"
        (sa,) = json.loads(await fw.php("echo json_encode(ipsec_list_sa());"))
        assert (sa["con-id"], sa["state"], sa["remote-host"]) == ("con1", "ESTABLISHED", GATEWAY.public_ip)
        assert [(c["name"], c["state"]) for c in sa["child-sas"]] == [("con1", "INSTALLED")]

        made = seen["interfaces"]["ipsec1"]["made"]
        index = (await ip_json("home", "link", "show", "dev", "ipsec1"))[0]["ifindex"]
        await apply(fw, "")
        assert (await fw.look())["interfaces"]["ipsec1"]["made"] > made
        assert (await ip_json("home", "link", "show", "dev", "ipsec1"))[0]["ifindex"] != index
        await until("BGP again", established, within=90)
        await until("a ping each way again", each_way, within=10)
    assert not [name for name in await namespaces() if name.startswith("home~")]


async def test_a_wrong_key_fails_and_a_reboot_brings_everything_back(net: Network, plane: NetDataPlane) -> None:
    await plane.set_gateway(GATEWAY)
    await plane.set_connection(connection())
    async with twin(net, PLAIN) as fw:
        await apply(fw, tunnel(1, GATEWAY.public_ip, "another.key", "10.0.1.29", BGP, ASN, GATEWAY.asn))
        said = await fw.sh("sh", "-c", "swanctl --initiate --timeout 3 --child con1; true")
        assert "failed" in said
        assert not (await plane.tunnel("home-link")).connected
        await apply(fw, f"config_set_path('ipsec/phase1/0/pre-shared-key', '{PSK}');")
        await fw.sh("sh", "-c", "swanctl --initiate --timeout 5 --child con1; true")
        await tunnel_up(plane)
        await fw.sh("swanctl", "--terminate", "--force", "--ike", "con1")
        await fw.reboot()
        await tunnel_down(plane, within=60)
        await tunnel_up(plane)


async def test_two_tunnels_live_side_by_side(net: Network, plane: NetDataPlane) -> None:
    """The hand-made one is another peer's; ours comes and goes, in the surgical way, without touching it."""
    await plane.set_gateway(GATEWAY)
    await plane.set_connection(connection(peer_asn=64900))
    async with twin(net, FOREIGN) as fw:
        theirs = (await ip_json("home", "link", "show", "dev", "ipsec2"))[0]["ifindex"]
        code = tunnel(3, GATEWAY.public_ip, PSK, "10.0.1.29", BGP, 64900, GATEWAY.asn)
        surgical = Path(__file__).with_name("surgical.php").read_text()
        await fw.php(f"{code} write_config('test'); {surgical}")
        await tunnel_up(plane)
        assert (await ip_json("home", "link", "show", "dev", "ipsec2"))[0]["ifindex"] == theirs
        assert len(await ip_json("home", "addr", "show", "dev", "ipsec3")) == 1

        async def established() -> bool:
            return (await fw.session()).get("state") == "Established"

        await until("BGP", established, within=40)
        assert (await fw.session("10.99.0.2"))["remoteAs"] == 64901
        text = await fw.sh("cat", "/var/etc/ipsec/swanctl.conf")
        await fw.php("ipsec_configure();")
        assert await fw.sh("cat", "/var/etc/ipsec/swanctl.conf") == text
        assert (await ip_json("home", "link", "show", "dev", "ipsec2"))[0]["ifindex"] != theirs
