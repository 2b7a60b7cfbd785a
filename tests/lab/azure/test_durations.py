"""The lab's times are the medians of the published session records, where there are records."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab.azure import durations

FILE = Path(__file__).parents[3] / ".." / "shared" / "data" / "azure" / "operation-durations.json"
RECORDED = {
    "DELETE connections 202": durations.CONNECTION_DELETE,
    "DELETE localNetworkGateways 202": durations.LOCAL_GATEWAY_DELETE,
    "DELETE virtualNetworkGateways 202": durations.GATEWAY_DELETE,
    "POST virtualNetworkGateways/reset 202": durations.GATEWAY_RESET,
    "PUT connections 200": durations.CONNECTION_UPDATE,
    "PUT connections 201": durations.CONNECTION_CREATE,
    "PUT localNetworkGateways 200": durations.LOCAL_GATEWAY_UPDATE,
    "PUT localNetworkGateways 201": durations.LOCAL_GATEWAY_CREATE,
    "PUT publicIPAddresses 201": durations.PUBLIC_IP_CREATE,
    "PUT virtualNetworkGateways 200": durations.GATEWAY_UPDATE,
    "PUT virtualNetworkGateways 201": durations.GATEWAY_CREATE,
    "PUT virtualNetworks 201": durations.VNET_CREATE,
    "PUT virtualNetworks/subnets 201": durations.SUBNET_CREATE,
}
# Another spelling of what is above, and one that the lab answers without knowing how.
OTHERS = {"PUT virtualnetworkgateways 201", "PUT virtualnetworks 201", "PUT virtualnetworks/subnets 201"}
NOT_SIMULATED = {"POST virtualNetworkGateways/generatevpnprofile 202"}


@pytest.mark.skipif(not FILE.exists(), reason="the recorded durations are not beside this checkout")
def test_durations_are_the_recorded_medians() -> None:
    found = json.loads(FILE.read_text())
    operations = found["operations"]
    assert {name: operations[name]["median"] for name in RECORDED} == RECORDED
    assert set(operations) == set(RECORDED) | OTHERS | NOT_SIMULATED
    assert found["other_sources"]["dns cache of disconnected tunnels, s"] == durations.DNS_CACHE
