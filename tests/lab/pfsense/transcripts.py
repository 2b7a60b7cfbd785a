"""What was recorded on pfSense's and its packages' own code. Read where it is, and no part of the project."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[3] / ".." / "shared" / "data" / "pfsense" / "transcripts"
MISSING = not FOLDER.exists()
RIG: dict[str, Any] = {
    "wan": "192.168.50.2/24",
    "wan_gateway": "192.168.50.1",
    "lan": "10.42.0.1/24",
    "version": "2.9.0-DEVELOPMENT",
}
"""Addresses of the firewall that was recorded."""
UNCOMPARED = (
    "/status/interfaces",
    "/status/services",
    "/routing/gateways",
    "/diagnostics/config_history/revisions",
    "/status/gateways",
)
"""Their answers depend on that machine's hardware and clock."""


@dataclass(frozen=True)
class Exchange:
    method: str
    path: str
    body: Any
    status: int
    answer: Any


def demo(name: str) -> list[Exchange]:
    """The requests of a session in their order, with a body as it was shown; those of UNCOMPARED left out."""
    found = []
    for part in re.split(r"^### ", (FOLDER / name).read_text(), flags=re.M)[1:]:
        head, *lines = part.splitlines()
        method, path = head.split()
        sent = [line[4:] for line in lines if line.startswith(">>> ")]
        answers = [line for line in lines if line.startswith('{"code"')]
        status = [int(line.split()[2]) for line in lines if line.startswith("<<< ")]
        if path in UNCOMPARED or not answers or "command_prompt" in path:
            continue
        found.append(Exchange(method, path, json.loads(sent[0]) if sent else None, status[0], json.loads(answers[0])))
    return found


def scene(name: str, folder: Path) -> tuple[Path, dict[str, Any]]:
    """The configuration that a session began with. Both began from the recorded home; the first without IPsec, the
    second where the first had applied its tunnel and not yet assigned it."""
    text = (FOLDER / "config.azure-vti-bgp.xml").read_text()
    text = re.sub(r"\s*<opt1>.*?</opt1>", "", text, flags=re.S)
    text = re.sub(
        r"<installedpackages>.*</installedpackages>", "<installedpackages></installedpackages>", text, flags=re.S
    )
    if name == "restapi-demo.txt":
        text = re.sub(r"\s*<ipsec>.*?</ipsec>", "", text, flags=re.S)
    config = folder / "start.xml"
    config.write_text(text)
    return config, RIG
