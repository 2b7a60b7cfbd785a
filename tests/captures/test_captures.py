"""Captured evidence, replayed: the parsers read it as they did, and the Findings are those that were expected.

A folder is a capture (README.md). Seven are made anew on the real lab, so that a new strongSwan or FRR that words
things differently is noticed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.firewall.linux import charon, frr
from agent.firewall.linux.refusal import refusal
from shared.domain.findings import findings
from shared.domain.home_evidence import read
from tests.agent.firewall.linux.conftest import lab
from tests.agent.firewall.linux.world import Lab, LinuxBench
from tests.captures import replay
from tests.captures.breakages import BREAKAGES, LIVE, PEER, collect
from tests.shared.domain.situations import NOW

__all__ = ["lab"]
CAPTURES = sorted(p for p in replay.FOLDER.iterdir() if (p / "expected.json").exists())


def expect(files: dict[str, Any]) -> None:
    """Every code that is expected, in that order: a root above what it explains."""
    found = [f.code for f in findings(replay.situation(files))]
    wanted = files["expected.json"]["findings"]
    assert [c for c in found if c in wanted] == wanted, found
    assert wanted or not found, found


def test_every_breakage_has_a_capture() -> None:
    assert [p.name for p in CAPTURES] == sorted(BREAKAGES)
    assert {p.name: replay.load(p)["expected.json"]["findings"] for p in CAPTURES} == {
        name: list(b.expected) for name, b in BREAKAGES.items()
    }


@pytest.mark.parametrize("folder", CAPTURES, ids=lambda p: p.name)
def test_the_findings_of_a_capture(folder: Path) -> None:
    expect(replay.load(folder))


@pytest.mark.parametrize("folder", CAPTURES, ids=lambda p: p.name)
def test_the_raw_words_are_read_as_they_were(folder: Path) -> None:
    files = replay.load(folder)
    health, said = files["health.json"]["tunnels"][0], files["diagnose.json"]
    [sas] = [list(e.values()) for e in [{k: v for d in files["vici.json"]["list-sas"] for k, v in d.items()}]]
    assert any(charon.sa_health(sa).child.installed for sa in sas) == health["child"]["installed"]
    if health["child"]["installed"]:
        made_anew = read({"sa": charon.evidence(sas[0])}, NOW).sa
        assert made_anew is not None and made_anew == read(said, NOW).sa
    neighbour = frr.evidence(PEER, json.dumps(files["vtysh.json"][f"show bgp neighbors {PEER} json"]))
    assert read({"neighbor": neighbour}, NOW).bgp == read(said, NOW).bgp
    told = "".join(json.dumps(files["vtysh.json"][k]) for k in files["vtysh.json"] if k != "show bgp summary json")
    assert frr.read_health(PEER, told).received == tuple(health["bgp"]["received"])


@pytest.mark.parametrize("folder", CAPTURES, ids=lambda p: p.name)
def test_charons_log_tells_the_reason(folder: Path) -> None:
    """The log of the daemon, which has more than what it told the agent, comes to the same."""
    files = replay.load(folder)
    found = refusal(files["charon-home.log"].splitlines())
    said = files["diagnose.json"].get("refusal")
    if said is not None:
        assert found is not None and (found.reason, found.phase) == (said["reason"], said["phase"])
    elif files["health.json"]["tunnels"][0]["ike_error"] is None:
        assert found is None


def test_both_views_of_bgp_agree_where_nothing_is_wrong() -> None:
    rows = {r.field: r for r in replay.situation(replay.load(replay.FOLDER / "healthy")).rows}
    told = [rows[f"bgp.{name}"] for name in ("homeAsn", "homeAddress", "state", "learnedByAzure", "announcedByAzure")]
    assert all(r.azure is not None for r in told) and not [r for r in told if r.differs]


@pytest.mark.lab
@pytest.mark.parametrize("name", LIVE)
def test_live(name: str, lab: Lab, tmp_path: Path) -> None:
    bench = LinuxBench(lab, tmp_path / "state")
    try:
        expect(collect(lab, bench, BREAKAGES[name]))
    finally:
        bench.clean()
        lab.no_azure()
