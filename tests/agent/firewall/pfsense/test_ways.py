"""Answers of a firewall's web server, right and wrong; recorded error bodies of the REST package among them."""

from __future__ import annotations

import json
import xmlrpc.client
from pathlib import Path

import pytest

from agent.errors import AgentError, FirewallBusy, FirewallError
from agent.firewall.pfsense.box import Box, script
from agent.firewall.pfsense.seal import seal
from agent.firewall.pfsense.ways import Local, NoWayIn, Ran, Rest, Way, Web, XmlRpc
from tests.agent import fakes

NGINX_404 = b"<html>\r\n<head><title>404 Not Found</title></head>\r\n</html>"


class Answers(Web):
    """A web server that gives one answer."""

    def __init__(self, status: int, body: bytes) -> None:
        self.answer = status, body

    def post(self, *_args: object) -> tuple[int, bytes]:
        return self.answer


def envelope(code: int, response_id: str, data: object = ()) -> bytes:
    return json.dumps({"code": code, "response_id": response_id, "message": "why", "data": data}).encode()


def rest(status: int, body: bytes) -> Ran:
    return Rest(Answers(status, body), "key").run("true", 1)


def test_a_command_and_its_answer() -> None:
    body = envelope(200, "SUCCESS", {"output": "hello\n0", "result_code": 0})
    assert rest(200, body) == Ran(0, "hello\n0")


@pytest.mark.parametrize(
    ("status", "body", "error", "refused"),
    [
        (404, NGINX_404, NoWayIn, False),
        (200, b"<html>login</html>", NoWayIn, False),
        (401, envelope(401, "AUTH_AUTHENTICATION_FAILED"), NoWayIn, True),
        (403, envelope(403, "ENDPOINT_CLIENT_NOT_ALLOWED_BY_ACL"), NoWayIn, True),
        (405, envelope(405, "ENDPOINT_METHOD_NOT_ALLOWED"), NoWayIn, False),
        (503, envelope(503, "ENDPOINT_UNAVAILABLE"), FirewallBusy, None),
        (502, b"<html>Bad Gateway</html>", FirewallBusy, None),
        (400, envelope(400, "LENGTH_VALIDATOR_MAXIMUM_CONSTRAINT"), FirewallError, None),
        (200, envelope(200, "SUCCESS", []), FirewallError, None),
        (500, envelope(500, "UNKNOWN"), FirewallError, None),
        (200, b"[" * 100_000, NoWayIn, False),
    ],
)
def test_what_else_the_rest_package_answers(
    status: int, body: bytes, error: type[Exception], refused: bool | None
) -> None:
    with pytest.raises(error) as caught:
        rest(status, body)
    if isinstance(caught.value, NoWayIn):
        assert caught.value.refused is refused


def test_the_recorded_dialogues_are_read() -> None:
    path = Path(__file__).parents[5] / "shared" / "data" / "pfsense" / "transcripts" / "restapi-demo.txt"
    if not path.exists():
        pytest.skip("the recorded data are not here")
    lines = path.read_text().splitlines()
    answers = [line for line in lines if line.startswith('{"code"') and "result_code" in line]
    assert [rest(200, a.encode()) for a in answers] == [Ran(0, "hello\n0")]
    assert [line for line in lines if line.startswith('{"code":401')]
    for line in lines:
        if line.startswith('{"code":401'):
            with pytest.raises(NoWayIn, match="AUTH_AUTHENTICATION_FAILED"):
                rest(401, line.encode())


def rpc(status: int, body: bytes) -> Ran:
    return XmlRpc(Answers(status, body), "admin", "secret").run("true", 1)


