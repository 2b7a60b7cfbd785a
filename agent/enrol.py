"""Enrolment: a one-time token becomes an id and a secret.

The nonce is on disk before the request leaves, so an answer that got lost is asked for again with the same token and
nonce, and the control plane answers the same. The token itself is never stored, only its hash.
"""

from __future__ import annotations

import hashlib
import json

from agent import VERSION, identity
from agent.errors import ConfigError, PermanentError, Rejected, TemporaryError
from agent.identity import Identity
from agent.limits import shorten
from agent.seams import Files, Http, Random
from shared.wire.decode import from_plain, to_plain
from shared.wire.errors import Malformed
from shared.wire.reports import EnrolAnswer, EnrolRequest

PENDING = "enrol.json"


def enrol(
    api: str, token: str, name: str, http: Http, files: Files, random: Random, *, replace: bool = False
) -> Identity:
    """Enrol and store the identity. Raises ConfigError, Rejected, TemporaryError (repeat the same command)."""
    api = api.rstrip("/")
    if not api.startswith(("https://", "http://")):
        raise ConfigError(
            f"--api {api}: expected the control plane's base URL, as in https://example.azurewebsites.net"
        )
    if not token:
        raise ConfigError("the enrolment token is empty: ask the control plane for one")
    known = None if replace else Identity.load(files)
    if known is not None:
        raise ConfigError(
            f"enrolled already as {known.agent} at {known.api}: --replace gives this up for a new identity"
        )
    nonce = _nonce(api, token, name, files, random)
    request = EnrolRequest(token=token, name=name, nonce=nonce, version=VERSION)
    body = json.dumps(to_plain(request)).encode()
    reply = http.send("POST", f"{api}/api/agents/enrol", {"Content-Type": "application/json"}, body)
    if reply.status in (429, 500, 502, 503, 504):
        raise TemporaryError(f"enrolment: the control plane answered {reply.status}; repeat the same command")
    if reply.status not in (200, 201):
        said = shorten(reply.body.decode(errors="replace"), 300).replace(token, "***")
        raise Rejected(f"enrolment refused with status {reply.status}: {said}", reply.status)
    try:
        answer = from_plain(EnrolAnswer, json.loads(reply.body))
        secret = identity.decode_secret(answer.secret)
    except (Malformed, ValueError) as e:
        detail = str(e) if isinstance(e, Malformed) else "not the expected JSON"
        raise PermanentError(
            f"enrolment: the control plane's answer cannot be read ({detail}); compare versions"
        ) from None
    enrolled = Identity(api, answer.agent, answer.controller, name, secret=secret)
    enrolled.save(files)
    files.delete(PENDING)
    return enrolled


def _nonce(api: str, token: str, name: str, files: Files, random: Random) -> str:
    attempt = hashlib.sha256("\0".join(("homelink enrolment", api, name, token)).encode()).hexdigest()
    try:
        stored = json.loads(files.read(PENDING) or b"{}")
    except ValueError:
        stored = {}
    if isinstance(stored, dict) and stored.get("attempt") == attempt and isinstance(stored.get("nonce"), str):
        return str(stored["nonce"])
    nonce = random.token(32).hex()
    files.write(PENDING, json.dumps({"attempt": attempt, "nonce": nonce}).encode())
    return nonce
