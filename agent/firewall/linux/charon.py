"""strongSwan's charon over vici.

A vici session lives for one operation: charon may be restarted at any time, and an idle session that subscribed to
events would make charon queue them. Why charon refuses is known only while it is asked to initiate (the control-log
of that request), so the reason is kept from there. Connections and keys that were loaded over vici are gone after
charon's restart; the core's drift check loads them again.

`start_action` is none, because the agent starts tunnels itself and so sees the reason of a refusal; what ends later is
started again by charon (`dpd_action`, `close_action`).
"""

from __future__ import annotations

import contextlib
import math
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from agent.errors import FirewallBusy, FirewallError
from agent.firewall.linux.refusal import MAX_LINES
from agent.firewall.linux.refusal import why as why
from agent.limits import shorten
from shared.wire.algorithms import esp_proposal, ike_proposal
from shared.wire.commands import DesiredTunnel
from shared.wire.reports import ChildHealth, IkeHealth

T = TypeVar("T")
PREFIX = "homelink-"
_OF_IKE = (
    "state", "local-host", "local-id", "remote-host", "remote-id", "initiator", "encr-alg", "encr-keysize", "integ-alg",
    "prf-alg", "dh-group", "established", "rekey-time",
)  # fmt: skip
_OF_CHILD = (
    "state", "encr-alg", "encr-keysize", "integ-alg", "dh-group", "bytes-in", "bytes-out", "use-in", "use-out",
    "install-time", "rekey-time", "local-ts", "remote-ts",
)  # fmt: skip


@dataclass(frozen=True)
class SaHealth:
    """`numbers`: charon's own of the IKE SA and of its newest installed child, None where there is none."""

    ike: IkeHealth
    child: ChildHealth
    numbers: tuple[int, int] | None = None

    def rank(self) -> tuple[bool, bool, tuple[int, int]]:
        """The SA that counts among several is the greatest: during a rekeying two may exist."""
        return self.child.installed, self.ike.state == "ESTABLISHED", self.numbers or (0, 0)


NO_SA = SaHealth(IkeHealth("NONE", None, None, False), ChildHealth(False, 0, 0, None))


class Charon:
    """`path` is the vici socket."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.errors: dict[str, str] = {}
        """Connection -> the last reason of a refusal, until the next success."""
        self.said: dict[str, list[str]] = {}
        """Connection -> charon's log of the last attempt that was made here."""

    def version(self) -> str:
        answer = self._with(lambda s: s.version())
        return f"strongSwan {_text(answer.get('version'))}"

    def loaded(self) -> frozenset[str]:
        """Connections of ours that charon knows."""
        names = [n for entry in self._with(lambda s: list(s.list_conns())) for n in entry]
        return frozenset(n.removeprefix(PREFIX) for n in names if n.startswith(PREFIX))

    def load(self, desired: DesiredTunnel, psk: str, if_id: int | None) -> None:
        name = PREFIX + desired.connection

        def use(session: Any) -> None:
            session.load_shared({"id": name, "type": "IKE", "data": psk, "owners": [desired.peer_id]})
            session.load_conn({name: connection(desired, if_id)})

        self._with(use)

    def unload(self, name: str) -> None:
        """Forget a connection and its key, and close what is open. Not loaded is fine."""
        known = PREFIX + name

        def use(session: Any) -> None:
            for step in (
                lambda: session.unload_conn({"name": known}),
                lambda: session.unload_shared({"id": known}),
                lambda: list(session.terminate({"ike": known, "force": "yes", "timeout": "-1"})),
            ):
                with contextlib.suppress(_refusal()):
                    step()

        self._with(use)
        self.errors.pop(name, None)
        self.said.pop(name, None)

    def sas(self) -> dict[str, SaHealth]:
        """Per Connection the best SA there is; during a rekey two may exist."""
        found: dict[str, SaHealth] = {}
        for entry in self._with(lambda s: list(s.list_sas())):
            for name, raw in entry.items():
                if not name.startswith(PREFIX):
                    continue
                connection_name, sa = name.removeprefix(PREFIX), sa_health(raw)
                if connection_name not in found or sa.rank() > found[connection_name].rank():
                    found[connection_name] = sa
        for name, sa in found.items():
            if sa.child.installed:
                self.errors.pop(name, None)
        return found

    def describe(self, name: str) -> dict[str, Any] | None:
        """The best SA of a Connection as evidence for a person."""
        found = [
            raw for entry in self._with(lambda s: list(s.list_sas())) for n, raw in entry.items() if n == PREFIX + name
        ]
        return evidence(max(found, key=lambda raw: sa_health(raw).rank())) if found else None

    def start(self, name: str, within_s: float) -> str:
        """Initiate and wait at most `within_s`; what came of it, in one line. A refusal is remembered in `errors`."""
        said: list[str] = []

        def use(session: Any) -> str | None:
            request = {
                "child": PREFIX + name,
                "ike": PREFIX + name,
                "timeout": str(int(within_s * 1000)),
                "loglevel": "1",
            }
            try:
                for message in session.initiate(request):
                    said.append(_text(message.get("msg")))
            except _refusal() as e:
                return str(e)
            return None

        failure = self._with(use, within_s + 5)
        self.said[name] = said[-MAX_LINES:]
        if failure is None:
            self.errors.pop(name, None)
            return "SA installed"
        reason = why(said)
        if reason is None:
            reason = "PEER_NOT_RESPONDING" if "not established after" in failure else shorten(failure, 120)
        self.errors[name] = reason
        return f"not established: {reason}"

    def restart(self, name: str, within_s: float) -> str:
        """Close by force (charon would keep a dead SA for 165 s), then start."""

        def use(session: Any) -> None:
            with contextlib.suppress(_refusal()):
                list(session.terminate({"ike": PREFIX + name, "force": "yes", "timeout": "-1"}))

        self._with(use)
        return self.start(name, within_s)

    def _with(self, use: Callable[[Any], T], timeout_s: float = 10.0) -> T:
        import vici  # only here, so that the other drivers do not need the package

        try:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(timeout_s)
                sock.connect(self._path)
                return use(vici.Session(sock))
        except _refusal() as e:
            raise FirewallError(f"charon refuses: {shorten(str(e), 300)}") from None
        except OSError as e:
            said = e.strerror or "no answer"
            raise FirewallBusy(
                f"charon at {self._path}: {said}; is strongSwan running (systemctl status)?", 10
            ) from None


