"""However time passes, the same things happen; and it costs next to nothing."""

from __future__ import annotations

import json
import random
import statistics
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.azure import durations
from lab.model import assumptions
from lab.model.assumptions import Assumptions, draw
from tests.lab.azure.test_durations import FILE, RECORDED
from tests.lab.model.site import ADDRESS, NEW, POLICY, PSK, SECOND, Site

WORLDS = (
    Assumptions(),
    Assumptions(unknown_source="answered"),
    Assumptions(applies_bounce_all=True, reset_tells_peers=False),
)


async def history(seed: int, world: Assumptions, pace: float | None) -> list[object]:
    """A seeded series of misfortunes, and what is seen after each."""
    dice = random.Random(seed)
    site = Site(world, pace, port_forward=dice.random() < 0.5)
    if dice.random() < 0.3:
        site.gateway = replace(site.gateway, second=SECOND)
    await site.link({"mode": dice.choice(["ResponderOnly", "Default", "InitiatorOnly"])})
    view = site.fabric.azure["home", 0].view
    seen: list[object] = []
    for _ in range(dice.randint(3, 10)):
        what = dice.randrange(14)
        if what < 3:
            site.home.move(dice.choice([ADDRESS, NEW, "198.51.100.99"]), dice.choice([0.0, 15.0, 200.0]))
        elif what == 3:
            site.fabric.outage("gw", 0, dice.uniform(5, 180), keeps=dice.random() < 0.5)
        elif what == 4:
            await site.plane.reset_gateway("gw", outage_s=12)
        elif what == 5:
            await site.plane.reset_connection("home")
        elif what == 6:
            await site.plane.set_peer("home", dice.choice([ADDRESS, NEW, None]))
        elif what == 7:
            site.firewall.reboot(dice.choice([10.0, 60.0, 300.0]))
        elif what == 8:
            view = replace(view, psk=dice.choice([PSK, "another"]), policy=dice.choice([POLICY, None]))
            await site.plane.set_connection(view)
        elif site.home.firewall_on:
            if what == 9:
                site.firewall.hand_edit("home", dice.choice(["removed", "asn", "policy", "peer", "key"]))
            elif what == 10:
                site.apply(replace(site.tunnel, mss=dice.choice([1200, 1300])), PSK, 2, dice.choice([30.0, 600.0]))
            elif what == 11:
                site.firewall.initiate("home")
            elif what == 12:
                site.firewall.start("home")
            else:
                site.firewall.confirm()
        seen.append(site.firewall.health())
        site.wait(dice.choice([0.0, 3.0, 50.0, 400.0, 5000.0]))
        seen += [site.firewall.health(), await site.plane.tunnel("home"), await site.plane.bgp_peers("gw")]
        seen += [site.names.truth(site.home.fqdn), site.firewall.canonical(), site.fabric.next_event()]
    return seen


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(WORLDS), st.sampled_from([7.3, 61.0, 333.0]))
async def test_many_small_steps_end_where_one_big_step_does(seed: int, world: Assumptions, pace: float) -> None:
    assert await history(seed, world, None) == await history(seed, world, pace)


async def test_once_all_is_well_again_the_tunnel_comes_up() -> None:
    """Whatever happened: with both ends as they should be and one `initiate`, everything holds."""
    for seed in range(40):
        for world in WORLDS:
            dice = random.Random(seed)
            site = Site(world)
            await site.link()
            for _ in range(5):
                site.wait(dice.uniform(0, 300))
                match dice.randrange(5):
                    case 0:
                        site.home.move(dice.choice([ADDRESS, NEW]), dice.uniform(0, 100))
                    case 1:
                        site.fabric.outage("gw", 0, dice.uniform(0, 180), keeps=dice.random() < 0.5)
                    case 2:
                        site.firewall.reboot(dice.uniform(0, 100))
                    case 3:
                        await site.plane.reset_connection("home")
                    case 4:
                        await site.plane.set_connection(replace(site.view, psk="another"))
            site.wait(300)
            await site.plane.set_connection(replace(site.view, peer_address=site.home.address))
            site.firewall.initiate("home")
            site.wait(200)
            assert site.up == (True, True, True), (seed, world)
            assert await site.connected()


def test_a_draw_stays_within_what_was_recorded() -> None:
    dice = random.Random(1)
    for kind, seen in assumptions._RECORDED.items():
        assert list(seen) == sorted(seen)
        drawn = [draw(kind, dice) for _ in range(300)]
        assert min(seen) <= min(drawn)
        assert max(drawn) <= max(seen)
        median = sorted(drawn)[150]
        assert seen[len(seen) // 4] <= median <= seen[-(len(seen) // 4) - 1]
    assert draw("CONNECTION_RESET", dice) == 20.0


def test_the_recorded_medians_are_those_of_the_lab() -> None:
    for kind, seen in assumptions._RECORDED.items():
        assert statistics.median(seen) == getattr(durations, kind), kind


@pytest.mark.skipif(not FILE.exists(), reason="the recorded durations are not beside this checkout")
def test_the_observations_are_all_that_were_recorded() -> None:
    operations = json.loads(FILE.read_text())["operations"]
    assert sorted(tuple(operations[name]["all"]) for name in RECORDED) == sorted(assumptions._RECORDED.values())


async def test_what_it_costs() -> None:
    """Printed, not judged: this machine is shared."""
    site = Site()
    await site.link()
    site.wait(60)

    def microseconds(count: int, work: object) -> float:
        assert callable(work)
        start = time.perf_counter()
        for _ in range(count):
            work()
        return (time.perf_counter() - start) / count * 1e6

    quiet = microseconds(2000, lambda: site.wait(0.001))
    health = microseconds(2000, site.firewall.health)

    def flap() -> None:
        site.home.move(ADDRESS, 5)
        site.wait(6)

    events = microseconds(200, flap)
    print(f"\nsettle {quiet:.1f} us, health {health:.1f} us, a reconnect with all its events {events:.0f} us")
