"""How often the SAs of a tunnel were rekeyed, counted by watching.

charon does not tell it of an SA (its counters are of a plugin that not every build has). But it numbers its SAs: after
a rekeying of the child there is another child under the same IKE SA, after one of the IKE SA the same child under
another. Both new is another tunnel, and its count begins at 0. The agent looks every 30 s and may be restarted, so the
count is of what it saw: never too high.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from agent.firewall.linux.charon import SaHealth


@dataclass(frozen=True)
class _Seen:
    """charon's numbers of the IKE SA and of its newest child, and the counts so far. `lost`: there was no child at the
    last look."""

    ike: int
    child: int
    ikes: int = 0
    children: int = 0
    lost: bool = False


class Rekeys:
    """Per Connection the SAs that were seen last."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def counted(self, connection: str, sa: SaHealth) -> SaHealth:
        """The same with `rekeys` filled in; without an installed child there is nothing to count."""
        was = self._seen.get(connection)
        if sa.numbers is None:
            if was is not None:
                self._seen[connection] = replace(was, lost=True)
            return sa
        ike, child = sa.numbers
        if was is not None and was.lost and was.child != child:
            was = None  # the same child is on its way from one IKE SA to another for a moment; another one is new
        now = _Seen(ike, child)
        again = was is not None and (ike < was.ike or child < was.child)  # charon was restarted, and counts from 1
        if was is not None and not again and (was.ike == ike or was.child == child):
            now = _Seen(ike, child, was.ikes + (was.ike != ike), was.children + (was.child != child))
        self._seen[connection] = now
        return replace(sa, ike=replace(sa.ike, rekeys=now.ikes), child=replace(sa.child, rekeys=now.children))
