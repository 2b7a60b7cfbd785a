"""`python -m agent enrol | run | pause | resume | status | revert`: the only place that makes real adapters.

`enrol` asks for the one-time token as `--token`, or better from a file or standard input, where `ps` cannot see it.
`revert` is what the dead-man timer calls; a person has no use for it.
"""

from __future__ import annotations

import argparse
import select
import signal
import socket
import sys
from pathlib import Path

from agent import VERSION, config, enrol
from agent.adapters import DiskFiles, RequestsHttp, SystemClock, SystemRandom
from agent.config import Config
from agent.core import PAUSE_FILE, Agent
from agent.errors import AgentError, ConfigError
from agent.firewall.contract import Firewall
from agent.firewall.linux import driver as linux_driver
from agent.identity import Identity
from agent.journal import Journal
from agent.log import StderrLog


def main(argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    try:
        return int(args.run(args))
    except AgentError as e:
        sys.stderr.write(f"homelink-agent: {e}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m agent", description="Homelink's agent at home.")
    parser.add_argument("--version", action="version", version=VERSION)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    e = commands.add_parser("enrol", help="exchange a one-time token for this agent's identity")
    e.add_argument("--api", required=True, help="the control plane's base URL")
    token = e.add_mutually_exclusive_group(required=True)
    token.add_argument("--token", help="the one-time token (visible to `ps`; prefer the next one)")
    token.add_argument("--token-file", help="file with the token, or - for standard input")
    e.add_argument("--name", required=True, help="the agent's name, as the token was made out for")
    e.add_argument("--ca", help="PEM file with the root to trust instead of the built-in ones")
    e.add_argument("--state", default=config.DEFAULT_STATE, help="state directory (default: %(default)s)")
    e.add_argument("--replace", action="store_true", help="give up an earlier identity")
    e.set_defaults(run=_enrol)
    for name, help_text, action in (
        ("run", "run until stopped", _run),
        ("pause", "kill switch: change nothing until `resume`", _pause),
        ("resume", "end `pause`", _resume),
        ("status", "what is applied, waiting and refused", _status),
        ("revert", "called by the dead-man timer", _revert),
    ):
        p = commands.add_parser(name, help=help_text)
        p.add_argument("--config", type=Path, default=Path(config.DEFAULT_PATH), help="default: %(default)s")
        if name == "revert":
            p.add_argument("--id", required=True, help="the snapshot that the timer was armed for")
        p.set_defaults(run=action)
    return parser


def _enrol(args: argparse.Namespace) -> int:
    token = args.token
    if token is None:
        source = Path("/dev/stdin" if str(args.token_file) == "-" else args.token_file)
        try:
            token = source.read_text().strip()
        except OSError as e:
            raise ConfigError(f"the token file {source} cannot be read: {e.strerror}") from None
    files = DiskFiles(Path(args.state))
    identity = enrol.enrol(
        args.api, token, args.name, RequestsHttp(args.ca), files, SystemRandom(), replace=args.replace
    )
    sys.stdout.write(f"enrolled as {identity.agent} with controller {identity.controller}\n")
    return 0


def _run(args: argparse.Namespace) -> int:
    settings = config.load(args.config)
    files, clock, random = DiskFiles(settings.state), SystemClock(), SystemRandom()
    identity = Identity.load(files)
    if identity is None:
        raise ConfigError(f"not enrolled: run `python -m agent enrol --state {settings.state} ...` first")
    log = StderrLog(sys.stderr)
    firewall = _firewall(settings, files, clock, random)
    agent = Agent(identity, RequestsHttp(settings.ca), files, firewall, clock, random, log, settings.timing)
    log("info", "started", agent=identity.agent, version=VERSION, driver=firewall.driver)
    told = _stop_signal()
    while not select.select([told], [], [], 0)[0]:
        wake = agent.step(clock.monotonic())
        select.select([told], [], [], min(max(0.0, wake - clock.monotonic()), 60.0))
    log("info", "stopped")
    return 0


def _stop_signal() -> socket.socket:
    """A socket that becomes readable on SIGTERM or SIGINT; a step under way is finished first."""
    told, teller = socket.socketpair()
    teller.setblocking(False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)
    signal.set_wakeup_fd(teller.detach(), warn_on_full_buffer=False)
    return told


def _pause(args: argparse.Namespace) -> int:
    DiskFiles(config.load(args.config).state).write(PAUSE_FILE, b"by the home owner\n")
    sys.stdout.write("paused: the agent reports and looks, and changes nothing until `resume`\n")
    return 0


def _resume(args: argparse.Namespace) -> int:
    DiskFiles(config.load(args.config).state).delete(PAUSE_FILE)
    sys.stdout.write("resumed\n")
    return 0


def _status(args: argparse.Namespace) -> int:
    settings = config.load(args.config)
    files = DiskFiles(settings.state)
    identity = Identity.load(files)
    if identity is None:
        sys.stdout.write("not enrolled\n")
        return 1
    journal = Journal(files, f"journal/{identity.agent}")
    state = _firewall(settings, files, SystemClock(), SystemRandom()).read()
    lines = [f"agent {identity.agent} at {identity.api}", f"paused: {'yes' if files.read(PAUSE_FILE) else 'no'}"]
    lines += [
        f"tunnel {t.desired.connection}: generation {t.generation}, {'' if t.confirmed else 'not yet '}confirmed"
        for t in state.tunnels
    ]
    lines += [f"pending: seq {c.seq} {c.kind.value}" for c in journal.pending()]
    lines += [f"current: seq {b.command.seq} {b.command.kind.value} ({b.stage})" for b in journal.current()]
    lines += [f"not reported yet: seq {r.seq} {r.kind}: {r.outcome}" for r in journal.unreported()]
    lines += [f"refused: {reason}" for reason in journal.refusals()]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _revert(args: argparse.Namespace) -> int:
    settings = config.load(args.config)
    files = DiskFiles(settings.state)
    if settings.driver != "linux":
        raise ConfigError("`revert` is for the linux driver; the timer of the others runs on the firewall")
    linux_driver.build(settings, files, SystemClock(), SystemRandom()).rollback(only=args.id)
    return 0


def _firewall(settings: Config, files: DiskFiles, clock: SystemClock, random: SystemRandom) -> Firewall:
    if settings.driver == "pfsense":
        from agent.firewall.pfsense import driver as pfsense_driver  # only here: it would cost the other one memory

        return pfsense_driver.build(settings, clock, random)
    return linux_driver.build(settings, files, clock, random)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
