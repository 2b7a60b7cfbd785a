"""The IPsec policy: one object that renders both halves.

Azure wants exactly one complete custom policy; pfSense 2.8 and newer cannot speak 3DES, DES or MD5. The values allowed
here are the ones both ends have (shared.wire.algorithms). Source: Azure FAQ "IPsec/IKE policy".
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from shared.wire import algorithms
from shared.wire.commands import Esp, Ike

from . import limits
from .model import Model

_NOT_AT_HOME = {
    ("ikeEncryption", "DES3"): "no 3DES",
    ("ikeEncryption", "DES"): "no DES",
    ("ikeIntegrity", "MD5"): "no MD5",
    ("ikeIntegrity", "GCMAES256"): "no GCM as integrity of phase 1",
    ("ikeIntegrity", "GCMAES128"): "no GCM as integrity of phase 1",
    ("dhGroup", "None"): "no phase 1 without a DH group",
    ("ipsecEncryption", "DES3"): "no 3DES",
    ("ipsecEncryption", "DES"): "no DES",
    ("ipsecEncryption", "None"): "no ESP without encryption",
    ("ipsecIntegrity", "MD5"): "no MD5",
    ("pfsGroup", "PFSMM"): "no PFSMM",
}
"""What Azure's API knows and pfSense (2.8 and newer) has not."""


class IpsecPolicy(Model):
    """Azure's names. With GCM in phase 1, `ikeIntegrity` is the PRF; in phase 2 both GCM values must be equal."""

    ike_encryption: str = "GCMAES256"
    ike_integrity: str = "SHA384"
    dh_group: str = "ECP384"
    ipsec_encryption: str = "GCMAES256"
    ipsec_integrity: str = "GCMAES256"
    pfs_group: str = "ECP384"
    sa_lifetime_seconds: int = Field(
        limits.SA_LIFETIME.default, ge=limits.SA_LIFETIME.least, le=limits.SA_LIFETIME.most
    )

    def faults(self) -> list[tuple[str, str, str]]:
        """(field, value, message) of everything that one of the ends cannot do; the message names the end."""
        tables = {
            "ikeEncryption": (self.ike_encryption, algorithms.IKE_ENCRYPTION),
            "ikeIntegrity": (self.ike_integrity, algorithms.IKE_INTEGRITY),
            "dhGroup": (self.dh_group, algorithms.DH_GROUP),
            "ipsecEncryption": (self.ipsec_encryption, algorithms.ESP_ENCRYPTION),
            "ipsecIntegrity": (self.ipsec_integrity, algorithms.ESP_INTEGRITY),
            "pfsGroup": (self.pfs_group, algorithms.PFS_GROUP),
        }
        faults = [
            (field, value, f"pfSense has {why}" if why else "Azure knows no such value")
            for field, (value, table) in tables.items()
            if value not in table
            for why in [_NOT_AT_HOME.get((field, value))]
        ]
        gcm = algorithms.is_gcm(self.ipsec_encryption), algorithms.is_gcm(self.ipsec_integrity)
        if any(gcm) and self.ipsec_encryption != self.ipsec_integrity:
            faults.append(
                (
                    "ipsecIntegrity",
                    self.ipsec_integrity,
                    "Azure wants ipsecEncryption and ipsecIntegrity equal with GCM",
                )
            )
        return faults

    def to_arm(self) -> dict[str, Any]:
        """An element of a connection's `ipsecPolicies`."""
        return {
            "saLifeTimeSeconds": self.sa_lifetime_seconds,
            "saDataSizeKilobytes": limits.SA_DATA_KB,
            "ipsecEncryption": self.ipsec_encryption,
            "ipsecIntegrity": self.ipsec_integrity,
            "ikeEncryption": self.ike_encryption,
            "ikeIntegrity": self.ike_integrity,
            "dhGroup": self.dh_group,
            "pfsGroup": self.pfs_group,
        }

    def to_ike(self) -> Ike:
        return Ike(self.ike_encryption, self.ike_integrity, self.dh_group, limits.IKE_LIFETIME_S)

    def to_esp(self) -> Esp:
        return Esp(self.ipsec_encryption, self.ipsec_integrity, self.pfs_group, self.sa_lifetime_seconds)
