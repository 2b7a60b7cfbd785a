"""Prefixes, public and private, and the transit of a tunnel at every place that Azure's address can have in its /30."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain import addressing

ADDRESSES = st.integers(0, 2**32 - 1).map(IPv4Address)


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.0",
        "10.0.0.1/24",
        "10.0.0.0/33",
        "10.0.0.0/255.255.0.0",
        "10.0.0.0/0.0.255.255",
        "10.0.0.0/08",
        "",
        "/",
        "10.0.0.0/ 8",
        " 10.0.0.0/8",
        "::/0",
        "10.0.0.0/8\n",
        "10.0.0.0/8/8",
        "x",
    ],
)
def test_a_prefix_has_one_form(text: str) -> None:
    assert addressing.network(text) is None


@given(ADDRESSES, st.integers(0, 32))
def test_every_canonical_prefix_is_read(value: IPv4Address, length: int) -> None:
    wanted = IPv4Network((value, length), strict=False)
    assert addressing.network(str(wanted)) == wanted


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("8.8.8.8", True),
        ("198.51.100.23", True),
        ("203.0.113.10", True),
        ("10.1.2.3", False),
        ("172.31.0.1", False),
        ("172.32.0.1", True),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("100.128.0.1", True),
        ("127.0.0.1", False),
        ("169.254.21.1", False),
        ("224.0.0.5", False),
        ("240.0.0.1", False),
        ("0.0.0.0", False),
        ("255.255.255.255", False),
    ],
)
def test_public(text: str, public: bool) -> None:
    assert addressing.is_public(IPv4Address(text)) is public


@pytest.mark.parametrize(
    ("azure", "mine"),
    [("10.0.1.30", "10.0.1.29"), ("10.0.1.29", "10.0.1.30"), ("10.0.1.254", "10.0.1.253"), ("10.0.1.5", "10.0.1.6")],
)
@pytest.mark.parametrize("mode", ["auto", "gatewaySubnet"])
def test_the_other_address_of_the_slash_30(mode: str, azure: str, mine: str) -> None:
    found = addressing.transit(mode, IPv4Address(azure), None)
    assert (found.mode, found.local, found.remote, found.prefix_length) == ("gatewaySubnet", mine, azure, 30)


@pytest.mark.parametrize("azure", ["10.0.1.4", "10.0.1.7", "10.0.1.28", "10.0.1.31"])
def test_the_ends_of_a_slash_30_leave_only_point_to_point(azure: str) -> None:
    found = addressing.transit("auto", IPv4Address(azure), None)
    assert (found.mode, found.remote, found.prefix_length) == ("pointToPoint", azure, 32)
    assert found.local == str(addressing.POINT_TO_POINT_DEFAULT)
    with pytest.raises(ValueError, match="auto or pointToPoint"):
        addressing.transit("gatewaySubnet", IPv4Address(azure), None)


@pytest.mark.parametrize("mode", ["auto", "pointToPoint"])
def test_a_local_address_of_ones_own_means_point_to_point(mode: str) -> None:
    found = addressing.transit(mode, IPv4Address("10.0.1.30"), IPv4Address("192.168.99.1"))
    assert (found.mode, found.local, found.remote) == ("pointToPoint", "192.168.99.1", "10.0.1.30")


@given(ADDRESSES)
def test_auto_always_finds_a_transit(azure: IPv4Address) -> None:
    found = addressing.transit("auto", azure, None)
    local = IPv4Address(found.local)
    assert found.remote == str(azure) and local != azure
    block = IPv4Network((azure, 30), strict=False)
    if found.mode == "gatewaySubnet":
        assert {local, azure} == set(block.hosts())
    else:
        assert azure in (block.network_address, block.broadcast_address)


@pytest.mark.parametrize(
    ("local", "remote", "length"),
    [
        ("169.254.21.2", "169.254.21.1", 30),
        ("169.254.21.1", "169.254.21.2", 30),
        ("169.254.21.5", "169.254.21.2", 32),
        ("169.254.21.4", "169.254.21.5", 32),
        ("169.254.22.2", "169.254.21.1", 32),
    ],
)
def test_apipa_is_a_slash_30_where_both_are_its_hosts(local: str, remote: str, length: int) -> None:
    found = addressing.transit("apipa", IPv4Address(remote), IPv4Address(local))
    assert (found.mode, found.local, found.remote, found.prefix_length) == ("apipa", local, remote, length)


def test_apipa_needs_an_address_at_home() -> None:
    with pytest.raises(ValueError, match=r"transit\.local"):
        addressing.transit("apipa", IPv4Address("169.254.21.1"), None)


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("169.254.20.255", False),
        ("169.254.21.0", True),
        ("169.254.21.255", True),
        ("169.254.22.0", True),
        ("169.254.22.255", True),
        ("169.254.23.0", False),
    ],
)
def test_the_range_of_apipa(text: str, inside: bool) -> None:
    assert addressing.is_apipa(IPv4Address(text)) is inside


@pytest.mark.parametrize(
    ("text", "usable"),
    [
        ("10.0.0.1", True),
        ("172.31.255.253", True),
        ("192.168.1.1", True),
        ("100.64.0.1", True),
        ("8.8.8.8", False),
        ("127.0.0.1", False),
        ("169.254.21.1", False),
        ("224.0.0.5", False),
        ("240.0.0.1", False),
        ("0.0.0.0", False),
    ],
)
def test_usable_private(text: str, usable: bool) -> None:
    assert addressing.is_usable_private(IPv4Address(text)) is usable


@pytest.mark.parametrize(
    ("text", "reserved"),
    [
        ("0.0.0.0/8", True),
        ("127.0.0.0/24", True),
        ("169.254.21.0/24", True),
        ("168.63.129.0/24", True),
        ("224.0.0.0/4", True),
        ("240.0.0.0/8", True),
        ("128.0.0.0/1", True),
        ("10.0.0.0/8", False),
        ("100.64.0.0/10", False),
        ("168.63.128.0/24", False),
        ("223.0.0.0/8", False),
    ],
)
def test_reserved(text: str, reserved: bool) -> None:
    assert addressing.is_reserved(IPv4Network(text)) is reserved
