"""azure.yaml and the guides name things that exist."""

from __future__ import annotations

import re

import yaml

from . import bicep

AZD = yaml.safe_load((bicep.ROOT / "azure.yaml").read_text())
DEPLOY = (bicep.ROOT / "docs" / "deploy.md").read_text()


def test_azd_finds_the_template_the_app_and_the_package() -> None:
    assert (bicep.ROOT / AZD["infra"]["path"] / f"{AZD['infra']['module']}.bicep").exists()
    (service,) = AZD["services"]
    assert f"'azd-service-name': '{service}'" in (bicep.INFRA / "modules" / "app.bicep").read_text()
    steps = [step["azd"] for step in AZD["workflows"]["up"]["steps"]]
    assert steps == ["provision", f"deploy {service} --from-package build/homelink.zip"]
    assert 'make_archive(str(BUILD / "homelink"), "zip"' in (bicep.INFRA / "package.py").read_text()
    for shell in AZD["hooks"]["predeploy"].values():
        assert (bicep.ROOT / shell["run"].split()[-1]).exists()


def test_the_guide_tells_of_every_variable_of_the_example_and_of_no_other() -> None:
    variable = r"\b(?:AZURE_(?:ENV_NAME|LOCATION)|HOMELINK_[A-Z_]+)\b"
    asked = set(re.findall(variable, (bicep.INFRA / "main.bicepparam").read_text()))
    assert asked == set(re.findall(variable, DEPLOY))


def test_the_guide_tells_of_every_parameter() -> None:
    parameters = bicep.data(bicep.INFRA / "main.bicep")["parameters"]
    rows = set(re.findall(r"^\| `(\w+)` \|", DEPLOY, re.MULTILINE))
    assert rows == set(parameters)


def test_the_guide_asks_for_outputs_that_there_are() -> None:
    outputs = set(bicep.data(bicep.INFRA / "main.bicep")["outputs"])
    assert set(re.findall(r"outputs\.(\w+)\.value", DEPLOY)) <= outputs
    assert set(re.findall(r"outputs\.(\w+)\.value", DEPLOY)) >= {"API", "FUNCTION_APP", "RESOURCE_GROUP"}
