"""agent.toml for a pfSense: which way in, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent import config
from agent.adapters import SystemClock, SystemRandom
from agent.errors import ConfigError
from agent.firewall.pfsense import driver

HTTPS = 'url = "https://192.168.1.1/"\n'


def load(folder: Path, lines: str) -> config.Config:
    path = folder / "agent.toml"
    path.write_text(f'state = "{folder}/state"\n[firewall]\ndriver = "pfsense"\n[firewall.pfsense]\n{lines}')
    return config.load(path)


def secret(folder: Path, name: str, text: str = "s3cret\n", mode: int = 0o600) -> str:
    path = folder / name
    path.write_text(text)
    path.chmod(mode)
    return f'{name}_file = "{path}"\n'


def ways(c: config.Config) -> list[str]:
    return [w.name for w in driver.build(c, SystemClock(), SystemRandom())._box._ways]


def test_rest_first_and_xmlrpc_behind_it(tmp_path: Path) -> None:
    both = HTTPS + secret(tmp_path, "api_key") + 'user = "homelink"\n' + secret(tmp_path, "password")
    c = load(tmp_path, both + f'fingerprint = "{":".join(["AB"] * 32)}"\n')
    assert ways(c) == ["rest", "xmlrpc"]
    assert (c.pfsense.url, c.pfsense.api_key, c.pfsense.fingerprint) == ("https://192.168.1.1", "s3cret", "ab" * 32)
    assert "s3cret" not in repr(c)
    assert not c.pfsense.merge_bgp


def test_without_a_url_it_is_the_firewall_itself(tmp_path: Path) -> None:
    assert ways(load(tmp_path, "")) == ["local"]


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ('url = "http://192.168.1.1"\n', "url: expected https://"),
        (HTTPS, "api_key_file: missing"),
        (HTTPS + 'api_key_file = "/nowhere"\n', r"api_key_file: /nowhere cannot be read"),
        (HTTPS + 'user = "u"\n', "one does not work without the other"),
        (HTTPS + 'fingerprint = "abc"\n', "64 hexadecimal digits"),
        (HTTPS + 'fingerprint = "' + "ab" * 32 + '"\nca = "/nowhere"\n', "ca, fingerprint: only one"),
        (HTTPS + 'ca = "/nowhere"\n', "ca: /nowhere is no file"),
        ('url = "https://192.168.1.1/api"\n', "url: expected https://"),
        ('url = "https://:443"\n', "url: expected https://"),
        ('user = "u"\n', "url: missing, although user is given"),
        ('wan = "igb0"\n', "wan: 'igb0' is no interface"),
        ("url = 7\n", "firewall.pfsense.url: expected text"),
        ('merge_bgp = "yes"\n', "merge_bgp: expected true or false"),
        ('api_key = "in the open"\n', "api_key: not a setting; there are api_key_file,"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, lines: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        load(tmp_path, lines)


def test_all_that_is_wrong_is_named_at_once(tmp_path: Path) -> None:
    wrong = 'url = "http://fw"\nuser = "u"\nfingerprint = "abc"\nwan = "WAN"\nmerge_bgp = 1\nkey = "k"\n'
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, wrong + 'api_key_file = "/nowhere"\n')
    said = str(caught.value)
    assert said.startswith(f"{tmp_path}/agent.toml: ")
    problems = said.split("firewall.pfsense.")[1:]
    names = ("key", "merge_bgp", "url", "user, password_file", "fingerprint", "wan", "api_key_file")
    assert [p.partition(":")[0] for p in problems] == list(names)


def test_a_key_that_others_can_read_is_refused_and_not_shown(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="chmod 600") as caught:
        load(tmp_path, HTTPS + secret(tmp_path, "api_key", mode=0o644))
    assert "s3cret" not in str(caught.value)
    with pytest.raises(ConfigError, match="is empty"):
        load(tmp_path, HTTPS + secret(tmp_path, "api_key", ""))


def test_an_unknown_driver_is_named(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text('[firewall]\ndriver = "opnsense"\n')
    with pytest.raises(ConfigError, match="'opnsense' is not one of"):
        config.load(path)
