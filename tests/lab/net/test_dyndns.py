"""The router's dyndns2 client: when it speaks (on a clock of our own), and that it does in the real network."""

from __future__ import annotations

import time

import dns.asyncresolver
import pytest

from lab.net.dyndns import Client, Config, wan_address
from lab.net.run import until
from lab.net.topology import DNS, RESOLVER
from lab.net.world import Network

pytestmark = pytest.mark.filterwarnings("error")


class _Server:
    def __init__(self) -> None:
        self.heard: list[str] = []
        self.answers: list[str | OSError] = []

    def __call__(self, address: str) -> str:
        self.heard.append(address)
        answer = self.answers.pop(0) if self.answers else f"good {address}"
        if isinstance(answer, OSError):
            raise answer
        return answer


def test_it_reports_at_once_at_start_and_after_its_lag_later() -> None:
    server, said = _Server(), list[str]()
    client = Client(5.0, server, said.append)
    client.step(0.0, None)
    client.step(1.0, "198.51.100.1")
    assert server.heard == ["198.51.100.1"]
    client.step(10.0, None)
    client.step(12.0, "198.51.100.2")
    client.step(16.9, "198.51.100.2")
    assert server.heard == ["198.51.100.1"]
    client.step(17.0, "198.51.100.2")
    client.step(30.0, "198.51.100.2")
    assert server.heard == ["198.51.100.1", "198.51.100.2"]
    assert said[-1] == "reported 198.51.100.2: good 198.51.100.2"


def test_it_tries_again_after_a_failure_but_not_after_a_refusal() -> None:
    server = _Server()
    server.answers = [ConnectionRefusedError(), "911", "badauth"]
    client = Client(5.0, server, lambda _line: None)
    for now in (0.0, 1.9, 2.0, 3.9, 4.0, 60.0, 600.0):
        client.step(now, "198.51.100.1")
    assert len(server.heard) == 3
    client.step(601.0, "198.51.100.2")
    client.step(606.0, "198.51.100.2")
    assert server.heard[-1] == "198.51.100.2"


def test_the_address_of_an_interface() -> None:
    assert wan_address("lo") == "127.0.0.1"
    assert wan_address("nosuchif0") is None
    assert "hush" not in repr(Config("wan0", "s", "h", "u", "hush"))


@pytest.mark.lab
async def test_dns_follows_the_router_after_its_lag_and_caches_after_their_ttl(net: Network) -> None:
    authoritative = dns.asyncresolver.Resolver(configure=False)
    authoritative.nameservers = [DNS]
    caching = dns.asyncresolver.Resolver(configure=False)
    caching.nameservers = [RESOLVER]

    async def says(resolver: dns.asyncresolver.Resolver, address: str) -> bool:
        return str((await resolver.resolve(net.name_of(), "A"))[0]) == address

    assert await says(authoritative, "198.51.100.23")
    assert await says(caching, "198.51.100.23")
    began = time.monotonic()
    await net.change_public_address("198.51.100.60", outage_s=0.3)
    assert await says(authoritative, "198.51.100.23")
    await until("the name following", lambda: says(authoritative, "198.51.100.60"), within=10)
    assert time.monotonic() - began >= 1.0  # the fixture's lag
    await until("the cache following", lambda: says(caching, "198.51.100.60"), within=10)
    assert time.monotonic() - began >= 2.0  # the fixture's TTL of 3 s, less what had passed
