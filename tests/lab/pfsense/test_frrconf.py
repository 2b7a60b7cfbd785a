"""From one frr.conf to the next: what stays is not touched."""

from __future__ import annotations

from lab.pfsense.frrconf import changes

OLD = """frr defaults traditional
hostname fw
!
router bgp 64900
 bgp router-id 192.168.1.1
 neighbor 10.99.0.2 remote-as 64901
 neighbor 10.99.0.2 timers connect 5
 !
 address-family ipv4 unicast
  network 192.168.1.0/24
 exit-address-family
 !
!
ip prefix-list AUNT seq 10 permit 10.99.0.0/16 le 24
!
route-map ALL permit 10
!
line vty
!
"""
OURS = """ neighbor 10.0.1.30 remote-as 65515
 neighbor 10.0.1.30 timers connect 5
"""


def test_nothing_changed_is_nothing_to_do() -> None:
    assert changes(OLD, OLD) == ([], [])


def test_a_neighbor_comes_and_goes_without_the_others() -> None:
    new = OLD.replace(" !\n address", OURS + " !\n address").replace(
        "route-map ALL", "route-map AZ permit 10\nroute-map ALL"
    )
    gone, come = changes(OLD, new)
    assert gone == []
    assert come == [
        "router bgp 64900",
        *OURS.strip().replace("\n ", "\n").split("\n"),
        "exit",
        "route-map AZ permit 10",
        "exit",
    ]
    gone, come = changes(new, OLD)
    assert come == []
    assert gone == [
        "router bgp 64900",
        "no neighbor 10.0.1.30 remote-as 65515",
        "no neighbor 10.0.1.30 timers connect",
        "exit",
        "no route-map AZ permit 10",
    ]


def test_another_number_is_another_router() -> None:
    gone, come = changes(OLD, OLD.replace("router bgp 64900", "router bgp 64600"))
    assert gone == ["no router bgp 64900"]
    assert come[0] == "router bgp 64600"
    assert "  network 192.168.1.0/24".strip() in come


def test_from_nothing_everything_is_entered_in_its_place() -> None:
    gone, come = changes("", OLD)
    assert gone == []
    at = come.index("network 192.168.1.0/24")
    assert come[at - 2 : at] == ["router bgp 64900", "address-family ipv4 unicast"]
    assert not any(line.startswith(("hostname", "frr ", "line")) for line in come)
