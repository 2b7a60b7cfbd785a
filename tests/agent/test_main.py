"""The program itself, as a process: enrolment, a real tunnel in the lab, kill -9, dead-man, kill switch, size."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from agent.identity import Identity
from lab.net.run import inside
from lab.net.sandbox import VARIABLE
from shared.wire.commands import Kind, Target
from shared.wire.keys import enrolled_secret
from tests.agent.fakes import FakeControl, World
from tests.agent.firewall.linux.world import HOME, Lab, LinuxBench, wait_for

ROOT = Path(__file__).parents[2]
CLOUD = "203.0.113.80"
RSS_LIMIT_KIB = 40 * 1024


def agent(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "agent", *words]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, cwd=ROOT, timeout=30, check=False)


def test_without_configuration_or_identity_it_says_what_to_do(tmp_path: Path) -> None:
    missing = agent("run", "--config", str(tmp_path / "agent.toml"))
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "cannot be read" in missing.stderr
    config = tmp_path / "agent.toml"
    config.write_text(f'state = "{tmp_path}/state"\n[firewall.linux]\nwan = "eth0"\nlan_address = "192.168.1.1"\n')
    assert "not enrolled: run `python -m agent enrol" in agent("run", "--config", str(config)).stderr
    assert agent("status", "--config", str(config)).stdout == "not enrolled\n"


def test_pause_and_resume_are_a_file(tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(f'state = "{tmp_path}/state"\n[firewall.linux]\nwan = "eth0"\nlan_address = "192.168.1.1"\n')
    for command, there in (("pause", True), ("pause", True), ("resume", False), ("resume", False)):
        assert agent(command, "--config", str(config)).returncode == 0
        assert (tmp_path / "state" / "paused").exists() is there


class RealClockWorld(World):
    """The fake control plane's time is the machine's when it is served to a process."""

    @property
    def mono(self) -> float:
        return time.time()

    @mono.setter
    def mono(self, value: float) -> None: ...

    def server_time(self) -> float:
        return time.time()


class Served:
    """The fake control plane over real HTTP on the lab's cloud address, with enrolment."""

    def __init__(self) -> None:
        self.control = FakeControl(RealClockWorld())
        self.lock = threading.Lock()
        served = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with served.lock:
                    status, data = served.answer(self.command, self.path, body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_DELETE = _answer  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer((CLOUD, 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://{CLOUD}:{self.server.server_port}"
        self.control.queue_base = self.url
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        if path == "/api/agents/enrol":
            request = json.loads(body)
            if request["token"] != "the-token":
                return 403, b"unknown token"
            secret = enrolled_secret("the-token", request["nonce"], "01AGENT")
            self.control.identity = Identity(self.url, "01AGENT", "controller-1", request["name"], secret)
            text = base64.urlsafe_b64encode(secret).rstrip(b"=").decode()
            plain = {"agent": "01AGENT", "controller": "controller-1", "time": 1.0, "v": 1}
            return 200, json.dumps({**plain, "secret": text}).encode()
        reply = self.control.send(method, self.url + path, {}, body)
        return reply.status, reply.body

    def do(self, work: Callable[[], Any]) -> Any:
        with self.lock:
            return work()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class Process:
    """`python -m agent run` in the home's network namespace."""

    def __init__(self, config: Path, log: Path) -> None:
        self.log = log
        with log.open("a") as out:
            words = [*inside(HOME), sys.executable, "-m", "agent", "run", "--config", str(config)]
            self.process = subprocess.Popen(words, stdout=out, stderr=out, cwd=ROOT)

    def rss_kib(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(40)


@pytest.fixture
def lab() -> Iterator[Lab]:
    if os.environ.get(VARIABLE) != "1":
        pytest.fail("this test needs the lab's sandbox: python -m lab.net.sandbox -- pytest ...", pytrace=False)
    world = Lab()
    yield world
    world.close()


@pytest.fixture
def served(lab: Lab) -> Iterator[Served]:
    served = Served()
    yield served
    served.close()


@pytest.mark.lab
def test_a_home_from_enrolment_to_a_tunnel_through_kills_and_back(lab: Lab, served: Served, tmp_path: Path) -> None:
    bench = LinuxBench(lab, tmp_path / "state")
    with bench.config.open("a") as file:
        file.write("[timing]\nmin_revert_s = 1\nheartbeat_s = 3\nincident_s = 1\n")
    token = tmp_path / "token"
    token.write_text("the-token\n")
    done = agent(
        "enrol", "--api", served.url, "--token-file", str(token), "--name", "home", "--state", str(bench.state)
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("enrolled as 01AGENT")
    log = tmp_path / "agent.log"
    control = served.control
    lab.azure("key-of-psk-home-v1")
    process = Process(bench.config, log)
    try:
        # a tunnel, confirmed
        command = control.apply(bench.desired(), ready=True)
        served.do(lambda: control.put(command))
        wait_for(lambda: control.outcome(command) == "done", 40)
        wait_for(lambda: control.beats[-1].tunnels[0].bgp.received == ("10.0.0.0/16",), 20)
        wait_for(lambda: [p for p in control.beats[-1].tunnels[0].probes if p.ok], 20)
        assert lab.do(lab.net.ping("lan", "10.0.0.4"))
        assert process.rss_kib() <= RSS_LIMIT_KIB, f"{process.rss_kib()} KiB"

        # kill -9 in mid-change: the dead-man, which is no child of the agent any more, puts the old tunnel back
        bad = dataclasses.replace(bench.desired(mss=1200), peer_address="203.0.113.99")
        change = control.apply(bad, generation=2, ready=True, revert=8)
        served.do(lambda: control.put(change))
        wait_for(lambda: bench.firewall.read().pending, 20)
        process.end(signal.SIGKILL)
        wait_for(lambda: bench.firewall.read().pending is None, 30)
        tunnel = bench.firewall.read().tunnel(HOME)
        assert tunnel is not None
        assert (tunnel.generation, tunnel.desired.mss) == (1, 1350)
        wait_for(lambda: bench.firewall.health().up() == {HOME}, 40)
        process = Process(bench.config, log)
        wait_for(lambda: control.outcome(change) is not None, 40)

        # the home owner's switch
        assert agent("pause", "--config", str(bench.config)).returncode == 0
        remove = control.command(Kind.REMOVE, Target(HOME, "id-home"), generation=3)
        served.do(lambda: control.put(remove))
        wait_for(lambda: control.outcome(remove) == "refused", 20)
        assert "paused: yes" in agent("status", "--config", str(bench.config)).stdout
        assert agent("resume", "--config", str(bench.config)).returncode == 0
        again = control.command(Kind.REMOVE, Target(HOME, "id-home"), generation=4)
        served.do(lambda: control.put(again))
        wait_for(lambda: control.outcome(again) == "done", 20)
        assert bench.firewall.read().tunnels == ()
        assert process.end() == 0
    finally:
        if process.process.poll() is None:
            process.end(signal.SIGKILL)
    text = log.read_text()
    assert "Traceback" not in text
    for secret in ("key-of-psk", "the-token", "sig=", "SAS"):
        assert secret not in text
    assert str(tmp_path / "state") not in str(control.beats[-1])
