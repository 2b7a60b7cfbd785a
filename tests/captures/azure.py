"""The simulated ARM over the lab's real gateway: resources are PUT as the product would, and read back as it would.

So a capture's ARM bodies are ARM's own answers (scrubbed as the adapter does it), with the connectionStatus that the
gateway's charon stands for. HTTP is left out; tests/contracts holds the real adapter to the same answers.
"""

from __future__ import annotations

import asyncio
import itertools
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from lab.azure.clock import ScaledClock
from lab.azure.resolver import DnsResolver
from lab.azure.router import Call
from lab.model.arm import BASE, Azure, ModelArm
from lab.net.run import until
from lab.net.topology import RESOLVER
from shared.domain import parse, render
from shared.domain.arm import ArmKind, ArmRef
from shared.domain.bgp import BgpQuestion
from shared.domain.plan import is_settled
from shared.domain.render import Desired
from tests.agent.firewall.linux.world import HOME, Lab
from tests.examples import CONNECTION, GATEWAY, changed

FACTOR = 5_000.0
"""How much faster than real Azure works: creating a gateway takes 20 minutes there."""
API_VERSION = "2026-03-01"
GW, NAME = parse.gateway(GATEWAY).spec, "hub"


class LabAzure:
    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        lab.do(lab.plane.drop_gateway(NAME))
        lab.do(self._start())

    async def _start(self) -> None:
        numbers = itertools.count(1)
        self._azure = Azure(
            GW.subscription_id,
            ("203.0.113.10",),
            ScaledClock(FACTOR),
            self._lab.plane,
            DnsResolver(RESOLVER),
            lambda: f"00000000-0000-4000-8000-{next(numbers):012x}",
        )
        self._arm = ModelArm(self._azure, "ctl", lambda verb, ref, was: None)
        self._clockwork = asyncio.create_task(self._azure.plumbing.run())

    def order(self, asn: int, psk: str, changes: dict[ArmKind, dict[str, Any]]) -> None:
        """A gateway and the Connection `home`, whose end has that AS number; `changes` are properties to be merged."""
        spec = parse.connection(changed(CONNECTION, "spec.home.asn", asn)).spec
        wanted = [
            *render.gateway_resources(NAME, GW, "ctl"),
            *render.connection_resources(HOME, spec, NAME, GW, "ctl", None),
        ]
        self._refs = {w.ref.kind: w.ref for w in wanted}
        self._lab.do(self._order(wanted, psk, changes))

    async def _order(self, wanted: list[Desired], psk: str, changes: dict[ArmKind, dict[str, Any]]) -> None:
        await self._arm.ensure_resource_group(GW.subscription_id, GW.resource_group, GW.location)
        for one in wanted:
            properties = {**one.body["properties"], **changes.get(one.ref.kind, {})}
            await self._arm.put(one.ref, {**one.body, "properties": properties})
            await self._settled(one.ref)
        connection = self._refs[ArmKind.CONNECTION]
        await self._arm.set_shared_key(connection, psk)
        await self._settled(connection)

    async def _settled(self, ref: ArmRef) -> None:
        async def settled() -> bool:
            return is_settled(await self._arm.get(ref))

        await until(f"{ref.name} settling", settled, within=40)

    def bodies(self) -> dict[str, Any]:
        """What a GET of each resource answers, by kind."""
        return {kind.value: self._lab.do(self._arm.get(ref)) for kind, ref in self._refs.items()}

    def bgp(self, peer: str) -> dict[str, Any]:
        """What the gateway answers to each question about BGP, the last one about that neighbour."""
        asked = {q: {"peer": peer} if q is BgpQuestion.ADVERTISED else {} for q in BgpQuestion}
        return {q.value: self._lab.do(self._ask(q, query)) for q, query in asked.items()}

    async def _ask(self, question: BgpQuestion, query: dict[str, str]) -> Any:
        gateway = self._refs[ArmKind.GATEWAY]
        call = Call("POST", f"{gateway.id()}/{question.value}", {"api-version": API_VERSION, **query}, BASE, b"")
        answer = await self._azure.router.answer(call, "ctl")
        while answer.status == HTTPStatus.ACCEPTED:
            await asyncio.sleep(0.05)
            url = urlsplit(answer.headers["Location"])
            answer = await self._azure.router.answer(
                Call("GET", url.path, dict(parse_qsl(url.query)), BASE, b""), "ctl"
            )
        return answer.body

    def close(self) -> None:
        self._lab.do(self._close())

    async def _close(self) -> None:
        self._clockwork.cancel()
        await self._lab.plane.drop_gateway(NAME)
