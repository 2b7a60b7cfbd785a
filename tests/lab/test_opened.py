"""A secret is found in whatever it was packed into, and by the model world's watch wherever it may travel."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.model import loop
from lab.model.world import World
from lab.opened import opened
from shared.wire.keys import Purpose
from shared.wire.seal import seal

SECRET = "psk.of.the.home.0123456789"
KEY = bytes(32)


@given(before=st.text(max_size=40), longer=st.booleans(), again=st.integers(0, 2))
def test_what_is_packed_is_found(before: str, longer: bool, again: bool) -> None:
    payload = {"a": before, "key": SECRET, "z": "the same words " * (60 if longer else 1)}
    text = seal(KEY, Purpose.COMMAND, payload)
    for _ in range(again):
        text = base64.b64encode(text.encode()).decode()
    assert SECRET not in text and SECRET in opened(f"<MessageText>{text}</MessageText>")


@given(st.text(max_size=300) | st.text("abcABC09+/-_=.x", max_size=300))
def test_whatever_it_is_it_is_kept(text: str) -> None:
    assert opened(text).startswith(text)


@pytest.mark.parametrize("place", ["queue", "request", "journal"])
def test_the_model_world_sees_a_sealed_secret(place: str) -> None:
    """Not yet at work: the three ways out of a process that are not tables or logs."""

    async def leak(text: str) -> list[str]:
        world = World(0)
        world.watch.secrets.add(SECRET)
        service = world.places["home"].service
        if place == "queue":
            await world.control.queue.send("agent-home-fw", text)
        elif place == "journal":
            service.disk.write("journal/a/pending/1.json", text.encode())
        else:
            await loop.synchronous(
                lambda: service.internet.send("POST", "https://ctl.invalid/api/x", {}, text.encode())
            )
        return world.watch.violations

    assert len(loop.run(leak(seal(KEY, Purpose.COMMAND, {"key": SECRET})))) == 1
    assert loop.run(leak(seal(KEY, Purpose.COMMAND, {"key": "another"}))) == []
