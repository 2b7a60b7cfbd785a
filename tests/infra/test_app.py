"""What the Function app is given in Azure, held against the code: settings, queues, tables, routes."""

from __future__ import annotations

import fnmatch
import json
import re
from typing import Any

import pytest

from shared.azure.settings import read_settings
from shared.control import services
from shared.domain.problem import InvalidInput
from tests.app import FUNCTIONS

from . import bicep

PLATFORM = {
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "AzureWebJobsStorage__blobServiceUri",
    "AzureWebJobsStorage__clientId",
    "AzureWebJobsStorage__credential",
}
"""Read by the Functions host, not by the code."""
ELSEWHERE = {
    "AzureWebJobsStorage": "an account with keys, or an emulator",
    "HOMELINK_ARM_SCOPE": "another cloud, or the lab",
    "HOMELINK_ARM_URL": "another cloud, or the lab",
    "HOMELINK_AUDIT_DAYS": "by appSettings, where the default does not do",
    "HOMELINK_CA_FILE": "the lab",
    "HOMELINK_EVENTS_DAYS": "by appSettings, where the default does not do",
    "HOMELINK_QUEUE_PUBLIC_URL": "the lab",
    "HOMELINK_RESOLVERS": "by appSettings, where the default does not do",
    "HOMELINK_STORAGE_ACCOUNT": "the lab",
    "HOMELINK_TELEMETRY_FILE": "one's own machine",
    "HOMELINK_VERIFY_VAULT_CHALLENGE": "the lab",
}
"""Settings of the code that a deployment does not set, and where they are for."""
VALUES = {
    "blobUrl": "https://st1.blob.core.windows.net/",
    "queueUrl": "https://st1.queue.core.windows.net/",
    "tableUrl": "https://st1.table.core.windows.net/",
    "vaultUrl": "https://kv-1.vault.azure.net/",
    "controllerId": "homelink-home",
    "identityClientId": "11111111-1111-1111-1111-111111111111",
}
APP = bicep.module("app")


def settings() -> dict[str, Any]:
    properties = bicep.config(APP["resources"]["settings"])["properties"]
    given: dict[str, Any] = properties["function"]["parameters"]["arg_1"]
    return given


def bindings() -> list[dict[str, Any]]:
    return [json.loads(b) for f in FUNCTIONS.values() for b in f.get_raw_bindings()]


def routes() -> dict[str, str]:
    """Path of every HTTP trigger, with a name in place of each {parameter}, and its auth level."""
    prefix = json.loads(bicep.ROOT.joinpath("host.json").read_text())["extensions"]["http"]["routePrefix"]
    triggers = [b for b in bindings() if b["type"] == "httpTrigger"]
    return {f"/{prefix}/{re.sub('{.*?}', 'x1', b['route'])}": b["authLevel"].lower() for b in triggers}


def read_by_the_code() -> set[str]:
    sources = [bicep.ROOT.joinpath("shared/azure", f"{n}.py").read_text() for n in ("settings", "credential")]
    names = set(re.findall(r"\b(?:HOMELINK_[A-Z_]+|AZURE_CLIENT_ID)\b", "".join(sources)))
    return names | {f"AzureWebJobsStorage{end}" for end in ("", "__queueServiceUri", "__tableServiceUri")}


def test_every_setting_is_read_and_every_one_that_is_read_is_accounted_for() -> None:
    assert set(settings()) - PLATFORM <= read_by_the_code()
    assert set(settings()) >= PLATFORM
    assert read_by_the_code() - set(settings()) == set(ELSEWHERE)


def test_the_code_starts_with_these_settings_and_with_none_of_them_missing() -> None:
    env = {name: VALUES.get(str(value), "") for name, value in settings().items() if name not in PLATFORM}
    assert read_settings(env).controller_id == "homelink-home"
    for name in env.keys() - {"AZURE_CLIENT_ID"}:
        with pytest.raises(InvalidInput):
            read_settings({k: v for k, v in env.items() if k != name})


def test_the_runtime_is_the_one_that_the_package_is_made_for() -> None:
    given = bicep.config(APP["resources"]["app"])["properties"]["functionAppConfig"]
    assert given["runtime"] == {"name": "python", "version": "3.13"}
    assert "PYTHON = (3, 13)" in bicep.INFRA.joinpath("package.py").read_text()
    assert given["scaleAndConcurrency"]["instanceMemoryMB"] == 512


def test_every_queue_exists_from_the_start() -> None:
    used = {b["queueName"] for b in bindings() if b["type"] in ("queueTrigger", "queue")} | {services.RECONCILE}
    poison = {f"{b['queueName']}-poison" for b in bindings() if b["type"] == "queueTrigger"}
    assert set(bicep.module("storage")["parameters"]["queues"]["default"]) == used | poison


def test_every_table_exists_from_the_start() -> None:
    """The first argument of each call of the store names one."""
    used = set()
    for path in sorted((bicep.ROOT / "shared" / "control").glob("*.py")):
        named = re.findall(r"\bstore\.(?:get|query|scan|transact)\(\s*([A-Z]+)\b", path.read_text())
        used |= {getattr(services, name) for name in named}
    assert len(used) >= 5
    assert set(bicep.module("storage")["parameters"]["tables"]["default"]) == used


def passes(path: str, users_too: bool) -> bool:
    """Whether App Service lets it through without a token."""
    names = ("openPaths", "userPaths") if users_too else ("openPaths",)
    patterns = [p for name in names for p in APP["variables"][name]["value"]]
    return any(fnmatch.fnmatchcase(path, p) for p in patterns)


def test_only_the_alerts_need_a_token_where_users_have_the_key() -> None:
    assert {path for path in routes() if not passes(path, users_too=True)} == {"/api/alerts"}


def test_agents_need_no_token_where_users_do() -> None:
    """Nor does the one route below theirs that is a user's: it has the function key."""
    open_ = {path for path in routes() if passes(path, users_too=False)}
    assert open_ == {p for p, level in routes().items() if level == "anonymous"} | {"/api/agents/x1/token"}


def test_no_path_is_excluded_that_no_route_has() -> None:
    for pattern in [p for name in ("openPaths", "userPaths") for p in APP["variables"][name]["value"]]:
        assert pattern == "/admin/*" or fnmatch.filter(routes(), pattern), pattern
