"""The app settings that the adapters need, read once and checked all together.

The storage names are those of the Functions host, so that triggers and adapters cannot point at different accounts.
A wrong setting found one restart at a time costs an afternoon: every problem is in the one InvalidInput.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from shared.domain import limits
from shared.domain.limits import Limit
from shared.domain.problem import InvalidInput, Problem

ARM_URL = "https://management.azure.com"
STORAGE = "AzureWebJobsStorage"
CONNECTION_STRING = "APPLICATIONINSIGHTS_CONNECTION_STRING"
TELEMETRY_FILE = "HOMELINK_TELEMETRY_FILE"
"""Of telemetry, which begins before settings are read (monitor.py)."""
# The account of every local storage emulator; published, so not a secret.
_EMULATOR = (
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;"
    "AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;"
    "BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;QueueEndpoint=http://127.0.0.1:10001/devstoreaccount1;"
    "TableEndpoint=http://127.0.0.1:10002/devstoreaccount1;"
)


@dataclass(frozen=True)
class AzureSettings:
    """Either both storage URLs (identity) or `connection_string` (a local emulator, or an account with shared keys)."""

    controller_id: str
    vault_url: str
    arm_url: str = ARM_URL
    arm_scope: str = f"{ARM_URL}/.default"
    queue_url: str = ""
    table_url: str = ""
    connection_string: str = field(default="", repr=False)
    queue_public_url: str = ""
    storage_account: str = ""
    ca_file: Path | None = None
    resolvers: tuple[str, ...] = ()
    verify_vault_challenge: bool = True
    events_days: int = limits.EVENTS_DAYS.default
    audit_days: int = limits.AUDIT_DAYS.default


def read_settings(env: Mapping[str, str]) -> AzureSettings:
    """Raises InvalidInput with every problem. Values are never quoted where they may hold a key."""
    reader = _Reader(env)
    connection_string = env.get(STORAGE, "").strip()
    if connection_string.lower().rstrip(";") == "usedevelopmentstorage=true":
        connection_string = _EMULATOR
    queue_url = reader.url(f"{STORAGE}__queueServiceUri")
    table_url = reader.url(f"{STORAGE}__tableServiceUri")
    if not connection_string and not (queue_url and table_url):
        reader.problem(
            f"{STORAGE}__queueServiceUri",
            "",
            "storageMissing",
            "the storage account is not set",
            f"Set {STORAGE}__queueServiceUri and {STORAGE}__tableServiceUri, or a connection string as {STORAGE}.",
        )
    arm_url = reader.url("HOMELINK_ARM_URL") or ARM_URL
    settings = AzureSettings(
        controller_id=reader.required(
            "HOMELINK_CONTROLLER_ID", "Set it to a name of this control plane, once for ever."
        ),
        vault_url=reader.url("HOMELINK_VAULT_URL", needed="Set it to the key vault's URI."),
        arm_url=arm_url,
        arm_scope=env.get("HOMELINK_ARM_SCOPE", "").strip() or f"{arm_url}/.default",
        queue_url=queue_url,
        table_url=table_url,
        # The URLs win: an account reached by identity may still have a connection string for the host's own blobs.
        connection_string="" if queue_url and table_url else connection_string,
        queue_public_url=reader.url("HOMELINK_QUEUE_PUBLIC_URL"),
        storage_account=env.get("HOMELINK_STORAGE_ACCOUNT", "").strip(),
        ca_file=reader.file("HOMELINK_CA_FILE"),
        resolvers=reader.addresses("HOMELINK_RESOLVERS"),
        verify_vault_challenge=reader.flag("HOMELINK_VERIFY_VAULT_CHALLENGE", default=True),
        events_days=reader.number("HOMELINK_EVENTS_DAYS", limits.EVENTS_DAYS),
        audit_days=reader.number("HOMELINK_AUDIT_DAYS", limits.AUDIT_DAYS),
    )
    reader.folder_of(TELEMETRY_FILE)
    reader.raise_problems()
    return settings


class _Reader:
    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self._problems: list[Problem] = []

    def problem(self, name: str, value: str, rule: str, message: str, remedy: str) -> None:
        self._problems.append(Problem(name, value, rule, message, remedy))

    def raise_problems(self) -> None:
        if self._problems:
            raise InvalidInput(tuple(self._problems))

    def required(self, name: str, remedy: str) -> str:
        value = self._env.get(name, "").strip()
        if not value:
            self.problem(name, "", "settingMissing", "is not set", remedy)
        return value

    def url(self, name: str, needed: str = "") -> str:
        """Without a trailing slash; '' when not set."""
        value = self._env.get(name, "").strip().rstrip("/")
        if not value:
            if needed:
                self.problem(name, "", "settingMissing", "is not set", needed)
            return ""
        parts = urlsplit(value)
        if parts.scheme != "https" or not parts.hostname or parts.query or parts.username:
            shown = f"{parts.scheme}://{parts.hostname}"  # a query may be a SAS
            self.problem(name, shown, "settingUrl", "is not a plain https URL", "Use https://host[:port][/path].")
        return value

    def file(self, name: str) -> Path | None:
        value = self._env.get(name, "").strip()
        if value and not Path(value).is_file():
            self.problem(name, value, "settingFile", "is not a file", "Name a PEM file of certificates, or unset it.")
        return Path(value) if value else None

    def folder_of(self, name: str) -> None:
        value = self._env.get(name, "").strip()
        if value and not Path(value).parent.is_dir():
            self.problem(name, value, "settingFile", "lies in no folder", "Make the folder, or unset it.")

    def addresses(self, name: str) -> tuple[str, ...]:
        values = tuple(v.strip() for v in self._env.get(name, "").split(",") if v.strip())
        for value in values:
            try:
                ip_address(value)
            except ValueError:
                self.problem(
                    name, value, "settingAddress", "is not an IP address", "List resolvers' addresses with commas."
                )
        return values

    def number(self, name: str, limit: Limit) -> int:
        value = self._env.get(name, "").strip()
        if not value:
            return limit.default
        if not re.fullmatch("[0-9]{1,9}", value) or not limit.least <= int(value) <= limit.most:
            remedy = f"Use {limit.least} to {limit.most}, or leave it out for {limit.default}."
            self.problem(name, value, "settingNumber", "is not a number within its bounds", remedy)
            return limit.default
        return int(value)

    def flag(self, name: str, default: bool) -> bool:
        value = self._env.get(name, "").strip().lower()
        if value not in ("", "true", "false", "1", "0"):
            self.problem(name, value, "settingFlag", "is not a truth value", "Use true or false.")
        return default if not value else value in ("true", "1")
