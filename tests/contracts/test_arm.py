"""What every Arm must do: the fake that the reconciler's tests use, and the SDK adapter against the lab's ARM."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest

from shared.azure.arm import AzureArm
from shared.errors import ArmBusy, ArmRejected, PermanentError
from shared.seams import Arm, ArmKind, ArmRef, Json, OperationState, Started
from tests.contracts.conftest import RealAzure
from tests.fakes import FakeArm, FakeClock

PSK = "s3cretPreSharedKey"
LOCATION = "westeurope"


@dataclass
class World:
    arm: Arm
    subscription: str
    advance: Callable[[float], Awaitable[object]]
    requests: Callable[[], int]

    def ref(self, kind: ArmKind, name: str, group: str = "rg") -> ArmRef:
        return ArmRef(self.subscription, group, kind, name)

    @property
    def vnet(self) -> ArmRef:
        return self.ref(ArmKind.VIRTUAL_NETWORK, "vnet")

    @property
    def address(self) -> ArmRef:
        return self.ref(ArmKind.PUBLIC_IP, "pip")

    @property
    def gateway(self) -> ArmRef:
        return self.ref(ArmKind.GATEWAY, "gw")

    @property
    def home(self) -> ArmRef:
        return self.ref(ArmKind.LOCAL_GATEWAY, "home")

    @property
    def link(self) -> ArmRef:
        return self.ref(ArmKind.CONNECTION, "link")

    async def done(self, started: Started | None) -> None:
        """Lets the operation end, and sees it end well."""
        assert started is not None and started.operation_url is not None
        for _ in range(400):
            operation = await self.arm.poll(started.operation_url)
            if operation.state is not OperationState.RUNNING:
                break
            assert operation.retry_after_s > 0
            await self.advance(operation.retry_after_s)
        assert operation.state is OperationState.SUCCEEDED, operation

    async def with_gateway(self) -> World:
        await self.arm.ensure_resource_group(self.subscription, "rg", LOCATION)
        await self.done(await self.arm.put(self.vnet, vnet_body()))
        await self.done(await self.arm.put(self.address, address_body()))
        await self.done(await self.arm.put(self.gateway, gateway_body(self)))
        return self

    async def with_connection(self) -> World:
        await self.with_gateway()
        await self.done(await self.arm.put(self.home, home_body()))
        await self.done(await self.arm.put(self.link, link_body(self)))
        return self


def vnet_body(**tags: str) -> Json:
    subnets = [
        {"name": "GatewaySubnet", "properties": {"addressPrefix": "10.0.255.0/27"}},
        {"name": "default", "properties": {"addressPrefix": "10.0.0.0/24"}},
    ]
    properties = {"addressSpace": {"addressPrefixes": ["10.0.0.0/16"]}, "subnets": subnets}
    return {"location": LOCATION, "tags": tags, "properties": properties}


def address_body() -> Json:
    return {
        "location": LOCATION,
        "sku": {"name": "Standard"},
        "zones": ["1", "2", "3"],
        "properties": {"publicIPAllocationMethod": "Static", "publicIPAddressVersion": "IPv4"},
    }


def gateway_body(world: World) -> Json:
    configuration = {
        "privateIPAllocationMethod": "Dynamic",
        "subnet": {"id": f"{world.vnet.id()}/subnets/GatewaySubnet"},
        "publicIPAddress": {"id": world.address.id()},
    }
    return {
        "location": LOCATION,
        "tags": {"owner": "contract"},
        "properties": {
            "gatewayType": "Vpn",
            "vpnType": "RouteBased",
            "vpnGatewayGeneration": "Generation1",
            "sku": {"name": "VpnGw1AZ", "tier": "VpnGw1AZ"},
            "enableBgp": True,
            "activeActive": False,
            "bgpSettings": {"asn": 65515},
            "ipConfigurations": [{"name": "default", "properties": configuration}],
        },
    }


def home_body(address: str = "198.51.100.23") -> Json:
    return {
        "location": LOCATION,
        "properties": {
            "gatewayIpAddress": address,
            "bgpSettings": {"asn": 65010, "bgpPeeringAddress": "192.168.1.1"},
        },
    }


def link_body(world: World) -> Json:
    return {
        "location": LOCATION,
        "properties": {
            "connectionType": "IPsec",
            "connectionProtocol": "IKEv2",
            "connectionMode": "ResponderOnly",
            "enableBgp": True,
            "virtualNetworkGateway1": {"id": world.gateway.id()},
            "localNetworkGateway2": {"id": world.home.id()},
            "sharedKey": PSK,
        },
    }


@pytest.fixture
def fake() -> World:
    clock = FakeClock()
    arm = FakeArm(clock)

    async def advance(seconds: float) -> None:
        clock.advance(seconds)

    return World(arm, "sub", advance, lambda: len(arm.requests))


@pytest.fixture
async def lab(real: RealAzure) -> AsyncIterator[World]:
    arm = AzureArm(real.settings, real.http, real.credential)

    def requests() -> int:
        return real.lab.metrics.reads + real.lab.metrics.writes

    yield World(arm, real.lab.config.subscription, real.clock.advance, requests)
    await arm.close()


@pytest.fixture(params=["fake", "lab"])
def world(request: pytest.FixtureRequest) -> World:
    found: World = request.getfixturevalue(request.param)
    return found


async def test_what_is_not_there_is_none(world: World) -> None:
    assert await world.arm.get(world.vnet) is None  # nor is its resource group
    await world.arm.ensure_resource_group(world.subscription, "rg", LOCATION)
    assert [await world.arm.get(world.ref(kind, "none")) for kind in ArmKind] == [None] * 5
    assert [await world.arm.delete(world.ref(kind, "none")) for kind in ArmKind] == [None] * 5


async def test_a_resource_group_may_be_ensured_again(world: World) -> None:
    await world.arm.ensure_resource_group(world.subscription, "rg", LOCATION)
    await world.done(await world.arm.put(world.vnet, vnet_body()))
    await world.arm.ensure_resource_group(world.subscription, "rg", LOCATION)
    assert await world.arm.get(world.vnet) is not None


async def test_a_write_is_started_and_polled_once_at_a_time(world: World) -> None:
    await world.arm.ensure_resource_group(world.subscription, "rg", LOCATION)
    started = await world.arm.put(world.vnet, vnet_body(owner="me"))
    assert started.operation_url and started.operation_url.startswith("https://") and started.retry_after_s > 0
    assert (await world.arm.poll(started.operation_url)).state is OperationState.RUNNING
    early = await world.arm.get(world.vnet)
    assert early is not None and early["properties"]["provisioningState"] == "Updating"
    await world.done(started)
    found = await world.arm.get(world.vnet)
    assert found is not None
    assert found["id"] == world.vnet.id() and found["name"] == "vnet"
    assert (found["location"], found["tags"]) == (LOCATION, {"owner": "me"})
    assert found["properties"]["provisioningState"] == "Succeeded"
    assert found["properties"]["addressSpace"] == {"addressPrefixes": ["10.0.0.0/16"]}
    assert {s["name"]: s["properties"]["addressPrefix"] for s in found["properties"]["subnets"]} == {
        "GatewaySubnet": "10.0.255.0/27",
        "default": "10.0.0.0/24",
    }


async def test_a_put_replaces_the_whole_resource(world: World) -> None:
    await world.arm.ensure_resource_group(world.subscription, "rg", LOCATION)
    await world.done(await world.arm.put(world.home, home_body() | {"tags": {"a": "1"}}))
    before = await world.arm.get(world.home)
    await world.done(await world.arm.put(world.home, home_body("198.51.100.99")))
    after = await world.arm.get(world.home)
    assert before is not None and after is not None
    assert after["properties"]["gatewayIpAddress"] == "198.51.100.99"
    assert not after.get("tags") and after["etag"] != before["etag"]


async def test_a_finished_gateway_says_its_bgp_address(world: World) -> None:
    await world.arm.ensure_resource_group(world.subscription, "rg", LOCATION)
    await world.done(await world.arm.put(world.vnet, vnet_body()))
    await world.done(await world.arm.put(world.address, address_body()))
    started = await world.arm.put(world.gateway, gateway_body(world))
    early = await world.arm.get(world.gateway)
    assert early is not None and early["properties"]["bgpSettings"]["asn"] == 0
    assert not early["properties"]["bgpSettings"].get("bgpPeeringAddress")
    await world.done(started)
    gateway, address = await world.arm.get(world.gateway), await world.arm.get(world.address)
    assert gateway is not None and address is not None
    bgp = gateway["properties"]["bgpSettings"]
    assert (bgp["asn"], bgp["bgpPeeringAddress"]) == (65515, "10.0.255.30")
    assert bgp["bgpPeeringAddresses"][0]["defaultBgpIpAddresses"] == ["10.0.255.30"]
    assert bgp["bgpPeeringAddresses"][0]["tunnelIpAddresses"] == [address["properties"]["ipAddress"]]


async def test_the_pre_shared_key_never_comes_back(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await world.with_connection()
    found = await world.arm.get(world.link)
    assert found is not None and "sharedKey" not in found["properties"]
    assert found["properties"]["connectionStatus"] in ("Unknown", "NotConnected")
    assert found["properties"]["virtualNetworkGateway1"]["id"] == world.gateway.id()
    assert await world.arm.has_shared_key(world.link, PSK)
    await world.done(await world.arm.set_shared_key(world.link, PSK + "2"))
    assert not await world.arm.has_shared_key(world.link, PSK)
    assert await world.arm.has_shared_key(world.link, PSK + "2")
    assert PSK not in repr(found) + repr(await world.arm.get(world.link)) + caplog.text + repr(world.arm)


async def test_a_list_is_of_one_kind_in_one_group(world: World) -> None:
    async def names(group: str, kind: ArmKind) -> list[str]:
        return [str(item["name"]) for item in await world.arm.list(world.subscription, group, kind)]

    assert [await names("rg", kind) for kind in ArmKind] == [[]] * 5, "there is no such group"
    await world.with_gateway()
    assert await names("rg", ArmKind.LOCAL_GATEWAY) == []
    await world.arm.ensure_resource_group(world.subscription, "other", LOCATION)
    for group, name in (("rg", "home"), ("rg", "home2"), ("other", "elsewhere")):
        await world.done(await world.arm.put(world.ref(ArmKind.LOCAL_GATEWAY, name, group), home_body()))
    assert sorted(await names("RG", ArmKind.LOCAL_GATEWAY)) == ["home", "home2"]
    assert await names("other", ArmKind.LOCAL_GATEWAY) == ["elsewhere"]
    kinds = (ArmKind.VIRTUAL_NETWORK, ArmKind.PUBLIC_IP, ArmKind.GATEWAY, ArmKind.CONNECTION)
    assert [await names("rg", kind) for kind in kinds] == [["vnet"], ["pip"], ["gw"], []]


async def test_a_list_tells_what_get_tells_but_no_key_and_no_status(world: World) -> None:
    await world.with_connection()
    for ref in (world.gateway, world.home, world.link):
        [listed] = await world.arm.list(world.subscription, "rg", ref.kind)
        found = await world.arm.get(ref)
        assert found is not None and not {"sharedKey", "connectionStatus"} & set(listed["properties"])
        found["properties"].pop("connectionStatus", None)
        assert listed == found and PSK not in repr(listed)
    started = await world.arm.put(world.home, home_body("198.51.100.99"))
    [early] = await world.arm.list(world.subscription, "rg", ArmKind.LOCAL_GATEWAY)
    assert early["properties"]["provisioningState"] == "Updating"
    await world.done(started)


async def test_one_write_at_a_time_on_a_gateway(world: World) -> None:
    await world.with_connection()
    started = await world.arm.set_shared_key(world.link, PSK)
    for act in (
        world.arm.put(world.link, link_body(world)),
        world.arm.delete(world.link),
        world.arm.reset_connection(world.link),
        world.arm.reset_gateway(world.gateway),
    ):
        with pytest.raises(ArmBusy) as busy:
            await act
        assert (busy.value.code, busy.value.locked) == ("AnotherOperationInProgress", True)
        assert busy.value.delay_s > 0 and PSK not in str(busy.value)
    await world.done(started)
    await world.done(await world.arm.put(world.link, link_body(world)))


async def test_resets_are_operations(world: World) -> None:
    await world.with_connection()
    await world.done(await world.arm.reset_connection(world.link))
    await world.done(await world.arm.reset_gateway(world.gateway))
    for ref in (world.link, world.gateway):
        found = await world.arm.get(ref)
        assert found is not None and found["properties"]["provisioningState"] == "Succeeded"


async def test_what_is_not_ready_is_waited_for(world: World) -> None:
    await world.arm.ensure_resource_group(world.subscription, "rg", LOCATION)
    await world.done(await world.arm.put(world.vnet, vnet_body()))
    started = await world.arm.put(world.address, address_body())
    with pytest.raises(ArmBusy) as busy:
        await world.arm.put(world.gateway, gateway_body(world))
    assert (busy.value.code, busy.value.locked) == ("RetryableError", True)
    await world.done(started)
    await world.arm.put(world.gateway, gateway_body(world))


async def test_what_refers_to_nothing_is_refused(world: World) -> None:
    with pytest.raises(ArmRejected) as refused:
        await world.arm.put(world.vnet, vnet_body())
    assert (refused.value.status, refused.value.code) == (404, "ResourceGroupNotFound")
    await world.arm.ensure_resource_group(world.subscription, "rg", LOCATION)
    with pytest.raises(ArmRejected) as refused:
        await world.arm.put(world.gateway, gateway_body(world))
    assert (refused.value.status, refused.value.code) == (400, "InvalidResourceReference")
    for reset in (world.arm.reset_gateway(world.gateway), world.arm.reset_connection(world.link)):
        with pytest.raises(ArmRejected) as refused:
            await reset
        assert refused.value.status == 404


async def test_a_local_gateway_needs_a_peer_and_something_to_reach(world: World) -> None:
    await world.arm.ensure_resource_group(world.subscription, "rg", LOCATION)
    body = home_body()
    body["properties"].pop("bgpSettings")
    with pytest.raises(ArmRejected) as refused:
        await world.arm.put(world.home, body)
    assert refused.value.status == 400


async def test_what_is_used_cannot_be_deleted(world: World) -> None:
    await world.with_connection()
    for ref in (world.gateway, world.home):
        with pytest.raises(ArmRejected):
            await world.arm.delete(ref)
    await world.done(await world.arm.delete(world.link))
    assert await world.arm.get(world.link) is None
    await world.done(await world.arm.delete(world.home))
    await world.done(await world.arm.delete(world.gateway))
    assert [await world.arm.get(ref) for ref in (world.home, world.gateway)] == [None, None]


async def test_an_operation_that_nobody_knows_is_gone(world: World) -> None:
    await world.arm.ensure_resource_group(world.subscription, "rg", LOCATION)
    started = await world.arm.put(world.vnet, vnet_body())
    assert started.operation_url is not None
    head, _, tail = started.operation_url.partition("/operations/")
    unknown = f"{head}/operations/{'0' * 8}-0000-0000-0000-{'0' * 12}?{tail.partition('?')[2]}"
    assert (await world.arm.poll(unknown)).state is OperationState.GONE


async def test_an_operation_elsewhere_is_not_asked(world: World) -> None:
    await world.arm.ensure_resource_group(world.subscription, "rg", LOCATION)
    started = await world.arm.put(world.vnet, vnet_body())
    assert started.operation_url is not None
    host = started.operation_url.split("/")[2]
    before = world.requests()
    for bad in (
        started.operation_url.replace("https://", "http://"),
        started.operation_url.replace(host, f"{host}.example.org"),
        started.operation_url.replace(host, f"user@{host}"),
        started.operation_url.replace(host, f"{host}@example.org"),
        started.operation_url.replace(host, f"{host.split(':')[0]}:444"),
        started.operation_url.replace(host, f"{host.split(':')[0]}:x"),
        "/subscriptions/x",
        "",
    ):
        with pytest.raises(PermanentError):
            await world.arm.poll(bad)
    assert world.requests() == before
