"""What a tunnel does by itself, and what its ends believe meanwhile."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import pytest

from lab.model.assumptions import Assumptions
from lab.model.firewall import ModelFirewall
from lab.model.home import Home
from lab.model.tunnel import BAD_PEER_AS, HOLD_EXPIRED
from shared.wire.commands import Ike, SecretRef
from tests.lab.model.site import ADDRESS, NEW, POLICY, PSK, SECOND, Site

ANSWERED = Assumptions(unknown_source="answered")
ALL = (True, True, True)


@pytest.fixture
async def linked() -> Site:
    site = Site()
    await site.link()
    site.wait(30)
    assert site.up == ALL
    return site


async def test_a_tunnel_comes_up_and_both_ends_say_so(linked: Site) -> None:
    t = linked.health
    assert (t.ike.state, t.ike_error, t.bgp.received, t.bgp.sent) == (
        "ESTABLISHED",
        None,
        ("10.0.0.0/16",),
        ("192.168.1.0/24",),
    )
    assert t.routes == ("10.0.0.0/16", "10.0.1.30/32")
    assert await linked.connected()
    assert await linked.neighbour() == "Established"
    assert await linked.learned() == ["192.168.1.0/24"]
    sent = await linked.plane.advertised_routes("gw", "192.168.1.1")
    assert [(r.network, r.as_path) for r in sent] == [("10.0.0.0/16", "65515")]


async def test_bgp_follows_the_sa_after_its_delay() -> None:
    site = Site()
    await site.link()
    assert site.up == (True, False, False)
    site.wait(1.9)
    assert site.up == (True, False, False)
    site.wait(0.1)
    assert site.up == ALL


async def test_a_dead_path_looks_alive_until_each_timer_ends(linked: Site) -> None:
    """The home's address changes at 30 s, the session is from 2 s, so its last keepalive is from that second, too."""
    linked.home.move(NEW, 15)
    assert linked.up == (True, True, False)
    linked.wait(44)
    assert await linked.connected()
    linked.wait(1)
    assert not await linked.connected()
    assert linked.up == (True, True, False)
    linked.wait(106.9)
    assert linked.up == (True, True, False)
    linked.wait(0.2)
    assert linked.up == (True, False, False)
    assert linked.health.bgp.last_error == HOLD_EXPIRED
    linked.wait(22.8)
    assert linked.health.ike.state == "ESTABLISHED"
    linked.wait(0.4)
    assert linked.health.ike.state == "CONNECTING"
    linked.wait(3600)
    assert linked.up == (False, False, False)


async def test_a_new_peer_address_lets_the_home_in_at_charons_next_packet(linked: Site) -> None:
    linked.home.move(NEW, 15)
    linked.wait(300)
    assert linked.health.ike.state == "CONNECTING"
    await linked.plane.set_peer("home", NEW)
    linked.wait(80)
    assert linked.up == ALL


@pytest.mark.parametrize(("told", "timeout"), [(0, 45), (45, 45), (90, 90)])
async def test_azures_dpd_is_the_connections_or_the_default(told: int, timeout: int) -> None:
    site = Site()
    await site.link({"dpd_timeout_s": told})
    site.home.lose_internet()
    site.wait(timeout - 1)
    assert await site.connected()
    site.wait(1)
    assert not await site.connected()


async def test_nobody_hears_across_a_dead_path(linked: Site) -> None:
    linked.home.lose_internet()
    linked.firewall.initiate("home")
    assert await linked.connected()
    assert linked.health.ike.state == "CONNECTING"
    other = Site()
    await other.link()
    other.home.lose_internet()
    await other.plane.reset_connection("home")
    assert not await other.connected()
    assert other.health.ike.state == "ESTABLISHED"


async def test_charon_sends_at_its_own_times_and_a_late_success_clears_the_refusal(linked: Site) -> None:
    """Silence from the start: packets at 0, 4, 11.2, ... 89.5 s, then anew every 165.1 s."""
    linked.home.lose_internet()
    linked.firewall.initiate("home")
    linked.wait(165.1 + 12)
    linked.home.move(ADDRESS, 1)
    linked.wait(1)
    assert linked.health.ike_error == "PEER_NOT_RESPONDING"
    linked.wait(11.1)
    assert linked.health.ike.state == "CONNECTING"
    linked.wait(0.2)
    assert linked.health.ike.established_s == pytest.approx(0.1)
    assert linked.health.ike_error is None


