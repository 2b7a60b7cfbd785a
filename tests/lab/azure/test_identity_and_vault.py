"""azure-identity and azure-keyvault-secrets, unmodified, against the lab; sync and aio."""

from __future__ import annotations

import asyncio

import aiohttp
import jwt
import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.identity import DefaultAzureCredential, ManagedIdentityCredential
from azure.identity.aio import DefaultAzureCredential as AsyncDefaultAzureCredential
from azure.identity.aio import ManagedIdentityCredential as AsyncManagedIdentityCredential
from azure.keyvault.secrets import SecretClient
from azure.keyvault.secrets.aio import SecretClient as AsyncSecretClient
from azure.mgmt.network.aio import NetworkManagementClient

from tests.lab.azure.conftest import Raw
from tests.lab.azure.world import GROUP, World


@pytest.fixture
def identity(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The environment in which azure-identity finds the lab."""
    for name, value in world.lab.identity_environment.items():
        monkeypatch.setenv(name, value)
    return world


async def test_aio_vault_through_the_challenge(identity: World) -> None:
    options = {"connection_verify": str(identity.ca), "verify_challenge_resource": False}
    async with (
        AsyncManagedIdentityCredential() as credential,
        AsyncSecretClient(identity.lab.base_url, credential, **options) as vault,
    ):
        first = await vault.set_secret("psk-home", "one", tags={"controller": "c1"}, content_type="text/plain")
        second = await vault.set_secret("psk-home", "two")
        assert first.properties.version != second.properties.version
        assert (await vault.get_secret("psk-home")).value == "two"
        old = await vault.get_secret("psk-home", first.properties.version)
        assert (old.value, old.properties.tags, old.properties.content_type) == (
            "one",
            {"controller": "c1"},
            "text/plain",
        )
        versions = [item.version async for item in vault.list_properties_of_secret_versions("psk-home")]
        assert set(versions) == {first.properties.version, second.properties.version}
        assert [item.name async for item in vault.list_properties_of_secrets()] == ["psk-home"]
        await vault.delete_secret("psk-home")
        with pytest.raises(ResourceNotFoundError):
            await vault.get_secret("psk-home")
        with pytest.raises(HttpResponseError) as taken:
            await vault.set_secret("psk-home", "three")
        assert taken.value.status_code == 409 and "three" not in str(taken.value)
        await vault.recover_deleted_secret("psk-home")
        assert (await vault.get_secret("psk-home")).value == "two"
        await vault.update_secret_properties("psk-home", enabled=False)
        with pytest.raises(HttpResponseError) as disabled:
            await vault.get_secret("psk-home")
        assert disabled.value.status_code == 403
        await vault.delete_secret("psk-home")
        await vault.purge_deleted_secret("psk-home")
        await vault.set_secret("psk-home", "four")
        assert (await vault.get_secret("psk-home")).value == "four"


async def test_sync_vault_with_the_default_credential(identity: World) -> None:
    def life() -> None:
        credential = DefaultAzureCredential()
        url = identity.lab.base_url
        with SecretClient(
            url, credential, connection_verify=str(identity.ca), verify_challenge_resource=False
        ) as vault:
            vault.set_secret("a", "1")
            assert vault.get_secret("a").value == "1"
            vault.begin_delete_secret("a").wait()
            vault.purge_deleted_secret("a")
            with pytest.raises(ResourceNotFoundError):
                vault.get_secret("a")

    await asyncio.to_thread(life)


async def test_managed_identity_opens_arm(identity: World) -> None:
    async with (
        AsyncDefaultAzureCredential() as credential,
        NetworkManagementClient(
            credential,
            identity.subscription,
            base_url=identity.lab.base_url,
            credential_scopes=[f"{identity.lab.base_url}/.default"],
            connection_verify=str(identity.ca),
        ) as client,
    ):
        assert [item async for item in client.virtual_networks.list(GROUP)] == []


async def test_tokens_are_what_entra_gives(identity: World) -> None:
    token = await asyncio.to_thread(lambda: ManagedIdentityCredential().get_token("https://storage.azure.com/.default"))
    claims = jwt.decode(token.token, options={"verify_signature": False})
    config = identity.lab.config
    assert claims["aud"] == "https://storage.azure.com"
    assert claims["iss"] == f"https://sts.windows.net/{config.tenant}/"
    assert (claims["oid"], claims["appid"], claims["tid"]) == (config.object_id, config.app_id, config.tenant)
    assert claims["nbf"] <= claims["iat"] < claims["exp"] == token.expires_on


async def test_the_endpoint_wants_its_header(identity: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDENTITY_HEADER", "wrong")
    with pytest.raises(ClientAuthenticationError):
        await asyncio.to_thread(lambda: ManagedIdentityCredential().get_token("https://vault.azure.net/.default"))
    async with aiohttp.ClientSession() as session:
        imds = identity.lab.identity_endpoint.replace("/msi/token", "/metadata/identity/oauth2/token")
        async with session.get(imds, params={"resource": "https://vault.azure.net"}) as answer:
            assert answer.status == 400
        headers = {"Metadata": "true"}
        async with session.get(imds, params={"resource": "https://vault.azure.net"}, headers=headers) as answer:
            assert answer.status == 200


async def test_the_vault_refuses_other_tokens_with_a_challenge(world: World, raw: Raw) -> None:
    for token in ("nonsense", world.token(), world.lab.tokens.issue("https://vault.azure.net", -1)[0]):
        status, headers, _ = await raw("GET", "/secrets/a?api-version=7.4", token=token)
        assert status == 401
        assert 'resource="https://vault.azure.net"' in headers["www-authenticate"]
    assert (await raw("GET", "/secrets/a", token=world.token("https://vault.azure.net")))[0] == 404
