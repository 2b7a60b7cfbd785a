"""The simulated figures behind outage.py: seconds without packets per kind of change.

Made by `make bench PART=outage` (lab/bench/outage.py) in the model world: the real control plane and agent in virtual
time, one change in each run, at a moment that no clock knows. The bench compares what it finds with this table and
fails when they are far apart; `make test` does so with a few runs. Copy what it prints when behaviour changed.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Seconds:
    """Half of the runs took `p50` seconds at most, 95 of 100 `p95`."""

    p50: float
    p95: float


RUNS = 100
"""Of each kind."""
SIMULATED: dict[str, Seconds] = {
    "tags": Seconds(0.0, 0.0),
    "key": Seconds(0.0, 0.0),
    "fqdn": Seconds(0.0, 0.0),
    "prefixes": Seconds(0.0, 0.0),
    "mss": Seconds(0.0, 0.0),
    "probe": Seconds(0.0, 0.0),
    "subnets": Seconds(0.0, 0.0),
    "gateway-apipa": Seconds(0.0, 0.0),
    "dpd-timeout": Seconds(4.0, 4.0),
    "sa-lifetime": Seconds(8.0, 8.0),
    "ipsec-policy": Seconds(14.0, 27.0),
    "home-asn": Seconds(17.0, 30.0),
    "home-bgp-address": Seconds(17.0, 30.0),
    "gateway-asn": Seconds(16.0, 31.0),
    "made-again": Seconds(49.0, 91.0),
}
"""By the names of shared.domain.outage.Kind. Seeds 1 to 100, commit 5dab265, 2026-11-23."""
