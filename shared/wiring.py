"""The one place that binds seams to adapters. Lazy: nothing heavy is imported before a handler needs it.

Handlers call `app()`. A test, or the model world, calls `bind()` first and the same handlers run in another world.
"""

from __future__ import annotations

import os
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from shared.control.adoption import Adoption
from shared.control.agents import Agents
from shared.control.alerts import Alerts
from shared.control.audit import Audit, AuditedArm
from shared.control.diagnose import Diagnose
from shared.control.heartbeats import Heartbeats
from shared.control.planning import Planning
from shared.control.reconciler import Reconciler
from shared.control.retention import Retention
from shared.control.services import Keep, Services
from shared.control.specs import Specs
from shared.domain.model import ControllerId
from shared.domain.problem import InvalidInput
from shared.errors import NotConfigured


@dataclass(frozen=True)
class App:
    """The use cases, bound."""

    services: Services
    agents: Agents
    specs: Specs
    planning: Planning
    adoption: Adoption
    diagnose: Diagnose
    audit: Audit
    heartbeats: Heartbeats
    reconciler: Reconciler
    retention: Retention
    alerts: Alerts


_bound: ContextVar[App | None] = ContextVar("bound", default=None)
_real: list[App] = []
_watched: list[bool] = []


def build(services: Services) -> App:
    agents, specs = Agents(services), Specs(services)
    planning = Planning(services, agents, specs)
    audited = replace(services, arm=AuditedArm(services.arm, services))
    return App(
        services=services,
        agents=agents,
        specs=specs,
        planning=planning,
        adoption=Adoption(services, specs, planning),
        diagnose=Diagnose(services, agents, specs),
        audit=Audit(services),
        heartbeats=Heartbeats(services, agents),
        reconciler=Reconciler(audited, agents),
        retention=Retention(services, agents),
        alerts=Alerts(services),
    )


def bind(services: Services | None) -> None:
    """Replaces what `app()` returns in this context (a task has its own); None: the real adapters again, from the app
    settings, at the next call."""
    _real.clear()
    _bound.set(None if services is None else build(services))


def app() -> App:
    """Raises NotConfigured, naming every wrong app setting at once."""
    bound = _bound.get()
    if bound is not None:
        return bound
    if not _real:
        _real.append(build(_azure()))
    return _real[0]


def watch() -> None:
    """Spans, measurements and log lines of this process go where the app settings say; not in a world that is bound."""
    if _watched or _bound.get() is not None:
        return
    from shared.azure.monitor import start
    from shared.logs import structured

    _watched.append(True)
    start(os.environ)
    structured()


def traced(services: Services) -> Services:
    """The same, each call of an adapter a span."""
    from shared.traced import Traced

    seams: dict[str, Any] = {n: Traced(n, getattr(services, n)) for n in ("arm", "resolver", "store", "queue", "vault")}
    return replace(services, **seams)


def _azure() -> Services:
    from shared.azure.arm import AzureArm
    from shared.azure.calls import Http
    from shared.azure.credential import credential
    from shared.azure.queue import StorageQueue
    from shared.azure.settings import read_settings
    from shared.azure.store import TableStore
    from shared.azure.system import SystemClock, SystemRandom
    from shared.azure.vault import KeyVault
    from shared.dns.resolver import DnsResolver

    try:
        settings = read_settings(os.environ)
    except InvalidInput as e:
        raise NotConfigured(f"app settings: {e}") from None
    http, clock = Http(settings.ca_file), SystemClock()
    identity = credential(http, os.environ)
    services = Services(
        arm=AzureArm(settings, http, identity),
        resolver=DnsResolver(settings.resolvers),
        store=TableStore(settings, http, identity),
        queue=StorageQueue(settings, http, clock, identity),
        vault=KeyVault(settings, http, identity),
        clock=clock,
        random=SystemRandom(),
        controller=ControllerId(settings.controller_id),
        keep=Keep(settings.events_days, settings.audit_days),
    )
    return traced(services)
