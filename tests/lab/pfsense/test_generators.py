"""What config.xml means, as text: equal to what pfSense's own code generated, byte for byte."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from lab.pfsense import swanctl
from lab.pfsense.twin import Twin
from tests.lab.pfsense.azure import tunnel
from tests.lab.pfsense.transcripts import FOLDER, MISSING, RIG

recorded = pytest.mark.skipif(MISSING, reason="the recordings are not beside this checkout")
FRR = "require_once('/usr/local/pkg/frr.inc');"


@recorded
def test_the_recorded_configuration_gives_the_recorded_text(tmp_path: Path) -> None:
    with Twin(tmp_path, FOLDER / "config.azure-vti-bgp.xml", **RIG) as fw:
        fw.php(
            f"{FRR} ipsec_configure(); interface_configure('opt1', false); filter_configure_sync();"
            " frr_generate_config();"
        )
        assert fw.path("/var/etc/ipsec/swanctl.conf").read_text() == (FOLDER / "swanctl.azure-vti.conf").read_text()
        assert fw.path("/var/etc/frr/frr.conf").read_text() == (FOLDER / "frr.azure-vti-bgp.conf").read_text()
        rules, theirs = fw.path("/tmp/rules.debug").read_text(), (FOLDER / "rules.debug").read_text()
        for line in ('label "descr=Block IPv4 link-local"', "max-mss 1310"):
            ours = [x for x in rules.splitlines() if line in x]
            assert ours
            assert [x.replace("$AZURE_VTI", "ipsec1") for x in theirs.splitlines() if line in x] == ours


@recorded
def test_every_azure_policy_gives_the_recorded_proposal(plain: Twin) -> None:
    known = json.loads((FOLDER.parent / "azure-pfsense-strongswan-map.json").read_text())
    plain.path("/tmp/map.json").write_text(json.dumps(known))
    code = """$m = json_decode(file_get_contents('/tmp/map.json'), true); $o = [];
      foreach ($m['ike'] as $e) { $p = $e['pfsense']; $a = $p['encryption-algorithm'];
        $o[] = ipsec_setup_proposal_algo($a['name'], $a['keylen'], $p['hash-algorithm'], false, $p['dhgroup']); }
      foreach ($m['esp'] as $e) { $p = $e['pfsense'];
        $p['encryption-algorithm-option'] = [$p['encryption-algorithm-option']];
        $o[] = implode(',', ipsec_esp_proposals($p)); }
      echo json_encode($o);"""
    said = json.loads(plain.php(code))
    assert said == [entry["swanctl"] for entry in (*known["ike"], *known["esp"])]
    assert len(said) > 150


def test_aead_comes_first_and_turned_round(plain: Twin) -> None:
    code = """$o = fn($n, $k) => ['name' => $n, 'keylen' => $k];
      echo implode(',', ipsec_esp_proposals([
        'encryption-algorithm-option' => [$o('aes', 256), $o('aes128gcm', 128), $o('aes256gcm', 128)],
        'hash-algorithm-option' => ['hmac_sha256', 'hmac_sha1'], 'pfsgroup' => 14]));"""
    wanted = "aes256gcm128-modp2048,aes128gcm128-modp2048,aes256-sha256-modp2048,aes256-sha1-modp2048"
    assert plain.php(code) == wanted


def test_a_missing_select_is_not_none(plain: Twin) -> None:
    """`acl_match` left out makes a line without a name, which FRR refuses; a filter that names nothing vanishes."""
    code = tunnel(1, "203.0.113.10", "k", "10.0.1.29", "10.0.1.30", 64600, 65515)
    plain.php(
        f"{FRR} {code} config_del_path('installedpackages/frrglobalroutemaps/config/0/acl_match');"
        " config_set_path('installedpackages/frrbgpneighbors/config/0/routemap_out', 'NOWHERE'); frr_generate_config();"
    )
    text = plain.path("/var/etc/frr/frr.conf").read_text()
    assert "\n match ip address \n" in text
    assert "route-map NOWHERE" not in text
    refused = plain.run("/usr/local/bin/vtysh", "-C", "-f", "/var/etc/frr/frr.conf")
    assert refused.returncode != 0
    assert "Command incomplete" in refused.stdout + refused.stderr


def test_update_source_needs_the_address_at_that_moment(plain: Twin) -> None:
    code = tunnel(1, "203.0.113.10", "k", "10.0.1.29", "10.0.1.30", 64600, 65515)
    opt = "config_set_path('installedpackages/frrbgpneighbors/config/0/updatesource', 'opt1');"
    plain.php(f"{FRR} {code} {opt} write_config('x'); frr_generate_config();")
    assert "update-source" not in plain.path("/var/etc/frr/frr.conf").read_text()
    plain.php(f"{FRR} ipsec_configure(); frr_generate_config();")
    assert " neighbor 10.0.1.30 update-source 10.0.1.29\n" in plain.path("/var/etc/frr/frr.conf").read_text()


def test_raw_configuration_overrides_everything(foreign: Twin) -> None:
    raw = base64.b64encode(b"router bgp 1\r\n").decode()
    foreign.php(
        f"{FRR} config_set_path('installedpackages/frrglobalraw/config/0/frr', '{raw}'); frr_generate_config();"
    )
    assert foreign.path("/var/etc/frr/frr.conf").read_text() == "router bgp 1\n"


def test_a_key_with_markup_reaches_charon_whole(foreign: Twin) -> None:
    text = foreign.path("/var/etc/ipsec/swanctl.conf").read_text()
    (conn,) = swanctl.connections(text).values()
    secret = swanctl.secret_for(text, conn)
    assert secret is not None
    assert base64.b64decode(secret["secret"].removeprefix("0s")) == b"a<key>-made-&by-hand"


def test_what_is_not_a_setting_is_refused() -> None:
    with pytest.raises(ValueError, match="line 2"):
        swanctl.parse("connections {\n  nonsense\n}\n")
