"""What every Store must do; fencing rests on it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.azure.limits import MAX_ROW_CHARS
from shared.azure.store import TableStore
from shared.errors import PermanentError, RowExists, StoreConflict
from shared.seams import Store, Write, WriteKind
from tests.contracts.conftest import RealAzure
from tests.fakes import ModelStore


@pytest.fixture
def fake() -> Store:
    return ModelStore()


@pytest.fixture
async def azurite_key(real: RealAzure) -> AsyncIterator[Store]:
    adapter = TableStore(real.by_key, real.http)
    yield adapter
    await adapter.close()


@pytest.fixture
async def azurite_identity(real: RealAzure) -> AsyncIterator[Store]:
    adapter = TableStore(real.settings, real.http, real.credential)
    yield adapter
    await adapter.close()


@pytest.fixture(params=["fake", "azurite_key", "azurite_identity"])
def store(request: pytest.FixtureRequest) -> Store:
    found: Store = request.getfixturevalue(request.param)
    return found


def insert(key: str, **data: object) -> Write:
    return Write(WriteKind.INSERT, key, dict(data))


def replace(key: str, etag: str, **data: object) -> Write:
    return Write(WriteKind.REPLACE, key, dict(data), etag)


async def test_nothing_is_there_at_first(store: Store, unique: str) -> None:
    assert await store.get(unique, "p", "k") is None
    assert await store.query(unique, "p") == []
    assert await store.scan(unique, "k") == []


async def test_a_row_comes_back_as_it_was_written(store: Store, unique: str) -> None:
    data = {"text": "Köln 🏠 'quoted'", "n": 1.5, "none": None, "list": [1, {"a": True}], "d0": "mine"}
    etags = await store.transact(unique, "p", [insert("k", **data)])
    row = await store.get(unique, "p", "k")
    assert row is not None
    assert (row.partition, row.key, row.data) == ("p", "k", data)
    assert etags == {"k": row.etag}


async def test_each_write_changes_the_etag(store: Store, unique: str) -> None:
    first = await store.transact(unique, "p", [insert("k", n=1)])
    second = await store.transact(unique, "p", [replace("k", first["k"], n=1)])
    third = await store.transact(unique, "p", [Write(WriteKind.UPSERT, "k", {"n": 1})])
    assert len({first["k"], second["k"], third["k"]}) == 3


async def test_a_replacement_leaves_nothing_of_the_old_row(store: Store, unique: str) -> None:
    etags = await store.transact(unique, "p", [insert("k", long="x" * 100_000, a=1)])
    await store.transact(unique, "p", [replace("k", etags["k"], b=2)])
    row = await store.get(unique, "p", "k")
    assert row is not None and row.data == {"b": 2}
    await store.transact(unique, "p", [Write(WriteKind.UPSERT, "k", {"c": 3})])
    row = await store.get(unique, "p", "k")
    assert row is not None and row.data == {"c": 3}


async def test_an_insert_never_overwrites(store: Store, unique: str) -> None:
    await store.transact(unique, "p", [insert("k", n=1)])
    with pytest.raises(RowExists, match="k"):
        await store.transact(unique, "p", [insert("other", n=2), insert("k", n=2)])
    assert [r.data for r in await store.query(unique, "p")] == [{"n": 1}]


async def test_a_stale_writer_writes_nothing(store: Store, unique: str) -> None:
    """The fence: every transaction of a lease holder includes the lease row with the ETag that it holds."""
    mine = await store.transact(unique, "unit", [insert("lease", owner="a"), insert("state", n=1)])
    theirs = await store.transact(unique, "unit", [replace("lease", mine["lease"], owner="b")])
    with pytest.raises(StoreConflict, match="lease"):
        await store.transact(
            unique,
            "unit",
            [
                insert("intent"),
                Write(WriteKind.UPSERT, "state", {"n": 2}),
                replace("lease", mine["lease"], owner="a"),
            ],
        )
    rows = {r.key: r for r in await store.query(unique, "unit")}
    assert set(rows) == {"lease", "state"}
    assert rows["state"].data == {"n": 1}
    assert rows["lease"].data == {"owner": "b"} and rows["lease"].etag == theirs["lease"]


async def test_replacing_a_row_that_is_gone_is_a_conflict(store: Store, unique: str) -> None:
    etags = await store.transact(unique, "p", [insert("k")])
    await store.transact(unique, "p", [Write(WriteKind.DELETE, "k", etag=etags["k"])])
    with pytest.raises(StoreConflict):
        await store.transact(unique, "p", [replace("k", etags["k"])])
    assert await store.get(unique, "p", "k") is None


async def test_deleting(store: Store, unique: str) -> None:
    old = await store.transact(unique, "p", [insert("k", n=1)])
    new = await store.transact(unique, "p", [replace("k", old["k"], n=2)])
    with pytest.raises(StoreConflict):
        await store.transact(unique, "p", [Write(WriteKind.DELETE, "k", etag=old["k"])])
    assert await store.transact(unique, "p", [Write(WriteKind.DELETE, "k", etag=new["k"])]) == {}
    with pytest.raises(StoreConflict):
        await store.transact(unique, "p", [Write(WriteKind.DELETE, "k", etag=new["k"])])
    assert await store.query(unique, "p") == []


async def test_deleting_without_etag_what_is_gone_is_fine_and_the_rest_is_done(store: Store, unique: str) -> None:
    gone = [Write(WriteKind.DELETE, "gone1"), insert("k", n=1), Write(WriteKind.DELETE, "gone2")]
    assert set(await store.transact(unique, "p", gone)) == {"k"}
    assert [r.key for r in await store.query(unique, "p")] == ["k"]
    assert await store.transact(unique, "p", [Write(WriteKind.DELETE, "k"), Write(WriteKind.DELETE, "gone")]) == {}
    assert await store.query(unique, "p") == []


async def test_query_is_by_prefix_in_key_order(store: Store, unique: str) -> None:
    keys = ["a", "conn/b", "conn/ä", "conn/a", "conn", "con", "cono", "conn/~", "conn/B", "conn 1"]
    await store.transact(unique, "p", [insert(k) for k in keys])
    await store.transact(unique, "p2", [insert("conn/c")])
    assert [r.key for r in await store.query(unique, "p")] == sorted(keys)
    found = [r.key for r in await store.query(unique, "p", "conn/")]
    assert found == sorted(k for k in keys if k.startswith("conn/"))
    assert [r.key for r in await store.query(unique, "p", "conn")] == sorted(k for k in keys if k.startswith("conn"))


async def test_query_by_a_range_of_keys(store: Store, unique: str) -> None:
    keys = [
        "connection:a",
        "gateway",
        "lease",
        "link:a-b",
        "link:a",
        "~event:0A",
        "~event:0B",
        "~event:Z",
        "~incident:a",
    ]
    await store.transact(unique, "p", [insert(k) for k in reversed(keys)])

    async def found(prefix: str = "", **bounds: Any) -> list[str]:
        return [r.key for r in await store.query(unique, "p", prefix, **bounds)]

    assert await found(end="~") == sorted(k for k in keys if not k.startswith("~"))
    assert await found(start="~") == ["~event:0A", "~event:0B", "~event:Z", "~incident:a"]
    assert await found(start="~event:0B", end="~event:Z") == ["~event:0B"], "the start is in, the end is not"
    assert await found("~event:", start="~event:0A~") == ["~event:0B", "~event:Z"]
    assert await found("~event:", end="~event:0~", limit=1) == ["~event:0A"]
    assert await found("link:", start="~") == [] and await found(limit=3) == sorted(keys)[:3]


async def test_a_limit_gives_the_first_rows_over_many_pages(store: Store, unique: str) -> None:
    keys = [f"~event:{i:05}" for i in range(1200)]
    mixed = random.Random(7).sample(keys, len(keys))
    for i in range(0, len(mixed), 100):
        await store.transact(unique, "p", [insert(k) for k in mixed[i : i + 100]])
    for limit in (1, 7, 1000, 1001, 1199, 1200, 5000):
        assert [r.key for r in await store.query(unique, "p", "~", limit=limit)] == keys[:limit]
    assert [r.key for r in await store.query(unique, "p", start=keys[50], limit=2)] == keys[50:52]


async def test_scan_finds_one_key_in_all_partitions(store: Store, unique: str) -> None:
    for partition in ("g/2", "g/1", "g#3"):
        await store.transact(unique, partition, [insert("lease", of=partition), insert("state")])
    found = await store.scan(unique, "lease")
    assert [(r.partition, r.data["of"]) for r in found] == [(p, p) for p in sorted(("g/2", "g/1", "g#3"))]


@pytest.mark.parametrize(
    "key", ["a/b", "a\\b", "a#b?c", "it's", "50%", "a+b", "!", "!2f", "Ω\t\n", " ", "..", "a" * 200]
)
async def test_any_key_can_be_used(store: Store, unique: str, key: str) -> None:
    etags = await store.transact(unique, key, [insert(key, n=1)])
    await store.transact(unique, key, [replace(key, etags[key], n=2)])
    row = await store.get(unique, key, key)
    assert row is not None and (row.partition, row.key, row.data) == (key, key, {"n": 2})
    assert [r.key for r in await store.query(unique, key, key[:1])] == [key]
    assert [r.partition for r in await store.scan(unique, key)] == [key]


async def test_a_large_row_is_kept_whole_and_a_larger_one_refused(store: Store, unique: str) -> None:
    text = "ab\n" * ((MAX_ROW_CHARS - 100) // 4)
    await store.transact(unique, "p", [insert("k", text=text)])
    row = await store.get(unique, "p", "k")
    assert row is not None and row.data["text"] == text
    with pytest.raises(PermanentError, match="big"):
        await store.transact(unique, "p", [insert("small"), insert("big", text="x" * MAX_ROW_CHARS)])
    assert await store.get(unique, "p", "small") is None


async def test_a_hundred_writes_in_one_transaction(store: Store, unique: str) -> None:
    etags = await store.transact(unique, "p", [insert(f"{i:03}") for i in range(100)])
    assert len(etags) == 100
    with pytest.raises(ValueError, match="101"):
        await store.transact(unique, "p", [insert(f"x{i:03}") for i in range(101)])


@pytest.mark.parametrize(
    "writes",
    [
        [],
        [Write(WriteKind.REPLACE, "k", {})],
        [Write(WriteKind.INSERT, "k", {}, "etag")],
        [Write(WriteKind.INSERT, "", {})],
        [Write(WriteKind.INSERT, "k", {}), Write(WriteKind.DELETE, "k")],
    ],
    ids=["none", "replace without etag", "insert with etag", "no key", "a key twice"],
)
async def test_a_callers_mistake_is_named(store: Store, unique: str, writes: list[Write]) -> None:
    with pytest.raises(ValueError, match=unique):
        await store.transact(unique, "p", writes)
