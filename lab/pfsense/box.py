"""The firewall's own file system and processes: a root directory in which pfSense's paths exist, entered by `chroot` in
mount and PID namespaces of its own.

What a driver sends to a firewall names absolute paths (/cf/conf/config.xml, /usr/local/bin/php, /var/run), and is run
here unchanged. The root is an ordinary folder, so that tests read it from outside; those of the machine's programs that
FreeBSD has are links in it, so that a driver that needs `setsid` or `flock` fails here as it would there. A reboot
ends every process, timers included, and empties /var/run, as the real one does.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

ROOTFS = Path(__file__).with_name("rootfs")
PROGRAMS = {
    "bin": "[ cat chmod cp date dd df echo ed expr hostname kill ln ls mkdir mv ps pwd rm rmdir sh sleep sync test",
    "usr/bin": (
        "awk basename bzip2 chflags cksum cmp comm cut diff dirname du egrep env false fgrep find fold grep gunzip"
        " gzip head id install less logger mkfifo mktemp more nice nl nohup od openssl passwd paste pkill printf renice"
        " sed seq sort split stat strings tail tar tee timeout touch tr true tty uname uniq uptime wc which whoami"
        " xargs yes zcat"
    ),
    "usr/sbin": "chown chroot",
}
"""What FreeBSD's base system has of the machine's programs, in FreeBSD's places; the twin answers for some others."""
KERNEL_COMMANDS = [
    "sbin/ifconfig",
    "sbin/route",
    "sbin/pfctl",
    "sbin/reboot",
    "sbin/sysctl",
    "usr/local/sbin/strongswanrc",
    "usr/local/sbin/swanctl",
    "usr/local/sbin/frr-reload",
    "usr/local/sbin/pfSctl",
    "usr/local/bin/frrctl",
    "usr/local/etc/rc.d/frr.sh",
    "usr/sbin/arp",
    "sbin/ping",
    "usr/bin/netstat",
    "bin/pgrep",
    "usr/local/sbin/pkg-static",
]
_DIRECTORIES = [
    "cf/conf/backup",
    "tmp",
    "root",
    "proc",
    "dev",
    "host",
    "home",
    "var/run",
    "var/db",
    "var/log",
    "var/etc/ipsec",
    "var/etc/frr",
    "usr/local/etc/rc.conf.d",
    "usr/local/www",
]
PHP_EXTENSIONS = ("xml", "posix")
"""Those that pfSense's code needs here, where they are modules; what is not loaded costs no time."""
_PHP_INI = """include_path = ".:/etc/inc:/usr/local/pkg"
disable_functions = openssl_pkey_new
date.timezone = UTC
error_reporting = 22519
display_errors = stderr
"""
_HOLD = (
    "mount --rbind / {root}/host && mount --rbind /dev {root}/dev && mount -t proc proc {root}/proc"
    " && echo ready && exec cat"
)


class BoxError(RuntimeError):
    """The box could not be made or entered; the text says why."""


