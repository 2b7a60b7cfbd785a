"""A wrong key fails in charon and a wrong ASN in bgpd, for real; the status says so, and Homelink puts both right."""

from __future__ import annotations

import pytest

from lab import scenario
from lab.client import eventually
from lab.world import SUBSCRIPTION, World
from shared.azure.arm import AzureArm
from shared.azure.calls import Http
from shared.azure.credential import credential
from shared.azure.settings import read_settings
from shared.domain.arm import ArmKind, ArmRef
from shared.seams import OperationState

pytestmark = pytest.mark.lab
QUICK = "heartbeat_s = 5\nnudge_s = 5"


async def condition(world: World, kind: str) -> tuple[str, str]:
    status, reason, _ = (await world.api.conditions("connections", "home"))[kind]
    return status, reason


async def set_key_in_azure(world: World, value: str) -> None:
    """What somebody with the portal could do behind Homelink's back. A live SA proves no key, so it is reset too."""
    settings = read_settings(world.settings)
    http = Http(settings.ca_file)
    identity = credential(http, world.settings)
    try:
        ref = ArmRef(SUBSCRIPTION, "rg-homelink", ArmKind.CONNECTION, "home")
        arm = AzureArm(settings, http, identity)
        started = await arm.set_shared_key(ref, value)

        async def over() -> bool:
            return (await arm.poll(str(started.operation_url))).state is OperationState.SUCCEEDED

        await eventually("the key change ending", over, within=30)
        await arm.reset_connection(ref)
    finally:
        await identity.close()
        await http.close()


async def test_a_wrong_key_and_a_wrong_asn_are_told_and_mended(monkeypatch: pytest.MonkeyPatch) -> None:
    async with World(factor=240, logs=scenario.logs_folder("test-mismatch")) as world:
        world.as_azure_would(monkeypatch.setenv)
        await scenario.join(world, lambda _: None, timing=QUICK)

        await set_key_in_azure(world, "SomebodyElsesKey0123456789")

        async def refused() -> bool:
            return await condition(world, "TunnelUp") == ("False", "AuthenticationFailed")

        await eventually("the status naming the key", refused, within=60)
        log = (world.folder / "home" / "charon.log").read_text(errors="replace")
        assert "AUTHENTICATION_FAILED" in log or "AUTH_FAILED" in log
        assert not any((await scenario.pings(world)).values())

        await world.api.call("PUT", "connections/home/psk", {"value": "ANewKeyForBothEnds9876543210"})

        async def ready() -> bool:
            return (await condition(world, "Ready"))[0] == "True"

        await eventually("both ends having the new key", ready, within=60)

        await world.agent_command("pause")
        neighbour = "neighbor 10.0.1.30 remote-as"
        frr = world.network.homes["home"].frr
        await frr.configure(["router bgp 65010", f"{neighbour} 65016"])

        async def named() -> bool:  # for a few seconds of each attempt only
            return "Bad Peer AS" in str(await frr.show("show bgp neighbors 10.0.1.30 json"))

        async def wrong_asn() -> bool:
            return await condition(world, "BgpEstablished") == ("False", "AsnMismatch")

        await eventually("bgpd naming the ASN", named, within=120)
        await eventually("the status naming the ASN", wrong_asn, within=120)

        await world.agent_command("resume")
        await eventually("the agent mending the neighbour", ready, within=90)
