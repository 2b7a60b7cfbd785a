from __future__ import annotations

from pathlib import Path

import pytest

from shared.azure.settings import read_settings
from shared.domain.problem import InvalidInput

GOOD = {
    "HOMELINK_CONTROLLER_ID": "home-1",
    "HOMELINK_VAULT_URL": "https://v.vault.azure.net/",
    "AzureWebJobsStorage__queueServiceUri": "https://acc.queue.core.windows.net/",
    "AzureWebJobsStorage__tableServiceUri": "https://acc.table.core.windows.net",
}


def problems(env: dict[str, str]) -> dict[str, str]:
    with pytest.raises(InvalidInput) as refused:
        read_settings(env)
    assert all(p.remedy for p in refused.value.problems)
    return {p.path: p.rule for p in refused.value.problems}


def test_what_azure_needs_and_the_defaults() -> None:
    settings = read_settings(GOOD)
    assert settings.queue_url == "https://acc.queue.core.windows.net"
    assert settings.vault_url == "https://v.vault.azure.net"
    assert (settings.arm_url, settings.arm_scope) == (
        "https://management.azure.com",
        "https://management.azure.com/.default",
    )
    assert settings.verify_vault_challenge and settings.resolvers == () and settings.ca_file is None


def test_a_lab(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text("")
    settings = read_settings(
        {
            **GOOD,
            "HOMELINK_ARM_URL": "https://203.0.113.80:8443/",
            "HOMELINK_CA_FILE": str(ca),
            "HOMELINK_RESOLVERS": "203.0.113.53, 2001:db8::53",
            "HOMELINK_VERIFY_VAULT_CHALLENGE": "false",
            "HOMELINK_QUEUE_PUBLIC_URL": "https://q.example.org/acc/",
        }
    )
    assert (settings.arm_url, settings.arm_scope) == (
        "https://203.0.113.80:8443",
        "https://203.0.113.80:8443/.default",
    )
    assert settings.resolvers == ("203.0.113.53", "2001:db8::53")
    assert settings.ca_file == ca and not settings.verify_vault_challenge
    assert settings.queue_public_url == "https://q.example.org/acc"


def test_every_problem_at_once() -> None:
    found = problems(
        {
            "HOMELINK_ARM_URL": "http://management.azure.com",
            "HOMELINK_CA_FILE": "/does/not/exist.pem",
            "HOMELINK_RESOLVERS": "1.1.1.1,dns.example.org",
            "HOMELINK_VERIFY_VAULT_CHALLENGE": "perhaps",
            "HOMELINK_QUEUE_PUBLIC_URL": "https://",
        }
    )
    assert found == {
        "HOMELINK_CONTROLLER_ID": "settingMissing",
        "HOMELINK_VAULT_URL": "settingMissing",
        "AzureWebJobsStorage__queueServiceUri": "storageMissing",
        "HOMELINK_ARM_URL": "settingUrl",
        "HOMELINK_CA_FILE": "settingFile",
        "HOMELINK_RESOLVERS": "settingAddress",
        "HOMELINK_VERIFY_VAULT_CHALLENGE": "settingFlag",
        "HOMELINK_QUEUE_PUBLIC_URL": "settingUrl",
    }


def test_one_storage_url_is_not_enough() -> None:
    env = {k: v for k, v in GOOD.items() if "table" not in k}
    assert problems(env) == {"AzureWebJobsStorage__queueServiceUri": "storageMissing"}


def test_a_connection_string_is_the_alternative_and_is_not_shown() -> None:
    env = {k: v for k, v in GOOD.items() if "Storage" not in k}
    settings = read_settings({**env, "AzureWebJobsStorage": "AccountName=a;AccountKey=s3cret"})
    assert settings.connection_string.endswith("s3cret") and "s3cret" not in repr(settings)
    emulator = read_settings({**env, "AzureWebJobsStorage": "UseDevelopmentStorage=true"})
    assert "127.0.0.1:10002/devstoreaccount1" in emulator.connection_string


def test_with_both_the_identity_is_used() -> None:
    assert read_settings({**GOOD, "AzureWebJobsStorage": "AccountName=a;AccountKey=k"}).connection_string == ""


def test_a_url_with_a_signature_is_refused_without_quoting_it() -> None:
    with pytest.raises(InvalidInput) as refused:
        read_settings({**GOOD, "HOMELINK_QUEUE_PUBLIC_URL": "https://q.example.org/?sig=s3cret"})
    assert "s3cret" not in str(refused.value)


def test_how_long_history_is_kept() -> None:
    assert (read_settings(GOOD).events_days, read_settings(GOOD).audit_days) == (30, 400)
    given = read_settings({**GOOD, "HOMELINK_EVENTS_DAYS": " 7 ", "HOMELINK_AUDIT_DAYS": "3650"})
    assert (given.events_days, given.audit_days) == (7, 3650)
    for wrong in ("0", "3651", "-1", "1.5", "a week", "９"):
        assert problems({**GOOD, "HOMELINK_EVENTS_DAYS": wrong}) == {"HOMELINK_EVENTS_DAYS": "settingNumber"}
    assert problems({**GOOD, "HOMELINK_AUDIT_DAYS": "30"}) == {"HOMELINK_AUDIT_DAYS": "settingNumber"}
