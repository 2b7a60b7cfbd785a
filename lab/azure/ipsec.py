"""What Azure refuses about a custom IPsec/IKE policy and a pre-shared key. No recording shows these refusals, so the
codes are the lab's; the rules are the documented ones."""

from __future__ import annotations

import re
from typing import Any

from lab.azure.errors import Json, bad_request

GCM = ("GCMAES256", "GCMAES192", "GCMAES128")
AES = ("AES256", "AES192", "AES128")
ALLOWED: dict[str, tuple[str, ...]] = {
    "ikeEncryption": ("GCMAES256", "GCMAES128", *AES, "DES3", "DES"),
    "ikeIntegrity": ("SHA384", "SHA256", "SHA1", "MD5", "GCMAES256", "GCMAES128"),
    "dhGroup": ("DHGroup24", "ECP384", "ECP256", "DHGroup14", "DHGroup2048", "DHGroup2", "DHGroup1", "None"),
    "ipsecEncryption": (*GCM, *AES, "DES3", "DES", "None"),
    "ipsecIntegrity": (*GCM, "SHA256", "SHA1", "MD5"),
    "pfsGroup": ("PFS24", "ECP384", "ECP256", "PFS2048", "PFS14", "PFSMM", "PFS2", "PFS1", "None"),
}
LIFETIMES = {"saLifeTimeSeconds": 300, "saDataSizeKilobytes": 1024}
# Printable ASCII without space, hyphen and tilde (documented in the gateway FAQ); at most 128 characters (portal).
KEY = re.compile(r"[\x21-\x2c\x2e-\x7d]{1,128}")


def check_policies(policies: Any, resource_id: str) -> list[Json]:
    """None or one complete policy; the returned list is what the resource shows."""
    if not policies:
        return []
    if not isinstance(policies, list) or len(policies) != 1 or not isinstance(policies[0], dict):
        raise bad_request("InvalidIpsecPolicies", f"Connection {resource_id} must have exactly one IPsec policy.")
    policy: Json = policies[0]
    for name, values in ALLOWED.items():
        if policy.get(name) not in values:
            message = f"{name} of the IPsec policy of {resource_id} must be one of {', '.join(values)}."
            raise bad_request("InvalidIpsecPolicy", message)
    for name, least in LIFETIMES.items():
        value = policy.get(name)
        if not isinstance(value, int) or value < least:
            message = f"{name} of the IPsec policy of {resource_id} must be at least {least}."
            raise bad_request("InvalidIpsecPolicy", message)
    encryption, integrity = policy["ipsecEncryption"], policy["ipsecIntegrity"]
    if (encryption in GCM or integrity in GCM) and encryption != integrity:
        message = (
            f"IPsec encryption {encryption} and integrity {integrity} of {resource_id}: GCM must be the same in both."
        )
        raise bad_request("InvalidIpsecPolicy", message)
    return [{name: policy[name] for name in (*LIFETIMES, *ALLOWED)}]


def check_key(value: Any, resource_id: str) -> str:
    """A usable pre-shared key; the error never shows it."""
    if not isinstance(value, str) or KEY.fullmatch(value) is None:
        message = f"The shared key of {resource_id} must be 1 to 128 printable ASCII characters without space, - and ~."
        raise bad_request("InvalidSharedKey", message)
    return value
