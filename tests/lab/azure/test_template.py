from __future__ import annotations

from typing import Any

import pytest

from lab.azure.errors import ArmError
from lab.azure.template import Expressions

EXPRESSIONS = Expressions(
    {"Name": "home", "list": ["a", "b"], "key": "s3cret"},
    {"full": "[concat(parameters('name'), '-', 'x')]", "object": {"Inner": [1, {"deep": "found"}]}},
    {"resourcegroup": lambda: {"location": "westeurope"}},
)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("plain", "plain"),
        ("[[escaped]", "[escaped]"),
        ("[parameters('name')]", "home"),
        ("[PARAMETERS( 'NAME' )]", "home"),
        ("[variables('full')]", "home-x"),
        ("[concat('it''s ', toUpper(parameters('name')), 1)]", "it's HOME1"),
        ("[concat(parameters('list'), parameters('list'))]", ["a", "b", "a", "b"]),
        ("[parameters('list')[1]]", "b"),
        ("[variables('object').inner[1]['deep']]", "found"),
        ("[resourceGroup().location]", "westeurope"),
        ("[format('{0}/{1}', 'a', parameters('name'))]", "a/home"),
        ({"[parameters('name')]": ["[true()]", 3, None]}, {"home": [True, 3, None]}),
    ],
)
def test_expressions(written: Any, meant: Any) -> None:
    assert EXPRESSIONS.value(written) == meant


@pytest.mark.parametrize(
    "written",
    [
        "[parameters('absent')]",
        "[variables('absent')]",
        "[uniqueString('a')]",
        "[concat('a']",
        "[concat('a'))]",
        "[parameters('list')[7]]",
        "[parameters('key').inner]",
        "['open]",
        "[]",
        "[a b]",
    ],
)
def test_what_it_does_not_know_is_refused_without_values(written: str) -> None:
    with pytest.raises(ArmError) as refused:
        EXPRESSIONS.value(written)
    assert (refused.value.status, refused.value.code) == (400, "InvalidTemplate")
    assert "s3cret" not in refused.value.message
