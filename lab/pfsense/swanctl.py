"""Reading swanctl.conf: sections in braces, `key = value` lines, comments. Enough for what pfSense generates."""

from __future__ import annotations

from typing import Any

Section = dict[str, Any]
"""Values are text or further sections."""


def parse(text: str) -> Section:
    """ValueError with the line's number where it is neither of the three."""
    root: Section = {}
    stack = [root]
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.split("#", 1)[0].strip()
        if not line:
            continue
        if line.endswith("{"):
            inner: Section = {}
            stack[-1][line[:-1].strip()] = inner
            stack.append(inner)
        elif line == "}" and len(stack) > 1:
            stack.pop()
        elif "=" in line:
            key, _, value = line.partition("=")
            stack[-1][key.strip()] = value.strip()
        else:
            raise ValueError(f"line {number} is no setting: {line}")
    return root


def dump(section: Section, indent: str = "") -> str:
    out = ""
    for key, value in section.items():
        if isinstance(value, dict):
            out += f"{indent}{key} {{\n{dump(value, indent + '  ')}{indent}}}\n"
        else:
            out += f"{indent}{key} = {value}\n"
    return out


def connections(text: str) -> dict[str, Section]:
    """The tunnels, by name; the bypass for the LAN is none."""
    found: Section = parse(text).get("connections", {})
    return {name: conn for name, conn in found.items() if name != "bypass"}


def secret_for(text: str, connection: Section) -> Section | None:
    """The secret that a connection uses: the one whose second owner is the peer's identity."""
    peer = connection.get("remote", {}).get("id")
    for secret in parse(text).get("secrets", {}).values():
        if peer in (secret.get("id-1"), secret.get("id-0")):
            return dict(secret)
    return None