class Box:
    """`root` is the firewall's /. It survives `reboot` and `stop`; processes do not."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "root"
        self._holder: subprocess.Popen[str] | None = None

    def build(self, config: bytes, version: str) -> None:
        """Lay the file system out anew, with this config.xml."""
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(parents=True)
        for name in _DIRECTORIES:
            (self.root / name).mkdir(parents=True, exist_ok=True)
        (self.root / "tmp").chmod(0o1777)
        (self.root / "conf").symlink_to("cf/conf")
        shutil.copytree(ROOTFS, self.root, dirs_exist_ok=True, symlinks=True)
        self._machine()
        self._python()
        php = f"/host{_php_program()}"
        for name in KERNEL_COMMANDS:
            self._script(name, _TWIN.format(php=php, name=Path(name).name))
        self._script("usr/local/bin/php", f'PHP_INI_SCAN_DIR=/usr/local/etc/php exec {php} -c /usr/local/etc "$@"')
        self._script("usr/local/bin/vtysh", _VTYSH + _TWIN.format(php=php, name="vtysh"))
        self._extensions()
        (self.root / "usr/local/etc/php.ini").write_text(_PHP_INI)
        (self.root / "usr/local/libexec/pair.pem").write_text(_php(_MAKE_PAIR))
        (self.root / "etc/frr").mkdir()
        (self.root / "etc/frr/vtysh.conf").write_text("service integrated-vtysh-config\n")
        self._installed = {p.relative_to(self.root) for p in (self.root / "usr/local").rglob("*")}
        (self.root / "etc/version").write_text(version + "\n")
        (self.root / "etc/platform").write_text("pfSense\n")
        (self.root / "cf/conf/config.xml").write_bytes(config)

    def _extensions(self) -> None:
        folder = self.root / "usr/local/etc/php"
        folder.mkdir()
        for ini in sorted(Path(_php("echo PHP_CONFIG_FILE_SCAN_DIR;")).glob("*.ini")):
            if ini.stem.rpartition("-")[2] in PHP_EXTENSIONS:
                (folder / ini.name).symlink_to(f"/host{ini}")

    def _script(self, name: str, line: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)

    def _machine(self) -> None:
        """Links to the machine's libraries and programs."""
        for name in ("lib", "lib32", "lib64", "libexec", "share", "libx32"):
            if (Path("/usr") / name).is_dir():
                (self.root / "usr" / name).symlink_to(f"/host/usr/{name}")
        for name in ("lib", "lib32", "lib64", "libx32"):
            if (Path("/") / name).exists():
                (self.root / name).symlink_to(f"/host/{name}")
        for folder, names in PROGRAMS.items():
            (self.root / folder).mkdir(parents=True, exist_ok=True)
            for name in names.split():
                found = shutil.which(name)
                if found is not None:
                    (self.root / folder / name).symlink_to(f"/host{found}")
        for name in (
            "ld.so.cache",
            "ld.so.conf",
            "alternatives",
            "php",
            "ssl",
            "passwd",
            "group",
            "nsswitch.conf",
            "resolv.conf",
            "hosts",
        ):
            if Path("/etc", name).exists() and not os.path.lexists(self.root / "etc" / name):
                (self.root / "etc" / name).symlink_to(f"/host/etc/{name}")

    def _python(self) -> None:
        """This Python and its packages, at their own places and as pfSense's /usr/local/bin/python3.11."""
        project = str(Path(__file__).resolve().parents[2])
        for place in sorted({sys.base_prefix, sys.prefix, project}):
            inside = self.root / place.lstrip("/")
            if place != "/usr" and not os.path.lexists(inside) and not any(p.is_symlink() for p in inside.parents):
                inside.parent.mkdir(parents=True, exist_ok=True)
                inside.symlink_to(f"/host{place}")
        python = self.root / "usr/local/bin/python3.11"
        python.parent.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(python):
            python.symlink_to(sys.executable)

    # processes -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Make the namespaces; returns once a command can run."""
        options = ["-m", "--pid", "--fork", "--kill-child"]
        said = ""
        for user in ([], ["-r"]):  # root of a sandbox must stay in its user namespace, else its networks are lost
            holder = subprocess.Popen(
                ["unshare", *user, *options, "sh", "-c", _HOLD.format(root=self.root)],
                stdin=subprocess.PIPE,  # its first process ends when this does, however its owner ended
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            assert holder.stdout is not None
            assert holder.stderr is not None
            if holder.stdout.readline() == "ready\n":
                self._holder = holder
                self._user = bool(user)
                return
            said = holder.stderr.read().strip()
            holder.wait()
        raise BoxError(f"a firewall's namespaces cannot be made here: {said or 'no reason given'}")

    def words(self, *command: str) -> list[str]:
        """The words that run a command in the box, for a process outside it."""
        if self._holder is None:
            raise BoxError("the firewall is switched off")
        proc = f"/proc/{self._holder.pid}/ns"
        user = [f"--user={proc}/user", "--preserve-credentials"] if self._user else []
        enter = ["nsenter", *user, f"--mount={proc}/mnt", f"--pid={proc}/pid_for_children", "--"]
        environment = "PATH=/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"
        return [*enter, "chroot", str(self.root), "/usr/bin/env", "-i", environment, "HOME=/root", *command]

    def run(self, *command: str, stdin: str = "", timeout: float = 120.0) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.words(*command),
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )

    def stop(self) -> None:
        """End every process of the box at once, as pulling the plug does."""
        if self._holder is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._holder.pid, signal.SIGKILL)
        self._holder.wait()
        for pipe in (self._holder.stdin, self._holder.stdout, self._holder.stderr):
            if pipe is not None:
                pipe.close()
        self._holder = None

    def forget(self) -> None:
        """What a boot clears: /var/run and the configuration's cache."""
        shutil.rmtree(self.root / "var/run", ignore_errors=True)
        (self.root / "var/run").mkdir()
        for name in ("config.cache", "config.lock"):
            (self.root / "tmp" / name).unlink(missing_ok=True)

    def upgrade(self, version: str) -> None:
        """What an upgrade of pfSense leaves: another version, and of /usr/local only what the base system installs."""
        (self.root / "etc/version").write_text(version + "\n")
        for path in sorted((self.root / "usr/local").rglob("*"), reverse=True):
            if path.relative_to(self.root) not in self._installed and not path.is_dir():
                path.unlink()

    def path(self, inside: str) -> Path:
        """Where a path of the box is from outside. /conf is a link that only means something inside."""
        if inside.startswith("/conf/"):
            inside = f"/cf{inside}"
        return self.root / inside.lstrip("/")


def _php_program() -> str:
    found = shutil.which("php")
    if found is None:
        raise BoxError("there is no `php` on this machine: apt-get install php-cli php-xml")
    return str(Path(found).resolve())


@functools.cache
def _php(code: str) -> str:
    """What the machine's PHP prints; once per process."""
    return subprocess.run([_php_program(), "-r", code], capture_output=True, text=True, check=True).stdout


_MAKE_PAIR = """openssl_pkey_export(openssl_pkey_new(['private_key_bits' => 2048]), $pem); echo $pem;"""
_VTYSH = """for word; do
  if [ "$word" = -C ]; then exec /host/usr/bin/vtysh "$@"; fi
done
"""
_TWIN = 'exec {php} -n -f /usr/local/libexec/twin -- {name} "$@"'
"""Without extensions: a start costs half."""
