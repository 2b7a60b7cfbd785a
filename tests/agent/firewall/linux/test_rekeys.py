"""Rekeyings, counted by charon's numbers; also over a real charon."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from agent.firewall.linux.charon import NO_SA, SaHealth, sa_health
from agent.firewall.linux.rekeys import Rekeys
from shared.wire.reports import ChildHealth, IkeHealth
from tests.agent.firewall.contract_suite import LONG
from tests.agent.firewall.linux.world import HOME, Lab, LinuxBench, wait_for

UP = SaHealth(IkeHealth("ESTABLISHED", "203.0.113.10", 1.0, True), ChildHealth(True, 0, 0, 1.0))


def counts(rekeys: Rekeys, *numbers: tuple[int, int]) -> list[tuple[int | None, int | None]]:
    found = [rekeys.counted("home", replace(UP, numbers=n)) for n in numbers]
    return [(sa.ike.rekeys, sa.child.rekeys) for sa in found]


def test_a_new_child_or_a_new_ike_sa_is_a_rekeying_and_both_are_another_tunnel() -> None:
    seen = counts(Rekeys(), (4, 7), (4, 7), (4, 8), (4, 9), (5, 9), (6, 10))
    assert seen == [(0, 0), (0, 0), (0, 1), (0, 2), (1, 2), (0, 0)]


def test_each_connection_has_its_own_count() -> None:
    rekeys = Rekeys()
    counts(rekeys, (1, 1), (1, 2))
    other = rekeys.counted("office", replace(UP, numbers=(1, 3)))
    assert (other.ike.rekeys, other.child.rekeys) == (0, 0)


def test_a_child_that_is_seen_nowhere_while_it_moves_to_another_ike_sa_is_not_lost() -> None:
    rekeys = Rekeys()
    counts(rekeys, (4, 7), (4, 8))
    assert rekeys.counted("home", NO_SA) == NO_SA
    assert counts(rekeys, (5, 8), (5, 9)) == [(1, 1), (1, 2)]


def test_a_charon_that_was_restarted_has_rekeyed_nothing() -> None:
    assert counts(Rekeys(), (1, 2), (1, 3), (1, 1)) == [(0, 0), (0, 1), (0, 0)]


def test_without_a_tunnel_nothing_is_counted() -> None:
    rekeys = Rekeys()
    counts(rekeys, (1, 1), (1, 2))
    assert rekeys.counted("home", NO_SA) == NO_SA
    assert counts(rekeys, (1, 3)) == [(0, 0)]


def test_numbers_that_are_none_count_as_nothing() -> None:
    child = {"state": "INSTALLED", "uniqueid": "inf", "bytes-in": "nan"}
    health = sa_health({"state": "ESTABLISHED", "uniqueid": "x", "child-sas": {"home": child}})
    assert (health.numbers, health.child.bytes_in) == ((0, 0), 0)


@pytest.mark.lab
def test_what_charon_rekeys_is_counted(bench: LinuxBench, azure: Lab) -> None:
    d = bench.desired()
    psk = bench.psk(d)
    azure.azure(psk)
    bench.firewall.apply(d, 1, psk, LONG)

    def seen() -> tuple[int | None, int | None]:
        (t,) = bench.firewall.health().tunnels
        return t.ike.rekeys, t.child.rekeys

    def ask(use: Callable[[Any], object]) -> None:
        import vici

        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(azure.net.homes[HOME].vici))
            use(vici.Session(sock))

    wait_for(lambda: seen() == (0, 0), 30)
    ask(lambda s: s.rekey({"child": "homelink-home"}))
    wait_for(lambda: seen() == (0, 1), 10)
    ask(lambda s: s.rekey({"ike": "homelink-home"}))
    wait_for(lambda: seen() == (1, 1), 10)
