"""What an adoption asks of every Arm: the key goes to one place, and tags are all that is written."""

from __future__ import annotations

import logging

import pytest

from shared.errors import ArmRejected
from shared.seams import ArmKind
from tests.contracts.test_arm import PSK, World
from tests.contracts.test_arm_bgp import fake, lab, model, world

__all__ = ["fake", "lab", "model", "world"]


async def test_the_pre_shared_key_goes_to_one_place_only(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await world.with_connection()
    kept: list[str] = []

    async def put(value: str) -> str:
        kept.append(value)
        return "version"

    assert await world.arm.move_shared_key(world.link, put) == "version" and kept == [PSK]
    assert PSK not in caplog.text + repr(world.arm)
    with pytest.raises(ArmRejected):
        await world.arm.move_shared_key(world.ref(ArmKind.CONNECTION, "none"), put)
    assert kept == [PSK]


async def test_tags_are_replaced_and_nothing_else_is_touched(world: World) -> None:
    await world.with_connection()
    for ref in (world.vnet, world.address, world.gateway, world.home, world.link):
        before = await world.arm.get(ref)
        assert before is not None
        started = await world.arm.tag(ref, {"a": "b"})
        assert started.operation_url is None and started.retry_after_s > 0
        await world.advance(60)
        after = await world.arm.get(ref)
        assert after is not None and after["tags"] == {"a": "b"}
        changing = {"tags": None, "etag": None}
        for body in (before, after):
            for child in (*body["properties"].get("subnets", ()), *body["properties"].get("ipConfigurations", ())):
                child.pop("etag", None)
        assert {**after, **changing} == {**before, **changing}
    assert await world.arm.has_shared_key(world.link, PSK)
    with pytest.raises(ArmRejected):
        await world.arm.tag(world.ref(ArmKind.GATEWAY, "none"), {})
