"""The one place that binds seams to adapters. Lazy: nothing heavy is imported before a handler needs it.

Handlers call `app()`. A test, or the model world, calls `bind()` first and the same handlers run in another world.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from shared.control.agents import Agents
from shared.control.heartbeats import Heartbeats
from shared.control.reconciler import Reconciler
from shared.control.services import Services
from shared.control.specs import Specs


@dataclass(frozen=True)
class App:
    """The use cases, bound."""

    services: Services
    agents: Agents
    specs: Specs
    heartbeats: Heartbeats
    reconciler: Reconciler


class _Bound:
    app: App | None = None


def build(services: Services) -> App:
    agents = Agents(services)
    return App(services, agents, Specs(services), Heartbeats(services, agents), Reconciler(services, agents))


def bind(services: Services | None) -> None:
    """Replaces what `app()` returns; None: the real adapters again, from the app settings, at the next call."""
    _Bound.app = None if services is None else build(services)


def app() -> App:
    """Raises shared.azure.settings' error, every wrong app setting at once."""
    if _Bound.app is None:
        _Bound.app = build(_azure())
    return _Bound.app


def _azure() -> Services:
    from shared.azure.arm import AzureArm
    from shared.azure.queue import AzureQueue
    from shared.azure.settings import Settings
    from shared.azure.store import AzureStore
    from shared.azure.system import SystemClock, SystemRandom
    from shared.azure.vault import AzureVault
    from shared.dns.resolver import DnsResolver

    settings = Settings.from_env(os.environ)
    return Services(
        arm=AzureArm(settings),
        resolver=DnsResolver(settings.resolvers),
        store=AzureStore(settings),
        queue=AzureQueue(settings),
        vault=AzureVault(settings),
        clock=SystemClock(),
        random=SystemRandom(),
        controller=settings.controller,
    )