async def test_bytes_count_what_got_through(linked: Site) -> None:
    assert linked.health.child.bytes_in == 600
    linked.home.move(ADDRESS, 15)
    linked.wait(15)
    assert linked.health.child.bytes_in == 600
    linked.wait(10)
    linked.home.move(ADDRESS, 10)
    linked.wait(20)
    assert linked.health.child.bytes_in == 1000
    assert (await linked.plane.tunnel("home")).ingress_bytes == 1000


async def test_an_sa_with_the_old_address_ends_when_azure_is_told_the_new_one(linked: Site) -> None:
    linked.home.move(NEW, 5)
    linked.wait(10)
    await linked.plane.set_peer("home", NEW)
    assert not await linked.connected()
    linked.wait(60)
    assert linked.up == (True, True, False), "the home still believes in it"
    linked.firewall.initiate("home")
    assert await linked.connected()
    await linked.plane.set_peer("home", ADDRESS)
    assert not await linked.connected()
    assert linked.health.ike.state == "CONNECTING", "this time it could be told"


async def test_initiate_does_not_wait_for_the_dead_sa(linked: Site) -> None:
    linked.home.move(NEW, 5)
    linked.wait(10)
    assert linked.firewall.initiate("home") == "not established: PEER_NOT_RESPONDING"
    assert linked.health.ike_error == "PEER_NOT_RESPONDING"
    await linked.plane.set_peer("home", NEW)
    assert linked.firewall.initiate("home") == "SA installed"
    linked.wait(2)
    assert linked.up == ALL
    assert linked.health.bgp.uptime_s > 10, "the session of before lives on within its hold time"


async def test_where_azure_answers_unknown_sources_a_live_sa_follows_its_peer() -> None:
    site = Site(ANSWERED)
    await site.link()
    site.wait(30)
    site.home.move(NEW, 15)
    site.wait(20)
    assert site.up == ALL
    assert await site.connected()
    await site.plane.set_peer("home", NEW)
    assert site.up == ALL
    assert site.health.ike.established_s == 50


async def test_where_azure_answers_unknown_sources_the_key_tells_the_connection() -> None:
    for key, state in ((PSK, "ESTABLISHED"), ("another", "NONE")):
        site = Site(ANSWERED)
        await site.link({"peer_address": "192.0.2.99"})
        site.apply(site.tunnel, key)
        site.firewall.initiate("home")
        assert site.health.ike.state == state


REFUSALS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"psk": "another"}, {}, "AUTHENTICATION_FAILED"),
    ({"policy": {**POLICY, "dhGroup": "DHGroup14"}}, {}, "NO_PROPOSAL_CHOSEN"),
    ({"policy": None}, {}, "NO_PROPOSAL_CHOSEN"),
    ({"mode": "InitiatorOnly"}, {}, "PEER_NOT_RESPONDING"),
    ({"peer_address": None}, {}, "PEER_NOT_RESPONDING"),
    ({}, {"peer_id": "203.0.113.99"}, "PEER_IDENTITY_MISMATCH"),
    ({}, {"peer_address": "203.0.113.99"}, "PEER_NOT_RESPONDING"),
    ({}, {"ike": Ike("AES256", "SHA256", "ECP384", 28800)}, "NO_PROPOSAL_CHOSEN"),
]


@pytest.mark.parametrize(("azure", "home", "reason"), REFUSALS)
async def test_ends_that_differ_are_refused_with_charons_reason(
    azure: dict[str, Any], home: dict[str, Any], reason: str
) -> None:
    site = Site()
    await site.link(azure, **home)
    site.wait(600)
    assert site.health.ike_error == reason
    assert site.up == (False, False, False)
    assert site.health.ike.state == ("CONNECTING" if reason == "PEER_NOT_RESPONDING" else "NONE")
    assert not await site.connected()


async def test_a_child_that_does_not_fit_leaves_the_ike_sa_alone() -> None:
    site = Site()
    await site.link({"policy": {**POLICY, "pfsGroup": "PFS2"}})
    site.wait(60)
    assert (site.health.ike.state, site.health.ike_error) == ("ESTABLISHED", "NO_PROPOSAL_CHOSEN")
    assert site.up == (False, False, False)
    assert not await site.connected()


async def test_two_names_of_one_group_fit() -> None:
    site = Site()
    d = site.tunnel
    policy = {**POLICY, "dhGroup": "DHGroup2048", "pfsGroup": "PFS2048"}
    await site.link({"policy": policy}, ike=replace(d.ike, dh_group="DHGroup14"), esp=replace(d.esp, pfs_group="PFS14"))
    assert site.up[0]


