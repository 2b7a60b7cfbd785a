"""agent.toml: where the state lies, whom to trust, which firewall. Every problem is named at once."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Literal, cast

from agent.errors import ConfigError
from agent.limits import Timing

DEFAULT_PATH = "/etc/homelink/agent.toml"
DEFAULT_STATE = "/var/lib/homelink"


@dataclass(frozen=True)
class LinuxSettings:
    """`link`: "tun" is kernel-libipsec's device (one tunnel per host), "xfrm" an XFRM interface per Connection.
    `device` is used by "tun", `wan` tells the WAN address, `lan_address` is what probes are sent from."""

    vici: str = "/var/run/charon.vici"
    vtysh: tuple[str, ...] = ("vtysh",)
    link: Literal["tun", "xfrm"] = "xfrm"
    device: str = "ipsec0"
    wan: str = ""
    lan_address: str = ""


@dataclass(frozen=True)
class Config:
    path: Path
    state: Path
    ca: str | None
    timing: Timing = field(default_factory=Timing)
    driver: str = "linux"
    linux: LinuxSettings = field(default_factory=LinuxSettings)


def load(path: Path) -> Config:
    """Raises ConfigError naming every wrong entry."""
    try:
        raw = tomllib.loads(path.read_text())
    except OSError as e:
        raise ConfigError(f"{path} cannot be read: {e.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path} is not TOML: {e}") from None
    errors: list[str] = []
    timing, firewall = _table(raw, "timing", errors), _table(raw, "firewall", errors)
    linux = _table(firewall, "linux", errors)
    _unknown(raw, {"state", "ca", "timing", "firewall"}, "", errors)
    _unknown(firewall, {"driver", "linux"}, "firewall.", errors)
    config = Config(
        path=path.absolute(),
        state=Path(_text(raw, "state", DEFAULT_STATE, errors)),
        ca=_text(raw, "ca", "", errors) or None,
        timing=_timing(timing, errors),
        driver=_text(firewall, "driver", "linux", errors),
        linux=_linux(linux, errors),
    )
    if config.driver != "linux":
        errors.append(f"firewall.driver: {config.driver!r} is not one of ['linux']")
    if errors:
        raise ConfigError(f"{path}: " + "; ".join(errors))
    return config


def _timing(raw: dict[str, Any], errors: list[str]) -> Timing:
    names = {f.name for f in dataclasses.fields(Timing)}
    _unknown(raw, names, "timing.", errors)
    values = {}
    for name in names & set(raw):
        value = raw[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
            errors.append(f"timing.{name}: expected seconds, a number above 0")
        else:
            values[name] = float(value)
    return Timing(**values)


def _linux(raw: dict[str, Any], errors: list[str]) -> LinuxSettings:
    d = LinuxSettings()
    _unknown(raw, {f.name for f in dataclasses.fields(LinuxSettings)}, "firewall.linux.", errors)
    vtysh = raw.get("vtysh", list(d.vtysh))
    if not isinstance(vtysh, list) or not vtysh or not all(isinstance(v, str) for v in vtysh):
        errors.append('firewall.linux.vtysh: expected a list of words, as in ["vtysh"]')
        vtysh = list(d.vtysh)
    link = raw.get("link", d.link)
    if link not in ("tun", "xfrm"):
        errors.append('firewall.linux.link: expected "tun" or "xfrm"')
        link = d.link
    texts = {k: _text(raw, k, getattr(d, k), errors) for k in ("vici", "device", "wan", "lan_address")}
    if not texts["wan"]:
        errors.append("firewall.linux.wan: missing; the name of the interface towards the internet")
    try:
        IPv4Address(texts["lan_address"])
    except ValueError:
        errors.append("firewall.linux.lan_address: missing; this host's IPv4 address in the LAN")
    return LinuxSettings(vtysh=tuple(vtysh), link=cast(Literal["tun", "xfrm"], link), **texts)


def _table(raw: dict[str, Any], key: str, errors: list[str]) -> dict[str, Any]:
    value = raw.get(key, {})
    if isinstance(value, dict):
        return value
    errors.append(f"{key}: expected a table")
    return {}


def _text(raw: dict[str, Any], key: str, default: str, errors: list[str]) -> str:
    value = raw.get(key, default)
    if isinstance(value, str):
        return value
    errors.append(f"{key}: expected text")
    return default


def _unknown(raw: dict[str, Any], known: set[str], prefix: str, errors: list[str]) -> None:
    errors += [f"{prefix}{name}: not a setting" for name in sorted(set(raw) - known)]
