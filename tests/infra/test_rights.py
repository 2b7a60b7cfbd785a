"""The least rights: what the code calls and what Azure demands beside it, and no more. And no secrets in the open."""

from __future__ import annotations

import ast
import re

from shared.azure import arm, vault
from shared.domain.arm import ArmKind

from . import bicep

NETWORK = "Microsoft.Network"
VERBS = {"get": "read", "list": "read", "begin_create_or_update": "write", "begin_delete": "delete"}
"""Methods of every kind of resource that shared/azure/arm.py asks for."""
TAGS = {"begin_update_tags", "update_tags"}
"""These are writes too."""
SPECIAL = {
    "begin_set_shared_key": f"{NETWORK}/connections/sharedKey/write",
    "get_shared_key": f"{NETWORK}/connections/sharedKey/read",
    "begin_reset_connection": f"{NETWORK}/connections/resetconnection/action",
    "begin_reset": f"{NETWORK}/virtualNetworkGateways/reset/action",
    "begin_get_bgp_peer_status": f"{NETWORK}/virtualNetworkGateways/getbgppeerstatus/action",
    "begin_get_learned_routes": f"{NETWORK}/virtualNetworkGateways/getlearnedroutes/action",
    "begin_get_advertised_routes": f"{NETWORK}/virtualNetworkGateways/getadvertisedroutes/action",
}
"""Azure permissions for Networking, Microsoft.Network."""
BESIDE = {
    "Microsoft.Resources/subscriptions/resourceGroups/read",
    f"{NETWORK}/locations/operations/read",
    f"{NETWORK}/locations/operationResults/read",
    f"{NETWORK}/virtualNetworks/subnets/read",
    f"{NETWORK}/virtualNetworks/subnets/write",
    f"{NETWORK}/virtualNetworks/subnets/join/action",
    f"{NETWORK}/publicIPAddresses/join/action",
}
"""Reading a resource group, polling, and what "About roles and permissions for VPN Gateway" lists for gateways."""
SECRETS = "Microsoft.KeyVault/vaults/secrets"
VAULT = {
    "get_secret": f"{SECRETS}/getSecret/action",
    "set_secret": f"{SECRETS}/setSecret/action",
    '"DELETE"': f"{SECRETS}/delete",
    "/recover": f"{SECRETS}/recover/action",
    "purge": f"{SECRETS}/purge/action",
    "backup": f"{SECRETS}/backup/action",
    "list_properties": f"{SECRETS}/readMetadata/action",
}
STORAGE = {
    "blobDataOwner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
    "queueDataContributor": "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
    "queueDelegator": "7ee386e9-84f0-448e-80a6-f185f6533131",
    "tableDataContributor": "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
}
"""Azure built-in roles for Storage."""


def permissions(role: str) -> dict[str, list[str]]:
    declared = bicep.config(bicep.module("role")["resources"][role])
    (one,) = declared["properties"]["permissions"]
    return dict(one)


def called() -> set[str]:
    """Methods of the SDK's operation groups that the adapter names, as an attribute or as a text."""
    source = bicep.ROOT.joinpath("shared/azure/arm.py").read_text()
    found = set(re.findall(r"\b(begin_\w+|get_shared_key|update_tags)\b", source))
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(ast.Call(ast.Attribute(attr="_operations")), attr):
                found.add(attr)
    return found


def test_the_network_role_is_what_the_adapter_calls() -> None:
    methods = called()
    assert methods >= set(VERBS), "the adapter is read wrongly"
    assert set(arm._OPERATIONS) == set(ArmKind)
    unknown = methods - set(VERBS) - TAGS - set(SPECIAL)
    assert not unknown, f"say here which action {unknown} need"
    wanted = {f"{NETWORK}/{kind.value}/{VERBS[m]}" for kind in ArmKind for m in methods & set(VERBS)}
    wanted |= {SPECIAL[m] for m in methods & set(SPECIAL)} | BESIDE
    given = permissions("network")
    assert set(given["actions"]) == wanted
    assert len(given["actions"]) == len(wanted)
    assert set(given) == {"actions"}


def test_the_keys_role_is_what_the_adapter_calls() -> None:
    source = bicep.ROOT.joinpath("shared/azure/vault.py").read_text().replace(vault.__doc__ or "", "")
    wanted = {action for word, action in VAULT.items() if word in source}
    assert len(wanted) >= 4
    given = permissions("keys")
    assert set(given["dataActions"]) == wanted
    assert given["actions"] == []


def test_roles_reach_resource_groups_and_no_further() -> None:
    for name in ("network", "keys"):
        scopes = bicep.config(bicep.module("role")["resources"][name])["properties"]["assignableScopes"]
        assert "/resourceGroups/" in str(scopes)
    for where, resource in bicep.resources():
        if resource["type"] == "Microsoft.Authorization/roleAssignments":
            assert bicep.config(resource)["properties"]["principalType"] == "ServicePrincipal", where
    subscription = [p for p in bicep.FILES if "targetScope = 'subscription'" in p.read_text()]
    assert not [p.name for p in subscription if "roleAssignments@" in p.read_text()]


def test_storage_roles() -> None:
    """Contributor for queues and tables as the code makes and drops them; Delegator for the agents' signatures."""
    assert bicep.module("storage")["variables"]["roles"]["value"] == STORAGE
    source = bicep.ROOT.joinpath("shared/azure/queue.py").read_text()
    assert all(call in source for call in ("create_queue(", "delete_queue(", "get_user_delegation_key("))


def test_account_keys_and_passwords_are_off() -> None:
    account = bicep.config(bicep.module("storage")["resources"]["account"])["properties"]
    assert account["allowSharedKeyAccess"] is False
    assert account["allowBlobPublicAccess"] is False
    assert bicep.config(bicep.module("app")["resources"]["noPasswords"])["properties"]["allow"] is False
    monitoring = bicep.module("monitoring")["resources"]
    assert bicep.config(monitoring["insights"])["properties"]["DisableLocalAuth"] is True
    assert bicep.config(monitoring["workspace"])["properties"]["features"]["disableLocalAuth"] is True
    assert bicep.config(bicep.module("vault")["resources"]["vault"])["properties"]["enableRbacAuthorization"] is True


def test_no_key_is_asked_for() -> None:
    for path in bicep.FILES:
        assert not re.search(r"\blist\w*\(|\bgetSecret\(", path.read_text(), re.IGNORECASE), path.name


def test_secrets_are_secure_parameters_and_no_outputs() -> None:
    secret = re.compile(r"key|secret|password|connectionstring|token$", re.IGNORECASE)
    harmless = {("role.bicep", "keysId"), *((p.name, "token") for p in bicep.FILES)}
    for path in bicep.FILES:
        known = bicep.data(path)
        for name, parameter in known["parameters"].items():
            secure = "secure" in {d["type"] for d in parameter["decorators"]}
            assert secure == bool(secret.search(name) and (path.name, name) not in harmless), (path.name, name)
        for name, output in known["outputs"].items():
            leaks = {t for t in bicep.texts(output["value"]) if secret.search(t)} - {"keys"}
            assert not leaks, (path.name, name)
            assert not secret.search(name) or (path.name, name) in harmless, (path.name, name)
