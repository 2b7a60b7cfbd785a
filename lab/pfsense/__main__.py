"""`python -m lab.pfsense`: one firewall as a process. It prints one JSON line with its address and where its root is
once it listens, and ends on SIGTERM or SIGINT, taking everything it made with it.

With `--namespace NAME` it carries packets, and must run in that network namespace but in the sandbox's mount namespace:
`nsenter --net=/run/netns/NAME python -m lab.pfsense --namespace NAME ...` (`ip netns exec` would hide the namespaces it
makes). Without, it applies into a model.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import ssl
import sys
from pathlib import Path

from lab.pfsense.carrier import NetCarrier
from lab.pfsense.control import Control
from lab.pfsense.daemons import Carrier
from lab.pfsense.model import Model
from lab.pfsense.twin import VERSION, Firewall


def parse(arguments: list[str]) -> argparse.Namespace:
    """Secrets come from the environment: PFSENSE_KEY, PFSENSE_PASSWORD."""
    parser = argparse.ArgumentParser(prog="python -m lab.pfsense", description="The lab's pfSense.")
    parser.add_argument("--config", type=Path, required=True, help="config.xml to start with")
    parser.add_argument(
        "--directory", type=Path, required=True, help="where its file system, logs and sockets are; short"
    )
    parser.add_argument("--listen", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 for a free one")
    parser.add_argument("--cert", type=Path, help="certificate chain (PEM); without, plain HTTP")
    parser.add_argument("--key", type=Path, help="its private key (PEM)")
    parser.add_argument("--wan", default="192.168.178.2/24")
    parser.add_argument("--wan-gateway", default="192.168.178.1")
    parser.add_argument("--lan", default="192.168.1.1/24")
    parser.add_argument("--version", default=VERSION)
    parser.add_argument("--namespace", help="the firewall's network namespace, to carry packets")
    return parser.parse_args(arguments)


async def serve(options: argparse.Namespace) -> None:
    tls = None
    if options.cert:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(options.cert, options.key)
    carrier: Carrier = Model()
    if options.namespace:
        carrier = NetCarrier(options.namespace, options.directory, wan_address=options.wan.partition("/")[0])
    firewall = Firewall(
        options.directory,
        options.config,
        carrier,
        wan=options.wan,
        wan_gateway=options.wan_gateway,
        lan=options.lan,
        version=options.version,
        key=os.environ.get("PFSENSE_KEY"),
        password=os.environ.get("PFSENSE_PASSWORD", "pfsense"),
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        port = await firewall.start(options.listen, options.port, tls, Control(firewall).routes())
        print(
            json.dumps(
                {"url": f"{'https' if tls else 'http'}://{options.listen}:{port}", "root": str(firewall.box.root)}
            ),
            flush=True,
        )
        await stop.wait()
    finally:
        await firewall.stop()


if __name__ == "__main__":
    asyncio.run(serve(parse(sys.argv[1:])))
