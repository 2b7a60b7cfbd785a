"""The agent at home: applies the firewall's half of a Connection, reports its health, never listens on a port.

The core is single-threaded and deterministic (`core.Agent.step(now) -> next wake`) and sees the world only through the
Protocols of `seams.py` and the driver contract of `firewall/contract.py`.
"""

VERSION = "0.1.0"
