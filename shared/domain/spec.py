"""What a user writes: Gateway and Connection documents, apiVersion homelink/v1.

Types and simple bounds stand here; everything that needs two fields or two documents stands in rules.py. Defaults are
the answers that most homes need, so that a document holds little more than names and addresses.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from . import limits
from .ipsec import IpsecPolicy
from .model import NAME_PATTERN, Model

NAME = re.compile(NAME_PATTERN[:1] + r"(?=.{3,40}$)" + NAME_PATTERN[1:])
Name = Field(pattern=NAME_PATTERN, min_length=3, max_length=40)
ARM_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,78}[A-Za-z0-9_]$"
UUID = r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
WINDOW = r"^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$"
API_VERSION = "homelink/v1"


class Subnet(Model):
    name: str = Field(pattern=ARM_NAME)
    prefix: str


class VirtualNetwork(Model):
    """`gatewaySubnet` is the prefix of the subnet that Azure wants named GatewaySubnet."""

    name: str = Field(pattern=ARM_NAME)
    address_space: tuple[str, ...] = Field(min_length=1, max_length=20)
    gateway_subnet: str
    subnets: tuple[Subnet, ...] = ()


class GatewayAdoption(Model):
    """A gateway that existed before Homelink, by its names in Azure. The public addresses, and the IP configurations
    that hold them, stand in the order of the gateway's instances; the network is `spec.virtualNetwork.name`."""

    virtual_network_gateway: str = Field(pattern=ARM_NAME)
    public_ips: tuple[Annotated[str, Field(pattern=ARM_NAME)], ...] = Field(min_length=1, max_length=2)
    ip_configurations: tuple[Annotated[str, Field(pattern=ARM_NAME)], ...] = Field(min_length=1, max_length=2)


class GatewaySpec(Model):
    """Tenant and subscription stand here because a controller may serve several. `generation` follows from the SKU
    unless set. `activeActive`: two instances, each with a public and a BGP address of its own. `adopt`: it exists
    already, and Homelink may manage it."""

    tenant_id: str = Field(pattern=UUID)
    subscription_id: str = Field(pattern=UUID)
    resource_group: str = Field(pattern=r"^[\w.()-]{1,89}[\w()-]$")
    location: str = Field(pattern=r"^[a-z0-9]{3,40}$")
    virtual_network: VirtualNetwork
    sku: str = "VpnGw1AZ"
    generation: Literal["Generation1", "Generation2"] | None = None
    active_active: bool = False
    asn: int = Field(65515, ge=1, le=4294967294)
    adopt: GatewayAdoption | None = None


class Home(Model):
    """`bgpAddress` is the firewall's LAN address, in transit mode apipa `transit.local`. Only `prefixes` are advertised
    to Azure."""

    asn: int = Field(ge=1, le=4294967294)
    bgp_address: str
    prefixes: tuple[str, ...] = Field(min_length=1, max_length=200)


class TransitSpec(Model):
    """Which addresses stand on the tunnel interface. `local`: with pointToPoint (default: derived), and with apipa,
    which also needs `remote`, Azure's end. `remoteSecond` is that of an active-active gateway's second instance."""

    mode: Literal["auto", "gatewaySubnet", "pointToPoint", "apipa"] = "auto"
    local: str | None = None
    remote: str | None = None
    remote_second: str | None = None


class PskSpec(Model):
    """`generate`: Homelink draws one into the vault. `vaultRef`: the name of a secret that you put there yourself."""

    generate: bool = True
    vault_ref: str | None = Field(None, pattern=r"^[0-9A-Za-z-]{1,127}$")


class RepairSpec(Model):
    """`observe` never acts; `repair-only` does all but resets. `pin: false` leaves a changed address to Azure's own
    5-minute DNS cache. `gateway_reset`: a reset of the gateway hits all its Connections, so it is done when all of them
    are down, unless the user consents to more. `paused_until`: nothing is done before. `maintenance`: daily windows in
    UTC, as in 02:00-04:30, in which only a changed address is acted upon."""

    policy: Literal["observe", "repair-only", "full"] = "full"
    pin: bool = True
    gateway_reset: Literal["never", "whenAllDown", "always"] = "whenAllDown"
    paused_until: AwareDatetime | None = None
    maintenance: tuple[Annotated[str, Field(pattern=WINDOW)], ...] = Field((), max_length=8)
    unpin_after_seconds: int = Field(
        limits.UNPIN_AFTER.default, ge=limits.UNPIN_AFTER.least, le=limits.UNPIN_AFTER.most
    )


class ConnectionAdoption(Model):
    """A local network gateway and a connection that existed before Homelink, by their names in Azure."""

    local_network_gateway: str = Field(pattern=ARM_NAME)
    connection: str = Field(pattern=ARM_NAME)


class ConnectionSpec(Model):
    """`fqdn` is the DDNS name of the home. `probe` is an address in the virtual network that answers a ping. `adopt`:
    its Azure half exists already, and Homelink may manage it."""

    gateway: str = Name
    agent: str = Name
    fqdn: str = Field(max_length=253)
    home: Home
    transit: TransitSpec = TransitSpec()
    ipsec: IpsecPolicy = IpsecPolicy()
    psk: PskSpec = PskSpec()
    mode: Literal["ResponderOnly", "InitiatorOnly", "Default"] = "ResponderOnly"
    dpd_timeout_seconds: int = Field(
        limits.DPD_TIMEOUT.default, ge=limits.DPD_TIMEOUT.least, le=limits.DPD_TIMEOUT.most
    )
    mss: int = Field(limits.MSS.default, ge=limits.MSS.least, le=limits.MSS.most)
    revert_after_seconds: int = Field(limits.REVERT.default, ge=limits.REVERT.least, le=limits.REVERT.most)
    probe: str | None = None
    repair: RepairSpec = RepairSpec()
    adopt: ConnectionAdoption | None = None


class Metadata(Model):
    name: str = Name


class GatewayDocument(Model):
    api_version: Literal["homelink/v1"] = "homelink/v1"
    kind: Literal["Gateway"] = "Gateway"
    metadata: Metadata
    spec: GatewaySpec


class ConnectionDocument(Model):
    api_version: Literal["homelink/v1"] = "homelink/v1"
    kind: Literal["Connection"] = "Connection"
    metadata: Metadata
    spec: ConnectionSpec
