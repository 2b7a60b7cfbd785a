"""Each of the recorded ARM exchanges against the lab: what was asked is asked again, and the answers are compared.

How an exchange is prepared and sent is in `replay.py`. Compared are the status; the names of headers (see
`check_headers`); and the body (see `check_body`): keys and JSON types at any depth, and the values of status,
provisioningState, code and, in errors, message. What cannot be reproduced is in LISTED with its reason. The recordings
are read where they are and are no part of the project.
"""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from tests.lab.azure.conftest import Raw
from tests.lab.azure.replay import EXCHANGES, FILE, Case, Replay, Stage
from tests.lab.azure.world import World

pytestmark = pytest.mark.skipif(not FILE.exists(), reason="the recorded exchanges are not beside this checkout")

MOST_LISTED = 15
_WATCHER = "Network Watcher's troubleshooting is another service, which the lab does not simulate"
_MACHINES = "Network Watcher's connectivity check runs between virtual machines, which the lab does not have"
_BODY = (
    "the recording has lost its body (null in place of the key object): status and headers are compared, and no more"
)
LISTED: dict[int, str] = {
    37: _WATCHER,
    38: _WATCHER,
    39: _WATCHER,
    41: _MACHINES,
    44: _WATCHER,
    45: _WATCHER,
    66: _MACHINES,
    105: _BODY,
    106: _BODY,
}

# Headers that say nothing about ARM's behaviour: the front end's and the recorder's.
NOISE = {
    "date",
    "server",
    "strict-transport-security",
    "cache-control",
    "pragma",
    "expires",
    "vary",
    "content-length",
    "x-content-type-options",
    "x-ms-request-id",
    "x-ms-correlation-request-id",
    "x-ms-routing-request-id",
}
# Fields and the first api-version that a recording shows them with. A recording that is older may lack them; xplat's
# URLs name a later api-version than the day they were recorded on, so the earlier of the two counts.
SINCE = {
    "properties.ipTags": "2019-11-01",
    "delegations": "2019-11-01",
    "privateEndpointNetworkPolicies": "2019-11-01",
    "privateLinkServiceNetworkPolicies": "2019-11-01",
    "properties.subnets[].type": "2019-11-01",
    "properties.packetCaptureDiagnosticState": "2019-11-01",
    "properties.enablePrivateIpAddress": "2019-11-01",
    "properties.ipConfigurations[].type": "2019-11-01",
    "properties.bgpSettings.bgpPeeringAddresses": "2019-11-01",
    "properties.vpnGatewayGeneration": "2019-11-01",
    "properties.vpnClientConfiguration.radiusServers": "2019-11-01",
    "properties.vpnClientConfiguration.vpnClientIpsecPolicies": "2019-11-01",
    "properties.connectionProtocol": "2019-11-01",
    "properties.useLocalAzureIpAddress": "2019-11-01",
    "properties.trafficSelectorPolicies": "2019-11-01",
    "properties.expressRouteGatewayBypass": "2019-11-01",
    "properties.dpdTimeoutSeconds": "2019-11-01",
    "properties.bgpSettings": "2019-11-01",  # in an answer to a PUT; before, it appeared when provisioning was done
    "properties.ipsecPolicies": "2017-08-01",
    "properties.usePolicyBasedTrafficSelectors": "2017-08-01",
    "properties.flowLogs": "2018-04-01",
    "properties.connectionMode": "2020-05-01",  # no recording has it; its first api-version by the published change log
    "sku.tier": "2021-01-01",  # of a public address; likewise
}
# Shown by 2019-11-01 alone, always 0, and in no published model.
GONE = {"properties.subnets[].properties.subnetID"}


