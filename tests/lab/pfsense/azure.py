"""Configurations to start with, and PHP that adds a tunnel to Azure as a person would enter it."""

from __future__ import annotations

from pathlib import Path

PLAIN = Path(__file__).with_name("plain") / "config.xml"
"""A home as it is shipped, with the FRR package installed and nothing configured."""
FOREIGN = Path(__file__).with_name("foreign") / "config.xml"
"""The same with a hand-made tunnel (ikeid and reqid 2, opt1) and a neighbour over it (AS 64900 towards 64901)."""


def tunnel(number: int, peer: str, psk: str, local: str, remote: str, asn: int, peer_asn: int) -> str:
    """PHP that sets phase 1 and 2, the assignment opt<number>, its gateway and BGP; nothing is written or applied."""
    values = {"number": number, "peer": peer, "psk": psk, "local": local, "remote": remote, "asn": asn}
    text = Path(__file__).with_name("tunnel.php").read_text()
    for name, value in {**values, "peer_asn": peer_asn}.items():
        text = text.replace(f"@{name}@", str(value))
    return text
