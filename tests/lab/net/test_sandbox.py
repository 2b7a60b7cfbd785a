"""The sandbox seen from outside: exit codes, signals, and that nothing is left however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.net import sandbox

# what a CMD does here: says that it is up, and has a child in a session of its own, as daemons are
_UP = """
import pathlib, signal, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", sys.argv[2]], start_new_session=True)
def leave(number, frame):
    pathlib.Path(sys.argv[1], "cleaned").write_text(str(number))
    sys.exit(5)
def stay(number, frame):
    pathlib.Path(sys.argv[1], "asked").touch()
signal.signal(signal.SIGTERM, stay if sys.argv[3] == "stubborn" else leave)
signal.signal(signal.SIGINT, leave)
pathlib.Path(sys.argv[1], "up").touch()
while True:
    time.sleep(600)
"""


def _sandbox(*command: str) -> list[str]:
    return [sys.executable, "-m", "lab.net.sandbox", "--", *command]


def _until(holds: Callable[[], bool], within: float = 15.0) -> None:
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def _processes(mark: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if mark.encode() in words:
            found.append(path.parent.name)
    return found


class _Running:
    def __init__(self, tmp_path: Path, manner: str = "polite") -> None:
        self.mark = uuid.uuid4().hex
        self.folder = tmp_path
        self.mounts = Path("/proc/self/mountinfo").read_text()
        self.outer = subprocess.Popen(_sandbox(sys.executable, "-c", _UP, str(tmp_path), self.mark, manner))
        _until((tmp_path / "up").exists)
        assert len(_processes(self.mark)) >= 3  # outer, inner and CMD carry it, and so does CMD's child

    def left(self) -> list[str]:
        return _processes(self.mark)

    def assert_nothing_left(self) -> None:
        _until(lambda: not self.left(), within=5)
        assert Path("/proc/self/mountinfo").read_text() == self.mounts


@pytest.mark.parametrize("code", [0, 7])
def test_the_exit_code_passes_through(code: int) -> None:
    assert subprocess.run(_sandbox("sh", "-c", f"exit {code}"), check=False).returncode == code


def test_a_command_killed_by_a_signal_is_told_as_a_shell_would() -> None:
    assert subprocess.run(_sandbox("sh", "-c", "kill -9 $$"), check=False).returncode == 128 + 9
    assert subprocess.run(_sandbox("/no/such/thing"), check=False, capture_output=True).returncode == 127


def test_inside_is_a_world_of_its_own() -> None:
    script = "echo $HOMELINK_SANDBOX; id -u; ls /run/netns | wc -l; cat /proc/net/route | wc -l; ip -br link | wc -l"
    out = subprocess.run(_sandbox("sh", "-c", script), check=True, capture_output=True, text=True).stdout.split()
    assert out == ["1", "0", "0", "1", "1"]


def test_orphans_are_reaped() -> None:
    script = """
        (sh -c 'sleep 0.1 & echo $! > "$0"' "$0")
        for i in $(seq 300); do [ -e /proc/$(cat "$0") ] || exit 0; sleep 0.01; done
        exit 1"""
    with tempfile.NamedTemporaryFile() as pid:
        assert subprocess.run(_sandbox("sh", "-c", script, pid.name), check=False).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_command_clean_up(tmp_path: Path, number: signal.Signals) -> None:
    running = _Running(tmp_path)
    running.outer.send_signal(number)
    assert running.outer.wait(10) == 5
    assert (tmp_path / "cleaned").read_text() == str(int(number))
    running.assert_nothing_left()


def test_a_command_that_will_not_go_is_killed_after_the_grace_period(tmp_path: Path) -> None:
    running = _Running(tmp_path, "stubborn")
    began = time.monotonic()
    running.outer.terminate()
    assert running.outer.wait(sandbox.GRACE_S + 20) == 128 + signal.SIGTERM
    assert time.monotonic() - began >= sandbox.GRACE_S - 0.5
    running.assert_nothing_left()


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    running = _Running(tmp_path, "stubborn")
    running.outer.terminate()
    _until((tmp_path / "asked").exists)
    running.outer.terminate()
    assert running.outer.wait(sandbox.GRACE_S - 1) == 128 + signal.SIGTERM
    running.assert_nothing_left()


def test_kill_9_of_the_outer_process_leaves_nothing(tmp_path: Path) -> None:
    running = _Running(tmp_path)
    os.kill(running.outer.pid, signal.SIGKILL)
    running.outer.wait(10)
    running.assert_nothing_left()
    assert not (tmp_path / "cleaned").exists()


def test_without_user_namespaces_it_says_what_to_do() -> None:
    script = f"echo 0 > /proc/sys/user/max_user_namespaces; {sys.executable} -m lab.net.sandbox -- true"
    done = subprocess.run(_sandbox("sh", "-c", script), check=False, capture_output=True, text=True)
    assert done.returncode == sandbox.CANNOT
    assert len(done.stderr.splitlines()) == 1
    assert "sysctl -w" in done.stderr


def test_without_tun_or_tools_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(sandbox, "_TUN", str(tmp_path / "tun"))
    assert sandbox.run(["true"]) == sandbox.CANNOT
    (line,) = capsys.readouterr().err.splitlines()
    assert "modprobe tun" in line
    monkeypatch.setattr(sandbox, "_TOOLS", {"no-such-tool": "its-package"})
    assert sandbox.run(["true"]) == sandbox.CANNOT
    assert "apt-get install its-package" in capsys.readouterr().err


def test_usage() -> None:
    assert subprocess.run(_sandbox(), check=False, capture_output=True).returncode == 2
