"""Ansible's azure.azcollection (3.12.0) creates, reads and deletes a local gateway and a connection on the lab.

It has no way of its own to a cloud that is not Azure's: it asks azure-cli-core for a function that is not there any
more, so a `sitecustomize` gives it that function, as a user of another cloud has to.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from azure.core.pipeline.transport import AioHttpTransport
from azure.mgmt.network.aio import NetworkManagementClient

from lab.azure.clock import VirtualClock
from tests.lab.azure.clients import Outside, client, outside
from tests.lab.azure.conftest import Certs
from tests.lab.azure.world import GROUP, KEY, AsyncLabCredential, FakeResolver, World

SITE = """
import azure.cli.core.cloud as cloud


def get_cloud_from_metadata_endpoint(base):
    endpoints = cloud.CloudEndpoints(
        management=base, resource_manager=base, active_directory=base, active_directory_resource_id=base
    )
    return cloud.Cloud("lab", endpoints=endpoints)


cloud.get_cloud_from_metadata_endpoint = get_cloud_from_metadata_endpoint
"""
PREFIX = "azure.azcollection.azure_rm_"


async def _group(found: Outside, world: World) -> None:
    url = f"{found.lab.base_url}/subscriptions/{world.subscription}/resourceGroups/{GROUP}?api-version=2024-11-01"
    headers = {"Authorization": f"Bearer {world.token()}"}
    async with aiohttp.ClientSession() as session:
        answer = await session.put(url, json={"location": "westeurope"}, headers=headers, ssl=found.tls)
        assert answer.status == 201


async def _gateway(found: Outside, ca: Path) -> World:
    """A group with a gateway in it, made by the SDK: Ansible shall bring only the home's half."""
    world = World(found.lab, VirtualClock(), found.plane, FakeResolver(), ca)
    base = found.lab.base_url
    await _group(found, world)
    transport = AioHttpTransport(connection_verify=str(ca))
    async with NetworkManagementClient(
        AsyncLabCredential(found.lab), world.subscription, base_url=base, transport=transport,
        credential_scopes=[f"{base}/.default"], polling_interval=1,
    ) as arm:  # fmt: skip
        await (await arm.virtual_networks.begin_create_or_update(GROUP, "net", world.network())).result()
        await (await arm.public_ip_addresses.begin_create_or_update(GROUP, "pip", world.address())).result()
        await (await arm.virtual_network_gateways.begin_create_or_update(GROUP, "gw", world.gateway())).result()
    return world


def playbook(world: World, python: Path) -> list[dict[str, Any]]:
    local = {
        "name": "lng",
        "fqdn": "home.example",
        # Without prefixes, which Azure accepts beside BGP, the module fails when it is run again.
        "local_network_address_space": {"address_prefixes": ["192.168.1.0/24"]},
        "bgp_settings": {"asn": 65020, "bgp_peering_address": "192.168.1.1", "peer_weight": 0},
    }
    connection = {
        "name": "home",
        "virtual_network_gateway1": world.id("virtualNetworkGateways", "gw"),
        "local_network_gateway2": world.id("localNetworkGateways", "lng"),
        "connection_type": "IPsec",
        "connection_protocol": "IKEv2",
        "shared_key": KEY,
        "enable_bgp": True,
        "dpd_timeout_seconds": 45,
    }
    steps: list[tuple[str, str, dict[str, Any]]] = [
        ("create local", "localnetworkgateway", local),
        ("create local again", "localnetworkgateway", local),
        ("create connection", "virtualnetworkgatewayconnection", connection),
        ("read local", "localnetworkgateway_info", {"name": "lng"}),
        ("read connection", "virtualnetworkgatewayconnection_info", {"name": "home"}),
        ("delete connection", "virtualnetworkgatewayconnection", {"name": "home", "state": "absent"}),
        ("delete local", "localnetworkgateway", {"name": "lng", "state": "absent"}),
    ]
    common = {"resource_group": GROUP, "auth_source": "msi", "cloud_environment": world.lab.base_url}
    tasks = [{"name": name, f"{PREFIX}{module}": {**common, **given}} for name, module, given in steps]
    variables = {"ansible_python_interpreter": str(python)}
    return [{"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": variables, "tasks": tasks}]


async def test_ansible(certs: Certs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    python = client("ansible")
    (tmp_path / "sitecustomize.py").write_text(SITE)
    async with outside(certs, tmp_path) as found:
        world = await _gateway(found, certs.ca)
        book = tmp_path / "play.json"
        book.write_text(json.dumps(playbook(world, python)))
        found.environment |= {
            "PYTHONPATH": str(tmp_path),
            "AZURE_SUBSCRIPTION_ID": world.subscription,
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
            "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local"),
            "ANSIBLE_REMOTE_TEMP": str(tmp_path / "remote"),
        }
        out = await found.run(
            str(python), str(python.parent / "ansible-playbook"), "-i", "localhost,", str(book), shown="playbook"
        )
    tasks = json.loads(out)["plays"][0]["tasks"]
    done = {task["task"]["name"]: task["hosts"]["localhost"] for task in tasks}
    assert {name: result["changed"] for name, result in done.items()} == {
        "create local": True,
        "create local again": False,
        "create connection": True,
        "read local": False,
        "read connection": False,
        "delete connection": True,
        "delete local": True,
    }
    [read] = done["read local"]["state"]
    assert (read["fqdn"], read["bgp_settings"]["asn"]) == ("home.example", 65020)
    [read] = done["read connection"]["state"]
    assert (read["connection_type"], read["enable_bgp"], read["dpd_timeout_seconds"]) == ("IPsec", True, 45)
    assert found.plane.connections == {} and "gw" in found.plane.gateways
    with capsys.disabled():
        print(f"\nAnsible: {len(tasks)} tasks in {found.took[0][1]:.0f} s")
