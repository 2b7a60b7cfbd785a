"""The model world agrees with the lab: the same scenarios, written once, played in both and compared.

The model is only worth its thousands of histories if its physics are the lab's, where charon and bgpd decide. A
scenario (scenarios.py) is plain asyncio against a small interface (side.py), which the lab (real.py) and the model
(model.py) implement; what comes of it is a story (story.py), and two stories are compared by stated tolerances
(compare.py). Both worlds have the parameters below, and both speak to Homelink by its HTTP API alone.

Traded off: each scenario begins where the one before ended, for a lab that starts anew would cost half a minute each.
"""

from __future__ import annotations

from agent.limits import Timing

FACTOR = 240.0
"""How much faster than Azure it runs in both worlds, but for what is measured."""
MEASURED_FACTOR = 4.0
"""From the address change to the end of the pin: slow enough for Azure's part to count, quick enough for a test."""
TIMING = Timing(heartbeat_s=5.0, nudge_s=5.0)
DDNS_LAG_S, DDNS_TTL_S = 5.0, 20
UNPIN_AFTER_S = 20
SECOND_NETWORK, SECOND_LAN = "172.16.1.0/24", "172.16.1.1/24"
"""A network behind the home's firewall that its spec names later; the firewall's address in it."""
RESTART_S = 5.0
"""From the death of an agent to its next life, as its service unit says."""
