"""Recorded ARM exchanges and how to ask them again: `Case` is one, its ids rewritten to the lab's; `Stage` puts the lab
in the state that it presupposes, derived from the recorded bodies: what they are about and what they refer to; `Replay`
sends it.

Java's recordings keep no request bodies, so the answer is sent back as a client does that reads, changes and writes.
Three things are rewritten, and nothing else:
- subscription ids and hosts become the lab's;
- a gateway's SKU becomes its zone-redundant successor and its public address Standard, since others are refused today;
- a body that the recorder replaced by "*" comes from REFUSED, made from the recorded error's own words.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from lab.azure.faults import Fault
from tests.lab.azure.conftest import Raw
from tests.lab.azure.world import World

FILE = Path(__file__).parents[3] / ".." / "shared" / "data" / "azure" / "key_exchanges.json"
EXCHANGES: list[dict[str, Any]] = json.loads(FILE.read_text()) if FILE.exists() else []

GROUP_OF = re.compile(r"/resourceGroups/([^/?]+)", re.IGNORECASE)
SUBSCRIPTION = re.compile(r"/subscriptions/[^/\"?]+")
ID = re.compile(r"^(/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.Network/[^/]+/[^/]+)", re.IGNORECASE)
REFUSED: dict[str, dict[str, Any]] = {
    "InvalidIpAddress": {"gatewayIpAddress": "10.0.0.257", "localNetworkAddressSpace": {"addressPrefixes": []}},
    "InvalidAddressPrefixFormat": {
        "gatewayIpAddress": "10.0.0.1",
        "localNetworkAddressSpace": {"addressPrefixes": ["192.168.0.0"]},
    },
    "LocalNetworkGatewayCannotHaveZeroAsn": {
        "gatewayIpAddress": "10.0.0.1",
        "localNetworkAddressSpace": {"addressPrefixes": ["192.168.0.0/16"]},
        "bgpSettings": {"asn": 0, "bgpPeeringAddress": "11.0.0.1"},
    },
    "InvalidVpnClientAddressPrefixOrCidr": {
        "vpnClientConfiguration": {"vpnClientAddressPool": {"addressPrefixes": ["10.0.0.0"]}}
    },
}
REGION = "westus2"


@dataclass
class Case:
    """One exchange, its ids rewritten to the lab's subscription."""

    number: int
    src: str
    method: str
    path: str
    version: str
    request: Any
    status: int
    headers: dict[str, str]
    body: Any

    @classmethod
    def of(cls, number: int, subscription: str) -> Case:
        item = EXCHANGES[number]
        ours = f"/subscriptions/{subscription}"
        text = SUBSCRIPTION.sub(ours, json.dumps([item["url"], item.get("req"), item["body"]]))
        url, request, body = json.loads(text)
        path, _, query = url.partition("?")
        version = re.search(r"api-version=([\w-]+)", query)
        assert version is not None
        headers = {name.lower(): str(value) for name, value in item["headers"].items()}
        path = "/subscriptions/" + path.partition("/subscriptions/")[2]
        return cls(number, item["src"], item["method"], path, version[1], request, item["status"], headers, body)

    @property
    def age(self) -> str:
        return min(self.version, parsedate_to_datetime(self.headers["date"]).date().isoformat())

    @property
    def kind(self) -> str:
        """The resource type (or `operations`, `operationResults`), then the actions or children below it."""
        rest = self.path.partition("/providers/Microsoft.Network/")[2].split("/")
        return rest[2] if rest[0] == "locations" else "/".join(rest[0::2] if len(rest) != 3 else [rest[0], rest[2]])

    @property
    def resource(self) -> str | None:
        found = ID.match(self.path)
        return found[1] if found else None


