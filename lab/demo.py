"""`make demo`: a home behind NAT joins a (simulated) Azure over a real IKEv2 tunnel with real BGP, loses its address,
and comes back. Exit code 0 only if pings went both ways before and after. Leaves build/demo.json.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time

from rich.console import Console

from lab import scenario
from lab.net import sandbox
from lab.net.run import LabNetError
from lab.world import MAX_TIMER_FACTOR, ROOT, World

FACTOR = 120.0
RESULT = ROOT / "build" / "demo.json"


class Timeline:
    """Prints each event with its wall second and the pace at which Azure ran."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self.factor = FACTOR

    def tell(self, what: str) -> None:
        pace = f"Azure x{self.factor:g}"
        self._console.print(
            f"{time.monotonic() - self._began:6.1f} s  {pace:<11} {what}", highlight=False, markup=False
        )

    def head(self, what: str) -> None:
        self._console.print(f"\n[bold]{what}[/bold]")


async def play(timeline: Timeline) -> dict[str, object]:
    """The whole story; returns what demo.json holds."""
    timeline.head("The lab starts")
    folder = scenario.logs_folder("demo")
    async with World(factor=FACTOR, logs=folder, progress=timeline.tell) as world:
        timeline.head(f"Joining: creating a gateway takes Azure about 20 minutes; here it runs {FACTOR:g} times faster")
        joined = await scenario.join(world, timeline.tell)
        timeline.tell(f"ping: {_words(joined.pings)}")
        await world.set_clock(1)
        timeline.factor = 1
        timeline.head("The address changes: from here on everything runs at its real pace")
        recovered = await scenario.lose_address(world, timeline.tell)
        timeline.tell(f"ping: {_words(recovered.pings)}")
        metrics = await world.api.metrics()
    return {
        "tunnel_up_s": round(joined.tunnel_up_s, 1),
        "bgp_up_s": round(joined.bgp_up_s, 1),
        "ping_before": joined.ping,
        "address_changed_at": recovered.address_changed_at,
        "tunnel_broke": recovered.broken,
        "detected_s": round(recovered.detected_s, 1),
        "pinned_s": round(recovered.pinned_s, 1),
        "first_ping_s": round(recovered.first_ping_s, 1),
        "recovered_s": round(recovered.recovered_s, 1),
        "unpinned_s": round(recovered.unpinned_s, 1),
        "ping_after": recovered.ping,
        "resets": metrics["resets"],
        "arm_reads": metrics["arm_reads"],
        "arm_writes": metrics["arm_writes"],
        "clock_factor": FACTOR,
        "clock_factors": {"azure_until_tunnel": FACTOR, "host_timers_until_tunnel": MAX_TIMER_FACTOR, "afterwards": 1},
        "simulated": ["Azure Resource Manager", "Key Vault", "identity endpoint", "the ISP's address change"],
        "incident": recovered.timeline,
    }


def _words(found: dict[str, bool]) -> str:
    return ", ".join(f"{way} {'answered' if ok else 'NOT answered'}" for way, ok in found.items())


def _summary(console: Console, result: dict[str, object]) -> None:
    console.print(
        f"\nTunnel up after {result['tunnel_up_s']} s, BGP after {result['bgp_up_s']} s "
        f"(from the PUT; Azure's part {FACTOR:g} times faster than real).\n"
        f"After the address change: noticed after {result['detected_s']} s, first ping after "
        f"{result['first_ping_s']} s, "
        f"recovery verified after {result['recovered_s']} s (all at real pace; the pin ended after "
        f"{scenario.UNPIN_AFTER_S} healthy seconds, by default 600).\n"
        f"ARM: {result['arm_reads']} reads, {result['arm_writes']} writes; resets: {result['resets']}.\n"
        "Real: strongSwan, FRR, NAT, DNS, the agent, the Functions app, Azurite, the Azure SDKs. "
        "Simulated: ARM, Key Vault, the identity endpoint.\n"
        f"Details: {RESULT.relative_to(ROOT)}, logs in build/lab/demo",
        highlight=False,
    )


async def main() -> int:
    console = Console(soft_wrap=True)
    task = asyncio.current_task()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, lambda: task and task.cancel())
    RESULT.unlink(missing_ok=True)
    try:
        result = await play(Timeline(console))
    except asyncio.CancelledError:
        console.print("\nstopped; nothing is left behind")
        return 130
    except LabNetError as error:
        console.print(f"\nThe demo failed: {error}\nLogs: build/lab/demo", style="red", markup=False)
        return 1
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    _summary(console, result)
    return 0 if result["ping_before"] and result["ping_after"] else 1


if __name__ == "__main__":
    if sandbox.VARIABLE not in os.environ:
        os.execv(sys.executable, [sys.executable, "-m", "lab.net.sandbox", "--", sys.executable, "-m", "lab.demo"])
    sys.exit(asyncio.run(main()))