def test_xmlrpc_and_its_faults() -> None:
    said = xmlrpc.client.dumps(('[7,"out"]',), methodresponse=True).encode()
    assert rpc(200, said) == Ran(7, "out")
    fault = xmlrpc.client.dumps(xmlrpc.client.Fault(-1, "Authentication failed: Invalid username or password")).encode()
    with pytest.raises(NoWayIn) as caught:
        rpc(200, fault)
    assert caught.value.refused
    for body in (NGINX_404, b"", b"<?xml version='1.0'?><methodResponse></methodResponse>"):
        with pytest.raises(NoWayIn):
            rpc(200, body)
    with pytest.raises(FirewallError, match="boom"):
        rpc(200, xmlrpc.client.dumps(xmlrpc.client.Fault(5, "boom")).encode())


def test_another_host_is_no_way_in(tmp_path: Path) -> None:
    with pytest.raises(NoWayIn, match="not a pfSense"):
        Local(config=tmp_path / "config.xml").run("true", 1)


class Scripted:
    """A way that gives these answers, in turn, or raises them."""

    limit = 1024

    def __init__(self, name: str, *answers: Ran | Exception) -> None:
        self.name = name
        self.answers = list(answers)
        self.commands: list[str] = []

    def run(self, command: str, _timeout_s: float) -> Ran:
        assert len(command) <= self.limit
        self.commands.append(command)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def box(world: fakes.World, *ways: Way) -> Box:
    return Box(ways, fakes.FakeClock(world), fakes.FakeRandom())


DONE = Ran(0, '\nHOMELINK {"ok":true,"x":1}\n')


def test_a_way_that_is_not_there_is_tried_again_after_ten_minutes() -> None:
    world = fakes.World()
    first, second = Scripted("rest", NoWayIn("gone"), DONE), Scripted("xmlrpc", DONE, DONE)
    b = box(world, first, second)
    assert b.call("status", {})["x"] == 1
    assert (b.used, b.closed()) == ("xmlrpc", ("rest: gone",))
    b.call("status", {})
    assert len(first.commands) == 1
    world.mono += 601
    b.call("status", {})
    assert (b.used, b.closed()) == ("rest", ())


def test_all_ways_closed_is_busy_and_asks_nobody() -> None:
    way = Scripted("rest", NoWayIn("wrong key", refused=True))
    b = box(fakes.World(), way)
    for _ in range(3):
        with pytest.raises(FirewallBusy, match="wrong key"):
            b.call("status", {})
    assert len(way.commands) == 1


@pytest.mark.parametrize(
    ("out", "error", "reason"),
    [
        ("PHP Fatal error: x", FirewallError, "no answer: PHP Fatal"),
        ('HOMELINK {"ok":', FirewallError, "cut off"),
        ("HOMELINK []", FirewallError, "cut off"),
        ('HOMELINK {"ok":false,"kind":"busy","error":"held"}', FirewallBusy, "held"),
        ('Notice: x\nHOMELINK {"ok":false,"kind":"refused","error":"no"}', FirewallError, "no"),
    ],
)
def test_what_the_php_may_answer(out: str, error: type[AgentError], reason: str) -> None:
    with pytest.raises(error, match=reason):
        box(fakes.World(), Scripted("rest", Ran(0, out))).call("status", {})


def test_the_script_is_one_file_of_php() -> None:
    text = script().decode()
    assert text.startswith("<?php\n")
    assert text.count("<?php") == 1
    assert text.rstrip().endswith("hl_main($argv);")


def test_a_sealed_key_opens_with_the_private_one_only() -> None:
    padding = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.padding")
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import rsa

    private = rsa.generate_private_key(65537, 2048)
    numbers = private.public_key().public_numbers()
    for text in ("k", "k" * 214):
        sealed = seal(text, numbers.n, numbers.e, fakes.FakeRandom())
        oaep = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
        assert private.decrypt(bytes.fromhex(sealed), oaep).decode() == text
    with pytest.raises(FirewallError, match="longer than 214"):
        seal("k" * 215, numbers.n, numbers.e, fakes.FakeRandom())
    with pytest.raises(FirewallError, match="not usable"):
        seal("k", 12345, 3, fakes.FakeRandom())
