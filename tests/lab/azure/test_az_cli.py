"""The unmodified az CLI builds, reads, resets and deletes a VPN on the lab (about a minute, most of it az starting)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.lab.azure.clients import client, outside
from tests.lab.azure.conftest import Certs
from tests.lab.azure.world import KEY

POLICY = (
    "--ike-encryption AES256 --ike-integrity SHA256 --dh-group DHGroup14 --ipsec-encryption GCMAES256 "
    "--ipsec-integrity GCMAES256 --pfs-group PFS2048 --sa-lifetime 27000 --sa-max-size 102400000"
)


async def test_az_cli(certs: Certs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    python = client("az")
    async with outside(certs, tmp_path) as world:
        world.environment |= {
            "AZURE_CONFIG_DIR": str(tmp_path / "az"),
            "AZURE_CORE_COLLECT_TELEMETRY": "false",
            "AZURE_CORE_INSTANCE_DISCOVERY": "false",
            "AZURE_CORE_ONLY_SHOW_ERRORS": "true",
        }

        async def az(line: str, *more: str) -> Any:
            words = [*line.split(), *more]
            shown = " ".join(word for word in words[:4] if not word.startswith("-"))
            out = await world.run(str(python), "-m", "azure.cli", *words, "-o", "json", shown=shown)
            return json.loads(out) if out.strip() else None

        base = world.lab.base_url
        await az(
            f"cloud register -n lab --endpoint-resource-manager {base}/ --endpoint-active-directory {base} "
            f"--endpoint-active-directory-resource-id {base}/"
        )
        await az("cloud set -n lab")
        [account] = await az("login --identity")
        assert account["id"] == world.lab.config.subscription

        await az("group create -n rg -l westeurope")
        net = "network vnet create -g rg -n net --address-prefix 10.0.0.0/16"
        await az(f"{net} --subnet-name GatewaySubnet --subnet-prefix 10.0.1.0/27")
        await az("network public-ip create -g rg -n pip --sku Standard --allocation-method Static --zone 1 2 3")
        made = "network vnet-gateway create -g rg -n gw --vnet net --public-ip-address pip --sku VpnGw1AZ"
        await az(f"{made} --vpn-type RouteBased --gateway-type Vpn --asn 65010 --no-wait")
        await az("network vnet-gateway wait -g rg -n gw --created --interval 1")
        local = "network local-gateway create -g rg -n lng --gateway-ip-address 198.51.100.23"
        await az(f"{local} --asn 65020 --bgp-peering-address 192.168.1.1")
        # There is no --fqdn in az CLI, so the name goes in by the generic update.
        named = await az("network local-gateway update -g rg -n lng --remove gatewayIpAddress --set fqdn=home.example")
        assert (named["fqdn"], named.get("gatewayIpAddress")) == ("home.example", None)

        connect = "network vpn-connection create -g rg -n home --vnet-gateway1 gw --local-gateway2 lng --enable-bgp"
        created = (await az(connect, "--shared-key", KEY))["resource"]
        assert created["connectionType"] == "IPsec" and created["provisioningState"] == "Succeeded"
        assert world.plane.connections["home"].psk == KEY
        assert world.plane.connections["home"].peer_address == "198.51.100.23"
        await az("network vpn-connection ipsec-policy add -g rg --connection-name home", *POLICY.split())
        shown = await az("network vpn-connection show -g rg -n home")
        assert shown["ipsecPolicies"][0]["dhGroup"] == "DHGroup14" and shown["connectionStatus"]
        assert [item["name"] for item in await az("network vpn-connection list -g rg")] == ["home"]
        assert [item["name"] for item in await az("network vpn-connection list -g rg --vnet-gateway gw")] == ["home"]
        await az("network vpn-connection shared-key update -g rg --connection-name home --value", "Another_key2")
        assert world.plane.connections["home"].psk == "Another_key2"

        gateway = "network vnet-gateway"
        assert (await az(f"{gateway} reset -g rg -n gw"))["name"] == "gw"  # asks for gatewayVip=None
        assert world.plane.resets == ["gateway gw"]
        [peer] = (await az(f"{gateway} list-bgp-peer-status -g rg -n gw"))["value"]
        assert (peer["neighbor"], peer["state"]) == ("192.168.1.1", "Connected")
        [route] = (await az(f"{gateway} list-learned-routes -g rg -n gw"))["value"]
        assert route["network"] == "192.168.1.0/24"
        [route] = (await az(f"{gateway} list-advertised-routes -g rg -n gw --peer 192.168.1.1"))["value"]
        assert route["nextHop"] == "192.168.1.1"
        assert [item["name"] for item in await az(f"{gateway} list -g rg")] == ["gw"]

        await az("network vpn-connection delete -g rg -n home")
        assert world.plane.connections == {}
        await az("group delete -n rg --yes")
        assert await az("group list") == [] and world.plane.gateways == {}
    with capsys.disabled():
        total = sum(seconds for _, seconds in world.took)
        slowest = max(world.took, key=lambda item: item[1])
        print(f"\naz CLI: {len(world.took)} commands in {total:.0f} s, slowest {slowest[0]} {slowest[1]:.1f} s")
