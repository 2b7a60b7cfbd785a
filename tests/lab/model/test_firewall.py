"""The firewall as a machine: its timer, its boot, its owner."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agent.errors import FirewallBusy, FirewallError
from agent.firewall.contract import Revert
from lab.model.tunnel import BAD_PEER_AS
from tests.lab.model.site import NEW, PSK, Site


@pytest.fixture
async def site() -> Site:
    found = Site()
    await found.link()
    found.wait(30)
    return found


def test_the_dead_man_puts_back_what_was_and_the_tunnel_comes_up_again(site: Site) -> None:
    before, others = site.firewall.canonical(), dict(site.firewall.others)
    site.apply(replace(site.tunnel, peer_address="203.0.113.99"), generation=2, revert_s=600)
    assert site.firewall.snapshot_canonical() == before
    site.wait(599)
    assert not site.up[0]
    site.wait(1)
    assert site.firewall.canonical() == before
    assert site.firewall.snapshot_canonical() is None
    assert site.health.generation == 1
    site.wait(5)
    assert site.up == (True, True, True)
    assert site.firewall.others == others


def test_a_hand_edit_meanwhile_does_not_survive_the_rollback(site: Site) -> None:
    before = site.firewall.canonical()
    site.apply(replace(site.tunnel, mss=1200), generation=2)
    site.firewall.hand_edit("home", "asn")
    site.firewall.rollback()
    assert site.firewall.canonical() == before


def test_the_dead_man_catches_up_after_a_boot(site: Site) -> None:
    before = site.firewall.canonical()
    site.apply(replace(site.tunnel, mss=1200), generation=2, revert_s=30)
    site.firewall.reboot(60)
    site.wait(59)
    assert site.firewall.canonical() != before
    site.wait(1)
    assert site.firewall.canonical() == before
    site.wait(120)
    assert site.up == (True, True, True)


def test_a_broken_timer_leaves_it_to_the_agent(site: Site) -> None:
    site.firewall.timer_works = False
    site.apply(replace(site.tunnel, mss=1200), generation=2, revert_s=30)
    site.wait(60)
    assert site.firewall.read().pending is not None


def test_while_it_boots_it_answers_nothing(site: Site) -> None:
    site.firewall.reboot()
    health = site.firewall.health()
    assert (health.firewall.reachable, health.tunnels) == (False, ())
    for call in (lambda: site.apply(site.tunnel), lambda: site.firewall.initiate("home"), site.firewall.confirm):
        with pytest.raises(FirewallBusy):
            call()


def test_refused_and_busy_change_nothing(site: Site) -> None:
    before = site.firewall.canonical(), site.firewall.read()
    changed = replace(site.tunnel, mss=1200)
    site.firewall.busy = "the configuration is locked"
    with pytest.raises(FirewallBusy, match="locked"):
        site.apply(changed, generation=2)
    site.firewall.busy, site.firewall.refuses = None, "no such interface"
    with pytest.raises(FirewallError, match="no such interface"):
        site.apply(changed, generation=2)
    site.firewall.refuses = None
    bgp = replace(site.tunnel.bgp, local_asn=64700)
    with pytest.raises(FirewallError, match="64600"):
        site.apply(replace(site.tunnel, connection="other", bgp=bgp))
    assert (site.firewall.canonical(), site.firewall.read()) == before


EDITS: list[tuple[Any, bool, tuple[bool, bool]]] = [
    ("removed", True, (False, False)),
    ("asn", True, (True, False)),
    ("policy", True, (False, True)),  # the session is dead, too, but its hold timer still runs
    ("peer", True, (False, True)),
    ("key", False, (True, True)),
]


@pytest.mark.parametrize(("what", "seen", "up"), EDITS)
def test_a_hand_edit_does_what_it_does_and_is_repaired(
    site: Site, what: Any, seen: bool, up: tuple[bool, bool]
) -> None:
    before = site.firewall.canonical()
    site.firewall.hand_edit("home", what)
    site.wait(5)
    assert site.firewall.canonical() != before
    assert site.up[:2] == up
    assert bool(site.firewall.diff(site.tunnel)) is seen
    if what == "asn":
        site.wait(site.fabric.assumptions.bgp_refusal_s)
        assert site.health.bgp.last_error == BAD_PEER_AS
    site.firewall.apply(site.tunnel, 1, PSK, None)
    assert site.firewall.canonical() == before
    site.firewall.initiate("home")
    site.wait(5)
    assert site.up == (True, True, True)


def test_a_hand_edit_of_what_does_not_run_is_nothing(site: Site) -> None:
    site.firewall.remove("home")
    site.firewall.hand_edit("home", "asn")
    assert site.firewall.canonical() == {}


def test_start_leaves_a_dialling_tunnel_alone_and_initiate_does_not(site: Site) -> None:
    site.home.move(NEW, 5)
    site.wait(300)
    end = site.fabric.ends["home", "home"]
    since = end.connecting_since
    site.firewall.start("home")
    assert end.connecting_since == since
    site.firewall.initiate("home")
    assert end.connecting_since == site.clock.now


def test_each_step_of_a_change_can_be_the_agents_last() -> None:
    class Killed(BaseException):
        pass

    steps: list[str] = []
    for last in ("armed", "recorded", "applied"):

        def touch(step: str, last: str = last) -> None:
            steps.append(step)
            if step == last:
                raise Killed

        site = Site()
        site.firewall._touch = touch
        with pytest.raises(Killed):
            site.firewall.apply(site.tunnel, 1, PSK, Revert(600, ()))
        assert site.firewall.diff(site.tunnel) if last != "applied" else not site.firewall.diff(site.tunnel)
        site.wait(600)
        assert (site.firewall.canonical(), site.firewall.records) == ({}, {})
    assert steps == ["armed", "armed", "recorded", "armed", "recorded", "applied"]


def test_an_apply_takes_its_callers_time() -> None:
    site = Site()
    spent: list[float] = []
    site.firewall._spend = spent.append
    site.apply(site.tunnel)
    assert spent == [site.fabric.assumptions.apply_s]


def test_a_route_back_is_needed_for_a_ping(site: Site) -> None:
    """Azure's neighbour is another address of the home, so the way back must be learned or static."""
    assert site.health.probes[0].ok
    end = site.fabric.azure["home", 0]
    end.view = replace(end.view, peer_bgp_address="192.168.77.1")
    assert site.health.probes[0].ok, "192.168.1.0/24 was learned"
    end.session = None
    assert not site.health.probes[0].ok
    end.view = replace(end.view, static_prefixes=("192.168.0.0/16",))
    assert site.health.probes[0].ok
