import sys
import time

from lab.model.history import draw
from lab.model.play import play

lo, hi = int(sys.argv[1]), int(sys.argv[2])
play(draw(lo))
t = time.perf_counter()
ev = fa = 0
bad = 0
import collections

kinds = collections.Counter()
for seed in range(lo, hi):
    try:
        o = play(draw(seed))
    except BaseException as e:
        print(seed, "CRASH", type(e).__name__, e)
        if isinstance(e, KeyboardInterrupt):
            raise
        if hi - lo == 1:
            raise
        bad += 1
        continue
    ev += o.events
    fa += o.faults
    if o.violations:
        bad += 1
        kinds[tuple(sorted(o.invariants))] += 1
        print(seed, o.violations[0][:230])
    if len(sys.argv) > 3:
        print(o.log)
n = hi - lo
print(
    f"{n} histories {(time.perf_counter() - t) / n:.3f} s each, events {ev / n:.0f} faults {fa / n:.1f} bad {bad} {kinds}"
)