async def test_a_wrong_asn_fails_in_bgp_alone_and_heals(linked: Site) -> None:
    await linked.plane.set_connection(replace(linked.view, peer_asn=64601))
    linked.wait(linked.fabric.assumptions.bgp_refusal_s - 1)
    assert (linked.up, linked.health.bgp.state) == ((True, False, False), "Active")
    linked.wait(1)
    assert (linked.health.bgp.state, linked.health.bgp.last_error) == ("Idle", BAD_PEER_AS)
    assert await linked.neighbour() == "Active"
    await linked.plane.set_connection(linked.view)
    linked.wait(10)
    assert linked.up == ALL
    assert linked.health.bgp.last_error is None


async def test_a_refused_session_comes_up_at_once_when_the_asn_is_right_again(linked: Site) -> None:
    await linked.plane.set_connection(replace(linked.view, peer_asn=64601))
    linked.wait(5)
    await linked.plane.set_connection(linked.view)
    linked.wait(linked.fabric.assumptions.bgp_connect_s)
    assert linked.up == ALL


@pytest.mark.parametrize("view", [{"peer_bgp_address": "192.168.9.9"}, {"enable_bgp": False}, {"apipa": ("1.2.3.4",)}])
async def test_addresses_that_differ_leave_bgp_dialling(view: dict[str, Any]) -> None:
    site = Site()
    await site.link(view)
    site.wait(60)
    assert (site.health.bgp.state, site.health.bgp.last_error) == ("Active", None)


async def test_with_apipa_only_the_home_opens_the_session() -> None:
    site = Site()
    bgp = replace(site.tunnel.bgp, local_address="169.254.21.2", peer_address="169.254.21.1")
    await site.link({"apipa": ("169.254.21.1",), "peer_bgp_address": "169.254.21.2"}, bgp=bgp)
    site.wait(9.9)
    assert not site.up[1]
    site.wait(0.2)
    assert site.up == ALL


async def test_a_new_key_in_azure_does_not_touch_a_live_sa(linked: Site) -> None:
    await linked.plane.set_connection(replace(linked.view, psk="another"))
    linked.wait(3600)
    assert linked.up == ALL
    await linked.plane.reset_connection("home")
    linked.wait(5)
    assert linked.health.ike.state == "NONE", "charon gives up when it is refused"
    assert linked.health.ike_error is None, "nobody watched that attempt"
    linked.firewall.start("home")
    assert linked.health.ike_error == "AUTHENTICATION_FAILED"
    linked.apply(replace(linked.tunnel, psk=SecretRef("psk-home", "v2")), "another", 2)
    linked.wait(3)
    assert linked.up == ALL


async def test_a_connection_reset_is_heard_and_mended_at_once(linked: Site) -> None:
    await linked.plane.reset_connection("home")
    assert linked.up == ALL
    assert linked.health.ike.established_s == 0
    assert linked.health.bgp.uptime_s == 28


async def test_a_planned_failover_keeps_the_sessions(linked: Site) -> None:
    linked.fabric.outage("gw", 0, 12, keeps=True)
    assert linked.up == (True, True, False)
    linked.wait(12)
    assert linked.up == ALL
    assert linked.health.ike.established_s == 42
    assert await linked.connected()


async def test_an_unplanned_failover_loses_them_and_the_home_learns_late(linked: Site) -> None:
    linked.fabric.outage("gw", 0, 60)
    assert not await linked.connected()
    linked.wait(174)
    assert linked.health.ike.state == "ESTABLISHED"
    linked.wait(2)
    assert await linked.connected()
    linked.wait(3)
    assert linked.up == ALL
    assert linked.health.ike.established_s is not None
    assert linked.health.ike.established_s < 10


async def test_a_gateway_reset_says_goodbye(linked: Site) -> None:
    await linked.plane.reset_gateway("gw", outage_s=12)
    assert linked.health.ike.state == "CONNECTING"
    assert linked.health.bgp.state == "Active"
    assert not await linked.connected()
    assert await linked.plane.bgp_peers("gw") == []
    linked.wait(40)
    assert linked.up == ALL


async def test_a_reset_of_one_instance_leaves_the_other_alone() -> None:
    site = Site()
    site.gateway = replace(site.gateway, second=SECOND)
    await site.link()
    site.wait(5)
    await site.plane.reset_gateway("gw", SECOND.public_ip, outage_s=12)
    assert site.up == ALL
    assert [i.connected for i in (await site.plane.tunnel("home")).instances] == [True, False]


async def test_azure_dials_where_it_may_and_the_router_forwards() -> None:
    for forward, mode, up in ((True, "InitiatorOnly", True), (False, "InitiatorOnly", False), (True, "Default", True)):
        site = Site(port_forward=forward)
        await site.link({"mode": mode}, initiates=False)
        site.wait(20)
        assert site.up[0] is up
    await site.plane.reset_connection("home")
    assert site.health.ike.established_s == 0, "it dials again at once"