class Stage:
    """Puts the lab in the state that a recording presupposes."""

    def __init__(self, raw: Raw, world: World, case: Case) -> None:
        self.raw, self.world, self.case = raw, world, case
        self.location = REGION
        self.made: set[str] = set()

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, str], Any]:
        return await self.raw(method, f"{path}?api-version={self.case.version}", body)

    async def done(self, answer: tuple[int, dict[str, str], Any]) -> tuple[int, dict[str, str], Any]:
        assert answer[0] < 300, answer
        await self.world.clock.advance(10_000)
        return answer

    async def group(self, path: str) -> None:
        found = GROUP_OF.search(path)
        if found is not None:
            base = f"/subscriptions/{self.world.subscription}/resourceGroups/{found[1]}"
            if (await self.ask("GET", base))[0] == 404:
                assert (await self.ask("PUT", base, {"location": self.location}))[0] == 201

    def recorded_of(self, resource_id: str) -> Any:
        """A recorded body of the resource: this exchange's, else another's (the newest state first seen)."""
        mine = [self.case.body, *(self.case.body or {}).get("value", [])] if isinstance(self.case.body, dict) else []
        others = [Case.of(n, self.world.subscription) for n, e in enumerate(EXCHANGES) if e["src"] == self.case.src]
        theirs = [c.body for c in others if isinstance(c.body, dict)]
        lists = [item for body in theirs for item in body.get("value") or []]
        for body in [*mine, *theirs, *lists]:
            if isinstance(body, dict) and str(body.get("id", "")).lower() == resource_id.lower():
                return body
        return None

    def references(self, value: Any, own: str) -> list[str]:
        """Ids of other resources that a body refers to."""
        found: list[str] = []
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(inner, (dict, list)):
                found += self.references(inner, own)
            elif name == "id" and isinstance(inner, str) and ID.match(inner):
                found.append(inner)
        return [reference for reference in found if not reference.lower().startswith(own.lower())]

    async def have(self, resource_id: str) -> None:
        """The resource exists and is Succeeded, with everything it refers to."""
        if resource_id.lower() in self.made:
            return
        self.made.add(resource_id.lower())
        body = self.recorded_of(resource_id) or self.default(resource_id)
        await self.prepare(body, resource_id)
        await self.done(await self.ask("PUT", resource_id, self.today(body, resource_id)))

    async def prepare(self, body: Any, resource_id: str) -> None:
        """What a PUT of the body presupposes."""
        await self.group(resource_id)
        for reference in self.references(body, resource_id):
            match = ID.match(reference)
            assert match is not None
            await self.have(match[1])

    def default(self, resource_id: str) -> dict[str, Any]:
        """A resource that is referred to, but that no recording shows."""
        kind, name = resource_id.split("/")[-2:]
        at = {"location": self.location}
        base = resource_id.rpartition(f"/{kind}/")[0]
        if kind == "virtualNetworks":
            subnets = [{"name": "GatewaySubnet", "properties": {"addressPrefix": self.subnet()}}]
            if "/subnets/" in self.case.path:
                subnets = []
            space = {"addressPrefixes": ["10.0.0.0/8", "192.168.0.0/16"]}
            return {**at, "properties": {"addressSpace": space, "subnets": subnets}}
        if kind == "publicIPAddresses":
            return {**at, "properties": {"publicIPAllocationMethod": "Static"}}
        if kind == "localNetworkGateways":
            bgp = {"asn": 65020, "bgpPeeringAddress": "192.168.3.1"}
            space = {"addressPrefixes": ["192.168.3.0/24"]}
            given = {"gatewayIpAddress": "40.71.184.214", "localNetworkAddressSpace": space}
            return {**at, "properties": {**given, **({"bgpSettings": bgp} if self.bgp() else {})}}
        if kind == "virtualNetworkGateways":
            config = {
                "name": "ipcfg",
                "properties": {
                    "publicIPAddress": {"id": f"{base}/publicIPAddresses/pip-{name}"},
                    "subnet": {"id": f"{base}/virtualNetworks/net-{name}/subnets/GatewaySubnet"},
                },
            }
            sku = {"name": "VpnGw1", "tier": "VpnGw1"}
            return {**at, "properties": {"enableBgp": True, "sku": sku, "ipConfigurations": [config]}}
        if kind == "connections":
            return {
                **at,
                "properties": {
                    "connectionType": "IPsec",
                    "virtualNetworkGateway1": {"id": f"{base}/virtualNetworkGateways/gw"},
                    "localNetworkGateway2": {"id": f"{base}/localNetworkGateways/lng"},
                    "sharedKey": "abc",
                },
            }
        assert kind == "networkWatchers", kind
        return at

    def bgp(self) -> bool:
        """Whether the recording is of a connection with BGP."""
        resource = self.recorded_of(self.case.resource or "") or {}
        return resource.get("properties", {}).get("enableBgp") is True

    def subnet(self) -> str:
        """Where the recorded gateway's BGP address is the last usable one."""
        text = json.dumps(self.case.body)
        found = re.search(r'"bgpPeeringAddress": "(\d+\.\d+\.\d+)\.(\d+)"', text)
        if found is None:
            return "10.0.1.0/27"
        size = 24 if found[2] == "254" else 27
        return f"{found[1]}.0/{size}" if size == 24 else f"{found[1]}.{int(found[2]) // 32 * 32}/27"

    def today(self, body: Any, resource_id: str) -> Any:
        """The body with what Azure has stopped to accept replaced by its successor."""
        body = json.loads(json.dumps(body))
        sku = body.get("properties", {}).get("sku")
        if sku and sku["name"] in ("VpnGw1", "VpnGw2"):
            sku["name"] = sku["tier"] = sku["name"] + "AZ"
        key = body.get("properties", {}).get("sharedKey")
        if key and len(key) > 128:
            body["properties"]["sharedKey"] = "abc"  # the recorder's ciphertext
        if "publicIPAllocationMethod" in body.get("properties", {}) and self.case.resource != resource_id:
            body.update(sku={"name": "Standard"}, zones=["1", "2", "3"])
            body["properties"]["publicIPAllocationMethod"] = "Static"
        return body


