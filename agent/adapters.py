"""The real Http, Files, Clock and Random.

IPv4 is forced by binding to 0.0.0.0 (urllib3's documented `source_address`): an IPv6 socket cannot be bound there, so
urllib3 goes on to the next address. It is local to the session, and the heartbeat's source address then is the one
that IPsec uses too.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import ssl
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from agent import VERSION
from agent.errors import ConfigError, DiskTrouble, Unreachable
from agent.limits import CONNECT_TIMEOUT_S, MAX_ANSWER_BYTES, READ_TIMEOUT_S
from agent.seams import Reply

_NOT_YET_VALID, _EXPIRED = 9, 10  # X509_V_ERR_* of OpenSSL


class _Ipv4(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
        if hasattr(
            socket, "TCP_USER_TIMEOUT"
        ):  # what nobody acknowledges is given up early: the WAN address may be new
            options.append((socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(CONNECT_TIMEOUT_S * 1000)))
        super().init_poolmanager(*args, **kwargs, source_address=("0.0.0.0", 0), socket_options=options)  # noqa: S104


class RequestsHttp:
    """One kept-alive session. `ca` is a PEM file that replaces the built-in roots, or None."""

    def __init__(self, ca: str | None) -> None:
        if ca is not None and not Path(ca).is_file():
            raise ConfigError(f"the CA file {ca} is not there")
        self._ca = ca
        self._session = self._open()

    def _open(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = False  # a proxy would hide the address that the heartbeat is to be seen from
        session.headers.clear()
        session.headers.update({"User-Agent": f"homelink-agent/{VERSION}", "Accept": "*/*"})
        session.mount("https://", _Ipv4(pool_connections=2, pool_maxsize=1, max_retries=0))
        session.mount("http://", _Ipv4(pool_connections=2, pool_maxsize=1, max_retries=0))
        return session

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Reply:
        try:
            return self._once(method, url, headers, body)
        except (requests.ConnectTimeout, requests.exceptions.SSLError) as e:
            raise Unreachable(_explain(url, e)) from None
        except requests.RequestException:
            self._session.close()  # a kept-alive connection may have died with the old WAN address
        try:
            return self._once(method, url, headers, body)
        except requests.RequestException as e:
            self._session.close()
            raise Unreachable(_explain(url, e)) from None

    def _once(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Reply:
        with self._session.request(
            method,
            url,
            data=body,
            headers=dict(headers),
            timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
            verify=self._ca or True,
            allow_redirects=False,
            stream=True,
        ) as response:
            content = response.raw.read(MAX_ANSWER_BYTES + 1, decode_content=True)
            if len(content) > MAX_ANSWER_BYTES:
                raise requests.RequestException
            return Reply(response.status_code, content)


def _explain(url: str, error: BaseException) -> str:
    """What happened, for a person, without the URL: the exceptions' own texts carry it, and with it a SAS."""
    parts = urlsplit(url)
    where = f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
    for cause in _chain(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            if cause.verify_code in (_NOT_YET_VALID, _EXPIRED):
                today = time.strftime("%Y-%m-%d", time.gmtime())
                state = "not valid yet" if cause.verify_code == _NOT_YET_VALID else "expired"
                return (
                    f"{where}: the certificate is {state} by this host's clock, which says {today}; "
                    "if that date is wrong, set the clock (NTP)"
                )
            return f"{where}: certificate refused ({cause.verify_message}); is the `ca` setting right?"
        if isinstance(cause, socket.gaierror):
            return f"{where}: the name does not resolve ({cause.strerror})"
        if isinstance(cause, ConnectionRefusedError | ConnectionResetError | BrokenPipeError):
            return f"{where}: {cause.strerror or type(cause).__name__}"
        if isinstance(cause, OSError) and cause.errno and cause.strerror:
            return f"{where}: {cause.strerror}"
    if isinstance(error, requests.Timeout):
        return f"{where}: no answer within {CONNECT_TIMEOUT_S:.0f} s (connect) or {READ_TIMEOUT_S:.0f} s (read)"
    return f"{where}: {type(error).__name__}"


def _chain(error: BaseException) -> list[BaseException]:
    """The exception and everything behind it: causes, contexts, and what urllib3 carries in `reason` and `args`."""
    found: list[BaseException] = []
    queue: list[object] = [error]
    while queue and len(found) < 32:
        item = queue.pop(0)
        if isinstance(item, BaseException) and not any(item is f for f in found):
            found.append(item)
            queue += [getattr(item, "reason", None), item.__cause__, item.__context__, *item.args]
    return found


class DiskFiles:
    """A directory of the agent's own, mode 0700."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, path: str) -> bytes | None:
        try:
            return (self.root / path).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as e:
            raise self._trouble("read", path, e) from None

    def write(self, path: str, data: bytes) -> None:
        target = self.root / path
        try:
            self._folder(target.parent)
            handle, partial = tempfile.mkstemp(prefix=".new-", dir=target.parent)  # mkstemp makes it 0600
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                Path(partial).replace(target)
            except BaseException:
                with contextlib.suppress(OSError):
                    Path(partial).unlink()
                raise
            _sync(target.parent)
        except OSError as e:
            raise self._trouble("write", path, e) from None

    def move(self, source: str, target: str) -> None:
        old, new = self.root / source, self.root / target
        try:
            self._folder(new.parent)
            try:
                old.replace(new)
            except FileNotFoundError:
                if not new.exists():
                    raise
            _sync(new.parent)
            _sync(old.parent)
        except OSError as e:
            raise self._trouble("move", source, e) from None

    def delete(self, path: str) -> None:
        try:
            (self.root / path).unlink()
            _sync((self.root / path).parent)
        except FileNotFoundError:
            return
        except OSError as e:
            raise self._trouble("delete", path, e) from None

    def names(self, folder: str) -> tuple[str, ...]:
        try:
            return tuple(sorted(p.name for p in (self.root / folder).iterdir() if p.is_file() and p.name[0] != "."))
        except FileNotFoundError:
            return ()
        except OSError as e:
            raise self._trouble("list", folder, e) from None

    def _folder(self, folder: Path) -> None:
        """Make it and what is missing above it, each private: `parents=True` would give those above a wider mode."""
        if not folder.is_dir():
            if folder != self.root:
                self._folder(folder.parent)
            folder.mkdir(mode=0o700, parents=folder == self.root, exist_ok=True)

    def _trouble(self, verb: str, path: str, error: OSError) -> DiskTrouble:
        return DiskTrouble(f"cannot {verb} {self.root / path}: {error.strerror}; free space or repair the disk", 60.0)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class SystemClock:
    def monotonic(self) -> float:
        if hasattr(time, "CLOCK_BOOTTIME"):
            return time.clock_gettime(time.CLOCK_BOOTTIME)
        return time.monotonic()

    def wall(self) -> float:
        return time.time()


class SystemRandom:
    def token(self, size: int) -> bytes:
        return secrets.token_bytes(size)
