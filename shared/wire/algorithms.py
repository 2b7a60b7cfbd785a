"""What Azure's names for algorithms mean to strongSwan.

Azure's names cross the wire: they are what the spec says and what ARM stores, and both ends render from them. A value
that pfSense (2.8 and newer) cannot express is not in these tables, so it cannot be asked for. GCM keywords carry the
16-byte tag that Azure uses; with GCM the integrity of phase 1 is the PRF.
Source: Azure FAQ "IPsec/IKE policy", strongSwan 5.9.8's keyword table; every pair was loaded into charon.
"""

from __future__ import annotations

IKE_ENCRYPTION = {
    "GCMAES256": "aes256gcm16",
    "GCMAES128": "aes128gcm16",
    "AES256": "aes256",
    "AES192": "aes192",
    "AES128": "aes128",
}
IKE_INTEGRITY = {"SHA384": "sha384", "SHA256": "sha256", "SHA1": "sha1"}
DH_GROUP = {
    "DHGroup24": "modp2048s256",
    "ECP384": "ecp384",
    "ECP256": "ecp256",
    "DHGroup14": "modp2048",
    "DHGroup2048": "modp2048",
    "DHGroup2": "modp1024",
    "DHGroup1": "modp768",
}
ESP_ENCRYPTION = {
    "GCMAES256": "aes256gcm16",
    "GCMAES192": "aes192gcm16",
    "GCMAES128": "aes128gcm16",
    "AES256": "aes256",
    "AES192": "aes192",
    "AES128": "aes128",
}
ESP_INTEGRITY = {"GCMAES256": "", "GCMAES192": "", "GCMAES128": "", "SHA256": "sha256", "SHA1": "sha1"}
PFS_GROUP = {
    "PFS24": "modp2048s256",
    "ECP384": "ecp384",
    "ECP256": "ecp256",
    "PFS2048": "modp2048",
    "PFS14": "modp2048",
    "PFS2": "modp1024",
    "PFS1": "modp768",
    "None": "",
}


def is_gcm(name: str) -> bool:
    return name.startswith("GCM")


def ike_proposal(encryption: str, integrity: str, dh_group: str) -> str:
    """A strongSwan IKE proposal. KeyError for a value outside the tables."""
    digest = IKE_INTEGRITY[integrity]
    if is_gcm(encryption):
        digest = "prf" + digest
    return "-".join([IKE_ENCRYPTION[encryption], digest, DH_GROUP[dh_group]])


def esp_proposal(encryption: str, integrity: str, pfs_group: str) -> str:
    """A strongSwan ESP proposal; without a PFS group it ends after the integrity. KeyError as above."""
    parts = [ESP_ENCRYPTION[encryption], ESP_INTEGRITY[integrity], PFS_GROUP[pfs_group]]
    return "-".join(p for p in parts if p)