class Replay:
    """Prepares and sends one exchange."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.case = stage, stage.case

    async def send(self) -> tuple[int, dict[str, str], Any]:
        case, stage = self.case, self.stage
        if case.kind in ("operations", "operationResults"):
            return await self._poll()
        await stage.group(case.path)
        if case.kind.endswith("CheckDnsNameAvailability"):
            return await stage.raw("GET", f"{case.path}?domainNameLabel=pydomain&api-version={case.version}")
        if case.status == 400:
            return await self._refused()
        if case.status == 404:
            return await self._missing()
        if case.status == 409:
            await stage.have(case.resource or "")
            assert (await stage.ask("PUT", f"{case.resource}/sharedkey", {"value": "TestSharedKeyValue"}))[0] == 200
        elif case.method == "PUT":
            return await self._put()
        elif case.resource is None:  # a list
            for item in case.body["value"]:
                await stage.have(item["id"])
        elif case.status != 204:
            for item in (case.body or {}).get("value", []) if case.kind.endswith("/connections") else []:
                await stage.have(item["id"])
            await stage.have(case.resource)
            if case.kind.endswith("/subnets"):
                await stage.done(await stage.ask("PUT", case.path, case.body))
        request = {"tags": case.body["tags"]} if case.method == "PATCH" else None
        return await stage.ask(case.method, case.path, request)

    async def _put(self) -> tuple[int, dict[str, str], Any]:
        case, stage = self.case, self.stage
        resource = case.resource or ""
        request = case.request if isinstance(case.request, dict) else None
        if case.kind.endswith("/sharedkey"):
            await stage.have(resource)
            return await stage.ask("PUT", case.path, {"value": "TestSharedKeyValue"})
        if "/subnets" in case.kind:
            await stage.have(resource)
            return await stage.ask("PUT", case.path, request)
        if case.status == 200:
            await stage.have(resource)
        else:
            await stage.prepare(case.body, resource)
        return await stage.ask("PUT", case.path, stage.today(request or case.body, resource))

    async def _refused(self) -> tuple[int, dict[str, str], Any]:
        case, stage = self.case, self.stage
        base = stage.default(case.resource or "")
        await stage.prepare(base, case.resource or "")
        properties = {**base["properties"], **REFUSED[case.body["error"]["code"]]}
        return await stage.ask("PUT", case.path, stage.today({**base, "properties": properties}, case.path))

    async def _missing(self) -> tuple[int, dict[str, str], Any]:
        """Never there (ResourceNotFound), or there no more and below what is there (NotFound)."""
        case, stage = self.case, self.stage
        if case.body["error"]["code"] == "NotFound":
            await stage.have(case.resource or "")
            if case.resource == case.path:
                await stage.done(await stage.ask("DELETE", case.path))
        return await stage.ask("GET", case.path)

    async def _poll(self) -> tuple[int, dict[str, str], Any]:
        """An operation in the recorded state: of a local gateway, a gateway's reset or a failed creation."""
        case, stage = self.case, self.stage
        world = stage.world
        base = f"/subscriptions/{world.subscription}/resourceGroups/rg-poll/providers/Microsoft.Network"
        lng, gateway = f"{base}/localNetworkGateways/lng", f"{base}/virtualNetworkGateways/gw"
        which = "azure-asyncoperation" if case.kind == "operations" else "location"
        failure = (case.body or {}).get("error", {}).get("code")
        if case.status == 204:
            await stage.have(lng)
            started = await stage.ask("DELETE", lng)
        elif case.kind == "operationResults":
            await stage.have(gateway)
            started = await stage.ask("POST", f"{gateway}/reset")
        elif failure == "GwmOperationTimeOut":
            await stage.prepare(stage.default(gateway), gateway)
            words = case.body["error"]
            world.lab.faults.add(
                Fault("fail", "PUT", "/virtualNetworkGateways/", 1, 500, words["code"], words["message"], None, 7200)
            )
            started = await stage.ask("PUT", gateway, stage.today(stage.default(gateway), gateway))
        else:
            body = stage.default(lng)
            if failure is not None:
                body["properties"]["bgpSettings"] = {"asn": 65020, "bgpPeeringAddress": "11.0.0.257"}
            await stage.group(lng)
            started = await stage.ask("PUT", lng, body)
        running = (case.status == 202) or (case.body or {}).get("status") == "InProgress"
        if not running:
            await stage.done(started)
        return await stage.raw("GET", started[1][which])