def check_headers(case: Case, ours: dict[str, str]) -> None:
    """Header names, the same on both sides but for NOISE and these rules of the reference:

    - x-ms-ratelimit-*: what was counted has since changed (hourly numbers, deletes as writes), and clients' recorders
      strip it, so ours must have one where theirs has one.
    - Retry-After: .NET's and xplat's recordings keep it; Java's recorder writes 0 everywhere and Python's strips it.
    - Azure-AsyncNotification appeared during 2020, so an older answer may lack what ours has.
    """
    theirs = {name for name in case.headers if name not in NOISE and "ratelimit" not in name}
    mine = {name for name in ours if name not in NOISE and "ratelimit" not in name}
    if any("ratelimit" in name for name in case.headers):
        assert any(name.startswith("x-ms-ratelimit-remaining-subscription-") for name in ours)
    if case.src.startswith(("java", "python")):
        theirs -= {"retry-after"}
        mine -= {"retry-after"}
    if parsedate_to_datetime(case.headers["date"]).year < 2020 or case.src.startswith("python"):
        mine -= {"azure-asyncnotification"} - theirs
    assert mine == theirs


def shape(value: Any, path: str = "") -> dict[str, str]:
    """JSON type by path; list items share one path, the names of tags are data."""
    found: dict[str, str] = {}
    if isinstance(value, dict) and path.rpartition(".")[2] != "tags":
        for name, inner in value.items():
            here = f"{path}.{name}" if path else name
            found[here] = {bool: "boolean", int: "number", float: "number", str: "string", dict: "object"}.get(
                type(inner), "list" if isinstance(inner, list) else "null"
            )
            found |= shape(inner, here)
    elif isinstance(value, list):
        for inner in value:
            found |= shape(inner, f"{path}[]")
    return found


def check_body(case: Case, ours: Any) -> None:
    """Keys and types. Ours may have more where a field is younger than the recording (SINCE), and in lists that the
    recording has empty; ours may not have less, but for GONE."""
    theirs = case.body
    if theirs is None:
        assert ours is None
        return
    mine, wanted = shape(ours), shape(theirs)
    missing = {path for path in wanted if path not in mine and path not in GONE}
    assert not missing
    assert {p: t for p, t in mine.items() if p in wanted} == {p: t for p, t in wanted.items() if p in mine}
    extra = {path for path in mine if path not in wanted and not _younger(path.removeprefix("value[]."), case, wanted)}
    assert not extra
    for name in ("status", "provisioningState"):
        holders = (theirs, ours) if name == "status" else (theirs.get("properties", {}), ours.get("properties", {}))
        assert holders[0].get(name) == holders[1].get(name)
    if "error" in theirs:
        assert _words(ours["error"]) == _words(theirs["error"])


def _younger(path: str, case: Case, wanted: dict[str, str]) -> bool:
    for field, since in SINCE.items():
        below = path == field or path.startswith((f"{field}.", f"{field}["))
        anywhere = "." not in field and re.search(rf"(^|\.){re.escape(field)}(\.|\[|$)", path) is not None
        if (below or anywhere) and case.age < since:
            return True
    parts = path.split("[]")
    return any(wanted.get("[]".join(parts[:n])) == "list" and not any(
        p.startswith("[]".join(parts[:n]) + "[]") for p in wanted
    ) for n in range(1, len(parts)))  # fmt: skip


def _words(error: dict[str, Any]) -> tuple[str, str]:
    """The code and the message, without ids."""
    message = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", error["message"])
    return error["code"], message


@pytest.mark.parametrize("number", [n for n in range(len(EXCHANGES)) if n not in LISTED])
async def test_exchange(number: int, world: World, raw: Raw) -> None:
    case = Case.of(number, world.subscription)
    status, headers, body = await Replay(Stage(raw, world, case)).send()
    assert status == case.status, body
    check_headers(case, headers)
    check_body(case, body)


@pytest.mark.parametrize("number", [n for n, reason in LISTED.items() if reason == _BODY])
async def test_exchange_without_a_body(number: int, world: World, raw: Raw) -> None:
    case = Case.of(number, world.subscription)
    status, headers, body = await Replay(Stage(raw, world, case)).send()
    assert (status, case.body) == (case.status, None)
    check_headers(case, headers)
    assert set(body) == {"value"}


def test_few_exchanges_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(
            f"\n{len(EXCHANGES) - len(LISTED)} of {len(EXCHANGES)} recorded exchanges replayed, {len(LISTED)} listed:"
        )
        for reason in sorted(set(LISTED.values())):
            print(f"  {', '.join(str(n) for n in LISTED if LISTED[n] == reason)}: {reason}")
    assert set(LISTED) <= set(range(len(EXCHANGES)))
    assert len(LISTED) <= MOST_LISTED
