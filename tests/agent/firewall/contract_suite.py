"""What every firewall driver must do, whatever the firewall: one suite, run over each driver's `Bench`.

A bench brings a driver on an empty firewall that already holds something foreign. `canonical` is what the firewall
carries of ours, in a form that two equal states share; `foreign` is everything else.
"""

from __future__ import annotations

from typing import Any, Protocol

import pytest

from agent.errors import FirewallError
from agent.firewall.contract import Firewall, Revert
from shared.wire.commands import DesiredTunnel

LONG = Revert(600.0, ())


class Bench(Protocol):
    firewall: Firewall

    def desired(self, **changes: Any) -> DesiredTunnel: ...
    def psk(self, desired: DesiredTunnel) -> str: ...
    def reopened(self) -> Firewall:
        """A new driver on the same firewall and records, as after a crash of the agent."""
        ...

    def drift(self) -> None:
        """Somebody takes our things away behind the driver's back."""
        ...

    def let_dead_man_fire(self, revert_s: float) -> None:
        """Without the agent: returns once that many seconds have passed and the timer had its turn."""
        ...

    def canonical(self) -> object: ...
    def foreign(self) -> object: ...


class FirewallContract:
    """Subclass it in a module whose `bench` fixture gives the driver's Bench."""

    soon = 2.0

    def test_an_empty_firewall_owns_nothing(self, bench: Bench) -> None:
        state = bench.firewall.read()
        assert state.tunnels == ()
        assert state.pending is None
        assert bench.firewall.diff(bench.desired())

    def test_apply_makes_it_so_and_waits_for_confirmation(self, bench: Bench) -> None:
        d = bench.desired()
        bench.firewall.apply(d, 3, bench.psk(d), Revert(600.0, ("other",)))
        assert bench.firewall.diff(d) == ()
        state = bench.firewall.read()
        tunnel = state.tunnel(d.connection)
        assert tunnel is not None
        assert (tunnel.desired, tunnel.generation, tunnel.confirmed) == (d, 3, False)
        assert state.pending is not None
        assert state.pending.connections == (d.connection,)
        assert state.pending.up_before == ("other",)

    def test_confirm_keeps_it_and_ends_the_pending_change(self, bench: Bench) -> None:
        d = bench.desired()
        bench.firewall.apply(d, 1, bench.psk(d), LONG)
        bench.firewall.confirm()
        state = bench.firewall.read()
        assert state.pending is None
        assert [t.confirmed for t in state.tunnels] == [True]
        bench.firewall.rollback()
        assert bench.firewall.diff(d) == ()

    def test_apply_again_changes_nothing(self, bench: Bench) -> None:
        d = bench.desired()
        for _ in range(2):
            bench.firewall.apply(d, 1, bench.psk(d), LONG)
            bench.firewall.confirm()
        before = bench.canonical()
        bench.firewall.apply(d, 1, bench.psk(d), None)
        assert bench.canonical() == before
        assert bench.firewall.read().pending is None

    def test_rollback_of_the_first_apply_leaves_nothing_of_ours(self, bench: Bench) -> None:
        empty, foreign, d = bench.canonical(), bench.foreign(), bench.desired()
        bench.firewall.apply(d, 1, bench.psk(d), LONG)
        assert bench.canonical() != empty
        bench.firewall.rollback()
        assert bench.firewall.read().tunnels == ()
        assert bench.firewall.read().pending is None
        assert bench.canonical() == empty
        assert bench.foreign() == foreign

    def test_rollback_of_a_change_restores_what_was_there(self, bench: Bench) -> None:
        d = bench.desired()
        bench.firewall.apply(d, 1, bench.psk(d), LONG)
        bench.firewall.confirm()
        before, foreign = bench.canonical(), bench.foreign()
        changed = bench.desired(mss=1200, dpd_delay_s=20)
        bench.firewall.apply(changed, 2, bench.psk(changed), LONG)
        assert bench.canonical() != before
        bench.firewall.rollback()
        tunnel = bench.firewall.read().tunnel(d.connection)
        assert tunnel is not None
        assert (tunnel.desired, tunnel.generation, tunnel.confirmed) == (d, 1, True)
        assert bench.canonical() == before
        assert bench.foreign() == foreign

    def test_a_second_change_keeps_the_first_snapshot(self, bench: Bench) -> None:
        empty = bench.canonical()
        for generation, mss in ((1, 1300), (2, 1200)):
            d = bench.desired(mss=mss)
            bench.firewall.apply(d, generation, bench.psk(d), LONG)
        bench.firewall.rollback()
        assert bench.canonical() == empty

    def test_the_dead_man_rolls_back_without_the_agent(self, bench: Bench) -> None:
        empty, d = bench.canonical(), bench.desired()
        bench.firewall.apply(d, 1, bench.psk(d), Revert(self.soon, ()))
        bench.let_dead_man_fire(self.soon)
        assert bench.reopened().read().tunnels == ()
        assert bench.canonical() == empty

    def test_the_dead_man_leaves_a_confirmed_change_alone(self, bench: Bench) -> None:
        d = bench.desired()
        bench.firewall.apply(d, 1, bench.psk(d), Revert(self.soon, ()))
        bench.firewall.confirm()
        before = bench.canonical()
        bench.let_dead_man_fire(self.soon)
        assert bench.canonical() == before
        assert bench.firewall.diff(d) == ()

    def test_a_new_driver_knows_what_the_old_one_did(self, bench: Bench) -> None:
        d = bench.desired()
        bench.firewall.apply(d, 7, bench.psk(d), LONG)
        again = bench.reopened()
        ours, theirs = again.read(), bench.firewall.read()
        assert ours.tunnels == theirs.tunnels
        assert ours.pending is not None
        assert theirs.pending is not None
        assert ours.pending.deadline == pytest.approx(theirs.pending.deadline, abs=5)  # read from a clock, it may be
        again.rollback()
        assert again.read().tunnels == ()

    def test_drift_is_seen_and_repaired_without_a_pending_change(self, bench: Bench) -> None:
        d = bench.desired()
        bench.firewall.apply(d, 1, bench.psk(d), LONG)
        bench.firewall.confirm()
        before = bench.canonical()
        bench.drift()
        assert bench.firewall.diff(d)
        bench.firewall.apply(d, 1, bench.psk(d), None)
        assert bench.firewall.diff(d) == ()
        assert bench.canonical() == before
        assert bench.firewall.read().pending is None

    def test_remove_takes_away_ours_and_nothing_else(self, bench: Bench) -> None:
        empty, foreign, d = bench.canonical(), bench.foreign(), bench.desired()
        bench.firewall.apply(d, 1, bench.psk(d), LONG)
        bench.firewall.confirm()
        bench.firewall.remove(d.connection)
        assert bench.firewall.read().tunnels == ()
        assert bench.canonical() == empty
        assert bench.foreign() == foreign
        bench.firewall.remove(d.connection)

    def test_remove_is_not_undone_by_a_rollback(self, bench: Bench) -> None:
        d = bench.desired()
        bench.firewall.apply(d, 1, bench.psk(d), LONG)
        bench.firewall.confirm()
        changed = bench.desired(mss=1200)
        bench.firewall.apply(changed, 2, bench.psk(changed), LONG)
        bench.firewall.remove(d.connection)
        bench.firewall.rollback()
        assert bench.firewall.read().tunnels == ()

    def test_what_is_not_owned_is_not_initiated(self, bench: Bench) -> None:
        with pytest.raises(FirewallError, match="nobody"):
            bench.firewall.initiate("nobody")
        bench.firewall.start("nobody")

    def test_health_names_what_is_applied(self, bench: Bench) -> None:
        d = bench.desired()
        bench.firewall.apply(d, 5, bench.psk(d), LONG)
        health = bench.firewall.health()
        assert health.firewall.reachable
        assert [(t.connection, t.generation, t.digest, t.confirmed) for t in health.tunnels] == [
            (d.connection, 5, d.digest(), False)
        ]
        assert health.tunnels[0].psk_version == d.psk.version

    def test_evidence_holds_no_key(self, bench: Bench) -> None:
        d = bench.desired()
        bench.firewall.apply(d, 1, bench.psk(d), LONG)
        assert bench.psk(d) not in str(bench.firewall.diagnose(d.connection))
