"""The figures that a Plan shows are those of the model world: a few are made again here, so that they cannot rot."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lab.bench import outage
from lab.bench.beginning import HOME
from lab.bench.outage import FAR_S, FAR_SHARE, REDIAL_S, Sample
from lab.model.world import World
from shared.domain.outage import Kind
from shared.domain.outage_figures import SIMULATED, Seconds

TWICE = 2.0
"""Six runs do not have the percentiles of a hundred: their median may be off by that factor."""


@pytest.mark.parametrize("kind", [Kind.IPSEC_POLICY, Kind.HOME_ASN])
def test_the_table_is_what_the_model_finds(kind: Kind) -> None:
    found, listed = outage.figures(outage.play(kind, seed) for seed in range(1, 7))[kind], SIMULATED[kind]
    assert listed.p50 / TWICE <= found.p50 <= listed.p50 * TWICE
    assert listed.p50 - FAR_S <= found.p95 <= listed.p95 * (1 + FAR_SHARE)


@pytest.mark.parametrize("kind", [Kind.KEY, Kind.PREFIXES, Kind.DPD_TIMEOUT])
def test_what_always_costs_the_same_is_exact(kind: Kind) -> None:
    found = {outage.play(kind, seed).down_s for seed in (1, 2)}
    assert found == {SIMULATED[kind].p50} == {SIMULATED[kind].p95}


def test_every_figure_was_made_by_the_bench() -> None:
    assert set(SIMULATED) == set(outage.DEEDS_BY_KIND)


def test_only_the_gateways_own_change_touches_the_neighbour() -> None:
    assert outage.play(Kind.IPSEC_POLICY, 1).neighbour_down_s == 0.0
    both = outage.play(Kind.GATEWAY_ASN, 1)
    assert both.neighbour_down_s > 0.0 and both.down_s > 0.0


def test_an_sa_that_was_exchanged_between_two_looks_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    async def redial(world: World) -> None:
        world.places[HOME].firewall.initiate(HOME)

    monkeypatch.setitem(outage.DEEDS_BY_KIND, Kind.PROBE, redial)
    assert outage.play(Kind.PROBE, 1).down_s == REDIAL_S


def test_a_change_that_never_ends_is_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    async def sabotage(world: World) -> None:
        world.places[HOME].home.lose_internet()

    monkeypatch.setitem(outage.DEEDS_BY_KIND, Kind.PROBE, sabotage)
    with pytest.raises(AssertionError, match="after the change"):
        outage.play(Kind.PROBE, 1)


def test_the_bench_says_what_of_the_table_is_wrong() -> None:
    good: dict[Kind, Seconds] = {kind: SIMULATED[kind] for kind in outage.DEEDS_BY_KIND}
    assert outage.wrong(good) == []
    far = SIMULATED[Kind.IPSEC_POLICY].p95 * 2 + FAR_S
    (line,) = outage.wrong({**good, Kind.IPSEC_POLICY: replace(good[Kind.IPSEC_POLICY], p95=far)})
    assert line.startswith("ipsec-policy")
    assert outage.wrong({Kind.SKU: Seconds(1.0, 1.0)}) != [], "a kind that the table lacks"


def test_the_summary_is_per_kind() -> None:
    samples = [Sample(Kind.KEY, n, 0.0, 1.0) for n in range(1, 5)]
    samples += [Sample(Kind.HOME_ASN, n, float(n), 0.0) for n in range(1, 5)]
    found = outage.summary(samples, 1)
    assert found["runs"] == 4 and found["expected_outage_s"]["home-asn"] == {"p50": 2.0, "p95": 4.0}
    assert found["neighbour_down_s"]["key"] == 4.0
    assert outage.table(found).row_count == 2
