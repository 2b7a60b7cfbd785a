"""Network watchers, as the empty resource that a subscription has one of per region.

Azure creates them by itself and lists show them, so a client must get past them; what they do (troubleshooting,
connectivity checks between virtual machines) is not simulated.
"""

from __future__ import annotations

from lab.azure import durations
from lab.azure.errors import Json
from lab.azure.provider import Desired, Provider, Reply
from lab.azure.store import Resource, Target


class NetworkWatchers(Provider):
    type = "networkWatchers"
    create_seconds = durations.WATCHER
    update_seconds = durations.WATCHER
    delete_seconds = durations.WATCHER

    def desired(self, body: Json, resource_id: str, existing: Resource | None) -> Desired:
        return Desired({"flowLogs": [], "runningOperationIds": []})

    async def put(self, target: Target, body: Json) -> Reply:
        reply = await super().put(target, body)
        reply.body["properties"]["provisioningState"] = "Succeeded"  # recorded
        return reply

    def wrap(self, resource: Resource, rendered: Json) -> Json:
        shown = super().wrap(resource, rendered)
        del shown["properties"]["resourceGuid"]  # recorded without one
        return shown
