"""What an apply does to the firewall: everything bounces, the default route stays, and the ways in which it fails."""

from __future__ import annotations

import base64
import json
import time
import xmlrpc.client
from typing import Any

import pytest
import requests

from lab.pfsense.twin import Twin
from tests.lab.pfsense.azure import tunnel

PEER, BGP = "203.0.113.10", "10.0.1.30"
OURS = tunnel(3, PEER, "k.e_y", "10.0.1.29", BGP, 64900, 65515)
APPLY = (
    "require_once('/usr/local/pkg/frr.inc'); ipsec_configure(); interface_configure('opt3', false);"
    " $interface_ip_arr_cache = [];"
    " $r = filter_configure_sync(); ipsec_reload_package_hook(); frr_generate_config();"
    " setup_gateways_monitor(); echo json_encode($r);"
)


def settle(fw: Twin) -> None:
    """Wait for what the firewall does in the background."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        busy = fw.run(
            "sh", "-c", "ps ax -o args | grep -E 'strongswanrc|frr.sh|frr-reload|rc.filter' | grep -v grep"
        ).stdout
        if not busy:
            return
        time.sleep(0.02)
    raise AssertionError(busy)


def test_every_apply_makes_every_vti_anew(foreign: Twin) -> None:
    foreign.model.answers |= {"198.51.100.77", "10.99.0.2", PEER, BGP}
    settle(foreign)
    theirs = foreign.kernel.interfaces["ipsec2"].made
    assert foreign.php(f"{OURS} write_config('x'); {APPLY}") == "0"
    settle(foreign)
    assert foreign.kernel.interfaces["ipsec2"].made > theirs
    assert foreign.kernel.interfaces["ipsec3"].addresses == [("10.0.1.29", 30, BGP)]
    assert foreign.kernel.interfaces["ipsec3"].mtu == 1400
    assert set(foreign.model.cycled) == {"ipsec2", "ipsec3"}
    sas = json.loads(foreign.php("echo json_encode(ipsec_list_sa());"))
    assert {sa["con-id"] for sa in sas} == {"con2", "con3"}
    summary = json.loads(foreign.run("vtysh", "-c", "show bgp ipv4 unicast summary json").stdout)
    assert {p: v["state"] for p, v in summary["peers"].items()} == {"10.99.0.2": "Established", BGP: "Established"}
    assert foreign.kernel.default == "192.168.178.1"


@pytest.mark.parametrize("forced", [True, False])
def test_the_default_route_follows_a_gateway_that_is_not_forced_down(plain: Twin, forced: bool) -> None:
    """Automatic default gateway, WAN not online: the first with disabled actions counts, unless it is forced down."""
    plain.kernel.offline = {"WAN_DHCP"}
    drop = "" if forced else "config_del_path('gateways/gateway_item/1/force_down');"
    plain.php(f"{OURS} {drop} write_config('x'); {APPLY}")
    assert plain.kernel.default == ("192.168.178.1" if forced else BGP)


def test_a_gateway_that_is_not_in_the_file_is_saved_by_the_apply(plain: Twin) -> None:
    """refresh_gateways() writes whatever is in memory: a preview with the wanted configuration leaks it."""
    before = plain.config()
    plain.php(
        f"{OURS} config_del_path('gateways/gateway_item/1'); interface_ipsec_vti_configure(ipsec_get_phase1(3));"
        " setup_gateways_monitor();"
    )
    assert plain.config() != before
    assert b"<name>AZURE3_VTIV4</name>" in plain.config()
    assert b"Synced configured gateways" in plain.config()
    assert b"k.e_y" in plain.config()


def test_the_last_tunnel_leaves_its_interface_and_its_key_behind(plain: Twin) -> None:
    plain.php(f"{OURS} write_config('x'); {APPLY}")
    settle(plain)
    assert plain.kernel.ike
    plain.php(
        "config_del_path('ipsec/phase1/0'); config_del_path('ipsec/phase2/0'); write_config('gone'); ipsec_configure();"
    )
    settle(plain)
    assert not plain.kernel.ike
    assert "ipsec3" in plain.kernel.interfaces
    assert base64.b64encode(b"k.e_y").decode() in plain.path("/var/etc/ipsec/swanctl.conf").read_text()


def test_without_its_section_frr_keeps_running(foreign: Twin) -> None:
    settle(foreign)
    frr = "require_once('/usr/local/pkg/frr.inc');"
    foreign.php(f"{frr} config_del_path('installedpackages/frr'); write_config('x'); frr_generate_config();")
    settle(foreign)
    assert "bgpd" in foreign.kernel.frr
    foreign.run("/usr/local/etc/rc.d/frr.sh", "stop")
    assert foreign.kernel.frr == ()
    assert foreign.run("pgrep", "bgpd").returncode == 1


def test_a_reload_does_not_restart_bgp_and_a_new_daemon_does(plain: Twin) -> None:
    plain.php(f"{OURS} write_config('x'); {APPLY}")
    settle(plain)
    assert plain.model.starts == 1
    plain.php(f"config_set_path('installedpackages/frrbgpneighbors/config/0/descr', 'y'); write_config('x'); {APPLY}")
    settle(plain)
    assert plain.model.starts == 1
    assert "description y" in plain.model.conf
    off = "config_set_path('installedpackages/frrbgp/config/0/enable', '');"
    plain.php(f"{off} write_config('x'); {APPLY}")
    settle(plain)
    assert plain.model.starts == 2
    assert "bgpd" not in plain.kernel.frr


# what goes wrong -------------------------------------------------------------------------------------------------


def test_rules_that_do_not_load(plain: Twin) -> None:
    settle(plain)
    rules = plain.kernel.rules
    plain.kernel.refuse_rules = True
    assert plain.php(f"{OURS} write_config('x'); {APPLY}") == "null"
    assert plain.kernel.rules == rules
    assert "filter_load" in plain.path("/var/run/notices").read_text()


def test_a_fatal_error_between_write_and_apply(plain: Twin) -> None:
    plain.trip("ipsec_configure", "throw new Error('out of memory');")
    with pytest.raises(AssertionError, match="out of memory"):
        plain.php(f"{OURS} write_config('x'); {APPLY}")
    assert b"<ikeid>3</ikeid>" in plain.config()
    assert "ipsec3" not in plain.kernel.interfaces
    assert plain.php(APPLY) == "0"  # the trip is used up
    assert "ipsec3" in plain.kernel.interfaces


def test_somebody_saves_while_we_write(plain: Twin) -> None:
    edit = "require_once(\\'config.inc\\'); config_set_path(\\'system/theirs\\', \\'1\\'); write_config(\\'hand\\');"
    plain.trip("write_config", f"exec('/usr/local/bin/php -r ' . escapeshellarg('{edit}'));")
    plain.php("config_set_path('system/ours', '1'); write_config('ours');")
    assert b"<ours>" in plain.config()
    assert b"<theirs>" not in plain.config()


def test_a_slow_apply_goes_on_behind_the_answer(plain: Twin) -> None:
    plain.kernel.slow_s = 1.5
    began = time.monotonic()
    plain.php(f"{OURS} write_config('x'); ipsec_configure();")
    assert time.monotonic() - began < 1.5
    assert not plain.kernel.ike
    settle(plain)
    assert plain.kernel.ike


def test_a_reboot_ends_timers_and_applies_the_file(plain: Twin) -> None:
    armed = "/usr/sbin/daemon -f -P /var/run/timer.pid /bin/sh -c 'sleep 600; touch /conf/fired'"
    assert plain.run("sh", "-c", armed).returncode == 0
    assert plain.run("sh", "-c", armed).returncode == 3  # the pid file is held
    pid = plain.path("/var/run/timer.pid").read_text().strip()
    assert plain.run("kill", "-0", pid).returncode == 0
    plain.path("/conf/mine").write_text("kept")
    plain.path("/var/run/mine").write_text("lost")
    plain.edit(OURS)
    assert "ipsec3" not in plain.kernel.interfaces
    plain.reboot()
    assert not plain.path("/var/run/mine").exists()
    assert plain.path("/conf/mine").read_text() == "kept"
    assert "sleep 600" not in plain.run("ps", "ax").stdout
    assert "ipsec3" in plain.kernel.interfaces
    assert plain.kernel.default == "192.168.178.1"


def test_it_reboots_when_it_is_told_to(plain: Twin) -> None:
    plain.path("/var/run/mine").write_text("lost")
    plain.edit(OURS)
    plain.run("/sbin/reboot")
    deadline = time.monotonic() + 20
    while "ipsec3" not in plain.kernel.interfaces and time.monotonic() < deadline:
        time.sleep(0.05)
    assert "ipsec3" in plain.kernel.interfaces
    assert not plain.path("/var/run/mine").exists()


def test_an_upgrade_takes_packages_and_agents_away(foreign: Twin) -> None:
    agent = foreign.path("/usr/local/homelink")
    agent.mkdir()
    (agent / "agent.py").write_text("")
    before = foreign.config()
    foreign.upgrade("2.9.0-RELEASE")
    assert not (agent / "agent.py").exists()
    assert requests.get(f"{foreign.url}/api/v2/system/version", timeout=9).status_code == 404
    assert rpc(foreign).pfsense.host_firmware_version("", 60)["firmware"]["version"] == "2.9.0-RELEASE"
    assert foreign.config() == before
    settle(foreign)
    assert "bgpd" in foreign.kernel.frr


def test_a_timer_fires_and_can_be_stopped(plain: Twin) -> None:
    plain.run("sh", "-c", "/usr/sbin/daemon -f /bin/sh -c 'sleep 0.2; touch /tmp/fired'")
    plain.run("sh", "-c", "/usr/sbin/daemon -f -P /var/run/stop.pid /bin/sh -c 'sleep 1; touch /tmp/stopped'")
    plain.run("sh", "-c", "kill $(cat /var/run/stop.pid)")
    while not plain.path("/tmp/fired").exists():
        time.sleep(0.02)
    while plain.path("/var/run/stop.pid").exists():
        time.sleep(0.02)
    assert not plain.path("/tmp/stopped").exists()


def test_what_freebsd_lacks_is_not_there(plain: Twin) -> None:
    for name in ("setsid", "flock", "ip", "nft", "systemctl"):
        assert plain.run("sh", "-c", f"command -v {name}").returncode != 0, name
    assert plain.run("sh", "-c", "command -v php python3.11 swanctl vtysh ifconfig pkg-static daemon").returncode == 0


def test_the_box_ends_with_its_owner(plain: Twin) -> None:
    """Whoever is killed closes his pipes: then the first process ends, and with it all others."""
    plain.run("sh", "-c", "sleep 700 </dev/null >/dev/null 2>&1 &")
    holder = plain.firewall.box._holder
    assert holder is not None
    assert holder.stdin is not None
    holder.stdin.close()
    holder.wait(timeout=10)
    plain.firewall.box.stop()


# XML-RPC ---------------------------------------------------------------------------------------------------------


def rpc(fw: Twin, password: str | None = None) -> Any:
    return xmlrpc.client.ServerProxy(fw.url.replace("//", f"//admin:{password or fw.password}@") + "/xmlrpc.php")


def test_login_protection_locks_out_who_tries_again_and_again(plain: Twin) -> None:
    plain.faults.lock_out_after = 3
    for _ in range(3):
        with pytest.raises(xmlrpc.client.Fault, match="Authentication failed"):
            rpc(plain, "wrong").pfsense.exec_php("")
    with pytest.raises((ConnectionError, OSError, xmlrpc.client.ProtocolError)):
        rpc(plain).pfsense.exec_php("")


def test_xmlrpc_executes_and_copies_sections(foreign: Twin) -> None:
    server = rpc(foreign)
    assert server.pfsense.host_firmware_version("", 60)["firmware"] == {"version": "2.8.1-RELEASE"}
    assert server.pfsense.exec_php("$toreturn = json_encode([1, null]);") == "[1,null]"
    assert server.pfsense.exec_php("$x = 1;") is True
    with pytest.raises(xmlrpc.client.Fault, match="None"):
        server.pfsense.exec_php("$toreturn = [1, null];")  # XML-RPC has no null
    with pytest.raises(xmlrpc.client.Fault, match="Authentication failed"):
        rpc(foreign, "wrong").pfsense.exec_php("")
    ipsec = server.pfsense.backup_config_section(["ipsec"])
    assert ipsec["ipsec"]["phase1"][0]["ikeid"] == "2"
    server.pfsense.restore_config_section({"ipsec": {}, "unheard": {"of": "1"}}, 60)
    assert b"<phase1>" not in foreign.config()
    assert b"<unheard>" not in foreign.config()  # only what exists is overlaid
    with pytest.raises(xmlrpc.client.ProtocolError):
        server.pfsense.exec_php("throw new Error('x');")
