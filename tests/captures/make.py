"""Makes the captures anew: `make capture [ONLY=name]`. Each folder is replaced by what the daemons say today."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from shared.domain.findings import findings
from tests.agent.firewall.linux.world import Lab, LinuxBench
from tests.captures import replay
from tests.captures.breakages import BREAKAGES, collect


def main(names: list[str]) -> int:
    """The number of captures whose Findings are not as expected."""
    lab, wrong = Lab(), 0
    try:
        for name in names or list(BREAKAGES):
            with tempfile.TemporaryDirectory(prefix="homelink-") as state:
                bench = LinuxBench(lab, Path(state) / "state")
                files = collect(lab, bench, BREAKAGES[name])
                bench.clean()
                lab.no_azure()
            replay.save(replay.FOLDER / name, files)
            found = [f.code for f in findings(replay.situation(files))]
            missing = [c for c in BREAKAGES[name].expected if c not in found]
            wrong += bool(missing)
            print(
                f"{name}: {', '.join(found) or 'nothing found'}{'; MISSING ' + ', '.join(missing) if missing else ''}"
            )
    finally:
        lab.close()
    return wrong


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
