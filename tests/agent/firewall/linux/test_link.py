"""Addresses, routes and MSS: the commands, in particular those of `xfrm`, which the lab's kernel cannot run."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from agent.errors import FirewallBusy, FirewallError
from agent.firewall.linux.link import Link, clamp_rules
from agent.firewall.linux.run import Ran
from tests.agent.fakes import desired


class Host:
    """Answers `ip` from a table and remembers what was changed."""

    def __init__(self, answers: dict[str, str]) -> None:
        self.answers = answers
        self.changed: list[str] = []

    def __call__(self, words: Sequence[str], stdin: str = "") -> Ran:
        text = " ".join(words)
        if text in self.answers:
            return Ran(0, self.answers[text], "")
        if " show" in text or text.startswith("nft list"):
            return Ran(1, "", "does not exist")
        self.changed.append(text)
        return Ran(0, "", "")


def link(kind: str, host: Host) -> Link:
    return Link("xfrm" if kind == "xfrm" else "tun", "ipsec0", "eth0", "192.168.1.1", host)


def test_xfrm_makes_an_interface_of_its_own_for_each_connection() -> None:
    host = Host({})
    x = link("xfrm", host)
    d = desired()
    x.ensure(d, None)
    device, if_id = x.device(d), x.if_id(d)
    assert len(device) <= 15
    assert host.changed == [
        f"ip link add {device} type xfrm dev eth0 if_id {if_id}",
        f"ip link set {device} mtu 1400 up",
        f"ip addr replace 10.0.1.29/30 dev {device}",
        f"ip route replace 10.0.1.30/32 dev {device} src 192.168.1.1",
    ]
    assert x.device(desired("office")) != device
    assert x.if_id(desired(mss=1200)) == if_id


def test_xfrm_removes_the_interface_and_with_it_everything_on_it() -> None:
    host = Host({})
    x = link("xfrm", host)
    x.remove(desired())
    assert host.changed == []
    host.answers[f"ip link show dev {x.device(desired())}"] = ""
    x.remove(desired())
    assert host.changed == [f"ip link del {x.device(desired())}"]


def test_tun_needs_charons_device_and_has_no_interface_id() -> None:
    with pytest.raises(FirewallBusy, match="ipsec0"):
        link("tun", Host({})).ensure(desired(), None)
    assert link("tun", Host({})).if_id(desired()) is None


def test_what_is_there_is_not_set_again() -> None:
    addresses = [{"addr_info": [{"local": "10.0.1.29", "prefixlen": 30}]}]
    routes = [{"dst": "10.0.1.30"}, {"dst": "10.0.0.0/16"}, {"dst": "default"}, {"dst": "fe80::/64"}]
    host = Host(
        {
            "ip -j -4 addr show dev ipsec0": json.dumps(addresses),
            "ip -j route show dev ipsec0": json.dumps(routes),
            "ip link show dev ipsec0": "",
        }
    )
    tun = link("tun", host)
    assert tun.missing(desired()) == []
    assert tun.routes("ipsec0") == ("0.0.0.0/0", "10.0.0.0/16", "10.0.1.30/32")


@pytest.mark.parametrize("answer", ["", "null", "{", "[3]", '{"a": 1}'])
def test_a_strange_answer_of_ip_reads_as_nothing(answer: str) -> None:
    host = Host({"ip -j -4 addr show dev eth0": answer, "ip -j route show dev eth0": answer})
    assert link("tun", host).wan_address() is None
    assert link("tun", host).routes("eth0") == ()


def test_a_probe_is_read_from_ping() -> None:
    words = "ping -n -c1 -W1 -I 192.168.1.1 10.0.0.4"
    host = Host({words: "64 bytes from 10.0.0.4: icmp_seq=1 ttl=62 time=0.731 ms\n"})
    found = link("tun", host).probe("10.0.0.4")
    assert (found.ok, found.rtt_ms) == (True, 0.731)
    host.answers[words] = "time=soon"
    assert link("tun", host).probe("10.0.0.4").rtt_ms is None


def test_the_clamp_only_lowers_and_is_replaced_as_a_whole() -> None:
    rules = clamp_rules([("ipsec0", 1350)])
    assert rules.startswith("table inet homelink { }\ndelete table inet homelink\n")
    assert rules.count("tcp option maxseg size > 1350 tcp option maxseg size set 1350") == 2
    assert "chain" not in clamp_rules([])


def test_without_nft_there_is_no_clamp_and_no_error() -> None:
    def missing(words: Sequence[str], stdin: str = "") -> Ran:
        raise FirewallError("`nft` is not on this host")

    link_without = Link("tun", "ipsec0", "eth0", "192.168.1.1", missing)
    link_without.clamp([desired()])
    assert link_without.clamped(desired())
