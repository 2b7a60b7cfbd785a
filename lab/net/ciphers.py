"""Azure's IPsec policy in charon's words.

The lab's own table, kept apart from the product's on purpose: if one of the two is wrong, the tunnel fails, as it
would between Azure and a firewall. Each word was checked against what strongSwan 5.9.8 parses. DES, 3DES and MD5 are
left out: no home end that the lab knows can speak them.
"""

from __future__ import annotations

from collections.abc import Mapping

from lab.net.run import LabNetError

_CIPHER = {
    "GCMAES256": "aes256gcm128",
    "GCMAES192": "aes192gcm128",
    "GCMAES128": "aes128gcm128",
    "AES256": "aes256",
    "AES192": "aes192",
    "AES128": "aes128",
}
_HASH = {"SHA384": "sha384", "SHA256": "sha256", "SHA1": "sha1"}
_GROUP = {
    "DHGroup1": "modp768",
    "DHGroup2": "modp1024",
    "DHGroup14": "modp2048",
    "DHGroup2048": "modp2048",
    "DHGroup24": "modp2048s256",
    "ECP256": "ecp256",
    "ECP384": "ecp384",
}
_PFS = {
    "None": "",
    "PFS1": "modp768",
    "PFS2": "modp1024",
    "PFS14": "modp2048",
    "PFS2048": "modp2048",
    "PFS24": "modp2048s256",
    "ECP256": "ecp256",
    "ECP384": "ecp384",
}

# Azure's default set, as its VPN device page lists it for route-based gateways, without 3DES
DEFAULT_IKE = tuple(f"{cipher}-{h}-modp1024" for cipher in ("aes256", "aes128") for h in ("sha1", "sha256"))
_DEFAULT_ESP = ("aes256gcm128", "aes256-sha1", "aes256-sha256", "aes128-sha1")
DEFAULT_ESP = tuple(
    f"{suite}{group}" for suite in _DEFAULT_ESP for group in ("", "-modp1024", "-modp2048", "-ecp256", "-ecp384")
)
DEFAULT_LIFETIME_S = 27000


def _word(policy: Mapping[str, object], key: str, table: Mapping[str, str]) -> str:
    value = str(policy.get(key))
    if value not in table:
        raise LabNetError(f"ipsecPolicies[0].{key}: the lab's charon has no `{value}`; it has {', '.join(table)}")
    return table[value]


def ike_proposals(policy: Mapping[str, object] | None) -> list[str]:
    """IKE proposals of an ARM `ipsecPolicies[0]` (None: Azure's defaults). With GCM the integrity names the PRF."""
    if policy is None:
        return list(DEFAULT_IKE)
    words = (
        _word(policy, "ikeEncryption", _CIPHER),
        _word(policy, "ikeIntegrity", _HASH),
        _word(policy, "dhGroup", _GROUP),
    )
    return ["-".join(words)]


def esp_proposals(policy: Mapping[str, object] | None) -> list[str]:
    """ESP proposals of an ARM `ipsecPolicies[0]` (None: Azure's defaults)."""
    if policy is None:
        return list(DEFAULT_ESP)
    cipher = _word(policy, "ipsecEncryption", _CIPHER)
    if "gcm" in cipher:
        if policy.get("ipsecIntegrity") != policy.get("ipsecEncryption"):
            raise LabNetError("ipsecPolicies[0].ipsecIntegrity must equal ipsecEncryption where that is GCM")
        integrity = ""
    else:
        integrity = _word(policy, "ipsecIntegrity", _HASH)
    return ["-".join(word for word in (cipher, integrity, _word(policy, "pfsGroup", _PFS)) if word)]


def lifetime_s(policy: Mapping[str, object] | None) -> int:
    """Life of a child SA in seconds. (Azure's limit in kilobytes is not simulated: userspace ESP counts no limit.)"""
    return int(str((policy or {}).get("saLifeTimeSeconds") or DEFAULT_LIFETIME_S))
