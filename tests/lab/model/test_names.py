"""What servers and caches say of a name, faults included."""

from __future__ import annotations

import pytest

from lab.azure.resolver import ResolveError
from lab.model.names import AZURE, RECURSIVES, SERVERS, Names, Record
from shared.domain.dns import DnsFault
from tests.lab.model.site import ADDRESS, FQDN, NEW, Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def names(clock: Clock) -> Names:
    found = Names(clock)
    found.write(FQDN, Record((ADDRESS,), 60), 0.0)
    return found


async def test_servers_know_at_once_and_caches_after_the_ttl(names: Names, clock: Clock) -> None:
    view = await names.look("HOME.dyn.example.")
    assert (view.agreed(), view.ttl_s, view.note, view.fault()) == (ADDRESS, 60, "", None)
    assert view.settled_on(ADDRESS)
    assert await names.first_a(FQDN) == ADDRESS
    clock.now = 50
    names.write(FQDN, Record((NEW,), 60), 50)
    clock.now = 59.9
    view = await names.look(FQDN)
    assert view.agreed() == NEW
    assert set(view.recursive.values()) == {(ADDRESS,)}
    assert await names.first_a(FQDN) == ADDRESS
    clock.now = 60
    assert (await names.look(FQDN)).settled_on(NEW)
    assert await names.first_a(FQDN) == NEW


async def test_restarted_caches_ask_again(names: Names, clock: Clock) -> None:
    await names.first_a(FQDN)
    names.write(FQDN, Record((NEW,), 60), 1)
    clock.now = 1
    names.forget()
    assert await names.first_a(FQDN) == NEW


async def test_a_cache_keeps_that_there_is_no_name(names: Names, clock: Clock) -> None:
    assert (await names.look("other.dyn.example")).note == "NXDOMAIN"
    names.write("other.dyn.example", Record((NEW,), 60), 1)
    clock.now = 2
    view = await names.look("other.dyn.example")
    assert view.agreed() == NEW
    assert set(view.recursive.values()) == {()}
    names.write("other.dyn.example", None, 3)
    clock.now = 100
    assert await names.first_a("other.dyn.example") is None


@pytest.mark.parametrize(
    ("record", "fault", "first"),
    [
        (Record((NEW, ADDRESS), 60), DnsFault.SEVERAL_ADDRESSES, NEW),
        (Record((), 60, ipv6=True), DnsFault.IPV6_ONLY, None),
        (Record((), 60), DnsFault.NO_ADDRESS, None),
        (Record(("100.64.1.2",), 60), DnsFault.CGNAT, "100.64.1.2"),
        (Record(("192.168.1.1",), 60), DnsFault.PRIVATE_ADDRESS, "192.168.1.1"),
        (None, DnsFault.NO_ADDRESS, None),
    ],
)
async def test_odd_records_are_told_as_the_real_resolver_tells_them(
    names: Names, clock: Clock, record: Record | None, fault: DnsFault, first: str | None
) -> None:
    clock.now = 1
    names.write(FQDN, record, 1)
    view = await names.look(FQDN)
    assert view.fault() is fault
    assert view.authoritative[SERVERS[0]] == (tuple(sorted(record.addresses)) if record else ())
    assert await names.first_a(FQDN) == first


async def test_a_server_that_fails_is_named(names: Names) -> None:
    names.servers[SERVERS[0]].fault = "SERVFAIL"
    view = await names.look(FQDN)
    assert view.note == f"SERVFAIL: {SERVERS[0]}"
    assert view.authoritative == {SERVERS[0]: None, SERVERS[1]: (ADDRESS,)}
    assert view.fault() is DnsFault.NOT_RESOLVED, "one of two is no majority"
    assert set(view.recursive.values()) == {(ADDRESS,)}, "caches ask the other one"


async def test_when_all_fail_nothing_is_known(names: Names) -> None:
    for server in names.servers.values():
        server.fault = "timeout"
    view = await names.look(FQDN)
    assert view.note == "timeout"
    assert set(view.recursive.values()) == {None}
    with pytest.raises(ResolveError, match="SERVFAIL"):
        await names.first_a(FQDN)


async def test_a_cache_outlives_its_servers_until_the_ttl(names: Names, clock: Clock) -> None:
    await names.first_a(FQDN)
    for server in names.servers.values():
        server.fault = "SERVFAIL"
    clock.now = 59
    assert await names.first_a(FQDN) == ADDRESS
    clock.now = 61
    with pytest.raises(ResolveError):
        await names.first_a(FQDN)


async def test_a_lagging_server_says_what_was_and_a_liar_what_never_was(names: Names, clock: Clock) -> None:
    names.write(FQDN, Record((NEW,), 60), 100)
    names.servers[SERVERS[0]].lag_s = 30
    names.servers[SERVERS[1]].lie = ("192.0.2.66",)
    clock.now = 129
    assert dict((await names.look(FQDN)).authoritative) == {SERVERS[0]: (ADDRESS,), SERVERS[1]: ("192.0.2.66",)}
    clock.now = 130
    assert (await names.look(FQDN)).authoritative[SERVERS[0]] == (NEW,)


async def test_each_resolver_may_lie_or_fail_by_itself(names: Names) -> None:
    names.caches[RECURSIVES[0]].lie = ("192.0.2.66",)
    names.caches[RECURSIVES[1]].fault = "timeout"
    names.caches[AZURE].fault = "SERVFAIL"
    view = await names.look(FQDN)
    assert dict(view.recursive) == {RECURSIVES[0]: ("192.0.2.66",), RECURSIVES[1]: None}
    assert view.agreed() == ADDRESS
    with pytest.raises(ResolveError, match="SERVFAIL"):
        await names.first_a(FQDN)
