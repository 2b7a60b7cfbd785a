"""What the driver does to a firewall, and what it leaves alone. Its PHP is executed on the twin."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import ssl
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from agent.adapters import SystemClock, SystemRandom
from agent.errors import AgentError, FirewallBusy, FirewallError
from agent.firewall.contract import Revert
from agent.firewall.pfsense import box
from agent.firewall.pfsense.box import Box
from agent.firewall.pfsense.driver import VERSIONS_S, PfSense
from agent.firewall.pfsense.ways import Ran, Rest, Web
from lab.pfsense.twin import Twin
from shared.wire.commands import Esp, SecretRef, Transit
from tests.agent import fakes
from tests.agent.firewall.contract_suite import LONG
from tests.agent.firewall.linux.world import wait_for
from tests.agent.firewall.pfsense.world import OTHER_GATEWAY, PLAIN, PfSenseBench

HAND_RULE = (
    "config_set_path('filter/rule/', ['type' => 'pass', 'interface' => 'lan', 'tracker' => '77', 'descr' => 'by hand',"
    " 'source' => ['any' => ''], 'destination' => ['any' => '']]);"
)


def apply(bench: PfSenseBench, revert: Revert | None = LONG, **changes: Any) -> None:
    d = bench.desired(**changes)
    bench.firewall.apply(d, 1, bench.psk(d), revert)


def settle(bench: PfSenseBench, **changes: Any) -> None:
    apply(bench, **changes)
    bench.firewall.confirm()


def saves(bench: PfSenseBench) -> int:
    """How often config.xml was written: each write tells a second firewall."""
    return bench.text("/var/run/events").count("filter sync")


def made(bench: PfSenseBench, interface: str) -> int:
    return bench.twin.kernel.interfaces[interface].made


# one transaction ------------------------------------------------------------------------------------------------------


def test_everything_of_a_tunnel_is_there_after_one_write(plain: PfSenseBench) -> None:
    before = saves(plain)
    settle(plain)
    assert saves(plain) == before + 1
    frr, swanctl = plain.text("/var/etc/frr/frr.conf"), plain.text("/var/etc/ipsec/swanctl.conf")
    assert " neighbor 10.0.1.30 update-source 192.168.1.1\n neighbor 10.0.1.30 timers 60 180\n" in frr
    assert " neighbor 10.0.1.30 ebgp-multihop 255\n" in frr
    assert "  neighbor 10.0.1.30 route-map homelink-home-out out\n" in frr
    assert re.search(r"ip prefix-list homelink-home-in seq 10 permit 10\.0\.0\.0/16 le 32 *\n", frr)
    assert re.search(r"ip prefix-list homelink-home-out seq 10 permit 192\.168\.1\.0/24 *\n", frr)
    for line in ("proposals = aes256gcm128-sha384-ecp384", "dpd_delay = 10s", "reqid = 5001", "close_action = start"):
        assert f"{line}\n" in swanctl
    strongswan = plain.text("/var/etc/ipsec/strongswan.conf")
    for line in ("retransmit_tries = 3", "retransmit_timeout = 3.0", "retransmit_base = 1.8"):
        assert f"{line}\n" in strongswan
    numbers = [e.text for p in ("ipsec/phase1/ikeid", "ipsec/phase2/ikeid", "ipsec/phase2/reqid") for e in plain.xml(p)]
    assert numbers == ["1", "1", "1"]
    vti = plain.twin.kernel.interfaces["ipsec1"]
    assert ("10.0.1.29", 30, "10.0.1.30") in vti.addresses
    assert vti.mtu == 1400
    (interface,) = plain.xml("interfaces/opt1")
    assert (interface.findtext("if"), interface.findtext("enable"), interface.findtext("mss")) == ("ipsec1", "", "1390")
    rules = [r for r in plain.xml("filter/rule") if r.findtext("interface") == "enc0"]
    assert [(r.findtext("source/address"), r.findtext("destination/address")) for r in rules] == [
        ("10.0.1.30", "192.168.1.1"),
        ("10.0.0.0/16", "192.168.1.0/24"),
    ]


def test_nothing_to_do_writes_and_applies_nothing(plain: PfSenseBench) -> None:
    settle(plain)
    before, saved, commands = plain.twin.config(), saves(plain), len(plain.twin.kernel.log)
    apply(plain, None)
    assert (plain.twin.config(), saves(plain)) == (before, saved)
    changing = ("ifconfig", "strongswanrc", "pfctl", "frr", "swanctl")
    assert not [c for c in plain.twin.kernel.log[commands:] if c.startswith(changing) and "show" not in c]


def test_removal_leaves_neither_file_nor_process_nor_route(plain: PfSenseBench) -> None:
    settle(plain)
    plain.firewall.remove("home")
    kernel = plain.twin.kernel
    assert "ipsec1" not in kernel.interfaces
    assert "203.0.113.10" not in kernel.routes
    assert (kernel.ike, kernel.frr) == (False, ())
    assert not plain.twin.path("/var/etc/ipsec/swanctl.conf").exists()
    left = sorted(p.name for p in plain.twin.path("/conf/homelink").iterdir())
    assert [n for n in left if not n.startswith("agent-")] == []
    assert "deadman" not in plain.twin.run("ps", "axww").stdout


def test_a_change_of_mss_key_or_dpd_does_not_make_the_tunnel_anew(plain: PfSenseBench) -> None:
    settle(plain)
    count = made(plain, "ipsec1")
    settle(plain, mss=1300)
    settle(plain, mss=1300, dpd_delay_s=20)
    settle(plain, mss=1300, dpd_delay_s=20, psk=SecretRef("psk-home", "v2"))
    assert made(plain, "ipsec1") == count
    assert [e.findtext("mss") for e in plain.xml("interfaces/opt1")] == ["1340"]
    assert base64.b64encode(plain.psk(plain.desired(psk=SecretRef("psk-home", "v2"))).encode()).decode() in plain.text(
        "/var/etc/ipsec/swanctl.conf"
    )


def test_a_policy_change_ends_the_live_sa_and_a_new_key_does_not(plain: PfSenseBench) -> None:
    plain.twin.model.answers |= {"203.0.113.10"}
    settle(plain)
    wait_for(lambda: plain.firewall.health().tunnels[0].child.installed, 10)  # charon is started in the background
    first = plain.twin.model.up["con1"].number
    settle(plain, psk=SecretRef("psk-home", "v2"))
    assert plain.twin.model.up["con1"].number == first
    log = len(plain.twin.kernel.log)
    settle(plain, esp=Esp("AES256", "SHA256", "PFS2048", 27_000))
    wait_for(lambda: any("--terminate --force" in c and "con1" in c for c in plain.twin.kernel.log[log:]), 10)


def test_another_gateway_address_leaves_no_route_to_the_old_one(plain: PfSenseBench) -> None:
    settle(plain)
    assert "203.0.113.10" in plain.twin.kernel.routes
    settle(plain, peer_address="203.0.113.11", peer_id="203.0.113.11")
    assert sorted(plain.twin.kernel.routes) == ["203.0.113.11"]
    assert plain.firewall.diff(plain.desired(peer_address="203.0.113.11", peer_id="203.0.113.11")) == ()


def test_changed_addresses_rename_the_neighbour_in_place(foreign: PfSenseBench) -> None:
    bgp = replace(foreign.desired().bgp, local_asn=64_900)
    settle(foreign, bgp=bgp)
    foreign.twin.edit(
        "config_set_path('installedpackages/frrbgpneighbors/config/', ['peer' => '10.99.0.9', 'asnum' => '64999']);"
    )
    moved = replace(bgp, peer_address="10.0.1.34", advertise=("192.168.0.0/16",))
    settle(foreign, bgp=moved, transit=Transit("gatewaySubnet", "10.0.1.33", "10.0.1.34", 30))
    peers = [n.findtext("peer") for n in foreign.xml("installedpackages/frrbgpneighbors/config")]
    assert peers == ["10.99.0.2", "10.0.1.34", "10.99.0.9"]
    assert b"10.0.1.30" not in foreign.config()
    assert "192.168.0.0/16" in foreign.text("/var/etc/frr/frr.conf")


def test_the_default_route_stays_though_the_wan_is_down(plain: PfSenseBench) -> None:
    plain.twin.kernel.offline = {"WAN_DHCP"}
    try:
        settle(plain)
        assert plain.twin.kernel.default == "192.168.178.1"
        assert "HL_HOME_VTIV4" not in " ".join(plain.twin.kernel.monitored)
    finally:
        plain.twin.kernel.offline = set()


def test_apipa_is_let_through_only_while_it_is_needed(plain: PfSenseBench) -> None:
    start = plain.config()
    transit = Transit("apipa", "169.254.21.2", "169.254.21.1", 30)
    bgp = replace(plain.desired().bgp, local_address="169.254.21.2", peer_address="169.254.21.1")
    settle(plain, transit=transit, bgp=bgp)
    assert len(plain.xml("system/no_apipa_block")) == 1
    assert "update-source 169.254.21.2\n" in plain.text("/var/etc/frr/frr.conf")
    settle(plain)
    assert plain.xml("system/no_apipa_block") == []
    plain.firewall.remove("home")
    assert plain.config() == start


# beside others --------------------------------------------------------------------------------------------------------


def test_a_hand_made_tunnel_is_not_touched(foreign: PfSenseBench) -> None:
    before, others, conf = made(foreign, "ipsec2"), foreign.foreign(), foreign.text("/var/etc/frr/frr.conf")
    start, cycled = foreign.config(), list(foreign.twin.model.cycled)
    settle(foreign, bgp=replace(foreign.desired().bgp, local_asn=64_900))
    assert foreign.firewall.diff(foreign.firewall.read().tunnels[0].desired) == ()
    assert made(foreign, "ipsec2") == before
    assert foreign.foreign() == others
    assert "ipsec2" not in foreign.twin.model.cycled[len(cycled) :]
    assert foreign.xml("ipsec/ikev2_retransmit_tries") == []
    now = foreign.text("/var/etc/frr/frr.conf").splitlines()
    assert [line for line in conf.splitlines() if line not in now] == []
    foreign.firewall.remove("home")
    assert made(foreign, "ipsec2") == before
    assert foreign.config() == start
    assert foreign.text("/var/etc/frr/frr.conf") == conf
    assert "con2 {" in foreign.text("/var/etc/ipsec/swanctl.conf")


def test_going_back_does_not_touch_a_hand_made_tunnel_either(foreign: PfSenseBench) -> None:
    before, state, others = made(foreign, "ipsec2"), foreign.canonical(), foreign.foreign()
    apply(foreign)
    foreign.firewall.rollback()
    assert made(foreign, "ipsec2") == before
    assert (foreign.canonical(), foreign.foreign()) == (state, others)


def test_a_recorded_firewall_keeps_all_that_it_had(tmp_path: Path) -> None:
    """config.xml with a hand-made Azure tunnel and BGP, and the frr.conf that pfSense made of it."""
    folder = Path(__file__).parents[5] / "shared" / "data" / "pfsense" / "transcripts"
    if not folder.exists():
        pytest.skip("the recorded data are not here")
    recorded = [line.strip() for line in (folder / "frr.azure-vti-bgp.conf").read_text().splitlines()]
    home: dict[str, Any] = {"wan": "192.168.50.2/24", "wan_gateway": "192.168.50.1", "lan": "10.42.0.1/24"}
    with Twin(tmp_path, folder / "config.azure-vti-bgp.xml", **home) as twin:
        twin.edit("get_gateways();")  # in pfSense's own form
        bench = PfSenseBench(twin, "local")
        start, count = bench.config(), made(bench, "ipsec1")
        settle(bench, bgp=replace(bench.desired().bgp, local_asn=65_010, local_address="10.42.0.1"))
        (n,) = bench.xml("ipsec/phase1[descr='homelink-home']/ikeid")
        (opt2,) = bench.xml("interfaces/opt2/if")
        assert (n.text, opt2.text) == ("2", "ipsec2")
        now = [line.strip() for line in bench.text("/var/etc/frr/frr.conf").splitlines()]
        assert [line for line in recorded if line not in now and not line.startswith("#")] == []
        bench.firewall.remove("home")
        assert (bench.config(), made(bench, "ipsec1")) == (start, count)


def test_two_connections_share_what_both_need(plain: PfSenseBench) -> None:
    start = plain.config()
    settle(plain)
    second = plain.second()
    count = made(plain, "ipsec1")
    plain.firewall.apply(second, 1, plain.psk(second), LONG)
    plain.firewall.confirm()
    assert made(plain, "ipsec1") == count
    both = plain.canonical()
    apply(plain, mss=1200)
    plain.firewall.rollback()
    assert plain.canonical() == both
    plain.firewall.remove("home")
    assert plain.firewall.diff(second) == ()
    frr = plain.text("/var/etc/frr/frr.conf")
    assert "network 192.168.1.0/24" in frr
    assert "10.0.1.30" not in frr
    plain.firewall.remove("office")
    assert plain.config() == start


REFUSED = {
    "raw": ("config_set_path('installedpackages/frrglobalraw/config/0/frr', base64_encode('x'));", "raw configuration"),
    "gateway": (
        "config_set_path('ipsec/phase1/', ['ikeid' => '9', 'remote-gateway' => '203.0.113.10', 'descr' => 'mine']);",
        r"phase 1 9 \(mine\) leads to 203\.0\.113\.10",
    ),
    "peer": (
        "config_set_path('installedpackages/frrbgpneighbors/config/', ['peer' => '10.0.1.30', 'asnum' => '1']);",
        r"neighbour 10\.0\.1\.30 that Homelink did not make",
    ),
    "name": (
        "config_set_path('installedpackages/frrglobalprefixes/config/', ['name' => 'homelink-home-in']);",
        "prefix_list homelink-home-in",
    ),
    "interface": ("config_set_path('interfaces/lan/descr', 'hl_home');", "interface lan is called hl_home"),
    "address": ("config_del_path('interfaces/lan/enable');", r"BGP address 192\.168\.1\.1"),
    "transit": (
        "config_set_path('ipsec/phase2/', ['ikeid' => '9', 'uniqid' => 'x', 'reqid' => '9', 'mode' => 'vti',"
        " 'localid' => ['address' => '10.0.1.29'], 'remoteid' => ['address' => '10.9.9.9']]);",
        r"another VTI uses 10\.0\.1\.29",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_in_the_way_is_said_before_anything_is_written(plain: PfSenseBench, case: str) -> None:
    edit, reason = REFUSED[case]
    plain.twin.edit(edit)
    before, saved = plain.canonical(), saves(plain)
    with pytest.raises(FirewallError, match=reason):
        apply(plain)
    assert (plain.canonical(), saves(plain)) == (before, saved)
    assert plain.firewall.read().pending is None


def test_what_frr_refuses_is_not_written(foreign: PfSenseBench) -> None:
    """A route map without its `acl_match` gives half a line: FRR would refuse the whole of it, ours with it."""
    foreign.twin.edit("config_del_path('installedpackages/frrglobalroutemaps/config/0/acl_match');")
    before, saved = foreign.canonical(), saves(foreign)
    with pytest.raises(FirewallError, match="FRR refuses the configuration, nothing was changed"):
        apply(foreign)
    assert (foreign.canonical(), saves(foreign)) == (before, saved)


@pytest.mark.parametrize(
    ("file", "field", "lost"),
    [
        ("/usr/local/pkg/frr_bgp.inc", "'ebgpmultihop'", "`neighbor 10.0.1.30 ebgp-multihop 255` into frr.conf"),
        ("/etc/inc/ipsec.inc", "'esp_proposals'", "`esp_proposals = aes256gcm128-ecp384` into swanctl.conf"),
    ],
)
def test_what_pfsense_would_leave_out_is_noticed_before_anything_is_written(
    plain: PfSenseBench, file: str, field: str, lost: str
) -> None:
    """Another version of pfSense that knows a field by another name writes nothing for it, without a word."""
    before, saved, path = plain.canonical(), saves(plain), plain.twin.path(file)
    text = path.read_text()
    path.write_text(text.replace(field, "'renamed'"))
    try:
        with pytest.raises(FirewallError, match=f"would not write {re.escape(lost)}; nothing was changed"):
            apply(plain)
    finally:
        path.write_text(text)
    assert (plain.canonical(), saves(plain)) == (before, saved)


def test_a_bgp_that_runs_already_needs_consent(foreign: PfSenseBench) -> None:
    foreign.merge = False
    strict, before = foreign.reopened(), foreign.canonical()
    d = foreign.desired(bgp=replace(foreign.desired().bgp, local_asn=64_900))
    with pytest.raises(FirewallError, match=r"with ASN 64900.*merge_bgp"):
        strict.apply(d, 1, foreign.psk(d), LONG)
    assert foreign.canonical() == before


def test_with_consent_the_firewall_keeps_its_asn_and_azure_sees_the_connections(foreign: PfSenseBench) -> None:
    start, conf = foreign.config(), foreign.text("/var/etc/frr/frr.conf")
    assert "router bgp 64900\n" in conf
    settle(foreign)
    now = foreign.text("/var/etc/frr/frr.conf")
    assert " neighbor 10.0.1.30 local-as 64600 no-prepend replace-as\n" in now
    assert [line for line in conf.splitlines() if line not in now.splitlines()] == []
    assert foreign.firewall.diff(foreign.desired()) == ()
    foreign.twin.edit("config_set_path('installedpackages/frrbgpneighbors/config/1/localas_num', '64901');")
    assert any("localas_num" in c.detail for c in foreign.firewall.diff(foreign.desired()))
    apply(foreign, None)
    assert "local-as 64600 " in foreign.text("/var/etc/frr/frr.conf")
    foreign.firewall.remove("home")
    assert (foreign.config(), foreign.text("/var/etc/frr/frr.conf")) == (start, conf)


def test_two_connections_of_two_asns_are_refused(plain: PfSenseBench) -> None:
    settle(plain)
    second = plain.second()
    second = replace(second, bgp=replace(second.bgp, local_asn=64_601))
    with pytest.raises(FirewallError, match="home runs BGP with ASN 64600 here"):
        plain.firewall.apply(second, 1, plain.psk(second), LONG)


def test_a_rule_that_blocks_before_ours_is_reported(plain: PfSenseBench) -> None:
    plain.twin.edit(HAND_RULE.replace("'pass'", "'block'").replace("'lan'", "'enc0'"))
    settle(plain)
    firewall = plain.firewall.health().firewall
    assert firewall.notes == ("rules on the IPsec tab block before those of Homelink: by hand",)
    assert firewall.error is None


# somebody else at the same time ---------------------------------------------------------------------------------------


def test_a_save_between_reading_and_writing_is_kept(plain: PfSenseBench) -> None:
    code = f"require_once('config.inc'); require_once('functions.inc'); {HAND_RULE} write_config('by hand');"
    plain.twin.path("/tmp/edit.php").write_text(f"<?php {code}")
    plain.twin.trip("ipsec_setup_tunnels", "exec('/usr/local/bin/php -f /tmp/edit.php');")
    settle(plain)
    assert b"by hand" in plain.config()
    assert plain.firewall.diff(plain.desired()) == ()


def test_a_save_in_the_last_moment_is_kept(plain: PfSenseBench) -> None:
    """While the REST package writes, the transaction waits with all its checks behind it; then it looks once more."""
    lock = plain.twin.path("/tmp/.RESTAPI.write_config.lock")
    lock.touch()
    with ThreadPoolExecutor() as pool:
        applied = pool.submit(settle, plain)
        wait_for(plain.twin.path("/var/run/homelink.unapplied").exists, 20)
        plain.twin.edit(HAND_RULE)
        lock.unlink()
        applied.result(60)
    assert b"by hand" in plain.config()
    assert plain.firewall.diff(plain.desired()) == ()


def test_a_save_over_ours_is_noticed_and_made_good(plain: PfSenseBench) -> None:
    """A page that had read the configuration before us writes it after us: ours is lost, without a word."""
    stale = "/tmp/stale.xml"
    plain.twin.run("cp", "/cf/conf/config.xml", stale)
    plain.twin.trip("setup_gateways_monitor", f"copy('{stale}', '/cf/conf/config.xml'); unlink('/tmp/config.cache');")
    settle(plain)
    assert plain.firewall.diff(plain.desired()) == ()


def test_going_back_finds_what_runs_though_the_record_was_saved_over(plain: PfSenseBench) -> None:
    before, stale = plain.canonical(), plain.twin.config()
    apply(plain)
    plain.twin.path("/conf/config.xml").write_bytes(stale)
    plain.firewall.rollback()
    assert plain.canonical() == before


def test_edits_made_meanwhile_survive_a_rollback(plain: PfSenseBench) -> None:
    plain.twin.edit(HAND_RULE)
    with_rule = plain.config()
    plain.twin.edit("array_pop($GLOBALS['config']['filter']['rule']);")
    apply(plain)
    plain.twin.edit(HAND_RULE)
    plain.firewall.rollback()
    assert plain.config() == with_rule


@pytest.mark.parametrize(
    "edit",
    [
        "config_set_path('ipsec/phase1/0/disabled', '');",
        "config_set_path('ipsec/phase1/0/pre-shared-key', 'another');",
        "config_set_path('interfaces/opt1/mtu', '1500');",
        "config_set_path('filter/rule/' . (count(config_get_path('filter/rule')) - 1) . '/disabled', '');",
        "config_set_path('installedpackages/frrbgpneighbors/config/0/routemap_out', 'none');",
        "config_del_path('installedpackages/frrbgp/config/0/row');",
        "config_del_path('gateways/gateway_item/1');",
    ],
)
def test_what_somebody_changes_of_ours_is_noticed_and_put_back(plain: PfSenseBench, edit: str) -> None:
    settle(plain)
    plain.twin.edit(edit)
    d = plain.desired()
    assert plain.firewall.diff(d)
    apply(plain, None)
    assert plain.firewall.diff(d) == ()


def test_a_key_put_there_by_hand_is_noticed_and_ours_set_again(plain: PfSenseBench) -> None:
    settle(plain)
    d = plain.desired()
    ours, theirs = (base64.b64encode(k.encode()).decode() for k in (plain.psk(d), "by.hand"))
    plain.twin.edit("config_set_path('ipsec/phase1/0/pre-shared-key', 'by.hand'); ipsec_configure();")
    assert theirs in plain.text("/var/etc/ipsec/swanctl.conf")
    (change,) = plain.firewall.diff(d)
    assert change.detail == "phase1 1: pre-shared-key was changed"
    said = str(plain.firewall.diagnose("home")) + str(plain.firewall.health())
    assert not [key for key in (plain.psk(d), "by.hand", ours, theirs) if key in said]
    apply(plain, None)
    assert plain.firewall.diff(d) == ()
    assert [e.text for e in plain.xml("ipsec/phase1/pre-shared-key")] == [plain.psk(d)]
    assert ours in plain.text("/var/etc/ipsec/swanctl.conf")
    assert theirs not in plain.text("/var/etc/ipsec/swanctl.conf")


# when it goes wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", ["ipsec_configure", "interface_configure", "frr_generate_config"])
def test_a_failure_half_way_is_undone_at_once(plain: PfSenseBench, function: str) -> None:
    before = plain.canonical()
    plain.twin.trip(function, "throw new Error('broken');")
    with pytest.raises(FirewallError, match="broken"):
        apply(plain)
    assert plain.canonical() == before
    assert plain.firewall.read().pending is None


def test_rules_that_pf_refuses_are_undone(plain: PfSenseBench) -> None:
    settle(plain)
    before = plain.config()
    plain.twin.kernel.refuse_rules = True
    with pytest.raises(FirewallError, match="packet filter"):
        apply(plain, mss=1200)
    plain.twin.kernel.refuse_rules = False
    assert plain.firewall.read().pending is not None  # going back met the same filter: the timer still counts
    plain.firewall.rollback()
    assert plain.config() == before


def test_killed_between_write_and_apply(plain: PfSenseBench) -> None:
    before = plain.canonical()
    plain.twin.trip("ipsec_configure", "posix_kill(getmypid(), 9);")
    with pytest.raises(AgentError):
        apply(plain)
    d = plain.desired()
    assert any("cut short" in c.detail for c in plain.firewall.diff(d))
    apply(plain)
    assert plain.firewall.diff(d) == ()
    assert "ipsec1" in plain.twin.kernel.interfaces
    plain.firewall.rollback()
    assert plain.canonical() == before


def test_a_reboot_before_the_confirmation_is_noticed_and_undone(plain: PfSenseBench) -> None:
    before = plain.canonical()
    apply(plain)
    plain.twin.reboot()
    pending = plain.reopened().read().pending
    assert pending is not None
    assert pending.deadline == float("-inf")
    plain.firewall.rollback()
    assert plain.canonical() == before


def test_the_timer_is_gone_after_a_confirmation(plain: PfSenseBench) -> None:
    apply(plain)
    assert plain.twin.run("ps", "axww").stdout.count("deadman") == 1
    plain.firewall.confirm()
    assert "deadman" not in plain.twin.run("ps", "axww").stdout


# the ways in ----------------------------------------------------------------------------------------------------------


def test_without_the_rest_package_it_goes_on_by_xmlrpc_and_says_so(plain: PfSenseBench) -> None:
    driver = plain.driver("rest", "xmlrpc")
    d = plain.desired()
    assert driver.read().tunnels == ()
    plain.twin.faults.rest_removed = True
    driver.apply(d, 1, plain.psk(d), LONG)
    firewall = driver.health().firewall
    assert firewall.version.endswith("by xmlrpc")
    assert [n for n in firewall.notes if "REST API package is not there" in n]
    assert (firewall.reachable, firewall.error) == (True, None)
    assert driver.read().tunnel("home") is not None


def test_an_upgrade_leaves_the_tunnel_and_a_way_in(plain: PfSenseBench) -> None:
    """It takes the REST package away. The PHP and the records are in /conf, which stays."""
    world = fakes.World()
    clock = fakes.FakeClock(world)
    ways = [plain.ways["rest"], plain.ways["xmlrpc"]]
    driver = PfSense(Box(ways, clock, SystemRandom()), "wan", False, clock, SystemRandom())
    d = plain.desired()
    driver.apply(d, 1, plain.psk(d), LONG)
    driver.confirm()
    assert driver.health().firewall.version.startswith("pfSense 2.8.1-RELEASE, ")
    plain.twin.upgrade("2.9.0-RELEASE")
    try:
        assert driver.diff(d) == ()
        world.mono += VERSIONS_S
        firewall = driver.health().firewall
    finally:
        plain.twin.path("/etc/version").write_text("2.8.1-RELEASE\n")
    assert firewall.version == "pfSense 2.9.0-RELEASE, FRR 9.1.2, frr 2.0.2_7, by xmlrpc"
    assert [n for n in firewall.notes if "an upgrade of pfSense removes it" in n]


def test_nothing_but_the_command_endpoint_is_asked(plain: PfSenseBench) -> None:
    """`/status/gateways` above all: what it says hangs after a VTI was made anew."""
    asked = len(plain.twin.firewall.server.requests)
    settle(plain)
    plain.firewall.health()
    plain.firewall.diagnose("home")
    plain.firewall.remove("home")
    assert set(plain.twin.firewall.server.requests[asked:]) == {"POST /api/v2/diagnostics/command_prompt"}


def test_the_pair_of_keys_is_made_by_phps_own_openssl(plain: PfSenseBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other tests are given one, because making it takes long."""
    monkeypatch.setattr(box, "PHP", "/usr/local/bin/php -d disable_functions=")
    driver = plain.driver("rest")
    pairs = [driver._box.call("key", {}) for _ in range(2)]
    assert pairs[0]["n"] != pairs[1]["n"]
    assert int(pairs[0]["n"], 16).bit_length() == 2048
    d = plain.desired()
    driver.apply(d, 1, plain.psk(d), LONG)
    assert [e.text for e in plain.xml("ipsec/phase1/pre-shared-key")] == [plain.psk(d)]


