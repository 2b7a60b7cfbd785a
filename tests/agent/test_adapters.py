"""The real Http, Files and Clock against the loopback and a temporary directory."""

from __future__ import annotations

import datetime
import socket
import ssl
import stat
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from agent.adapters import DiskFiles, RequestsHttp, SystemClock, SystemRandom
from agent.errors import ConfigError, DiskTrouble, Unreachable


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        server = self.server
        assert isinstance(server, Server)
        server.seen.append(f"{self.client_address[0]}:{self.client_address[1]}")
        if self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        if server.hang_up:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[str] = []
        self.hang_up = False


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def with_tls(server: Server, ca: trustme.CA, not_after: datetime.datetime | None = None) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost", "127.0.0.1", not_after=not_after).configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)


def test_a_connection_is_kept_and_one_that_died_is_replaced_at_once(server: Server) -> None:
    http, url = RequestsHttp(None), f"http://127.0.0.1:{server.server_port}/"
    server.hang_up = False
    for _ in range(3):
        assert http.send("POST", url, {}, b"x").body == b"x"
    assert len(set(server.seen)) == 1
    server.hang_up = True
    for _ in range(3):
        assert http.send("POST", url, {}, b"y").status == 200
    assert len(set(server.seen)) >= 3


def test_ipv4_is_used_where_a_name_has_both(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    port = server.server_port
    both = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_a, **_k: both)
    assert RequestsHttp(None).send("POST", f"http://both.test:{port}/", {}, b"x").status == 200
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_a, **_k: both[:1])
    with pytest.raises(Unreachable):
        RequestsHttp(None).send("POST", f"http://six.test:{port}/", {}, b"x")


def test_a_redirect_is_not_followed(server: Server) -> None:
    assert RequestsHttp(None).send("POST", f"http://127.0.0.1:{server.server_port}/moved", {}, b"").status == 302


def test_errors_name_the_host_and_never_the_url() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(Unreachable) as caught:
        RequestsHttp(None).send("GET", f"http://127.0.0.1:{port}/queue/messages?sig=hidden", {}, None)
    assert str(caught.value) == f"127.0.0.1:{port}: Connection refused"
    assert caught.value.__cause__ is None
    with pytest.raises(Unreachable, match=r"nowhere\.invalid:443: the name does not resolve"):
        RequestsHttp(None).send("GET", "https://nowhere.invalid/?sig=hidden", {}, None)


def test_tls_is_verified_with_the_given_root(server: Server, tmp_path: Path) -> None:
    ca = trustme.CA()
    with_tls(server, ca)
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    url = f"https://127.0.0.1:{server.server_port}/"
    assert RequestsHttp(str(tmp_path / "ca.pem")).send("POST", url, {}, b"x").body == b"x"
    with pytest.raises(Unreachable, match=r"certificate refused .*is the `ca` setting right"):
        RequestsHttp(None).send("POST", url, {}, b"x")
    with pytest.raises(ConfigError, match="is not there"):
        RequestsHttp(str(tmp_path / "missing.pem"))


def test_tls_that_fails_on_the_date_has_its_own_message(server: Server, tmp_path: Path) -> None:
    ca = trustme.CA()
    with_tls(server, ca, datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with pytest.raises(Unreachable, match=r"expired by this host's clock, which says .*set the clock"):
        RequestsHttp(str(tmp_path / "ca.pem")).send("POST", f"https://127.0.0.1:{server.server_port}/", {}, b"x")


def test_files_are_private_whole_and_listed(tmp_path: Path) -> None:
    files = DiskFiles(tmp_path / "state")
    assert files.read("a/b") is None
    assert files.names("a") == ()
    files.write("a/b", b"1")
    files.write("a/b", b"2")
    assert files.read("a/b") == b"2"
    assert stat.S_IMODE((tmp_path / "state/a/b").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "state/a").stat().st_mode) == 0o700
    files.move("a/b", "c/d")
    files.move("a/b", "c/d")
    assert (files.names("a"), files.names("c")) == ((), ("d",))
    files.delete("c/d")
    files.delete("c/d")
    assert files.names("c") == ()
    with pytest.raises(DiskTrouble, match="cannot move"):
        files.move("a/b", "e/f")


def test_a_disk_that_refuses_is_said_clearly(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the directory should be")
    files = DiskFiles(tmp_path / "state")
    with pytest.raises(DiskTrouble, match=r"cannot write .*; free space or repair the disk"):
        files.write("a", b"1")
    (tmp_path / "state").unlink()
    (tmp_path / "state" / "a").mkdir(parents=True)
    with pytest.raises(DiskTrouble, match="cannot read"):
        files.read("a")
    with pytest.raises(DiskTrouble):
        files.write("a", b"1")
    assert files.names("") == ()


def test_clock_and_random() -> None:
    clock = SystemClock()
    assert clock.monotonic() <= clock.monotonic()
    assert len({SystemRandom().token(16) for _ in range(8)}) == 8
