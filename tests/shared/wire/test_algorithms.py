"""Azure's names in strongSwan's words, against the recorded table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.wire import algorithms

RECORDED = Path(__file__).parents[4] / "shared" / "data" / "pfsense" / "azure-pfsense-strongswan-map.json"


def same(proposal: str) -> str:
    """GCM with its PRF spelt out or implied, and either spelling of the tag."""
    text = proposal.replace("gcm128", "gcm16")
    return text.replace("-prfsha", "-sha") if "gcm16-prf" in text else text


@pytest.mark.parametrize(("phase", "render"), [("ike", algorithms.ike_proposal), ("esp", algorithms.esp_proposal)])
def test_every_pair_is_as_recorded(phase: str, render: object) -> None:
    if not RECORDED.exists():
        pytest.skip("the recorded table ../shared/data/pfsense is not beside this checkout")
    assert callable(render)
    entries = json.loads(RECORDED.read_text())[phase]
    assert {e["azure"]: same(render(*e["azure"].split("/"))) for e in entries} == {
        e["azure"]: same(e["swanctl"]) for e in entries
    }


def test_what_pfsense_cannot_express_is_not_there() -> None:
    for name in ("DES3", "DES", "MD5"):
        with pytest.raises(KeyError):
            algorithms.ike_proposal(name, "SHA256", "DHGroup14")
