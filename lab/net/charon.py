"""strongSwan's charon in a network namespace, spoken to by vici.

Userspace ESP (kernel-libipsec) is used on purpose: it needs nothing of the kernel but TUN, so the lab runs wherever
namespaces do. Its price is one tunnel per namespace (there is no if_id; selectors are 0.0.0.0/0 and everything routed
into the TUN device `ipsec0` is encrypted), which is why every connection of the gateway has a namespace of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import vici
from vici.exception import CommandException

from lab.net.run import Daemon, inside, ip_json

T = TypeVar("T")

CHARON = "/usr/lib/ipsec/charon"
TUN = "ipsec0"

_PLUGINS = (
    "random nonce openssl pem x509 pubkey pkcs1 constraints aes sha1 sha2 hmac gcm kdf curve25519 gmp "
    "kernel-libipsec kernel-netlink socket-default vici updown resolve"
)

# routing_table_prio: kernel-libipsec puts a default route into table 220; at its usual priority that swallows the IKE
# packets themselves. close_ike_on_child_failure and friends keep their defaults: the home is an ordinary firewall.
_CONF = """charon {{
  load = {plugins}
  install_routes = no
  install_virtual_ip = no
  routing_table_prio = 40000
{extra}
  plugins {{
    kernel-libipsec {{
      load = yes
      allow_peer_ts = yes
    }}
    vici {{
      socket = unix://{vici}
    }}
  }}
  filelog {{
    main {{
      path = {log}
      time_format = %Y-%m-%dT%H:%M:%S
      time_add_ms = yes
      ike_name = yes
      append = yes
      flush_line = yes
      default = 0
      ike = 1
      cfg = 1
      knl = 1
      esp = 1
      net = 1
      enc = 1
      chd = 1
    }}
  }}
}}
"""


def vici_path(directory: Path) -> Path:
    return directory / "charon.vici"


def log_path(directory: Path) -> Path:
    return directory / "charon.log"


def _prepare(directory: Path, settings: Mapping[str, str]) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    vici_path(directory).unlink(missing_ok=True)
    conf = directory / "strongswan.conf"
    extra = "".join(f"  {key} = {value}\n" for key, value in settings.items())
    conf.write_text(_CONF.format(plugins=_PLUGINS, extra=extra, vici=vici_path(directory), log=log_path(directory)))
    return conf


class Charon:
    """A running charon. `directory` holds its configuration, log (`charon.log`) and vici socket (`charon.vici`)."""

    def __init__(self, directory: Path, daemon: Daemon) -> None:
        self.directory = directory
        self.daemon = daemon

    @classmethod
    async def start(cls, namespace: str, directory: Path, settings: dict[str, str] | None = None) -> Charon:
        """Start unconfigured and return once vici answers and `ipsec0` is there. `settings`: more of `charon { }`."""
        conf = _prepare(directory, settings or {})
        # charon insists on /run/charon.pid; the mount is private, for `ip netns exec` made a mount namespace
        script = f"mount -t tmpfs tmpfs /run && exec {shlex.quote(CHARON)}"
        daemon = await Daemon.start(
            f"charon of {namespace}",
            (*inside(namespace), "sh", "-c", script),
            directory / "charon.out",
            env={"STRONGSWAN_CONF": str(conf)},
        )
        charon = cls(directory, daemon)

        async def ready() -> bool:
            if not vici_path(directory).exists():
                return False
            try:
                await charon.call(lambda session: session.version())
            except OSError:
                return False
            return any(link.get("ifname") == TUN for link in await ip_json(namespace, "link", "show"))

        await daemon.ready(ready)
        return charon

    async def call(self, use: Callable[[Any], T]) -> T:
        """Use a vici session in a thread; the session is closed afterwards. Streams must be consumed inside `use`."""
        return await call(vici_path(self.directory), use)

    async def load(self, name: str, connection: Mapping[str, object], psk: str, owners: Sequence[str] = ()) -> None:
        """Load one connection and its pre-shared key; `owners` are the IKE identities the key is for (none: any)."""
        secret: dict[str, object] = {"id": f"ike-{name}", "type": "IKE", "data": psk}
        if owners:
            secret["owners"] = list(owners)

        def use(session: Any) -> None:
            session.load_shared(secret)
            session.load_conn({name: dict(connection)})

        await self.call(use)

    async def unload(self, name: str) -> None:
        """Forget a connection and its key, closing what it holds open. Fine if it is not loaded."""

        def use(session: Any) -> None:
            for step in (
                lambda: session.unload_conn({"name": name}),
                lambda: session.unload_shared({"id": f"ike-{name}"}),
                lambda: list(session.terminate({"ike": name, "force": "yes", "timeout": "-1"})),
            ):
                with contextlib.suppress(CommandException):
                    step()

        await self.call(use)

    async def sas(self) -> list[dict[str, Any]]:
        """The IKE SAs with their children as vici's list-sas reports them, with the connection's name as `name`."""
        raw = await self.call(lambda session: list(session.list_sas()))
        return [{"name": name, **sa} for entry in plain(raw) for name, sa in entry.items()]

    async def terminate(self, name: str) -> int:
        """Close the SAs of a connection by force (without waiting for the peer); how many there were."""
        count = sum(1 for sa in await self.sas() if sa["name"] == name)
        if count:

            def use(session: Any) -> None:
                with contextlib.suppress(CommandException):
                    list(session.terminate({"ike": name, "force": "yes", "timeout": "-1"}))

            await self.call(use)
        return count

    async def initiate(self, child: str, *, within: float = 15.0) -> str | None:
        """Initiate a child and wait for it: None when it is installed, else the reason in vici's words."""

        def use(session: Any) -> str | None:
            try:
                list(session.initiate({"child": child, "timeout": str(int(within * 1000)), "loglevel": "-1"}))
            except CommandException as error:
                return str(error)
            return None

        return await self.call(use)

    def log(self) -> str:
        path = log_path(self.directory)
        return path.read_text(errors="replace") if path.exists() else ""

    async def stop(self) -> None:
        await self.daemon.stop()


async def call(path: Path, use: Callable[[Any], T]) -> T:
    def work() -> T:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(path))
            return use(vici.Session(sock))

    return await asyncio.to_thread(work)


def plain(value: Any) -> Any:
    """vici's answers hold bytes; the same with text."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value
