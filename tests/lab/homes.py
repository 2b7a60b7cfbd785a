"""Three homes alike but for names, public addresses and LANs: each firewall is at 192.168.178.2 behind its router."""

from __future__ import annotations

from dataclasses import replace

from lab.net.topology import Home
from tests.lab.net.hand import another_home

HOME = Home()
OFFICE = replace(another_home(2), name="office")
CABIN = replace(another_home(3), name="cabin")
HOMES = (HOME, OFFICE, CABIN)
"""Those of docs/examples: transit modes auto, apipa and pointToPoint."""
