"""Other versions of pfSense, as far as the twin can honestly show them.

CE 2.7.2 is the twin without what came after it: the function that reads the configuration has another name, there is no
get_gateways() (and nobody who saves gateways by himself), and the functions of the IPsec code want the status of the
gateways as well. Plus 26.03 has the rules of the newest about the cache of config.xml. Neither stands for their
generators: what those would leave out is found before anything is written (test_driver.py).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.errors import FirewallError
from lab.pfsense.twin import Twin
from tests.agent.firewall.contract_suite import LONG
from tests.agent.firewall.pfsense.world import PLAIN, PfSenseBench

OLD = {
    "etc/inc/config.lib.inc": [
        ("function config_read_file(", "function twin_read_file("),
        ("config_read_file(true, false);", "twin_read_file(true, false);"),
    ],
    "etc/inc/config.inc": [("config_read_file(false, true)", "twin_read_file(false, true)")],
    "usr/local/libexec/twin-config": [("config_read_file(", "twin_read_file(")],
    "etc/inc/gwlb.inc": [
        ("function get_gateways(", "function twin_gateways("),
        (" get_gateways()", " twin_gateways()"),
        ("(get_gateways()", "(twin_gateways()"),
        ("if ($new) { write_config(", "if (false) { write_config("),
    ],
    "etc/inc/interfaces.inc": [
        ("function interface_ipsec_vti_configure($ph1ent)", "function interface_ipsec_vti_configure($ph1ent, $status)")
    ],
    "etc/inc/ipsec.inc": [
        ("interface_ipsec_vti_configure($p1);", "interface_ipsec_vti_configure($p1, []);"),
        ("function ipsec_setup_tunnels()", "function ipsec_setup_tunnels($status)"),
        ("\tipsec_setup_tunnels();", "\tipsec_setup_tunnels([]);"),
    ],
}
PARSE = "\nfunction parse_config($parse = false) { twin_read_file(true, !$parse); return $GLOBALS['config']; }\n"


def older(twin: Twin) -> None:
    """Before it is switched on."""
    for name, changes in OLD.items():
        path = twin.path(f"/{name}")
        text = path.read_text()
        for now, then in changes:
            assert now in text, f"{name} has no {now}"
            text = text.replace(now, then)
        path.write_text(text)
    path = twin.path("/etc/inc/config.lib.inc")
    path.write_text(path.read_text() + PARSE)


@pytest.fixture(scope="module", params=["2.7.2-RELEASE", "26.03-RELEASE"])
def firewall(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PfSenseBench]:
    twin = Twin(tmp_path_factory.mktemp("version"), PLAIN, version=request.param)
    if request.param.startswith("2.7"):
        older(twin)
    with twin:
        missing = twin.php("echo json_encode([function_exists('get_gateways'), function_exists('parse_config')]);")
        assert missing == ("[false,true]" if request.param.startswith("2.7") else "[true,false]")
        yield PfSenseBench(twin)


def test_a_tunnel_comes_changes_goes_back_and_goes(firewall: PfSenseBench) -> None:
    driver, d = firewall.firewall, firewall.desired()
    firewall.twin.edit("")  # in pfSense's own form
    start = firewall.config()
    driver.apply(d, 1, firewall.psk(d), LONG)
    driver.confirm()
    vti = firewall.twin.kernel.interfaces["ipsec1"]
    assert ("10.0.1.29", 30, "10.0.1.30") in vti.addresses
    assert "neighbor 10.0.1.30 update-source 192.168.1.1\n" in firewall.text("/var/etc/frr/frr.conf")
    settled, count = firewall.canonical(), vti.made
    changed = firewall.desired(mss=1200, dpd_delay_s=20)
    driver.apply(changed, 2, firewall.psk(changed), LONG)
    driver.rollback()
    assert firewall.canonical() == settled
    assert driver.diff(d) == ()
    assert firewall.twin.kernel.interfaces["ipsec1"].made == count
    version = firewall.text("/etc/version").strip()
    assert driver.health().firewall.version.startswith(f"pfSense {version}, FRR 9.1.2, ")
    driver.remove("home")
    assert firewall.config() == start


def test_a_function_that_is_not_there_is_found_before_anything_is_written(firewall: PfSenseBench) -> None:
    path = firewall.twin.path("/etc/inc/ipsec.inc")
    text, before = path.read_text(), firewall.canonical()
    path.write_text(text.replace("ipsec_setup_secrets", "ipsec_setup_keys"))
    d = firewall.desired()
    try:
        with pytest.raises(FirewallError, match="ipsec_setup_secrets"):
            firewall.firewall.apply(d, 1, firewall.psk(d), LONG)
    finally:
        path.write_text(text)
    assert firewall.canonical() == before
    assert firewall.firewall.read().pending is None
