"""Enrolment: one token, one identity, however often the answer is lost."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

import pytest

from agent.enrol import enrol
from agent.errors import ConfigError, Rejected, TemporaryError, Unreachable
from agent.identity import Identity
from agent.seams import Reply
from shared.wire.keys import enrolled_secret
from tests.agent.fakes import FakeFiles, FakeRandom, World

TOKEN = "one-time-token"


class Desk:
    """The control plane's enrolment, which lets a token be used again with the nonce of its first use only."""

    def __init__(self) -> None:
        self.nonce: str | None = None
        self.lose = 0
        self.status = 200
        self.urls: list[str] = []

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Reply:
        self.urls.append(url)
        request = json.loads(body or b"")
        assert len(request["nonce"]) >= 32
        if self.status != 200:
            return Reply(self.status, f"no, {request['token']} is not good".encode())
        if request["token"] != TOKEN or self.nonce not in (None, request["nonce"]):
            return Reply(403, b"used up")
        self.nonce = request["nonce"]
        if self.lose:
            self.lose -= 1
            raise Unreachable("api.test:443: no answer")
        secret = base64.urlsafe_b64encode(enrolled_secret(TOKEN, request["nonce"], "01AGENT")).rstrip(b"=").decode()
        return Reply(
            200, json.dumps({"agent": "01AGENT", "controller": "c", "time": 1.0, "secret": secret, "v": 1}).encode()
        )


def test_a_lost_answer_is_had_again_with_the_same_nonce() -> None:
    world, desk = World(), Desk()
    desk.lose = 1
    with pytest.raises(Unreachable):
        enrol("https://api.test/", TOKEN, "home", desk, FakeFiles(world), FakeRandom())
    assert TOKEN not in str(world.disk)
    random = FakeRandom()
    random.drawn = 77  # another process draws other numbers
    identity = enrol("https://api.test/", TOKEN, "home", desk, FakeFiles(world), random)
    assert identity.secret == enrolled_secret(TOKEN, desk.nonce or "", "01AGENT")
    assert Identity.load(FakeFiles(world)) == identity
    assert desk.urls == ["https://api.test/api/agents/enrol"] * 2
    assert list(world.disk) == ["agent.json"]
    assert TOKEN not in str(world.disk)


def test_an_identity_is_not_given_up_by_accident() -> None:
    world = World()
    first = enrol("https://api.test", TOKEN, "home", Desk(), FakeFiles(world), FakeRandom())
    with pytest.raises(ConfigError, match="enrolled already as 01AGENT"):
        enrol("https://api.test", TOKEN, "home", Desk(), FakeFiles(world), FakeRandom())
    again = enrol("https://api.test", TOKEN, "home", Desk(), FakeFiles(world), FakeRandom(), replace=True)
    assert again.agent == first.agent


@pytest.mark.parametrize(("status", "error"), [(403, Rejected), (409, Rejected), (503, TemporaryError)])
def test_a_refusal_says_so_without_the_token(status: int, error: type[Exception]) -> None:
    desk = Desk()
    desk.status = status
    with pytest.raises(error) as caught:
        enrol("https://api.test", TOKEN, "home", desk, FakeFiles(World()), FakeRandom())
    assert str(status) in str(caught.value)
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"agent": "a"}', b'{"agent":"a","controller":"c","time":1,"secret":"AA"}']
)
def test_an_unreadable_answer_stores_nothing(body: bytes) -> None:
    class Strange(Desk):
        def send(self, method: str, url: str, headers: Mapping[str, str], body_: bytes | None) -> Reply:
            return Reply(200, body)

    world = World()
    with pytest.raises(Exception, match="cannot be read"):
        enrol("https://api.test", TOKEN, "home", Strange(), FakeFiles(world), FakeRandom())
    assert "agent.json" not in world.disk


def test_a_damaged_identity_and_its_repr() -> None:
    world = World()
    identity = enrol("https://api.test", TOKEN, "home", Desk(), FakeFiles(world), FakeRandom())
    assert repr(identity.secret) not in repr(identity)
    for data in (b"", b"{}", b"[]", b'{"v": 1}', world.disk["agent.json"].replace(b'"secret": "', b'"secret": "x')):
        world.disk["agent.json"] = data
        with pytest.raises(ConfigError, match="enrol again"):
            Identity.load(FakeFiles(world))
