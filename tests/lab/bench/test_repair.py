"""The benchmark measures what it says: the packets themselves, the same moments for all contenders, and no reset."""

from __future__ import annotations

from random import Random

import pytest

from lab.bench import calm, changes, orphaned_pin
from lab.bench.beginning import HOME, NEIGHBOUR, PHASE_S, WARM_UP_S, beginning, thaw, warm_up
from lab.bench.contenders import Contender, start
from lab.bench.meter import Meter, carries
from lab.model import loop
from lab.model.deeds import DEEDS
from lab.model.world import World
from shared.seams import ArmKind, ArmRef


def test_the_meter_counts_what_does_not_pass() -> None:
    async def measured() -> tuple[dict[str, float], bool]:
        world = thaw(1)
        start(world, Contender.AZURE)
        meter = Meter(world)
        await meter.run(30.0)
        assert meter.down_s == {HOME: 0.0, NEIGHBOUR: 0.0} and meter.up_since is not None
        world.places[HOME].home.move("198.51.100.77", 10.0)
        await meter.run(20.0)
        assert meter.up_since is None
        return meter.down_s, carries(world, HOME)

    down, up = loop.run(measured(), beginning()[1])
    assert down == {HOME: 20.0, NEIGHBOUR: 0.0} and not up, "another address: what the old one had is dead"


@pytest.fixture(scope="module")
def played() -> dict[Contender, changes.Change]:
    return {c: changes.play(c, 3) for c in Contender}


def test_everybody_recovers_and_homelink_sooner(played: dict[Contender, changes.Change]) -> None:
    for change in played.values():
        assert change.detect_s is not None and change.recover_s is not None
        assert change.detect_s <= change.recover_s < change.downtime_s
        assert (change.collateral_s, change.resets) == (0.0, 0)
    agent, dns, alone = (played[c] for c in (Contender.AGENT, Contender.DNS_ONLY, Contender.AZURE))
    assert agent.downtime_s < dns.downtime_s < alone.downtime_s


def test_only_with_the_agent_is_a_recovery_proven(played: dict[Contender, changes.Change]) -> None:
    proven = {c for c, change in played.items() if change.verified_s is not None}
    assert proven == {Contender.AGENT}
    agent = played[Contender.AGENT]
    assert agent.verified_s is not None and agent.recover_s is not None and agent.verified_s >= agent.recover_s - 1.0


def test_the_home_lets_go_of_a_dead_sa_by_itself_without_the_agent(played: dict[Contender, changes.Change]) -> None:
    """So nobody but the agent beats 175 s."""
    assert all(change.downtime_s >= 175.0 for c, change in played.items() if c is not Contender.AGENT)


def test_a_sample_is_the_same_each_time(played: dict[Contender, changes.Change]) -> None:
    for contender in (Contender.SCRIPT, Contender.AGENT):
        assert changes.play(contender, 3) == played[contender]


def test_a_sample_begins_at_a_moment_of_its_own_and_the_same_under_every_contender() -> None:
    async def waited(seed: int, contender: Contender) -> float:
        world = thaw(seed)
        start(world, contender)
        await warm_up(world)
        return world.clock.monotonic() - began

    began = beginning()[1]
    moments = {s: {loop.run(waited(s, c), began) for c in (Contender.AZURE, Contender.SCRIPT)} for s in range(5)}
    assert all(len(at) == 1 for at in moments.values())
    found = {at.pop() for at in moments.values()}
    assert len(found) == 5 and all(WARM_UP_S <= at <= WARM_UP_S + PHASE_S for at in found)


def test_a_planned_failover_takes_the_same_time_whoever_watches() -> None:
    found = [calm.play("planned-failover", c, 1) for c in (Contender.AZURE, Contender.DNS_ONLY, Contender.AGENT)]
    assert len({(c.down_s, c.neighbour_down_s, c.resets) for c in found}) == 1 and found[0].down_s > 30.0


@pytest.mark.parametrize("contender", [Contender.DNS_ONLY, Contender.AGENT])
@pytest.mark.parametrize("scenario", ["servfail-storm", "lying-resolver"])
def test_dns_trouble_touches_no_packet(scenario: str, contender: Contender) -> None:
    found = calm.play(scenario, contender, 1)
    assert (found.down_s, found.neighbour_down_s, found.resets) == (0.0, 0.0, 0)


def test_resets_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A contender that resets would be found out."""

    async def somebody_resets(world: World, chance: Random) -> None:
        spec = world.gateway["spec"]
        await world.control.arm.reset_gateway(
            ArmRef(spec["subscriptionId"], spec["resourceGroup"], ArmKind.GATEWAY, "hub")
        )

    monkeypatch.setitem(calm.SCENARIOS, "reset", (120.0, somebody_resets))
    found = calm.play("reset", Contender.AZURE, 1)
    assert found.resets == 1 and found.neighbour_down_s > 5.0


def test_a_pin_that_outlives_the_control_plane_is_made_good() -> None:
    found = orphaned_pin.play(1)
    assert found.recover_s is not None and found.recover_s < 120.0
    assert found.unpinned_s is not None and found.collateral_s == 0.0


def test_every_scenario_uses_deeds_that_there_are() -> None:
    assert {"edit_azure", "reconnect", "hand_edit", "failover", "servfail_everywhere", "dns"} <= set(DEEDS)
    assert set(calm.SCENARIOS) >= {"psk-mismatch", "planned-failover", "servfail-storm", "lying-resolver"}
