"""What every Vault must do."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import pytest

from shared.azure.limits import MAX_SECRET_BYTES
from shared.azure.vault import KeyVault
from shared.errors import PermanentError, TemporaryError
from shared.seams import Vault
from tests.contracts.conftest import RealAzure
from tests.fakes import ModelVault


@pytest.fixture
def fake() -> Vault:
    return ModelVault()


@pytest.fixture
async def lab(real: RealAzure) -> AsyncIterator[Vault]:
    adapter = KeyVault(real.settings, real.http, real.credential)
    yield adapter
    await adapter.close()


@pytest.fixture(params=["fake", "lab"])
def vault(request: pytest.FixtureRequest) -> Vault:
    found: Vault = request.getfixturevalue(request.param)
    return found


async def test_what_is_not_there_is_none(vault: Vault) -> None:
    assert await vault.get("psk") is None
    version = await vault.set("psk", "one")
    assert await vault.get("other", version) is None
    assert await vault.get("psk", "0" * 32) is None


async def test_the_newest_version_is_given_unless_one_is_named(vault: Vault) -> None:
    first = await vault.set("psk", "one")
    second = await vault.set("psk", "two")
    assert first != second
    newest, old = await vault.get("psk"), await vault.get("psk", first)
    assert newest is not None and (newest.name, newest.version, newest.value) == ("psk", second, "two")
    assert old is not None and (old.version, old.value) == (first, "one")


async def test_a_deleted_secret_is_gone_and_deleting_twice_is_fine(vault: Vault) -> None:
    version = await vault.set("psk", "one")
    await vault.delete("psk")
    await vault.delete("psk")
    await vault.delete("never")
    assert await vault.get("psk") is None
    assert await vault.get("psk", version) is None


async def test_a_deleted_name_can_be_used_again(vault: Vault) -> None:
    """Soft deletion keeps the name taken; the seam hides that. It may take a second try."""
    await vault.set("psk", "one")
    await vault.delete("psk")
    try:
        version = await vault.set("psk", "two")
    except TemporaryError:
        version = await vault.set("psk", "two")
    found = await vault.get("psk")
    assert found is not None and (found.version, found.value) == (version, "two")


async def test_limits(vault: Vault) -> None:
    await vault.set("a-Z0", "x" * MAX_SECRET_BYTES)
    with pytest.raises(PermanentError) as refused:
        await vault.set("long", "s3cret" * MAX_SECRET_BYTES)
    assert "s3cret" not in str(refused.value)
    for name in ("", "a/b", "a_b", "a.b", "x" * 128):
        with pytest.raises(ValueError, match="secret name"):
            await vault.get(name)


async def test_no_value_is_shown_or_logged(vault: Vault, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await vault.set("psk", "s3cret-value")
    found = await vault.get("psk")
    await vault.delete("psk")
    assert found is not None and found.value == "s3cret-value"
    assert "s3cret-value" not in caplog.text + repr(found) + repr(vault)


async def test_without_an_identity_it_is_tried_again(real: RealAzure, monkeypatch: pytest.MonkeyPatch) -> None:
    from shared.azure.credential import credential

    monkeypatch.setenv("IDENTITY_HEADER", "not the lab's")
    login = credential(real.http, real.lab.identity_environment)
    vault = KeyVault(real.settings, real.http, login)
    with pytest.raises(TemporaryError, match="identity"):
        await vault.get("psk")
    await vault.close()
    await login.close()
