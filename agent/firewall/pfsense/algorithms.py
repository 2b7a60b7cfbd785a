"""What Azure's names for algorithms mean in pfSense's config.xml, and what pfSense makes of them for strongSwan.

`aes256gcm` with key length 128 is AES-256-GCM with a 128-bit tag: pfSense puts the tag's length there. With GCM the
hash of phase 1 is the PRF; that of phase 2 is ignored, but the REST package insists on one. Source: pfSense's own
`ipsec_setup_proposal_algo()`, run over all 177 combinations (the tests compare with that record).
"""

from __future__ import annotations

from shared.wire import algorithms as azure
from shared.wire.commands import Esp, Ike

GCM_TAG_BITS = 128
_DH_NUMBER = {"modp2048s256": 24, "ecp384": 20, "ecp256": 19, "modp2048": 14, "modp1024": 2, "modp768": 1, "": 0}
_IGNORED_HASH = "hmac_sha256"


def encryption(name: str) -> dict[str, str]:
    """`name` and `keylen` as phase 1 and phase 2 have them. KeyError for a name that Azure does not have."""
    bits = "".join(c for c in name if c.isdigit())
    if name not in azure.ESP_ENCRYPTION:
        raise KeyError(name)
    if azure.is_gcm(name):
        return {"name": f"aes{bits}gcm", "keylen": str(GCM_TAG_BITS)}
    return {"name": "aes", "keylen": bits}


def ike_item(ike: Ike) -> dict[str, object]:
    """One `encryption/item` of a phase 1."""
    return {
        "encryption-algorithm": encryption(ike.encryption),
        "hash-algorithm": azure.IKE_INTEGRITY[ike.integrity],
        "prf-algorithm": "sha256",
        "dhgroup": str(_DH_NUMBER[azure.DH_GROUP[ike.dh_group]]),
    }


def esp_hash(esp: Esp) -> str:
    """The one `hash-algorithm-option` of a phase 2."""
    integrity = azure.ESP_INTEGRITY[esp.integrity]
    return f"hmac_{integrity}" if integrity else _IGNORED_HASH


def pfs_group(esp: Esp) -> str:
    return str(_DH_NUMBER[azure.PFS_GROUP[esp.pfs_group]])


def ike_proposal(ike: Ike) -> str:
    """The proposal that pfSense writes into swanctl.conf."""
    return "-".join([_keyword(ike.encryption), azure.IKE_INTEGRITY[ike.integrity], azure.DH_GROUP[ike.dh_group]])


def esp_proposal(esp: Esp) -> str:
    parts = [_keyword(esp.encryption), azure.ESP_INTEGRITY[esp.integrity], azure.PFS_GROUP[esp.pfs_group]]
    return "-".join(p for p in parts if p)


def _keyword(name: str) -> str:
    e = encryption(name)
    return e["name"] + e["keylen"]
