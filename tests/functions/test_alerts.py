"""The webhook over HTTP: answers, refusals and what it shows of them."""

from __future__ import annotations

from shared.errors import TemporaryError
from tests.alerts import CONNECTION_ID, EXAMPLE, alert
from tests.functions.calls import call, world
from tests.shared.control.world import World

from .test_openapi import has_shape

__all__ = ["world"]
KEPT_AS_FOREIGN = "its targets are no resources of this controller's Gateways and Connections"


async def test_answers_have_the_shapes_described(world: World) -> None:
    await world.put()
    taken = await call("post_alert", EXAMPLE)
    has_shape(taken, "post", "/alerts")
    assert taken.status == 202 and taken.json == {"known": False, "targets": ["connection/home"], "notOurs": []}
    assert (await call("post_alert", EXAMPLE)).json["known"] is True
    foreign = await call("post_alert", alert("/somebody/elses"))
    assert foreign.status == 202 and foreign.json["notOurs"] == ["/somebody/elses"]
    world.clock.advance(1)
    refused = await call("post_alert", {"schemaId": "AzureMonitorMetricAlert"})
    has_shape(refused, "post", "/alerts")
    assert refused.status == 422 and refused.problem() == ["literal_error"]
    assert "common alert schema" in refused.text
    shown = await call("get_alerts")
    has_shape(shown, "get", "/alerts")
    assert [i["reason"].partition(":")[0] for i in shown.json["items"]] == ["schemaId", KEPT_AS_FOREIGN]


async def test_azure_is_told_to_try_again_when_the_store_is_away(world: World) -> None:
    await world.put()

    async def away(*_: object) -> None:
        raise TemporaryError("the store is away", 2.0)

    world.store.before_transact = away
    assert (await call("post_alert", alert(CONNECTION_ID))).status == 503
    world.store.before_transact = None
    assert (await call("post_alert", alert(CONNECTION_ID))).json["known"] is False