async def test_one_half_open_session_ends_at_the_next_keepalive(linked: Site) -> None:
    """Power lost at home for less than Azure's DPD: Azure still holds a session that the home knows nothing of."""
    linked.firewall.reboot(20)
    linked.wait(20)
    assert linked.up == (True, False, False)
    assert await linked.neighbour() == "Established"
    linked.wait(11.9)
    assert not linked.up[1]
    linked.wait(2.2)
    assert linked.up == ALL


async def test_an_apply_may_bounce_every_session_of_its_firewall() -> None:
    for bounces in (False, True):
        site = Site(Assumptions(applies_bounce_all=bounces))
        await site.link()
        site.wait(100)
        site.apply(replace(site.tunnel, mss=1300), generation=2)
        assert site.up == (True, not bounces, not bounces)
        site.wait(5)
        assert site.up == ALL
        assert site.health.ike.established_s == 105


async def test_another_policy_ends_the_sa_and_both_ends_must_follow(linked: Site) -> None:
    policy = {**POLICY, "ikeIntegrity": "SHA256"}
    await linked.plane.set_connection(replace(linked.view, policy=policy))
    assert linked.health.ike.state == "NONE"
    d = linked.tunnel
    linked.apply(replace(d, ike=replace(d.ike, integrity="SHA256")), generation=2)
    assert linked.up[0]


async def test_what_is_dropped_is_gone(linked: Site) -> None:
    await linked.plane.drop_connection("home")
    with pytest.raises(LookupError, match="home"):
        await linked.plane.tunnel("home")
    assert linked.health.ike.state == "CONNECTING"
    await linked.plane.set_connection(linked.view)
    linked.wait(60)
    assert linked.up == ALL
    await linked.plane.drop_gateway("gw")
    linked.wait(600)
    assert linked.up == (False, False, False)
    assert await linked.plane.bgp_peers("gw") == []


async def test_another_network_builds_the_gateway_anew(linked: Site) -> None:
    await linked.plane.set_gateway(replace(linked.gateway, vnet_prefixes=("10.7.0.0/16",)))
    linked.wait(60)
    assert linked.up[:2] == (True, True)
    assert linked.health.bgp.received == (), "the home accepts 10.0.0.0/16 only"
    assert linked.health.bgp.uptime_s < 60


async def test_a_home_that_is_told_hears_of_another_one(linked: Site) -> None:
    home = Home(linked.fabric, linked.names, "other", "other.dyn.example", "198.51.100.99")
    firewall = ModelFirewall(linked.fabric, home)
    d = linked.tunnel
    bgp = replace(d.bgp, local_asn=64700, local_address="192.168.2.1", advertise=("192.168.2.0/24", "10.0.0.0/16"))
    await linked.plane.set_connection(
        replace(linked.view, name="other", peer_address="198.51.100.99", peer_asn=64700, peer_bgp_address="192.168.2.1")
    )
    firewall.apply(replace(d, connection="other", bgp=bgp), 1, PSK, None)
    accept = ("10.0.0.0/16", "192.168.0.0/16")
    linked.apply(replace(d, bgp=replace(d.bgp, accept=accept)), generation=2)
    linked.wait(5)
    assert linked.health.bgp.received == ("10.0.0.0/16", "192.168.2.0/24")
    assert await linked.learned() == ["192.168.1.0/24", "192.168.2.0/24"], "but not what is the network's own"
    assert firewall.health().tunnels[0].bgp.received == ("10.0.0.0/16",)
    linked.home.move("198.51.100.99", 1)
    linked.wait(5)
    linked.firewall.initiate("home")
    assert linked.health.ike_error is None, "one key, so Azure takes it for the other home's"


async def test_a_world_can_be_put_away_in_the_middle_of_things(linked: Site) -> None:
    linked.home.move(NEW, 15)
    linked.wait(20)
    linked.apply(replace(linked.tunnel, mss=1300), generation=2, revert_s=100)
    copy: Site = pickle.loads(pickle.dumps(linked))
    for site in (linked, copy):
        site.wait(90)
        await site.plane.set_peer("home", NEW)
        site.wait(500)
    assert copy.firewall.health() == linked.firewall.health()
    assert copy.up == ALL
    assert copy.names.truth(copy.home.fqdn) == linked.names.truth(linked.home.fqdn)
    assert ADDRESS not in str(copy.names.truth(copy.home.fqdn))
