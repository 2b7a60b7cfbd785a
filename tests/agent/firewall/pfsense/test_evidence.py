"""What a diagnose tells, and what is concluded of it, is the same on both firewalls.

Captures (tests/captures) are what charon and bgpd said on the Linux driver's firewall. Here a twin says the same, word
for word, below the pfSense driver: its evidence must be read alike, and give the same Findings and the same table of
both ends.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from lab.pfsense.daemons import Attempt
from lab.pfsense.model import NO_ANSWER, Model
from lab.pfsense.twin import Twin
from shared.domain.both_ends import table
from shared.domain.findings import findings
from shared.domain.home_evidence import HomeEvidence, read
from shared.wire.commands import DesiredTunnel
from shared.wire.decode import from_plain
from shared.wire.reports import TunnelHealth
from tests.agent.firewall.contract_suite import LONG
from tests.agent.firewall.pfsense.world import PLAIN, PfSenseBench
from tests.captures import replay
from tests.shared.domain.situations import NOW

CASES = (
    "healthy",
    "dead-peer",
    "half-open",
    "wrong-azure-asn",
    "wrong-dh-group",
    "wrong-esp-cipher",
    "wrong-home-asn",
    "wrong-key",
    "wrong-peer-id",
    "wrong-pfs-group",
)
"""Those in which nobody changed the firewall by hand: drift is told in the words of each."""


class Captured(Model):
    """charon and bgpd as they were in a capture; one tunnel, `con1`."""

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, Any] = {}

    async def sas(self) -> list[dict[str, Any]]:
        found = [sa for entry in self.files["vici.json"]["list-sas"] for sa in entry.values()]
        return [{**sa, "con-id": "con1", "child-sas": list(sa.get("child-sas", {}).values())} for sa in found]

    async def initiate(self, child: str, timeout_s: float) -> Attempt:
        refusal = self.files["diagnose.json"]["refusal"]
        if refusal is None:
            up = self.files["health.json"]["tunnels"][0]["child"]["installed"]
            return Attempt((), None if up else NO_ANSWER.format(child, timeout_s * 1000))
        return Attempt(tuple(f"[IKE] {line}" for line in refusal["said"]), f"establishing CHILD_SA '{child}' failed")

    def _ask(self, command: str) -> str:
        said = self.files["vtysh.json"]
        if command == "show bgp ipv4 unicast summary json":
            return json.dumps(said["show bgp summary json"].get("ipv4Unicast", {}))
        return json.dumps(said[command]) if command in said else super()._ask(command)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PfSenseBench]:
    carrier = Captured()
    carrier.files = replay.load(replay.FOLDER / "healthy")
    with Twin(tmp_path_factory.mktemp("captured"), PLAIN, carrier=carrier) as twin:
        yield PfSenseBench(twin)


def over(bench: PfSenseBench, files: dict[str, Any]) -> tuple[dict[str, Any], TunnelHealth]:
    """Evidence and health of a pfSense on which the capture is."""
    carrier = bench.twin.kernel.carrier
    assert isinstance(carrier, Captured)
    carrier.files = files
    applied = from_plain(DesiredTunnel, files["diagnose.json"]["applied"])
    firewall = bench.reopened()
    firewall.apply(applied, 1, bench.psk(applied), LONG)
    firewall.confirm()
    firewall.initiate(applied.connection)
    (health,) = firewall.health().tunnels
    return firewall.diagnose(applied.connection), health


def alike(evidence: HomeEvidence) -> HomeEvidence:
    """Without what each firewall says in its own words."""
    return replace(evidence, said=(), notes=(), drift=())


@pytest.mark.parametrize("case", CASES)
def test_the_same_words_lead_to_the_same_conclusions(bench: PfSenseBench, case: str) -> None:
    files = replay.load(replay.FOLDER / case)
    told, health = over(bench, files)
    assert told["drift"] == []
    ours, theirs = read(told, NOW), read(files["diagnose.json"], NOW)
    assert ours.applied is not None
    assert alike(ours) == alike(theirs)
    assert {f"[IKE] {line}" for line in theirs.said[-3:]} <= set(ours.said)  # swanctl names the subsystem
    captured, here = replay.situation(files), replay.situation({**files, "diagnose.json": told})
    assert table(here.ends) == table(captured.ends)
    codes = [f.code for f in findings(captured) if f.code != "firewall-drift"]
    assert [f.code for f in findings(here)] == codes
    was = from_plain(TunnelHealth, files["health.json"]["tunnels"][0])
    assert (health.ike.state, health.child.installed) == (was.ike.state, was.child.installed)
    assert (health.ike.remote_address, health.ike.nat_traversal) == (was.ike.remote_address, was.ike.nat_traversal)
    # A session that does not stand is Idle one moment and Active the next, and the two were asked one after the other.
    up, was_up = health.bgp.state == "Established", was.bgp.state == "Established"
    assert (up, health.bgp.received) == (was_up, was.bgp.received)
    assert health.ike_error == was.ike_error


def test_evidence_of_nothing_is_no_error(bench: PfSenseBench) -> None:
    told = bench.firewall.diagnose("nobody")
    assert told["owned"] is False
    assert read(told, NOW) == HomeEvidence(at=NOW)
