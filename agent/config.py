"""agent.toml: where the state lies, whom to trust, which firewall. Every problem is named at once."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import urlsplit

from agent.errors import ConfigError
from agent.limits import Timing

DEFAULT_PATH = "/etc/homelink/agent.toml"
DEFAULT_STATE = "/var/lib/homelink"
DRIVERS = ("linux", "pfsense")


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
class PfSenseSettings:
    """`url` empty: the agent runs on the firewall itself. `ca` or `fingerprint` (SHA-256, hex) say which certificate is
    the firewall's. The credentials were read from files that only their owner can read; they are in no repr. `wan` is
    the friendly name of the interface, `merge_bgp` the consent to join a BGP that runs already."""

    url: str = ""
    ca: str | None = None
    fingerprint: str | None = None
    api_key: str = field(default="", repr=False)
    user: str = ""
    password: str = field(default="", repr=False)
    wan: str = "wan"
    merge_bgp: bool = False


@dataclass(frozen=True)
class Config:
    path: Path
    state: Path
    ca: str | None
    timing: Timing = field(default_factory=Timing)
    driver: str = "linux"
    linux: LinuxSettings = field(default_factory=LinuxSettings)
    pfsense: PfSenseSettings = field(default_factory=PfSenseSettings)


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
    linux, pfsense = _table(firewall, "linux", errors), _table(firewall, "pfsense", errors)
    driver = _text(firewall, "driver", "linux", errors, "firewall.")
    if driver not in DRIVERS:
        errors.append(f"firewall.driver: {driver!r} is not one of {list(DRIVERS)}")
    _unknown(raw, {"state", "ca", "timing", "firewall"}, "", errors)
    _unknown(firewall, {"driver", *DRIVERS}, "firewall.", errors)
    config = Config(
        path=path.absolute(),
        state=Path(_text(raw, "state", DEFAULT_STATE, errors)),
        ca=_text(raw, "ca", "", errors) or None,
        timing=_timing(timing, errors),
        driver=driver,
        linux=_linux(linux, errors) if driver != "pfsense" else LinuxSettings(),
        pfsense=_pfsense(pfsense, errors) if driver == "pfsense" else PfSenseSettings(),
    )
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
    texts = {
        k: _text(raw, k, getattr(d, k), errors, "firewall.linux.") for k in ("vici", "device", "wan", "lan_address")
    }
    if not texts["wan"]:
        errors.append("firewall.linux.wan: missing; the name of the interface towards the internet")
    try:
        IPv4Address(texts["lan_address"])
    except ValueError:
        errors.append("firewall.linux.lan_address: missing; this host's IPv4 address in the LAN")
    return LinuxSettings(vtysh=tuple(vtysh), link=cast(Literal["tun", "xfrm"], link), **texts)


def _pfsense(raw: dict[str, Any], errors: list[str]) -> PfSenseSettings:
    prefix = "firewall.pfsense."
    known = {"url", "ca", "fingerprint", "api_key_file", "user", "password_file", "wan", "merge_bgp"}
    _unknown(raw, known, prefix, errors)
    texts = {k: _text(raw, k, "", errors, prefix) for k in sorted(known - {"merge_bgp"})}
    merge = raw.get("merge_bgp", False)
    if not isinstance(merge, bool):
        errors.append(f"{prefix}merge_bgp: expected true or false")
    url, ca = texts["url"].rstrip("/"), texts["ca"]
    remote = [k for k in ("api_key_file", "user", "password_file", "ca", "fingerprint") if texts[k]]
    if url and not _is_safe(url):
        errors.append(
            f"{prefix}url: expected https:// and the firewall's address, as in https://192.168.1.1: whoever reads the"
            " credential is root on the firewall"
        )
    if not url and remote:
        errors.append(
            f"{prefix}url: missing, although {', '.join(remote)} is given: https:// and the firewall's address in the"
            " LAN; where the agent runs on the firewall itself leave all of them out"
        )
    if url and not texts["api_key_file"] and not texts["user"]:
        errors.append(f"{prefix}api_key_file: missing (REST API package); or `user` and `password_file` (XML-RPC)")
    if bool(texts["user"]) != bool(texts["password_file"]):
        errors.append(f"{prefix}user, password_file: one does not work without the other: give both or neither")
    fingerprint = texts["fingerprint"].replace(":", "").lower()
    if fingerprint and not re.fullmatch(r"[0-9a-f]{64}", fingerprint):
        errors.append(f"{prefix}fingerprint: expected the SHA-256 of the certificate, 64 hexadecimal digits")
    if fingerprint and ca:
        errors.append(f"{prefix}ca, fingerprint: only one of them can count: remove the other")
    if ca and not Path(ca).is_file():
        errors.append(
            f"{prefix}ca: {ca} is no file: expected the PEM of the root that signed the firewall's certificate"
        )
    wan = texts["wan"] or "wan"
    if not re.fullmatch(r"wan|lan|opt[0-9]+", wan):
        errors.append(f"{prefix}wan: {wan!r} is no interface: expected pfSense's own name, wan, lan or optN")
    return PfSenseSettings(
        url=url,
        ca=ca or None,
        fingerprint=fingerprint or None,
        api_key=_secret(texts["api_key_file"], f"{prefix}api_key_file", errors),
        user=texts["user"],
        password=_secret(texts["password_file"], f"{prefix}password_file", errors),
        wan=wan,
        merge_bgp=merge is True,
    )


def _is_safe(url: str) -> bool:
    """HTTPS, or HTTP that does not leave this host; and nothing behind the address."""
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname  # a port that is none raises
    except ValueError:
        return False
    plain = parts.scheme == "http" and host in ("127.0.0.1", "localhost")
    bare = host and not parts.username and url.partition("//")[2] == parts.netloc and port != 0
    return bool(bare) and (parts.scheme == "https" or plain)


def _secret(name: str, setting: str, errors: list[str]) -> str:
    """The content of a file that nobody else can read; "" without a name."""
    if not name:
        return ""
    try:
        if Path(name).stat().st_mode & 0o077:
            errors.append(f"{setting}: {name} can be read by others: chmod 600 {name}")
        text = Path(name).read_text().strip()
    except (OSError, UnicodeDecodeError) as e:
        errors.append(f"{setting}: {name} cannot be read ({type(e).__name__}): a text file of the agent's own user")
        return ""
    if not text:
        errors.append(f"{setting}: {name} is empty: put the credential into it")
    return text


def _table(raw: dict[str, Any], key: str, errors: list[str]) -> dict[str, Any]:
    value = raw.get(key, {})
    if isinstance(value, dict):
        return value
    errors.append(f"{key}: expected a table")
    return {}


def _text(raw: dict[str, Any], key: str, default: str, errors: list[str], prefix: str = "") -> str:
    value = raw.get(key, default)
    if isinstance(value, str):
        return value
    errors.append(f"{prefix}{key}: expected text")
    return default


def _unknown(raw: dict[str, Any], known: set[str], prefix: str, errors: list[str]) -> None:
    said = f"not a setting; there are {', '.join(sorted(known))}"
    errors += [f"{prefix}{name}: {said}" for name in sorted(set(raw) - known)]
