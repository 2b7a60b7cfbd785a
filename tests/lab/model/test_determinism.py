"""The same seed gives the same event log, byte for byte, in any process; another seed another one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from lab.model.history import draw
from lab.model.ledger import ROOT
from lab.model.play import play

SEED = 12


def _elsewhere(hash_seed: str) -> subprocess.Popen[bytes]:
    """The log as a process of its own prints it, whose sets and dictionaries are in another order."""
    command = [sys.executable, "-m", "lab.model", "show", f"--seed={SEED}"]
    env = {**os.environ, "PYTHONHASHSEED": hash_seed}
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE)


@pytest.mark.usefixtures("begun")
def test_one_seed_one_log() -> None:
    others = [_elsewhere("1"), _elsewhere("2")]
    play(draw(SEED + 1))
    here = play(draw(SEED)).log
    first, second = (p.communicate()[0] for p in others)
    assert first == second
    assert f"\n{here}\n".encode() in first
    assert here.count("\n") > 200


@pytest.mark.usefixtures("begun")
def test_other_seeds_other_logs() -> None:
    logs = {play(draw(seed)).log for seed in range(SEED, SEED + 5)}
    assert len(logs) == 5
