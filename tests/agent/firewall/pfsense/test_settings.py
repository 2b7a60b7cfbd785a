"""Settings of the home owner that change what is right: the driver follows them, keeps them, or says what they mean."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from agent.errors import FirewallError
from shared.domain.look_home import at_home
from tests.agent.firewall.contract_suite import LONG
from tests.agent.firewall.pfsense.world import PfSenseBench
from tests.shared.domain.situations import with_firewall

AES = "['name' => 'aes', 'keylen' => '256']"
MOBILE = (
    "config_set_path('ipsec/client', ['enable' => '', 'pool_address' => '10.77.0.0', 'pool_netbits' => '24']);"
    "config_set_path('ipsec/phase1/', ['ikeid' => '9', 'mobile' => '', 'iketype' => 'ikev2', 'interface' => 'wan',"
    " 'protocol' => 'inet', 'myid_type' => 'myaddress', 'peerid_type' => 'any', 'descr' => 'phones',"
    " 'lifetime' => '28800', 'authentication_method' => 'pre_shared_key', 'encryption' => ['item' => [["
    f"'encryption-algorithm' => {AES}, 'hash-algorithm' => 'sha256', 'dhgroup' => '14']]]]);"
    "config_set_path('ipsec/phase2/', ['ikeid' => '9', 'uniqid' => 'm', 'mode' => 'tunnel', 'reqid' => '9',"
    " 'mobile' => '', 'localid' => ['type' => 'lan'], 'remoteid' => ['type' => 'mobile'], 'protocol' => 'esp',"
    f" 'encryption-algorithm-option' => [{AES}], 'hash-algorithm-option' => ['hmac_sha256'],"
    " 'pfsgroup' => '14', 'lifetime' => '3600', 'descr' => 'phones']);"
    "ipsec_configure();"
)
NOT_BY_US = "if (array_column($GLOBALS['tunnels'], 'mobile')) { throw new Error('mobile clients in a preview'); }"
"""pfSense's generator of their connection wants more set up than a preview does."""
POOL = re.compile(r"pools \{\n\tmobile-pool-v4 \{\n\t\taddrs = 10\.77\.0\.0/24\n")


def settle(bench: PfSenseBench) -> None:
    d = bench.desired()
    bench.firewall.apply(d, 1, bench.psk(d), LONG)
    bench.firewall.confirm()


def on_the_tab(bench: PfSenseBench) -> list[str | None]:
    """The tab of each rule of ours."""
    rules = bench.xml("filter/rule")
    return [r.findtext("interface") for r in rules if (r.findtext("descr") or "").startswith("homelink-home ")]


# mobile clients -------------------------------------------------------------------------------------------------------


def test_mobile_clients_keep_their_connection_and_their_pool(plain: PfSenseBench) -> None:
    """The pool is made by pfSense's own apply alone, so that is what is used, though it bounces every tunnel."""
    plain.twin.edit(MOBILE)
    start, conf = plain.config(), plain.text("/var/etc/ipsec/swanctl.conf")
    assert POOL.search(conf)
    for d in (plain.desired(), plain.desired(mss=1300, dpd_delay_s=20)):
        plain.twin.trip("ipsec_setup_tunnels", NOT_BY_US)
        plain.firewall.apply(d, 1, plain.psk(d), LONG)
        plain.firewall.confirm()
        now = plain.text("/var/etc/ipsec/swanctl.conf")
        assert POOL.search(now)
        assert re.search(r"^\tcon-mobile \{.*?^\t\tpools = mobile-pool-v4\n", now, re.MULTILINE | re.DOTALL)
        assert "\tcon1 {\n" in now
        assert plain.firewall.diff(d) == ()
    assert plain.xml("ipsec/ikev2_retransmit_tries") == []
    plain.firewall.remove("home")
    assert plain.config() == start
    assert plain.text("/var/etc/ipsec/swanctl.conf") == conf
    assert "ipsec1" not in plain.twin.kernel.interfaces


# FRR without BGP ------------------------------------------------------------------------------------------------------

FRR_ON = (
    "config_set_path('installedpackages/frr/config/0', ['enable' => 'on', 'routerid' => '192.168.1.1',"
    " 'password' => 'mine', 'carpstatusvid' => 'none', 'pkgloglevel' => '0', 'nht' => 'none']);"
    "require_once('/usr/local/pkg/frr.inc'); frr_generate_config();"
)


def test_frr_that_runs_without_an_asn_is_the_owners_all_the_same(plain: PfSenseBench) -> None:
    plain.twin.edit(FRR_ON)
    before = plain.canonical()
    plain.merge = False
    d = plain.desired()
    with pytest.raises(FirewallError, match=r"^FRR is set up here already: `merge_bgp = true`"):
        plain.reopened().apply(d, 1, plain.psk(d), LONG)
    assert plain.canonical() == before


def test_with_consent_frr_without_an_asn_gets_ours_and_loses_it_again(plain: PfSenseBench) -> None:
    plain.twin.edit(FRR_ON)
    before = plain.canonical()
    settle(plain)
    conf = plain.text("/var/etc/frr/frr.conf")
    assert "router bgp 64600\n" in conf
    assert "local-as" not in conf
    assert [e.text for e in plain.xml("installedpackages/frr/config/password")] == ["mine"]
    assert plain.firewall.diff(plain.desired()) == ()
    plain.firewall.remove("home")
    assert plain.canonical() == before
    assert plain.twin.kernel.frr != ()


