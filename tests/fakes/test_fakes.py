"""What the fakes offer beyond the seam, which the contract suites do not see."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from shared.errors import ArmBusy, StoreConflict, TemporaryError
from shared.seams import ArmKind, ArmRef, OperationState, Write, WriteKind
from tests.fakes import FakeArm, FakeClock, FakeResolver, ModelQueue, ModelStore, SeededRandom

VNET = ArmRef("sub", "rg", ArmKind.VIRTUAL_NETWORK, "vnet")
BODY = {"location": "westeurope", "properties": {}}


async def world(polls: int | None = None) -> tuple[FakeArm, FakeClock]:
    clock = FakeClock()
    arm = FakeArm(clock, polls)
    await arm.ensure_resource_group("sub", "rg", "westeurope")
    return arm, clock


async def test_an_operation_may_end_by_polls() -> None:
    arm, _ = await world(polls=3)
    url = (await arm.put(VNET, BODY)).operation_url
    assert url is not None
    states = [(await arm.poll(url)).state for _ in range(3)]
    assert states == [OperationState.RUNNING, OperationState.RUNNING, OperationState.SUCCEEDED]


async def test_a_scripted_error_comes_once_before_or_after_the_effect() -> None:
    arm, _ = await world()
    busy = ArmBusy("lost", 1, "ServiceRequestError")
    arm.fail_next("put", busy)
    with pytest.raises(ArmBusy):
        await arm.put(VNET, BODY)
    assert arm.resource(VNET) is None
    arm.fail_next("put", busy, kind=ArmKind.GATEWAY)
    arm.fail_next("put", busy, after=True)
    with pytest.raises(ArmBusy):
        await arm.put(VNET, BODY)
    assert arm.resource(VNET) is not None
    assert [(r.verb, r.outcome) for r in arm.writes()] == [
        ("ensure_resource_group", "ok"),
        ("put", "ArmBusy"),
        ("put", "ArmBusy"),
    ]


async def test_an_operation_may_fail_or_its_url_be_lost() -> None:
    arm, clock = await world()
    arm.fail_next_operation("put", "InternalError", "no")
    url = (await arm.put(VNET, BODY)).operation_url
    clock.advance(60)
    operation = await arm.poll(url or "")
    assert (operation.state, operation.code, operation.message) == (OperationState.FAILED, "InternalError", "no")
    failed = arm.resource(VNET)
    assert failed is not None and failed["properties"]["provisioningState"] == "Failed"
    arm.lose_next_operation("put")
    url = (await arm.put(VNET, BODY)).operation_url
    assert (await arm.poll(url or "")).state is OperationState.GONE
    clock.advance(60)
    healed = arm.resource(VNET)
    assert healed is not None and healed["properties"]["provisioningState"] == "Succeeded"


async def test_requests_hold_no_key() -> None:
    arm, _ = await world()
    link = ArmRef("sub", "rg", ArmKind.CONNECTION, "link")
    await arm.put(link, {"properties": {"sharedKey": "s3cret"}})
    assert "s3cret" not in repr(arm.requests) and arm.shared_key(link) == "s3cret"
    await arm.get(link)
    assert arm.requests[-1].verb == "get" and arm.writes()[-1].verb == "put"


async def test_a_seeded_resource_is_there_and_was_nobodys_request() -> None:
    arm = FakeArm(FakeClock())
    arm.seed(VNET, BODY)
    found = await arm.get(VNET)
    assert found is not None and found["properties"]["provisioningState"] == "Succeeded"
    assert len(arm.requests) == 1


async def test_a_throttled_arm_refuses_everything_for_a_while() -> None:
    arm, clock = await world()
    arm.throttle(60, retry_after_s=20)
    for call in (arm.get(VNET), arm.list("sub", "rg", VNET.kind), arm.put(VNET, BODY)):
        with pytest.raises(ArmBusy) as busy:
            await call
        assert (busy.value.delay_s, busy.value.locked) == (20, False)
    assert arm.resource(VNET) is None and {r.outcome for r in arm.requests[1:]} == {"ArmBusy"}
    clock.advance(60)
    assert await arm.get(VNET) is None and arm.requests[-1].at == clock.now()


async def test_somebody_may_write_in_between() -> None:
    store = ModelStore()
    etags = await store.transact("rows", "p", [Write(WriteKind.INSERT, "lease", {"owner": "a"})])

    async def rival(table: str, partition: str, writes: Sequence[Write]) -> None:
        store.before_transact = None
        await store.transact("rows", "p", [Write(WriteKind.REPLACE, "lease", {"owner": "b"}, etags["lease"])])

    store.before_transact = rival
    with pytest.raises(StoreConflict):
        await store.transact("rows", "p", [Write(WriteKind.REPLACE, "lease", {"owner": "a"}, etags["lease"])])
    assert '{"owner":"b"}' in store.everything()


async def test_an_answer_may_be_lost() -> None:
    store = ModelStore()

    async def lose(table: str, partition: str, writes: Sequence[Write]) -> None:
        raise TemporaryError("lost", 1)

    store.after_transact = lose
    with pytest.raises(TemporaryError):
        await store.transact("rows", "p", [Write(WriteKind.INSERT, "k", {})])
    assert await store.get("rows", "p", "k") is not None


async def test_a_received_message_is_hidden_and_comes_back() -> None:
    clock = FakeClock()
    queue = ModelQueue(clock)
    await queue.send("reconcile", "x")
    first = queue.receive("reconcile", visibility_s=600)
    assert first is not None and queue.receive("reconcile") is None
    clock.advance(600)
    again = queue.receive("reconcile")
    assert again is not None and (again.text, again.dequeue_count) == ("x", 2)
    assert not queue.delete("reconcile", first), "its receipt is of an earlier delivery"
    queue.show("reconcile", again)
    assert queue.texts("reconcile", visible_only=True) == ["x"]
    assert queue.delete("reconcile", again) and queue.next_visible("reconcile") is None


async def test_resolver_and_random_say_what_they_are_told() -> None:
    resolver = FakeResolver()
    assert (await resolver.look("home.test")).note == "NXDOMAIN"
    resolver.answer("home.test", "198.51.100.23", recursive=("198.51.100.7",))
    view = await resolver.look("Home.test.")
    assert view.agreed() == "198.51.100.23" and set(view.recursive.values()) == {("198.51.100.7",)}
    resolver.servfail("home.test")
    assert (await resolver.look("home.test")).agreed() is None
    assert SeededRandom(7).token(16) == SeededRandom(7).token(16) != SeededRandom(8).token(16)