def connection(desired: DesiredTunnel, if_id: int | None) -> dict[str, Any]:
    """The connection as vici's load-conn takes it. Rekeying at 90 % of the lifetime keeps ahead of Azure's own."""
    name = PREFIX + desired.connection
    ike, esp = desired.ike, desired.esp
    child: dict[str, Any] = {
        "local_ts": ["0.0.0.0/0"],
        "remote_ts": ["0.0.0.0/0"],
        "esp_proposals": [esp_proposal(esp.encryption, esp.integrity, esp.pfs_group)],
        "mode": "tunnel",
        "life_time": f"{esp.lifetime_s}s",
        "rekey_time": f"{esp.lifetime_s * 9 // 10}s",
        "start_action": "none",
        "dpd_action": "restart" if desired.initiates else "clear",
        "close_action": "start" if desired.initiates else "none",
    }
    if if_id is not None:
        child |= {"if_id_in": str(if_id), "if_id_out": str(if_id)}
    return {
        "version": "2",
        "remote_addrs": [desired.peer_address],
        "proposals": [ike_proposal(ike.encryption, ike.integrity, ike.dh_group)],
        "rekey_time": f"{ike.lifetime_s * 9 // 10}s",
        "over_time": f"{ike.lifetime_s - ike.lifetime_s * 9 // 10}s",
        "reauth_time": "0",
        "dpd_delay": f"{desired.dpd_delay_s}s",
        "keyingtries": "0",
        "mobike": "no",
        "unique": "replace",
        "local": {"auth": "psk"},
        "remote": {"auth": "psk", "id": desired.peer_id},
        "children": {name: child},
    }


def evidence(raw: dict[str, Any]) -> dict[str, Any]:
    """What was negotiated: one IKE SA of list-sas with its newest child, without counters and keys."""
    children = sorted(_children(raw), key=_unique)
    return {**_only(raw, _OF_IKE), "child": _only(children[-1], _OF_CHILD) if children else None}


def _only(raw: dict[str, Any], names: tuple[str, ...]) -> dict[str, str]:
    return {n: ", ".join(map(_text, v)) if isinstance(v := raw[n], list) else _text(v) for n in names if n in raw}


def sa_health(raw: dict[str, Any]) -> SaHealth:
    """One IKE SA of list-sas. Unknown or missing fields read as absent."""
    ike = IkeHealth(
        state=_text(raw.get("state")) or "NONE",
        remote_address=_text(raw.get("remote-host")) or None,
        established_s=_number(raw.get("established")),
        nat_traversal=any(_text(raw.get(k)) == "yes" for k in ("nat-local", "nat-remote", "nat-any")),
    )
    installed = [c for c in _children(raw) if _text(c.get("state")) in ("INSTALLED", "REKEYING", "REKEYED")]
    if not installed:
        return SaHealth(ike, NO_SA.child)
    total = [sum(int(_number(c.get(k)) or 0) for c in installed) for k in ("bytes-in", "bytes-out")]
    newest = max(installed, key=_unique)
    child = ChildHealth(True, total[0], total[1], _number(newest.get("install-time")))
    return SaHealth(ike, child, (_unique(raw), _unique(newest)))


def _children(raw: dict[str, Any]) -> Iterator[dict[str, Any]]:
    children = raw.get("child-sas")
    if isinstance(children, dict):
        yield from (c for c in children.values() if isinstance(c, dict))


def _refusal() -> type[Exception]:
    from vici.exception import CommandException

    return CommandException  # type: ignore[no-any-return]


def _unique(sa: dict[str, Any]) -> int:
    """charon's number of an SA; it only grows."""
    return int(_number(sa.get("uniqueid")) or 0)


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")


def _number(value: object) -> float | None:
    try:
        number = float(_text(value))
    except ValueError:
        return None
    return number if math.isfinite(number) else None
