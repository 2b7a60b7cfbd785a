"""What a compiler would say first: syntax, names, what modules are given and give, and versions of APIs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from . import bicep

MAIN = bicep.INFRA / "main.bicep"
PARAMETERS = bicep.INFRA / "main.bicepparam"
VERSIONS = {
    "Microsoft.Authorization/roleAssignments": "2022-04-01",
    "Microsoft.Authorization/roleDefinitions": "2022-04-01",
    "Microsoft.Consumption/budgets": "2023-11-01",
    "Microsoft.Insights/actionGroups": "2023-01-01",
    "Microsoft.Insights/components": "2020-02-02",
    "Microsoft.Insights/diagnosticSettings": "2021-05-01-preview",
    "Microsoft.Insights/metricAlerts": "2018-03-01",
    "Microsoft.Insights/scheduledQueryRules": "2023-12-01",
    "Microsoft.Insights/workbooks": "2022-04-01",
    "Microsoft.KeyVault/vaults": "2023-07-01",
    "Microsoft.ManagedIdentity/userAssignedIdentities": "2023-01-31",
    "Microsoft.Network/virtualNetworkGateways": "2024-05-01",
    "Microsoft.OperationalInsights/workspaces": "2023-09-01",
    "Microsoft.Resources/resourceGroups": "2024-03-01",
    "Microsoft.Storage/storageAccounts": "2023-05-01",
    "Microsoft.Storage/storageAccounts/blobServices": "2023-05-01",
    "Microsoft.Storage/storageAccounts/blobServices/containers": "2023-05-01",
    "Microsoft.Storage/storageAccounts/queueServices": "2023-05-01",
    "Microsoft.Storage/storageAccounts/queueServices/queues": "2023-05-01",
    "Microsoft.Storage/storageAccounts/tableServices": "2023-05-01",
    "Microsoft.Storage/storageAccounts/tableServices/tables": "2023-05-01",
    "Microsoft.Web/serverfarms": "2024-04-01",
    "Microsoft.Web/sites": "2024-04-01",
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies": "2024-04-01",
    "Microsoft.Web/sites/config": "2024-04-01",
}
"""Versions that Azure has published. There is no newer `2018-03-01` of metricAlerts, and no diagnosticSettings without
-preview that takes categories."""


@pytest.mark.parametrize("path", bicep.FILES, ids=lambda p: p.name)
def test_both_parsers_take_it(path: Path) -> None:
    wrong = [n.start_point.row + 1 for n in bicep.nodes(bicep.tree(path.read_text())) if bicep.is_wrong(n)]
    assert not wrong, f"{path.name}: lines {wrong}"
    assert bicep.data(path)["resources"] or bicep.data(path)["modules"]


def test_the_example_is_bicep() -> None:
    """The grammar has no files of parameters; but for two words these are variables."""
    text = PARAMETERS.read_text().replace("using 'main.bicep'\n", "").replace("\nparam ", "\nvar ")
    wrong = [n.start_point.row + 1 for n in bicep.nodes(bicep.tree(text)) if bicep.is_wrong(n)]
    assert not wrong, f"lines {wrong}"


@pytest.mark.parametrize("path", bicep.FILES, ids=lambda p: p.name)
def test_every_name_is_declared_and_used(path: Path) -> None:
    """A resource or module may stand for itself; a parameter or variable that nobody reads is a mistake."""
    assert bicep.used(path) <= bicep.declared(path)
    known = bicep.data(path)
    assert {*known["parameters"], *known["variables"]} <= bicep.used(path)


def test_modules_are_given_what_they_ask_for() -> None:
    called = bicep.data(MAIN)["modules"]
    files = {(MAIN.parent / m["detail"]["path"]).resolve(): bicep.config(m) for m in called.values()}
    assert set(files) == set(bicep.FILES) - {MAIN}, "every module is used, once"
    for path, asked in files.items():
        parameters = bicep.data(path)["parameters"]
        needed = {name for name, p in parameters.items() if p["default"] is None and not _has_default(path, name)}
        given = set(asked["params"])
        assert needed <= given <= set(parameters), path.name


def _has_default(path: Path, name: str) -> bool:
    return re.search(rf"^param {name} \w+ = ", path.read_text(), re.MULTILINE) is not None


def test_modules_give_what_is_asked_of_them() -> None:
    called = bicep.data(MAIN)["modules"]
    asked = re.findall(r"\b(\w+)\.outputs\.(\w+)", MAIN.read_text())
    assert len(asked) > 10
    for name, output in asked:
        assert output in bicep.data((MAIN.parent / called[name]["detail"]["path"]).resolve())["outputs"], output


def test_each_file_says_where_it_is_deployed() -> None:
    """A module without a scope goes to the subscription, as main.bicep does, and has to say so itself."""
    for name, module in bicep.data(MAIN)["modules"].items():
        path = (MAIN.parent / module["detail"]["path"]).resolve()
        at_subscription = path.read_text().count("targetScope = 'subscription'") == 1
        assert at_subscription != ("scope" in bicep.config(module)), name


def test_api_versions_are_pinned_to_known_ones() -> None:
    found = {(r["type"], r["api_version"]) for _, r in bicep.resources()}
    assert found == set(VERSIONS.items())


def test_the_example_gives_every_parameter_without_a_default_and_no_unknown_one() -> None:
    given = set(re.findall(r"^param (\w+) =", PARAMETERS.read_text(), re.MULTILINE))
    asked = bicep.data(MAIN)["parameters"]
    needed = {name for name in asked if not _has_default(MAIN, name)}
    assert needed <= given <= set(asked)
    assert "using 'main.bicep'" in PARAMETERS.read_text()


def test_every_parameter_of_a_user_is_described() -> None:
    for name, parameter in bicep.data(MAIN)["parameters"].items():
        assert [d for d in parameter["decorators"] if d["type"] == "description"], name
