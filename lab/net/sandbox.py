"""Run a command in a throw-away world: `python -m lab.net.sandbox -- CMD...`

The lab needs namespaces, TUN devices, a firewall and daemons that expect to be root. All of that lives in one set of
user, network, mount and PID namespaces, so that it needs no root, touches nothing of the machine, and cannot outlive
its owner: when the first process of a PID namespace ends, the kernel ends all the others and drops the mounts.

Three processes: the outer one (waits, passes signals on), `unshare`, and a small init inside which prepares the mounts,
runs CMD as its child and reaps orphans. Outer and init share a pipe: a byte is a signal to pass on, end of file means
that the outer one is gone, however it died, and init leaves at once.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

GRACE_S = 5.0
CANNOT = 78
"""Exit code when this machine cannot host the sandbox (EX_CONFIG of sysexits.h)."""
VARIABLE = "HOMELINK_SANDBOX"
NAMESERVER = "203.0.113.54"
"""The lab's recursive resolver (lab.net.dns); the sandbox has no way to any other."""

_UNSHARE = ("unshare", "-Urnm", "--pid", "--fork", "--mount-proc", "--kill-child")
_TUN = "/dev/net/tun"
_TOOLS = {
    "unshare": "util-linux",
    "ip": "iproute2",
    "nft": "nftables",
    "conntrack": "conntrack",
    "ping": "iputils-ping",
    "vtysh": "frr",
    "swanctl": "strongswan-swanctl",
    "php": "php-cli",
    "/usr/lib/frr/bgpd": "frr",
    "/usr/lib/ipsec/charon": "strongswan-charon",
    "/usr/lib/ipsec/plugins/libstrongswan-kernel-libipsec.so": "libcharon-extra-plugins",
}
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def obstacle() -> str | None:
    """Why this machine cannot host the sandbox, as one line that says what to do; None if it can."""
    search = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = sorted({p for tool, p in _TOOLS.items() if not (shutil.which(tool, path=search) or Path(tool).is_file())})
    if missing:
        return f"missing on this machine: {' '.join(missing)}; do: apt-get install {' '.join(missing)}"
    try:
        os.close(os.open(_TUN, os.O_RDWR))
    except OSError as error:
        return f"{_TUN} cannot be used ({error.strerror}); do as root: modprobe tun && chmod 0666 {_TUN}"
    probe = subprocess.run([*_UNSHARE, "true"], capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        said = probe.stderr.strip().splitlines()[-1:] or ["no output"]
        return (
            f"namespaces cannot be made here ({said[0]}); do as root, whichever exists: sysctl -w "
            "user.max_user_namespaces=10000 kernel.unprivileged_userns_clone=1 "
            "kernel.apparmor_restrict_unprivileged_userns=0 (in a container: run it with --privileged)"
        )
    return None


def run(command: Sequence[str]) -> int:
    """Run `command` in a new sandbox and return its exit code (128+n if signal n ended it)."""
    why = obstacle()
    if why is not None:
        print(f"sandbox: {why}", file=sys.stderr)
        return CANNOT
    control_in, control_out = os.pipe()
    inner = subprocess.Popen(
        [*_UNSHARE, sys.executable, "-m", "lab.net.sandbox", "--init", str(control_in), "--", *command],
        pass_fds=(control_in,),
        start_new_session=True,  # a terminal's Ctrl-C reaches only us, and CMD gets it exactly once
    )
    os.close(control_in)

    def forward(number: int, _frame: object) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(control_out, bytes([number]))

    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    for number in _FORWARDED:
        signal.signal(number, forward)
    code = inner.wait()
    return code if code >= 0 else 128 - code


def init(control: int, command: Sequence[str]) -> int:
    """The first process inside: prepare, run `command`, reap, obey the control pipe."""
    _prepare()
    for number in _FORWARDED:
        # a handler, not SIG_IGN: what is ignored would stay ignored in CMD
        signal.signal(number, lambda _number, _frame: None)
    try:
        child = subprocess.Popen(
            command,
            env={**os.environ, VARIABLE: "1", "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"},
            process_group=0,
        )
    except OSError as error:
        print(f"sandbox: {command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    threading.Thread(target=_obey, args=(control, child.pid), daemon=True).start()
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child.pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _obey(control: int, child: int) -> None:
    asked = False
    while True:
        order = os.read(control, 1)
        if not order:
            os._exit(128 + signal.SIGKILL)
        if asked:
            os._exit(128 + order[0])
        asked = True
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, order[0])
        timer = threading.Timer(GRACE_S, os._exit, (128 + order[0],))
        timer.daemon = True
        timer.start()


def _prepare() -> None:
    """Writable places for daemons that think they are root, and a resolver that exists in here."""
    resolv = Path(os.path.realpath("/etc/resolv.conf"))  # before /run is covered: it often points there
    _mount("-t", "tmpfs", "tmpfs", "/run")
    for name in ("netns", "frr", "lock", "sandbox/frr"):
        Path("/run", name).mkdir(parents=True)
    _mount("-t", "tmpfs", "tmpfs", "/var/tmp")
    Path("/run/sandbox/frr/vtysh.conf").write_text("no service integrated-vtysh-config\n")
    _mount("--bind", "/run/sandbox/frr", "/etc/frr")
    wanted = f"nameserver {NAMESERVER}\noptions timeout:1 attempts:2\n"
    if resolv.is_relative_to("/run"):
        resolv.parent.mkdir(parents=True, exist_ok=True)
        resolv.write_text(wanted)
    elif resolv.exists():
        Path("/run/sandbox/resolv.conf").write_text(wanted)
        _mount("--bind", "/run/sandbox/resolv.conf", str(resolv))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def main(argv: Sequence[str]) -> int:
    if argv[:1] == ["--init"]:
        return init(int(argv[1]), argv[3:])
    if argv[:1] == ["--"]:
        argv = argv[1:]
    if not argv or argv[0].startswith("-"):
        print("usage: python -m lab.net.sandbox -- COMMAND...", file=sys.stderr)
        return 2
    return run(argv)


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # the control thread must not hold us back
