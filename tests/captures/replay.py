"""A capture read back: its files, and the witnesses that speak in them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from shared.domain import home_evidence, parse
from shared.domain.arm import ArmKind
from shared.domain.bgp import AzureBgp, BgpQuestion, answered, read
from shared.domain.conditions import Link
from shared.domain.dns import DnsView
from shared.domain.witnesses import Witnesses
from shared.wire.commands import DesiredTunnel
from shared.wire.decode import from_plain
from shared.wire.reports import TunnelHealth
from tests.examples import CONNECTION, changed
from tests.shared.domain import situations as at

FOLDER = Path(__file__).parent
ASN = 64_600
"""Of the home, in every capture."""


def load(folder: Path) -> dict[str, Any]:
    """File name -> text of a log, contents of a JSON file."""
    texts = {p.name: p.read_text(encoding="utf-8") for p in sorted(folder.iterdir())}
    return {name: json.loads(text) if name.endswith(".json") else text for name, text in texts.items()}


def save(folder: Path, files: dict[str, Any]) -> None:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content, indent=1, sort_keys=True) + "\n"
        (folder / name).write_text(text, encoding="utf-8")


def situation(files: dict[str, Any]) -> Witnesses:
    """What a capture tells, for `findings`."""
    wanted = from_plain(DesiredTunnel, files["wanted.json"])
    health = from_plain(TunnelHealth, files["health.json"]["tunnels"][0])
    raw = files["dns.json"]
    answers = {
        kind: {server: None if a is None else tuple(a) for server, a in raw[kind].items()}
        for kind in ("authoritative", "recursive")
    }
    view = DnsView(raw["name"], answers["authoritative"], answers["recursive"], raw["ttl_s"], raw["note"])
    bodies = {ArmKind(kind): body for kind, body in files["arm.json"].items()}
    spec = parse.connection(changed(CONNECTION, "spec.home.asn", ASN)).spec
    evidence = home_evidence.read(files["diagnose.json"], at.NOW)
    status = bodies[ArmKind.CONNECTION]["properties"]["connectionStatus"]
    mine: dict[ArmKind, Any] = {k: v for k, v in bodies.items() if k in (ArmKind.LOCAL_GATEWAY, ArmKind.CONNECTION)}
    link = Link(
        resources=mine,
        desired=wanted,
        trouble="",
        agent_known=True,
        health=health,
        heartbeat_age_s=1.0,
        pin=None,
        fqdn=view.name,
        resolved=view.agreed(),
        reported_address=at.HOME,
        spec=spec,
        dns=view,
        wan_address=files["health.json"]["firewall"]["wan_address"],
    )
    ends = replace(
        at.FINE.ends,
        spec=spec.model_copy(update={"fqdn": view.name}),
        desired=wanted,
        resources=bodies,
        azure_bgp=_azure_bgp(files),
        health=health,
        evidence=evidence,
        home_address=view.agreed(),
    )
    firewall = replace(at.REPORT, tunnels=(health,))
    return replace(at.FINE, link=link, ends=ends, report=firewall, azure_status=status, known_address=at.HOME)


def _azure_bgp(files: dict[str, Any]) -> AzureBgp:
    told = at.AZURE_BGP.model_copy(update={"peers": None, "learned": None, "advertised": None})
    for question in BgpQuestion:
        told = answered(told, question, read(question, files["azure-bgp.json"][question.value]), at.NOW)
    return told