def test_a_refused_key_is_not_tried_again(plain: PfSenseBench) -> None:
    plain.ways["rest"]._key = "wrong"  # type: ignore[attr-defined]
    driver = plain.driver("rest")
    asked = len(plain.twin.firewall.server.requests)
    for _ in range(3):
        with pytest.raises(FirewallBusy, match="does not accept the key"):
            driver.read()
    assert len(plain.twin.firewall.server.requests) == asked + 1
    assert not driver.health().firewall.reachable


def test_a_silent_firewall_is_busy(plain: PfSenseBench) -> None:
    plain.twin.faults.web_down = True
    with pytest.raises(FirewallBusy, match="no answer"):
        plain.firewall.read()


@pytest.mark.parametrize("way", ["rest", "xmlrpc", "local"])
def test_the_key_is_in_no_command_and_in_private_files_only(plain: PfSenseBench, way: str) -> None:
    driver, commands = plain.recorded(way)
    d = plain.desired()
    psk = plain.psk(d)
    driver.apply(d, 1, psk, LONG)
    text = "\n".join(commands)
    for form in (psk, psk.encode().hex(), base64.b64encode(psk.encode()).decode()):
        assert form not in text
    assert all(len(c) <= 1024 for c in commands) or way != "rest"
    folder = plain.twin.path("/conf/homelink")
    assert {stat.S_IMODE(p.stat().st_mode) for p in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not (folder / "once.pem").exists()
    assert list(plain.twin.path("/tmp").glob("homelink-*")) == []
    assert psk not in str(driver.health()) + str(driver.diagnose("home"))


# looking --------------------------------------------------------------------------------------------------------------


def test_health_is_what_the_daemons_say(plain: PfSenseBench) -> None:
    model = plain.twin.model
    model.answers |= {"203.0.113.10", "10.0.1.30", "10.0.0.4"}
    model.offers["10.0.1.30"] = ("10.0.0.0/16",)
    settle(plain, probe="10.0.0.4")
    health = plain.firewall.health()
    (t,) = health.tunnels
    assert health.up() == {"home"}
    assert (t.ike.state, t.ike.remote_address, t.ike.nat_traversal) == ("ESTABLISHED", "203.0.113.10", True)
    assert (t.bgp.state, t.bgp.received, t.bgp.sent) == ("Established", ("10.0.0.0/16",), ("192.168.1.0/24",))
    assert [p.ok for p in t.probes] == [True]
    assert health.firewall.wan_address == "192.168.178.2"
    assert health.firewall.version.startswith("pfSense 2.8.1-RELEASE, FRR 9.1.2")


def test_changes_that_wait_to_be_applied_by_hand_are_told(plain: PfSenseBench) -> None:
    plain.twin.php("mark_subsystem_dirty('filter');")
    assert plain.firewall.health().firewall.notes == ("changes made by hand wait to be applied: filter",)
    plain.twin.php("clear_subsystem_dirty('filter');")


def test_why_no_sa_comes_up_is_said(plain: PfSenseBench) -> None:
    settle(plain)
    assert plain.firewall.initiate("home").startswith("not established: ")
    plain.firewall.start("home")
    assert plain.firewall.health().tunnels[0].ike_error == "PEER_NOT_RESPONDING"
    plain.twin.model.refuses["203.0.113.10"] = "AUTHENTICATION_FAILED"
    assert plain.firewall.initiate("home") == "not established: AUTHENTICATION_FAILED"
    assert plain.firewall.health().tunnels[0].ike_error == "AUTHENTICATION_FAILED"
    refusal = plain.firewall.diagnose("home")["refusal"]
    assert (refusal["reason"], refusal["phase"]) == ("AUTHENTICATION_FAILED", 1)
    plain.twin.model.refuses.clear()
    plain.twin.model.answers |= {"203.0.113.10"}
    assert plain.firewall.initiate("home") == "SA installed"
    assert plain.firewall.health().tunnels[0].ike_error is None
    assert plain.firewall.diagnose("home")["refusal"] is None


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("[IKE] received AUTHENTICATION_FAILED notify error\ninitiate failed: 'con1' failed", "AUTHENTICATION_FAILED"),
        ("[IKE] received NO_PROPOSAL_CHOSEN notify error\ninitiate failed: x", "NO_PROPOSAL_CHOSEN"),
        ("initiate failed: CHILD_SA 'con1' not established after 8000ms", "PEER_NOT_RESPONDING"),
        ("", "no answer from charon"),
    ],
)
def test_the_reason_is_charons_own_word(said: str, reason: str) -> None:
    answer = json.dumps({"ok": True, "owned": True, "started": True, "up": False, "said": said})

    class OneAnswer:
        name, limit = "rest", 1024

        def run(self, _command: str, _timeout_s: float) -> Ran:
            return Ran(0, f"HOMELINK {answer}")

    clock, random = SystemClock(), SystemRandom()
    driver = PfSense(Box([OneAnswer()], clock, random), "wan", False, clock, random)
    assert driver.initiate("home").startswith(f"not established: {reason}")


