"""How long Azure takes, in seconds.

Medians over published session records of Microsoft's SDK tests (data/azure/operation-durations.json; upper bounds with
about 10 s of grain). Where no record was found the value is an assumption and says so.
"""

from __future__ import annotations

VNET_CREATE = 3.5  # n=28, 0 to 34
VNET_UPDATE = 3.5  # assumption: as creation
VNET_DELETE = 11.0  # assumption
SUBNET_CREATE = 31.0  # n=11, 2 to 31
SUBNET_DELETE = 11.0  # assumption
PUBLIC_IP_CREATE = 2.0  # n=31, 0 to 31
PUBLIC_IP_UPDATE = 2.0  # assumption: as creation
PUBLIC_IP_DELETE = 11.0  # assumption
GATEWAY_CREATE = 1243.0  # n=31, 977 to 7207
GATEWAY_UPDATE = 31.0  # n=25, 30 to 1446 (a SKU change took 24 minutes)
GATEWAY_DELETE = 93.0  # n=11, 61 to 1066
GATEWAY_RESET = 800.0  # n=2, 789 and 811
GATEWAY_TAGS = 11.0  # assumption: answered 200 with state Updating, without an operation
LOCAL_GATEWAY_CREATE = 11.0  # n=11, 10 to 32
LOCAL_GATEWAY_UPDATE = 21.0  # n=4, 10 to 31
LOCAL_GATEWAY_DELETE = 32.0  # n=3, 11 to 32
CONNECTION_CREATE = 11.0  # n=19, 10 to 61
CONNECTION_UPDATE = 31.0  # n=5, 12 to 31
CONNECTION_DELETE = 21.0  # n=8, 10 to 62
CONNECTION_TAGS = 11.0  # assumption: as a gateway's tags
SHARED_KEY = 31.0  # assumption: as a connection's update; a record shows 409 for tens of seconds after it
CONNECTION_RESET = 20.0  # assumption: users report well under a minute
DEPLOYMENT = 2.0  # assumption: what a template deployment takes before its first resource
GROUP_DELETE = 5.0  # assumption: what a resource group takes beyond its resources
WATCHER = 0.0  # recorded: Succeeded in the very answer to its PUT
QUERY = 4.0  # assumption: BGP peers, routes and IKE SAs are asked from the gateway instances

RETRY_AFTER = 10.0  # recorded on every start and InProgress poll of gateway, LNG and connection operations
RETRY_AFTER_SIMPLE = 3.0  # recorded on PUT 201 of virtual networks and public addresses
DNS_CACHE = 300.0  # documented: the gateway refreshes names of disconnected tunnels every five minutes
STATUS_REFRESH = 10.0  # assumption: a fresh connection reads Unknown until the gateway has reported once
