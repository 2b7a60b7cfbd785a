"""Server time, vigil, validation, configuration, logging: the small pure parts."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import config
from agent.errors import ConfigError
from agent.limits import Timing, shorten
from agent.log import StderrLog
from agent.secret_store import SecretStore
from agent.servertime import ServerTime
from agent.validate import command_problems, desired_problems
from shared.wire.commands import SecretRef
from tests.agent.fakes import FakeControl, FakeFiles, World, desired


def test_server_time_is_that_of_the_middle_of_the_round_trip() -> None:
    clock = ServerTime()
    assert clock.now(5.0) is None
    assert clock.skew(1.0, 5.0) is None
    clock.note(1000.0, sent=10.0, received=12.0)
    assert clock.now(13.0) == 1002.0
    assert clock.skew(1102.0, 13.0) == 100.0


def test_secrets_are_kept_by_version_and_forgotten() -> None:
    world = World()
    store = SecretStore(FakeFiles(world))
    one, two = SecretRef("../psk", "v1"), SecretRef("../psk", "v2")
    store.put(one, "first")
    store.put(two, "second")
    assert (store.get(one), store.get(two), store.get(SecretRef("x", "v1"))) == ("first", "second", None)
    assert all(p.startswith("secrets/") and ".." not in p for p in world.disk)
    store.keep_only({two})
    assert (store.get(one), store.get(two)) == (None, "second")


def test_a_good_command_has_no_problems_and_a_bad_one_names_them_all() -> None:
    command = FakeControl(World()).apply(desired(probe="10.0.0.4"))
    assert command_problems(command) == ()
    d = desired()
    bad = replace(
        d,
        connection="a b",
        peer_address="010.0.0.1",
        peer_id="x y",
        mss=1,
        probe="fe80::1",
        bgp=replace(d.bgp, advertise=("10.0.0.1/8",), accept=("any",), local_asn=0, hold_s=0),
        transit=replace(d.transit, prefix_length=99),
    )
    said = " ".join(desired_problems(bad))
    for path in (
        "connection:", "peer_address:", "peer_id:", "mss:", "probe:", "bgp.advertise[0]", "bgp.accept[0]",
        "bgp.local_asn", "bgp.hold_s", "transit.prefix_length",
    ):  # fmt: skip
        assert path in said


@given(st.text(max_size=40))
def test_no_text_that_passes_can_end_a_line_or_a_word(text: str) -> None:
    d = desired(connection=text, connection_id=text, peer_id=text, peer_address=text, probe=text)
    if not any(p.startswith(("connection:", "peer_id:")) for p in desired_problems(d)):
        assert not set(text) & set(" \t\r\n\"'\\/{};!")
        assert text.isascii()


GOOD = '[firewall.linux]\nwan = "eth0"\nlan_address = "192.168.1.1"\n'


def test_a_small_configuration_has_the_products_defaults(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(GOOD)
    loaded = config.load(path)
    assert loaded.timing == Timing()
    assert (loaded.state, loaded.ca, loaded.linux.link) == (Path("/var/lib/homelink"), None, "xfrm")


def test_every_wrong_setting_is_named(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(
        'colour = 1\nca = 3\n[timing]\nheartbeat_s = -1\nmoon = 2\n[firewall]\ndriver = "ufw"\n'
        '[firewall.linux]\nlink = "vti"\nvtysh = "x"\nlan_address = "home"\n'
    )
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    for part in (
        "colour: not a setting", "ca: expected text", "timing.heartbeat_s", "timing.moon: not a setting", "driver",
        "link: expected", "vtysh: expected", "wan: missing", "lan_address",
    ):  # fmt: skip
        assert part in str(caught.value)
    for text in ("= 1", "\x00"):
        path.write_text(text)
        with pytest.raises(ConfigError, match="is not TOML"):
            config.load(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        config.load(tmp_path / "missing.toml")


def test_a_log_line_is_one_line() -> None:
    out = io.StringIO()
    StderrLog(out)("warning", "trouble", part="queue", reason='two\nlines and "quotes"', n=3)
    (line,) = out.getvalue().splitlines()
    assert line.endswith('WARNING trouble part=queue reason="two\\nlines and \\"quotes\\"" n=3')


@given(st.text(), st.integers(2, 50))
def test_shortened_text_is_one_printable_line(text: str, limit: int) -> None:
    short = shorten(text, limit)
    assert len(short) <= limit
    assert short.isprintable()
