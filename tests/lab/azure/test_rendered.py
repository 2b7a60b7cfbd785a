"""What the domain renders, put into the simulated Azure: it is taken, settles, and then nothing is left to do.

Every transit mode, with one instance and with two: a field that ARM would refuse, forget or rename shows as a Plan that
never becomes empty.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
from azure.mgmt.network.aio import NetworkManagementClient

from shared.domain import parse, plan, render
from shared.domain.arm import ArmKind, ArmRef
from shared.domain.spec import ConnectionSpec, GatewaySpec
from shared.wire.commands import SecretRef
from tests.examples import CONNECTION, GATEWAY, changed
from tests.lab.azure.world import GROUP, KEY, World

APIPA = {"mode": "apipa", "local": "169.254.21.2", "remote": "169.254.21.1"}
MODES = [
    (False, {"mode": "gatewaySubnet"}, ("10.0.1.29", "10.0.1.30")),
    (False, {"mode": "pointToPoint"}, ("172.31.255.253", "10.0.1.30")),
    (False, APIPA, ("169.254.21.2", "169.254.21.1")),
    (True, {"mode": "auto"}, ("172.31.255.253", "10.0.1.4")),
    (True, {**APIPA, "remoteSecond": "169.254.22.1"}, ("169.254.21.2", "169.254.21.1")),
]


def specs(world: World, two: bool, transit: dict[str, Any]) -> tuple[GatewaySpec, ConnectionSpec]:
    gateway = changed(changed(GATEWAY, "spec.resourceGroup", GROUP), "spec.activeActive", two)
    gateway = changed(gateway, "spec.subscriptionId", world.id("x", "y").split("/")[2])
    home = changed(CONNECTION, "spec.transit", transit)
    if transit["mode"] == "apipa":
        home = changed(home, "spec.home.bgpAddress", transit["local"])
    return parse.gateway(gateway).spec, parse.connection(home).spec


def wanted(gateway: GatewaySpec, home: ConnectionSpec) -> list[render.Desired]:
    made = render.gateway_resources("hub", gateway, "ctl", [home])
    return [*made, *render.connection_resources("home", home, "hub", gateway, "ctl", None)]


class Arm:
    def __init__(self, client: NetworkManagementClient) -> None:
        self.of: dict[ArmKind, Any] = {
            ArmKind.VIRTUAL_NETWORK: client.virtual_networks,
            ArmKind.PUBLIC_IP: client.public_ip_addresses,
            ArmKind.GATEWAY: client.virtual_network_gateways,
            ArmKind.LOCAL_GATEWAY: client.local_network_gateways,
            ArmKind.CONNECTION: client.virtual_network_gateway_connections,
        }

    async def put(self, ref: ArmRef, body: dict[str, Any]) -> None:
        body = copy.deepcopy(body)
        if ref.kind is ArmKind.CONNECTION:
            body["properties"]["sharedKey"] = KEY
        await (await self.of[ref.kind].begin_create_or_update(ref.resource_group, ref.name, body)).result()

    async def observed(self, want: list[render.Desired]) -> dict[ArmRef, Any]:
        found = {d.ref: await self.of[d.ref.kind].get(d.ref.resource_group, d.ref.name) for d in want}
        return {ref: resource.as_dict() for ref, resource in found.items()}

    async def work_off(self, want: list[render.Desired]) -> int:
        """Carries out Plans, one change each, until one is empty; how many changes it took."""
        for count in range(12):
            change = plan.make(want, [], await self.observed(want), "ctl").next()
            if change is None:
                return count
            await self.put(change.ref, change.body)
        raise AssertionError("the Plan never becomes empty")


@pytest.mark.parametrize(("two", "transit", "ends"), MODES)
async def test_it_is_taken_and_then_nothing_is_left_to_do(
    world: World, two: bool, transit: dict[str, Any], ends: tuple[str, str]
) -> None:
    gateway, home = specs(world, two, transit)
    want = wanted(gateway, home)
    async with world.aio_client() as client:
        arm = Arm(client)
        for d in want:
            await arm.put(d.ref, d.body)
        observed = await arm.observed(want)
    assert plan.make(want, [], observed, "ctl").changes == ()
    refs = render.gateway_refs("hub", gateway)
    end = render.azure_end(observed[refs[ArmKind.GATEWAY]], observed[refs[ArmKind.PUBLIC_IP]])
    assert end is not None and end.public_ip == "203.0.113.10"
    tunnel = render.tunnel("home", "ID", home, gateway, end, SecretRef("psk-ID", "v1"))
    assert (tunnel.transit.local, tunnel.transit.remote) == ends and tunnel.bgp.peer_address == ends[1]
    view = world.plane.connections["home"]
    assert view.peer_bgp_address == tunnel.bgp.local_address
    assert view.apipa == tuple(a for a in (home.transit.remote, home.transit.remote_second) if a)


async def test_from_mode_to_mode_and_from_address_to_address(world: World) -> None:
    gateway, home = specs(world, False, {"mode": "auto"})
    async with world.aio_client() as client:
        arm = Arm(client)
        for d in wanted(gateway, home):
            await arm.put(d.ref, d.body)
        _, first = specs(world, False, APIPA)
        assert await arm.work_off(wanted(gateway, first)) == 3  # gateway, local gateway, connection
        _, second = specs(world, False, {**APIPA, "remote": "169.254.21.5"})
        assert await arm.work_off(wanted(gateway, second)) == 3  # gateway with both, connection, gateway with one
        chosen = world.plane.connections["home"].apipa
        assert list(chosen) == ["169.254.21.5"]
        assert await arm.work_off(wanted(gateway, home)) == 3
        assert not world.plane.connections["home"].apipa
