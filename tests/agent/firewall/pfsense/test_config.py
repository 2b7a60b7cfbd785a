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
        ('merge_bgp = "yes"\n', "merge_bgp: expected true or false"),
        ('api_key = "in the open"\n', "api_key: not a setting"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, lines: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        load(tmp_path, lines)


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
