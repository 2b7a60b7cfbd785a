"""The lab's own certificate authority: one per run, thrown away with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Certificates:
    """PEM files. `cert` is the chain and `key` its private key, for every server of the lab; `ca` is what to trust."""

    ca: Path
    cert: Path
    key: Path


def issue(folder: Path, *names: str) -> Certificates:
    """A new authority and one certificate for `names` (DNS names or addresses), written to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA()
    made = authority.issue_cert(*names)
    found = Certificates(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    authority.cert_pem.write_to_path(found.ca)
    for i, blob in enumerate(made.cert_chain_pems):
        blob.write_to_path(found.cert, append=i > 0)
    made.private_key_pem.write_to_path(found.key)
    found.key.chmod(0o600)
    return found
