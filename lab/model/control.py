"""One control plane in the model world: its storage, its vault, its identity at ARM, and the host that runs it."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from random import Random
from typing import Any

from lab.model.arm import Azure, ModelArm
from lab.model.chance import SeededRandom
from lab.model.faults import AsyncSeam, Injector, Process
from lab.model.host import Host, Hosted
from lab.model.loop import LoopClock
from lab.model.queue import ModelQueue
from lab.model.store import ModelStore
from lab.model.vault import ModelVault
from lab.model.watch import Watch
from shared.control.services import Services
from shared.domain.model import ControllerId
from shared.errors import ArmBusy, TemporaryError
from shared.seams import Resolver

FUNCTIONS = "functions"


class Control:
    """`name` is the controller id. What people ask of it goes through its HTTP API, as in life."""

    def __init__(
        self, name: str, azure: Azure, resolver: Resolver, injector: Injector, watch: Watch, chance: Random
    ) -> None:
        self.name = name
        self.api = f"https://{name}.invalid"
        self._chance, self._watch, self._injector = chance, watch, injector
        clock = LoopClock()
        self.store, self.vault = ModelStore(), ModelVault(watch.secrets.add)
        self.queue = ModelQueue(clock, f"{name}.queue.invalid")
        self._resolver, self._clock = resolver, clock
        self._random = SeededRandom(chance.getrandbits(32))
        self.arm = ModelArm(azure, name, partial(watch.arm_write, name), watch.arm_refused)
        self.host = Host(Hosted(self.queue, self._process, self._services, self._notice, watch.broken))
        watch.control(self)

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """What a person sends to the API: status and body. Raises Gone."""
        raw = b"" if body is None else json.dumps(body).encode()
        status, _, text = await self.host.http(method, f"{self.api}/api/{path}", headers, raw, "192.0.2.1")
        return status, json.loads(text) if text else None

    def psk(self, connection_id: str) -> str | None:
        """The pre-shared key of a Connection, if it has one."""
        return self.vault.current(f"psk-{connection_id}")

    def _process(self, function: str) -> Process:
        return Process(FUNCTIONS, self._injector, _trouble, partial(self._watch.called, function))

    def _services(self, process: Process) -> Services:
        def seam(name: str, real: Any) -> Any:
            return AsyncSeam(process, name, real, self._travel)

        return Services(
            arm=seam("arm", self.arm),
            resolver=seam("resolver", self._resolver),
            store=seam("store", self.store),
            queue=seam("queue", self.queue),
            vault=seam("vault", self.vault),
            clock=self._clock,
            random=self._random,
            controller=ControllerId(self.name),
        )

    async def _travel(self) -> None:
        await asyncio.sleep(0.002 + 0.03 * self._chance.random())

    def _notice(self) -> float:
        """A polling host notices within two seconds; now and then an instance starts cold (Flex: seconds)."""
        return 3.0 + 5.0 * self._chance.random() if self._chance.random() < 0.02 else 2.0 * self._chance.random()


def _trouble(call: str) -> Exception:
    """What a struck call of a control plane's seam raises."""
    if call.startswith("arm."):
        return ArmBusy(f"{call}: ARM did not answer within 30 s.", 10.0, "TimeoutError")
    return TemporaryError(f"{call}: no answer", 5.0)
