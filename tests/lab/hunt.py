"""Looks for secrets where they must not be: every log, every row, every queued message of a running lab."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

from lab.net.pfsense import Pfsense
from lab.opened import opened
from lab.world import TELEMETRY, World
from shared.azure.calls import Http
from shared.azure.credential import credential
from shared.azure.settings import read_settings

SHAPES = {
    "a SAS signature": re.compile(r"[?&]sig=[A-Za-z0-9%+/]{20,}"),
    "a bearer token": re.compile(r"eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\."),
    "an enrolment token": re.compile(r"hle_[A-Za-z0-9_-]{40,}"),
}


async def vault_values(world: World) -> dict[str, str]:
    """Every secret in the vault, all versions; test only: the product never lists them."""
    from azure.keyvault.secrets.aio import SecretClient

    settings = read_settings(world.settings)
    http = Http(settings.ca_file)
    identity = credential(http, world.settings)
    found: dict[str, str] = {}
    try:
        client = SecretClient(settings.vault_url, identity, transport=http.transport(), verify_challenge_resource=False)
        async for entry in client.list_properties_of_secrets():
            async for version in client.list_properties_of_secret_versions(str(entry.name)):
                secret = await client.get_secret(str(entry.name), version.version)
                found[f"{entry.name}/{version.version}"] = str(secret.value)
    finally:
        await identity.close()
        await http.close()
    return found


async def stored(world: World) -> dict[str, str]:
    """Every table row and every queued message as text."""
    from azure.data.tables.aio import TableServiceClient
    from azure.storage.queue.aio import QueueServiceClient

    settings = read_settings(world.settings)
    http = Http(settings.ca_file)
    identity = credential(http, world.settings)
    found: dict[str, str] = {}
    try:
        tables = TableServiceClient(settings.table_url, credential=identity, transport=http.transport(), api_version="2020-12-06")  # fmt: skip  # noqa: E501
        async for table in tables.list_tables():
            client = tables.get_table_client(table.name)
            rows = [row async for row in client.list_entities()]
            found |= {f"table {table.name}/{r['PartitionKey']}/{r['RowKey']}": repr(dict(r)) for r in rows}
        queues = QueueServiceClient(settings.queue_url, credential=identity, transport=http.transport())
        async for queue in queues.list_queues():
            peeked = await queues.get_queue_client(queue.name).peek_messages(max_messages=32)
            found |= {f"queue {queue.name}/{m.id}": str(m.content) for m in peeked}
    finally:
        await identity.close()
        await http.close()
    return found


def logs(*folders: Path) -> Iterator[tuple[str, str]]:
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and path.suffix in (".log", ".out", ".jsonl"):
                yield str(path), path.read_text(errors="replace")


def firewalls(world: World) -> Iterator[tuple[str, str]]:
    """Every file of each pfSense, other than those in which pfSense itself keeps its configuration."""
    for home in world.network.homes.values():
        if isinstance(home.firewall, Pfsense):
            root = home.firewall.root
            kept = {root / "cf/conf/config.xml", root / "tmp/config.cache", root / "var/etc/ipsec/swanctl.conf"}
            kept |= set((root / "cf/conf/backup").glob("config-*.xml"))
            assert kept <= set(root.rglob("*")), "this is not where the firewall's files are"
            for path in home.firewall.root.rglob("*"):
                if path.is_file() and not path.is_symlink() and path not in kept:
                    yield str(path), path.read_text(errors="replace")


async def leaks(world: World) -> list[str]:
    """Where a secret was found, as place and kind; never the secret itself."""
    values = {f"vault entry {name}": value for name, value in (await vault_values(world)).items()}
    values |= {"the function key": world.settings["LAB_HOST_FUNCTION_KEY"]}
    values |= {"the identity header": world.settings["IDENTITY_HEADER"]}
    for name, home in world.network.homes.items():
        if isinstance(home.firewall, Pfsense):
            values |= {f"the key of {name}": home.firewall.key, f"the password of {name}": home.firewall.password}
    values |= {f"{what} in base64": b64encode(value.encode()).decode() for what, value in values.items()}
    assert len(values) >= 12, "the hunt knows too few secrets to mean anything"
    places = [*(await stored(world)).items(), *logs(world.logs, world.folder), *firewalls(world)]
    assert len(places) >= 12, "the hunt looks in too few places to mean anything"
    assert str(world.logs / TELEMETRY) in {where for where, _ in places}, "what is told of each call is looked at, too"
    places = [(where, opened(text) if where.startswith(("queue", "table")) else text) for where, text in places]
    found = [f"{what} in {where}" for where, text in places for what, value in values.items() if value in text]
    return found + [f"{what} in {where}" for where, text in places for what, p in SHAPES.items() if p.search(text)]
