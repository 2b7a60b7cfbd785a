"""Adoption through the real SDK and the real vault client, of what `az network vnet-gateway create` and its kind make:
imported, marked, changed in one field, let go; and nothing else of it is ever another."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from shared.azure.arm import AzureArm
from shared.azure.calls import Http
from shared.azure.settings import AzureSettings
from shared.azure.vault import KeyVault
from shared.control.services import Services
from shared.control.unit import load
from shared.domain import parse
from shared.domain.arm import ArmKind, ArmRef
from shared.domain.model import ControllerId
from shared.wiring import App, build
from tests import existing
from tests.fakes import FakeResolver, ModelQueue, ModelStore, SeededRandom
from tests.lab.azure.world import GROUP, KEY, AsyncLabCredential, World

HUB, HOME = "vpn-office", "office-home"
OPERATIONS = {
    ArmKind.VIRTUAL_NETWORK: "virtual_networks",
    ArmKind.PUBLIC_IP: "public_ip_addresses",
    ArmKind.GATEWAY: "virtual_network_gateways",
    ArmKind.LOCAL_GATEWAY: "local_network_gateways",
    ArmKind.CONNECTION: "virtual_network_gateway_connections",
}


@dataclass
class Office:
    world: World
    app: App
    services: Services
    client: Any

    def here(self, ref: ArmRef) -> ArmRef:
        return ArmRef(self.world.subscription, GROUP, ref.kind, ref.name)

    async def make(self) -> None:
        """Today's Azure takes no SKU without zones, and this lab no IPv6; the rest is as in tests/existing.py."""
        for ref, given in existing.bodies().items():
            text = (
                json.dumps(given).replace(existing.SUBSCRIPTION, self.world.subscription).replace("VpnGw1", "VpnGw1AZ")
            )
            body = json.loads(text.replace(existing.GROUP, GROUP).replace(existing.KEY, KEY))
            if ref.kind is ArmKind.VIRTUAL_NETWORK:
                body["properties"]["addressSpace"] = {"addressPrefixes": ["10.20.0.0/16"]}
            if ref.kind is ArmKind.PUBLIC_IP:
                body["zones"] = ["1", "2", "3"]
            made = getattr(self.client, OPERATIONS[ref.kind])
            await (await made.begin_create_or_update(GROUP, ref.name, body)).result()

    async def azure(self) -> dict[str, Any]:
        """Every resource in full, the key included, by name: what Homelink has no business to change."""
        found = {}
        for ref in existing.REFS:
            body = (await getattr(self.client, OPERATIONS[ref.kind]).get(GROUP, ref.name)).as_dict()
            body["properties"].pop("connectionStatus", None)
            found[ref.name] = json.loads(json.dumps(body).replace(str(body["etag"]).replace('"', '\\"'), "etag"))
        return found

    async def steps(self, count: int) -> None:
        for _ in range(count):
            await self.app.reconciler.step(HUB)
            await self.world.clock.advance(20)

    async def documents(self) -> tuple[dict[str, Any], dict[str, Any]]:
        request = {**existing.REQUEST, "gateway": self.here(existing.GATEWAY).id()}
        found = await self.app.adoption.read(parse.import_request(request))
        [connection] = found.connections
        return found.gateway.draft.document, existing.completed(connection.draft.document)


@pytest.fixture
async def office(world: World) -> AsyncIterator[Office]:
    http, credential = Http(world.ca), AsyncLabCredential(world.lab)
    url = world.lab.base_url
    settings = AzureSettings("ctl", url, url, f"{url}/.default", ca_file=world.ca, verify_vault_challenge=False)
    arm, vault = AzureArm(settings, http, credential), KeyVault(settings, http, credential)
    services = Services(
        arm=arm,
        resolver=FakeResolver(),
        store=ModelStore(),
        queue=ModelQueue(world.clock),
        vault=vault,
        clock=world.clock,
        random=SeededRandom(1),
        controller=ControllerId("ctl"),
    )
    async with world.aio_client() as client:
        yield Office(world, build(services), services, client)
    await arm.close()
    await vault.close()
    await http.close()


def without_tags(bodies: dict[str, Any]) -> dict[str, Any]:
    return {name: {k: v for k, v in body.items() if k != "tags"} for name, body in bodies.items()}


async def test_from_import_to_release_nothing_is_changed_that_was_not_asked_for(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "homelink")
    await office.make()
    before = await office.azure()
    gateway, home = await office.documents()
    planning, specs = office.app.planning, office.app.specs
    preview = await planning.put_gateway(HUB, parse.gateway(gateway))
    planning.consented(preview, preview.hash)
    await specs.put_gateway(HUB, parse.gateway(gateway), consent=True)
    preview = await planning.put_connection(HOME, parse.connection(home))
    planning.consented(preview, preview.hash)
    await specs.put_connection(HOME, parse.connection(home), consent=True)
    assert await office.azure() == before, "consent alone writes nothing"

    await office.steps(10)
    after = await office.azure()
    assert without_tags(after) == without_tags(before)
    assert {body["tags"]["homelink-controller"] for body in after.values()} == {"ctl"}
    assert (await planning.put_connection(HOME, parse.connection(home))).azure == ()
    link = (await load(office.services.store, HUB)).links[HOME]
    secret = await office.services.vault.get(link.psk_name or "")
    assert secret is not None and (secret.value, secret.version) == (KEY, link.azure_psk_version)
    assert KEY not in repr(vars(office.services.store)) + repr(vars(office.services.queue)) + caplog.text

    changed = json.loads(json.dumps(home))
    changed["spec"]["dpdTimeoutSeconds"] = 60
    await specs.put_connection(HOME, parse.connection(changed))
    await office.steps(4)
    after = await office.azure()
    assert after["Office_Home"]["properties"].pop("dpdTimeoutSeconds") == 60
    assert before["Office_Home"]["properties"].pop("dpdTimeoutSeconds") == 0
    assert without_tags(after) == without_tags(before)

    await specs.delete_connection(HOME, release=True)
    await office.steps(6)
    await specs.delete_gateway(HUB, release=True)
    await office.steps(6)
    assert await specs.list_gateways() == []
    after = await office.azure()
    after["Office_Home"]["properties"].pop("dpdTimeoutSeconds")
    assert after == before, "the tags are as they were, too"
