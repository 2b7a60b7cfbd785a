"""Sealed requests to the control plane: heartbeats, queue access, secrets.

One place that seals and unseals, so that there is one place to check the beat, the nonce and the time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from agent.errors import PermanentError, Rejected, TemporaryError
from agent.identity import Identity
from agent.limits import shorten
from agent.seams import Clock, Http, Log, Random, Reply
from agent.servertime import ServerTime
from shared.wire.commands import SecretRef
from shared.wire.decode import from_plain, to_plain
from shared.wire.errors import WireError
from shared.wire.keys import Purpose
from shared.wire.reports import Heartbeat, HeartbeatAnswer, QueueGrant, RenewRequest, SecretGrant
from shared.wire.seal import seal, unseal

T = TypeVar("T", HeartbeatAnswer, QueueGrant, SecretGrant)
_HEADERS = {"Content-Type": "text/plain"}


class Uplink:
    def __init__(
        self, identity: Identity, http: Http, clock: Clock, random: Random, server_time: ServerTime, log: Log
    ) -> None:
        self._identity = identity
        self._http = http
        self._clock = clock
        self._random = random
        self._time = server_time
        self._log = log
        self._beat = 0

    def heartbeat(self, build: Callable[[int], Heartbeat]) -> HeartbeatAnswer:
        """Send one beat; `build` gets its number. A 409 names the last number seen, and is followed by one more try."""
        for _ in range(2):
            beat = self._next_beat()
            sealed = seal(self._identity.key(Purpose.REPORT), Purpose.REPORT, to_plain(build(beat)))
            reply, sent, received = self._post("heartbeat", sealed)
            if reply.status not in (200, 409):
                raise self._refused("heartbeat", reply)
            answer = self._open(reply, HeartbeatAnswer)
            if reply.status == 200 and answer.beat != beat:
                raise TemporaryError(
                    f"heartbeat {beat} was answered for beat {answer.beat}: an old answer, ignored", 5.0
                )
            if reply.status == 409 and answer.beat < beat:
                raise TemporaryError(f"heartbeat {beat} was refused for a lower one ({answer.beat}): ignored", 5.0)
            self._time.note(answer.time, sent, received)
            self._beat = answer.beat
            if reply.status == 200:
                return answer
            self._log("info", "heartbeat-number-behind", sent=beat, seen=answer.beat)
        raise TemporaryError(
            "heartbeats are refused as old again and again: does another host use this identity?", 30.0
        )

    def renew_queue(self) -> QueueGrant:
        nonce = self._random.token(24).hex()
        return self._granted(
            "queue", nonce, RenewRequest(self._identity.agent, self._identity.controller, nonce), QueueGrant
        )

    def secret(self, ref: SecretRef) -> str:
        """The value of a secret at exactly that version."""
        nonce = self._random.token(24).hex()
        request = RenewRequest(self._identity.agent, self._identity.controller, nonce, ref.name, ref.version)
        grant = self._granted("secret", nonce, request, SecretGrant)
        if (grant.name, grant.version) != (ref.name, ref.version):
            raise TemporaryError(f"asked for secret {ref.name} version {ref.version}, got another one: ignored")
        if not grant.value or not grant.value.isascii() or not grant.value.isprintable() or " " in grant.value:
            raise PermanentError(
                f"secret {ref.name} is not printable ASCII without spaces: no firewall takes it as a key"
            )
        return grant.value

    def _next_beat(self) -> int:
        now = self._time.now(self._clock.monotonic())
        return max(self._beat + 1, 0 if now is None else int(now * 1000))

    def _granted(self, what: str, nonce: str, request: RenewRequest, kind: type[T]) -> T:
        sealed = seal(self._identity.key(Purpose.RENEW), Purpose.RENEW, to_plain(request))
        reply, sent, received = self._post(what, sealed)
        if reply.status != 200:
            raise self._refused(what, reply)
        grant = self._open(reply, kind)
        if isinstance(grant, HeartbeatAnswer) or grant.nonce != nonce:
            raise TemporaryError(f"the answer to a {what} request carries another nonce: an old answer, ignored", 5.0)
        self._time.note(grant.time, sent, received)
        return grant

    def _post(self, what: str, sealed: str) -> tuple[Reply, float, float]:
        url = f"{self._identity.api}/api/agents/{self._identity.agent}/{what}"
        sent = self._clock.monotonic()
        reply = self._http.send("POST", url, _HEADERS, sealed.encode())
        return reply, sent, self._clock.monotonic()

    def _open(self, reply: Reply, kind: type[T]) -> T:
        try:
            text = reply.body.decode("ascii").strip()
            return from_plain(kind, unseal(self._identity.key(Purpose.ANSWER), Purpose.ANSWER, text))
        except (WireError, UnicodeDecodeError) as e:
            said = str(e) if isinstance(e, WireError) else "not ASCII"
            raise TemporaryError(f"the control plane's answer was refused: {shorten(said)}") from None

    def _refused(self, what: str, reply: Reply) -> TemporaryError | Rejected:
        said = shorten(reply.body.decode(errors="replace"), 200)
        if reply.status in (401, 403, 404, 410):
            return Rejected(
                f"{what}: the control plane answered {reply.status} ({said}); if it forgot this agent, enrol again",
                reply.status,
            )
        if 400 <= reply.status < 500 and reply.status not in (408, 409, 429):
            return Rejected(f"{what}: the control plane answered {reply.status} ({said})", reply.status)
        return TemporaryError(f"{what}: the control plane answered {reply.status}")
