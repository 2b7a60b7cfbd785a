"""What the demo says of an untouched home is counted, so the count must see each loss, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.net.pinging import counted


@pytest.mark.parametrize(
    ("answered", "found"),
    [(range(1, 21), (15, 0)), (range(1, 16), (15, 0)), ([1, 2, 4, *range(5, 15)], (15, 2)), ([], (15, 15))],
    ids=["all", "the last second on its way", "one in between and one at the end", "none"],
)
def test_requests_without_an_answer_are_lost(tmp_path: Path, answered: list[int], found: tuple[int, int]) -> None:
    lines = ["PING 192.168.3.50 (192.168.3.50) 56(84) bytes of data."]
    lines += [f"64 bytes from 192.168.3.50: icmp_seq={n} ttl=61 time=1.2 ms" for n in answered]
    lines += ["From 10.0.0.1 icmp_seq=3 Destination Host Unreachable", "", "--- 192.168.3.50 ping statistics ---"]
    lines += [f"20 packets transmitted, {len(answered)} received, +1 errors, 0% packet loss, time 4000ms"]
    log = tmp_path / "ping.log"
    log.write_text("\n".join(lines))
    assert counted(log) == found