def test_only_the_certificate_of_the_fingerprint_is_trusted(tmp_path: Path) -> None:
    ca = trustme.CA()
    server = ca.issue_cert("pfSense-5f3a1b.home.arpa")  # as pfSense's own: not the name that is asked
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.configure_cert(context)
    der = ssl.PEM_cert_to_DER_cert(server.cert_chain_pems[0].bytes().decode())
    twin = Twin(tmp_path, PLAIN)
    twin.start(context)
    try:
        pinned = Web(twin.url, None, hashlib.sha256(der).hexdigest())
        assert Rest(pinned, twin.key).run("echo here", 10) == Ran(0, "here")
        for web in (Web(twin.url, None, "ab" * 32), Web(twin.url, None, None)):
            with pytest.raises(FirewallBusy, match="certificate is not the one expected"):
                Rest(web, twin.key).run("true", 10)
    finally:
        twin.stop()


def test_another_connections_gateway_may_not_be_ours(plain: PfSenseBench) -> None:
    settle(plain)
    second = plain.second()
    twin = replace(second, peer_address="203.0.113.10", peer_id="203.0.113.10")
    with pytest.raises(FirewallError, match="leads to 203"):
        plain.firewall.apply(twin, 1, plain.psk(twin), LONG)
    assert OTHER_GATEWAY not in plain.text("/var/etc/ipsec/swanctl.conf")
