"""Who this agent is: what enrolment left in `agent.json`, and the keys that follow from it.

The enrolment's secret is the one thing that must not leave the host; it is in a 0600 file and in no repr.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field

from agent.errors import ConfigError
from agent.seams import Files
from shared.wire.keys import Purpose, derive

PATH = "agent.json"


@dataclass(frozen=True)
class Identity:
    """`api` is the control plane's base URL without a trailing slash; `secret` is 32 bytes."""

    api: str
    agent: str
    controller: str
    name: str
    secret: bytes = field(repr=False)

    def key(self, purpose: Purpose) -> bytes:
        return derive(self.secret, purpose, self.agent, self.controller)

    def save(self, files: Files) -> None:
        secret = base64.urlsafe_b64encode(self.secret).decode()
        plain = {"api": self.api, "agent": self.agent, "controller": self.controller, "name": self.name}
        files.write(PATH, json.dumps({"v": 1, **plain, "secret": secret}, indent=1).encode())

    @classmethod
    def load(cls, files: Files) -> Identity | None:
        """None before enrolment. Raises ConfigError when the file is damaged."""
        data = files.read(PATH)
        if data is None:
            return None
        try:
            raw = json.loads(data)
            api, agent, controller, name = (raw[k] for k in ("api", "agent", "controller", "name"))
            if raw["v"] != 1 or not all(isinstance(t, str) for t in (api, agent, controller, name)):
                raise ValueError
            return cls(api, agent, controller, name, decode_secret(raw["secret"]))
        except (ValueError, KeyError, TypeError) as e:
            raise ConfigError(
                f"{PATH} in the state directory is damaged: enrol again with a new token and --replace"
            ) from e


def decode_secret(text: str) -> bytes:
    """base64url with or without padding, exactly 32 bytes. Raises ValueError."""
    try:
        secret = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, TypeError) as e:
        raise ValueError("not base64url") from e
    if len(secret) != 32:
        raise ValueError(f"expected 32 bytes, got {len(secret)}")
    return secret
