"""`python -m lab.azure`: the simulated Azure as a process. It prints one JSON line with its addresses once it listens,
and ends on SIGTERM or SIGINT after closing the data plane."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import ssl
import sys
from dataclasses import replace
from pathlib import Path

from lab.azure.clock import ScaledClock
from lab.azure.resolver import DnsResolver
from lab.azure.server import LabAzure, LabConfig
from lab.azure.storage import StorageConfig
from lab.azurite import ACCOUNT, KEY
from lab.dataplane import DataPlane, NullDataPlane


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line; secrets come from the environment (LAB_IDENTITY_HEADER, LAB_STORAGE_KEY)."""
    parser = argparse.ArgumentParser(prog="python -m lab.azure", description="The lab's simulated Azure.")
    parser.add_argument("--listen", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="HTTPS port, 0 for a free one")
    parser.add_argument("--identity-port", type=int, default=0, help="plain HTTP port of the identity endpoint")
    parser.add_argument("--name", default="", help="host name or address that printed URLs use")
    parser.add_argument("--cert", type=Path, required=True, help="certificate chain (PEM)")
    parser.add_argument("--key", type=Path, required=True, help="private key (PEM)")
    parser.add_argument("--state-log", type=Path, help="append one JSON line per change to this file")
    parser.add_argument("--factor", type=float, default=1.0, help="how many times faster than Azure")
    parser.add_argument("--subscription", default=LabConfig.subscription)
    parser.add_argument("--tenant", default=LabConfig.tenant)
    parser.add_argument("--public-address", action="append", help="public address to hand out; may be repeated")
    parser.add_argument("--dns", help="DNS server for local network gateways with a name, as address or address:port")
    parser.add_argument("--dataplane", choices=("null", "net"), default="null")
    parser.add_argument("--topology", type=Path, help="topology directory of the network (with --dataplane net)")
    parser.add_argument("--vault-resource", default=LabConfig.vault_resource, help="audience of the vault's tokens")
    parser.add_argument("--queue-upstream", help="URL of Azurite's queue service, such as https://127.0.0.1:10001")
    parser.add_argument("--queue-ca", type=Path, help="CA that signed Azurite's certificate (PEM)")
    parser.add_argument("--storage-account", default=ACCOUNT)
    options = parser.parse_args(arguments)
    if options.dataplane == "net" and options.topology is None:
        parser.error("--dataplane net needs --topology DIR")
    return options


def make_dataplane(options: argparse.Namespace) -> DataPlane:
    if options.dataplane == "null":
        return NullDataPlane()
    from lab.net.dataplane import NetDataPlane

    plane: DataPlane = NetDataPlane(options.topology)
    return plane


def make_config(options: argparse.Namespace) -> LabConfig:
    storage = None
    if options.queue_upstream:
        tls = ssl.create_default_context(cafile=str(options.queue_ca)) if options.queue_ca else None
        account_key = os.environ.get("LAB_STORAGE_KEY", KEY)
        storage = StorageConfig(options.queue_upstream.rstrip("/"), options.storage_account, account_key, tls)
    config = LabConfig(
        subscription=options.subscription,
        tenant=options.tenant,
        public_addresses=tuple(options.public_address or LabConfig.public_addresses),
        vault_resource=options.vault_resource,
        storage=storage,
        state_log=options.state_log,
    )
    header = os.environ.get("LAB_IDENTITY_HEADER")
    return replace(config, identity_header=header) if header else config


async def run(options: argparse.Namespace) -> None:
    """Serve until a signal comes."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(options.cert, options.key)
    address, _, port = (options.dns or "").partition(":")
    resolver = DnsResolver(address or None, int(port or 53))
    clock = ScaledClock(options.factor)
    lab = LabAzure(make_config(options), dataplane=make_dataplane(options), resolver=resolver, clock=clock)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await lab.start(
            tls, host=options.listen, port=options.port, identity_port=options.identity_port, name=options.name
        )
        line = {"base_url": lab.base_url, "identity_endpoint": lab.identity_endpoint, "pid": os.getpid()}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
        await stop.wait()
    finally:
        await lab.stop()


if __name__ == "__main__":
    asyncio.run(run(parse(sys.argv[1:])))