def test_an_asn_that_the_owner_sets_later_is_kept_and_hidden_from_azure(plain: PfSenseBench) -> None:
    settle(plain)
    plain.twin.edit("config_set_path('installedpackages/frrbgp/config/0/asnum', '64900');")
    d = plain.desired()
    assert any("asnum: was changed" in c.detail for c in plain.firewall.diff(d))
    plain.firewall.apply(d, 1, plain.psk(d), None)
    conf = plain.text("/var/etc/frr/frr.conf")
    assert "router bgp 64900\n" in conf
    assert " neighbor 10.0.1.30 local-as 64600 no-prepend replace-as\n" in conf
    assert plain.firewall.diff(d) == ()
    plain.firewall.remove("home")
    assert [e.text for e in plain.xml("installedpackages/frrbgp/config/asnum")] == ["64900"]


# the packet filter ----------------------------------------------------------------------------------------------------

IF_IPSEC = "config_set_path('ipsec/filtermode', 'if_ipsec');"


def test_where_the_interface_is_filtered_the_rules_are_its_own(plain: PfSenseBench) -> None:
    plain.twin.edit(IF_IPSEC)
    settle(plain)
    assert on_the_tab(plain) == ["opt1", "opt1"]
    assert "on opt1 inet proto tcp from 10.0.1.30 to 192.168.1.1 port = 179" in plain.twin.kernel.rules
    assert "on enc0" not in plain.twin.kernel.rules


def test_rules_follow_a_filter_that_is_switched_later(plain: PfSenseBench) -> None:
    """Nothing says that a rule on a tab which nobody looks at passes nothing any more."""
    settle(plain)
    trackers = [e.text for e in plain.xml("filter/rule/tracker")]
    assert on_the_tab(plain) == ["enc0", "enc0"]
    plain.twin.edit(IF_IPSEC)
    d = plain.desired()
    assert [c.detail for c in plain.firewall.diff(d)] == [
        "ipsec/filtermode: was changed, so the rules are on the wrong tab"
    ]
    plain.firewall.apply(d, 1, plain.psk(d), None)
    assert (on_the_tab(plain), plain.firewall.diff(d)) == (["opt1", "opt1"], ())
    assert [e.text for e in plain.xml("filter/rule/tracker")] == trackers


@pytest.mark.parametrize("edit", [IF_IPSEC, "config_set_path('installedpackages/frrbgp/config/0/asnum', '64900');"])
def test_going_back_is_not_kept_from_its_end_by_a_setting_that_was_changed_meanwhile(
    plain: PfSenseBench, edit: str
) -> None:
    """What was right then is not right now: it is put back all the same, and mended afterwards."""
    settle(plain)
    d, changed = plain.desired(), plain.desired(mss=1200)
    plain.firewall.apply(changed, 2, plain.psk(changed), LONG)
    plain.twin.edit(edit)
    plain.firewall.rollback()
    state = plain.firewall.read()
    assert state.pending is None
    assert [t.desired for t in state.tunnels] == [d]
    assert plain.firewall.diff(d)
    plain.firewall.apply(d, 1, plain.psk(d), None)
    assert plain.firewall.diff(d) == ()


def test_a_block_on_the_interfaces_own_tab_is_told_as_one(plain: PfSenseBench) -> None:
    plain.twin.edit(IF_IPSEC)
    settle(plain)
    plain.twin.edit(
        "array_unshift($GLOBALS['config']['filter']['rule'], ['type' => 'block', 'interface' => 'opt1',"
        " 'tracker' => '78', 'ipprotocol' => 'inet', 'descr' => 'no guests', 'source' => ['any' => ''],"
        " 'destination' => ['any' => '']]);"
    )
    (note,) = plain.firewall.health().firewall.notes
    assert note.endswith("that of the tunnel's own interface) before those of Homelink: no guests")
    assert findings(note) == ["firewall-rule-missing"]


def test_vpn_rules_that_pfsense_does_not_make_are_told(plain: PfSenseBench) -> None:
    plain.twin.edit("config_set_path('system/disablevpnrules', '');")
    assert plain.firewall.health().firewall.notes == ()  # no tunnel, nothing to tell
    settle(plain)
    second = plain.second()
    plain.firewall.apply(second, 1, plain.psk(second), LONG)
    firewall = plain.firewall.health().firewall
    (note,) = firewall.notes
    assert "UDP 500 and 4500 from 203.0.113.10, 203.0.113.20" in note
    assert findings(note) == ["auto-rules-off"]
    assert firewall.error is None
    assert "port = 4500" not in plain.twin.kernel.rules
    assert plain.firewall.diagnose("home")["notes"] == [note]


def findings(note: str) -> list[str]:
    """What the control plane makes of a note: it goes by words in it."""
    return [seen.code for seen in at_home(with_firewall(notes=(note,)))]


# left over ------------------------------------------------------------------------------------------------------------


def test_a_phase_2_that_lost_its_phase_1_is_no_obstacle(foreign: PfSenseBench) -> None:
    """As the REST package leaves it when it deletes a phase 1."""
    foreign.twin.edit(
        "config_set_path('ipsec/phase2/', ['ikeid' => '7', 'uniqid' => 'lost', 'mode' => 'tunnel', 'reqid' => '7',"
        " 'localid' => ['type' => 'lan'],"
        " 'remoteid' => ['type' => 'network', 'address' => '10.8.0.0', 'netbits' => '16']]);"
    )
    start = foreign.config()
    foreign.twin.trip(
        "ipsec_setup_tunnels",
        "foreach ($GLOBALS['tunnels'] as $t) { if (!isset($t['ikeid'])) { throw new Error('no phase 1'); } }",
    )
    d = foreign.desired(bgp=replace(foreign.desired().bgp, local_asn=64_900))
    foreign.firewall.apply(d, 1, foreign.psk(d), LONG)
    foreign.firewall.confirm()
    assert foreign.firewall.diff(d) == ()
    assert "con7" not in foreign.text("/var/etc/ipsec/swanctl.conf")
    foreign.firewall.remove("home")
    assert foreign.config() == start
