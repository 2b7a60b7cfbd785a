"""Commands of the host, as a seam: tests hand in what a command would have answered."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.errors import FirewallBusy, FirewallError
from agent.limits import shorten

TIMEOUT_S = 15.0


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


Runner = Callable[[Sequence[str], str], Ran]
"""Words and standard input to what came of it. Raises FirewallBusy on a timeout, FirewallError if there is no such
command."""


def run(words: Sequence[str], stdin: str = "") -> Ran:
    env = {**os.environ, "LC_ALL": "C", "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    try:
        done = subprocess.run(
            list(words),
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
            env=env,
        )
    except FileNotFoundError:
        raise FirewallError(f"`{words[0]}` is not on this host: install it (see the agent's install guide)") from None
    except subprocess.TimeoutExpired:
        raise FirewallBusy(f"`{words[0]}` did not answer within {TIMEOUT_S:.0f} s") from None
    return Ran(done.returncode, done.stdout, done.stderr)


def must(runner: Runner, words: Sequence[str], stdin: str = "") -> str:
    """Standard output of a command that has to work; FirewallError with its own words otherwise."""
    ran = runner(words, stdin)
    if ran.code != 0:
        raise FirewallError(f"`{' '.join(words[:6])}` failed: {shorten(ran.err or ran.out, 300)}")
    return ran.out
