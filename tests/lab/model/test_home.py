"""The home's line, its router, and the router's dyndns client."""

from __future__ import annotations

from lab.model.assumptions import Assumptions
from lab.model.names import Record
from tests.lab.model.site import ADDRESS, FQDN, NEW, Site


def told(site: Site) -> str:
    record = site.names.truth(FQDN)
    assert isinstance(record, Record)
    return record.addresses[0]


def test_the_first_address_is_told_at_once_and_a_new_one_after_the_lag() -> None:
    site = Site(Assumptions(isp_outage_s=15, ddns_lag_s=5))
    assert told(site) == ADDRESS
    site.wait(10)
    site.home.move(NEW)
    assert site.home.address is None
    site.wait(15)
    assert site.home.address == NEW
    site.wait(4.9)
    assert told(site) == ADDRESS
    site.wait(0.2)
    assert told(site) == NEW
    assert site.fabric.next_event() is None


def test_a_move_during_the_lag_tells_only_the_last_address() -> None:
    site = Site()
    site.home.move(NEW, 5)
    site.wait(7)
    site.home.move("198.51.100.99", 5)
    site.wait(5)
    assert told(site) == ADDRESS
    site.wait(5)
    assert told(site) == "198.51.100.99"


def test_a_stuck_client_tells_nothing_until_it_works_again() -> None:
    site = Site()
    site.home.stuck = True
    site.home.move(NEW, 5)
    site.wait(86_400)
    assert told(site) == ADDRESS
    site.home.unstick()
    site.wait(5)
    assert told(site) == NEW


def test_without_internet_nothing_comes_back_by_itself() -> None:
    site = Site()
    site.home.move(NEW, 5)
    site.home.lose_internet()
    site.wait(86_400)
    assert site.home.address is None
    site.home.move(ADDRESS, 0)
    assert site.home.address == ADDRESS


async def test_behind_carrier_grade_nat_dns_says_the_routers_own_address_and_nobody_can_call() -> None:
    site = Site(port_forward=True)
    assert site.home.callable
    site.home.move(NEW, 5, wan="100.64.3.4")
    site.wait(20)
    assert site.home.address == NEW
    assert told(site) == "100.64.3.4"
    assert not site.home.callable
    await site.link({"mode": "InitiatorOnly", "peer_address": NEW}, initiates=False)
    site.wait(60)
    assert not site.up[0]


def test_the_firewall_sees_the_public_address_only_without_a_router() -> None:
    for inside, seen in (("192.168.178.2", "192.168.178.2"), (None, ADDRESS)):
        site = Site(inside=inside)
        assert site.firewall.health().firewall.wan_address == seen


async def test_a_reconnect_with_the_same_address_leaves_a_live_sa() -> None:
    site = Site()
    await site.link()
    site.wait(10)
    site.home.move(ADDRESS, 15)
    site.wait(1)
    assert site.up == (True, True, False)
    site.wait(14)
    assert site.up == (True, True, True)
    assert site.health.ike.established_s == 25
