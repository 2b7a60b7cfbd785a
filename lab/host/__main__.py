"""`python -m lab.host --app DIR --listen ADDR --port P [--cert C --key K] [--timer-factor F]`.

Prints one line `ready <url>` to stdout once requests are answered. SIGTERM or SIGINT drains and exits 0.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import signal
import sys
from pathlib import Path

from lab.host.clock import HostClock
from lab.host.functions import find_app, import_app
from lab.host.host import Host, Listen
from lab.host.settings import SettingsError, load


def main() -> int:
    """Parse, run, and turn a configuration error into one line and exit code 2."""
    arguments = _parse()
    logging.basicConfig(
        level=logging.DEBUG if arguments.verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        stream=sys.stderr,
    )
    for noisy in ("azure", "urllib3", "msal", "asyncio", "aiohttp.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        return asyncio.run(_serve(arguments))
    except (SettingsError, OSError) as error:
        print(f"lab.host: {error}", file=sys.stderr)
        return 2


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m lab.host", description="Runs a Python (v2) function_app.py.")
    parser.add_argument("--app", type=Path, required=True, help="folder with function_app.py and host.json")
    parser.add_argument("--listen", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=7071, help="0 takes a free port")
    parser.add_argument("--cert", type=Path, help="certificate chain (PEM): serve HTTPS")
    parser.add_argument("--key", type=Path, help="its private key (PEM), if not in the same file")
    parser.add_argument("--timer-factor", type=float, default=1.0, help="timers run this many times as often")
    parser.add_argument("--drain", type=float, default=30.0, help="seconds to wait for running functions at the end")
    parser.add_argument("--verbose", action="store_true", help="log every invocation, and the text of exceptions")
    return parser.parse_args()


async def _serve(arguments: argparse.Namespace) -> int:
    folder = arguments.app.resolve()
    settings = load(folder, os.environ)
    for name, text in settings.environ.items():
        os.environ.setdefault(name, text)  # local.settings.json reaches the app as environment, as in Core Tools
    host = Host(
        find_app(import_app(folder)),
        settings,
        Listen(arguments.listen, arguments.port, arguments.cert, arguments.key),
        HostClock(arguments.timer_factor),
        random.Random(),
        directory=folder,
        drain=arguments.drain,
        log_messages=arguments.verbose,
    )
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ending.set)
    async with host:
        names = ", ".join(function.name for function in host.functions)
        logging.getLogger("lab.host").info("functions: %s", names)
        print(f"ready {host.url}", flush=True)
        ended = asyncio.create_task(ending.wait())
        broken = asyncio.create_task(host.failed())
        await asyncio.wait([ended, broken], return_when=asyncio.FIRST_COMPLETED)
        if broken.done() and not ended.done():
            raise broken.result() or RuntimeError("a listener ended by itself")
        for task in (ended, broken):
            task.cancel()
    if not host.drained:
        os._exit(1)  # a thread that runs a stuck function would keep the interpreter from ending
    return 0


if __name__ == "__main__":
    sys.exit(main())
