"""Firewalls as they were found: a folder each, with config.xml and expected.json, what Homelink makes of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from agent.errors import FirewallError
from lab.pfsense.twin import Twin
from tests.agent.firewall.contract_suite import LONG
from tests.agent.firewall.pfsense.world import CONFIGS, PfSenseBench

FOLDERS = sorted(p.parent for p in CONFIGS.glob("*/config.xml"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: p.name)
def test_a_tunnel_fits_in_and_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    expected = json.loads((folder / "expected.json").read_text())
    with Twin(tmp_path, folder / "config.xml") as twin:
        twin.edit(
            "require_once('/usr/local/pkg/frr.inc'); frr_generate_config();"
        )  # what a boot does in the background
        bench = PfSenseBench(twin, "local", merge=False)
        d, before = bench.desired(), bench.canonical()
        if expected["refused_without_consent"] is not None:
            with pytest.raises(FirewallError, match=re.escape(expected["refused_without_consent"])):
                bench.firewall.apply(d, 1, bench.psk(d), LONG)
            assert bench.canonical() == before
            bench.merge = True
        firewall = bench.reopened()
        firewall.apply(d, 1, bench.psk(d), LONG)
        firewall.confirm()
        (phase1,) = bench.xml("ipsec/phase1[descr='homelink-home']")
        (gateway,) = bench.xml("gateways/gateway_item[name='HL_HOME_VTIV4']")
        rules = [r for r in bench.xml("filter/rule") if (r.findtext("descr") or "").startswith("homelink-home ")]
        assert phase1.findtext("ikeid") == expected["number"]
        assert gateway.findtext("interface") == expected["interface"]
        assert {r.findtext("interface") for r in rules} == {expected["tab"]}
        conf = bench.text("/var/etc/frr/frr.conf").splitlines()
        assert [line for line in conf if "router bgp" in line or " local-as " in line] == expected["bgp"]
        notes = firewall.health().firewall.notes
        assert len(notes) == len(expected["notes"])
        assert all(note.startswith(begin) for note, begin in zip(notes, expected["notes"], strict=True))
        assert firewall.diff(d) == ()
        firewall.remove("home")
        assert bench.canonical() == before
