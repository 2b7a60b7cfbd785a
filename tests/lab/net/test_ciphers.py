"""The lab's cipher table against the recorded one (every policy was parsed by a real charon)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab.net import ciphers
from lab.net.run import LabNetError

RECORDED = Path(__file__).parents[4] / "shared" / "data" / "pfsense" / "azure-pfsense-strongswan-map.json"


@pytest.mark.parametrize(
    ("phase", "keys", "render"),
    [
        ("ike", ("ikeEncryption", "ikeIntegrity", "dhGroup"), ciphers.ike_proposals),
        ("esp", ("ipsecEncryption", "ipsecIntegrity", "pfsGroup"), ciphers.esp_proposals),
    ],
)
def test_every_recorded_policy_is_rendered_as_recorded(phase: str, keys: tuple[str, ...], render: object) -> None:
    if not RECORDED.exists():
        pytest.skip("the recorded table ../shared/data/pfsense is not beside this checkout")
    assert callable(render)
    entries = json.loads(RECORDED.read_text())[phase]
    rendered = {e["azure"]: render(dict(zip(keys, e["azure"].split("/"), strict=True))) for e in entries}
    assert rendered == {e["azure"]: [e["swanctl"]] for e in entries}


def test_no_policy_means_azures_defaults() -> None:
    assert "aes256-sha1-modp1024" in ciphers.ike_proposals(None)
    assert "aes256gcm128" in ciphers.esp_proposals(None)
    assert ciphers.lifetime_s(None) == 27000
    assert ciphers.lifetime_s({"saLifeTimeSeconds": 3600}) == 3600


def test_what_charon_cannot_do_is_refused_by_field_and_value() -> None:
    policy = {"ipsecEncryption": "GCMAES256", "ipsecIntegrity": "SHA256", "pfsGroup": "None"}
    with pytest.raises(LabNetError, match="must equal ipsecEncryption"):
        ciphers.esp_proposals(policy)
    with pytest.raises(LabNetError, match=r"ipsecPolicies\[0\].pfsGroup: the lab's charon has no `PFSMM`"):
        ciphers.esp_proposals({**policy, "ipsecIntegrity": "GCMAES256", "pfsGroup": "PFSMM"})
