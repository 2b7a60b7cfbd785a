"""Azurite as a context manager: three services, chosen ports, a clear error, nothing left behind."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import ResourceModifiedError
from azure.data.tables.aio import TableServiceClient
from azure.storage.queue.aio import QueueServiceClient

from lab.azurite import Azurite, AzuriteError


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_queues_and_tables_with_etags_and_nothing_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    async with Azurite() as storage:
        assert len({*storage.ports.values()}) == 3
        async with QueueServiceClient.from_connection_string(storage.connection_string) as queues:
            queue = await queues.create_queue("one")
            await queue.send_message("x")
            message = await queue.receive_message()
            assert message is not None
            assert message.content == "x"
        async with TableServiceClient.from_connection_string(storage.connection_string) as tables:
            table = await tables.create_table("one")
            entity = {"PartitionKey": "p", "RowKey": "r", "value": 1}
            first = await table.upsert_entity(entity)
            await table.upsert_entity({**entity, "value": 2})
            with pytest.raises(ResourceModifiedError):
                await table.update_entity(entity, etag=first["etag"], match_condition=MatchConditions.IfNotModified)
        pid = storage.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not _entries(tmp_path)


async def test_data_in_a_folder_outlives_a_stop(tmp_path: Path) -> None:
    async with Azurite(folder=tmp_path) as storage:
        async with QueueServiceClient.from_connection_string(storage.connection_string) as queues:
            await (await queues.create_queue("kept")).send_message("x")
        ports = storage.ports
    async with Azurite(folder=tmp_path, ports=ports) as storage:
        assert storage.ports == ports
        async with QueueServiceClient.from_connection_string(storage.connection_string) as queues:
            assert [message.content for message in await queues.get_queue_client("kept").peek_messages()] == ["x"]


async def test_a_taken_port_is_said_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(AzuriteError, match="EADDRINUSE"):
        async with Azurite(ports={"table": taken.getsockname()[1]}):
            pass


async def test_not_installed_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(AzuriteError, match="make setup"):
        async with Azurite(root=tmp_path):
            pass
