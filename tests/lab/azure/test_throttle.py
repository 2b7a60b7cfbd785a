from __future__ import annotations

import pytest

from lab.azure.throttle import GLOBAL, LIMITS, PROVIDER_LIMITS, WINDOW_S, Throttle
from tests.lab.azure.conftest import Raw
from tests.lab.azure.world import World


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(("kind", "size", "refill"), [("reads", 250, 25), ("writes", 200, 10), ("deletes", 200, 10)])
def test_buckets_are_those_of_the_documentation(kind: str, size: int, refill: int) -> None:
    time = Time()
    throttle = Throttle(time)
    assert [throttle.take(kind, "me", network=False).left for _ in range(size)] == list(range(size - 1, -1, -1))
    refused = throttle.take(kind, "me", network=False)
    assert refused.wait == pytest.approx(1 / refill)
    time.now += 0.9 / refill
    assert throttle.take(kind, "me", network=False).wait is not None  # too early, and it costs nothing
    time.now += 0.2 / refill
    assert throttle.take(kind, "me", network=False).wait is None
    time.now += 3600
    assert throttle.take(kind, "me", network=False).left == size - 1


def test_principals_have_their_own_buckets_below_the_subscription_s() -> None:
    throttle = Throttle(Time())
    size = int(LIMITS["reads"][0])
    for _ in range(size):
        throttle.take("reads", "me", network=False)
    assert throttle.take("reads", "me", network=False).wait is not None
    other = throttle.take("reads", "other", network=False)
    assert (other.left, other.left_globally, other.wait) == (size - 1, size * GLOBAL - size - 1, None)


def test_the_network_provider_counts_windows_of_five_minutes() -> None:
    time = Time()
    throttle = Throttle(time)
    for _ in range(PROVIDER_LIMITS["writes"]):
        time.now += 0.1
        assert throttle.take("writes", "me", network=True).wait is None
    refused = throttle.take("writes", "me", network=True)
    assert refused.wait == pytest.approx(WINDOW_S - time.now)
    assert throttle.take("writes", "me", network=False).wait is None
    time.now = WINDOW_S
    assert throttle.take("writes", "me", network=True).wait is None


async def test_429_says_when_to_come_back(world: World, raw: Raw) -> None:
    url = world.id("virtualNetworks", "none") + "?api-version=2024-05-01"
    status, headers, _ = await raw("DELETE", url)
    assert status == 204
    assert headers["x-ms-ratelimit-remaining-subscription-deletes"] == "199"
    assert headers["x-ms-ratelimit-remaining-subscription-global-deletes"] == "2999"
    for _ in range(199):
        await raw("DELETE", url)
    status, headers, body = await raw("DELETE", url)
    assert (status, body["error"]["code"], headers["retry-after"]) == (429, "TooManyRequests", "1")
    assert (await raw("GET", url))[0] == 404  # reads have their own bucket
    await world.clock.advance(1)
    assert (await raw("DELETE", url))[0] == 204
