"""Agents as the control plane knows them: enrolment, keys, grants.

Partition = the agent's id in table `agents`: row `agent`, row `health`, rows `command:<id>`. Table `names` leads from
an agent's name to its id and from a token's hash to what it is good for. Secrets lie in the vault, one per purpose.
"""

from __future__ import annotations

import base64
import hashlib
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from shared.domain import limits
from shared.domain.model import Model
from shared.errors import NotFound, Refused, RowExists, StoreConflict, TemporaryError
from shared.seams import Row, Write, WriteKind
from shared.wire import keys
from shared.wire.reports import EnrolAnswer, EnrolRequest, QueueGrant, RenewRequest, SecretGrant

from .services import AGENTS, NAMES, Services
from .unit import load, psk_name

AGENT, HEALTH, COMMAND = "agent", "health", "command:"
TOKENS, AGENT_NAMES, SERVED = "token", "agent", "served:"  # partitions of table `names`


class AgentRow(Model):
    """`next_seq` is the sequence of the next command; `work_until`: when the last one issued runs out."""

    id: str
    name: str
    enrolled: datetime
    next_seq: int = 1
    work_until: datetime | None = None


class TokenRow(Model):
    name: str
    expires: datetime
    agent: str | None = None
    nonce_hash: str | None = None


def queue_of(agent_id: str) -> str:
    return f"agent-{agent_id.lower()}"


def key_name(agent_id: str, purpose: keys.Purpose) -> str:
    """The vault entry of one purpose."""
    return f"agent-{agent_id}-{purpose.value}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Agents:
    """Use cases around one agent. Holds the verified keys of a purpose for as long as the process lives."""

    def __init__(self, services: Services) -> None:
        self._s = services
        self._keys: dict[tuple[str, keys.Purpose], bytes] = {}

    async def new_token(self, name: str) -> tuple[str, datetime]:
        """A one-time token for an agent of that name, shown once, and its expiry. Only its hash is kept."""
        token = "hle_" + base64.urlsafe_b64encode(self._s.random.token(32)).rstrip(b"=").decode()
        expires = self._s.now() + timedelta(seconds=limits.TOKEN_VALID_S)
        row = TokenRow(name=name, expires=expires)
        await self._s.store.transact(
            NAMES, TOKENS, [Write(WriteKind.INSERT, _hash(token), row.model_dump(mode="json"))]
        )
        return token, expires

    async def enrol(self, request: EnrolRequest) -> EnrolAnswer:
        """Raises Refused; TemporaryError while another uses the token, which may be the same one asking twice. The
        same token with the same nonce gets the same answer, so a lost answer costs nothing."""
        if len(request.nonce) < 32 or not request.nonce.isascii():
            raise Refused("the nonce has fewer than 32 ASCII characters: use the agent of this version")
        if not request.token.isascii():
            raise Refused("this enrolment token is not known here: make a new one for this controller")
        key = _hash(request.token)
        found = await self._s.store.get(NAMES, TOKENS, key)
        if found is None:
            raise Refused("this enrolment token is not known here: make a new one for this controller")
        row = TokenRow.model_validate(found.data)
        if row.name != request.name:
            raise Refused(f"this enrolment token was made for another agent than {request.name!r}")
        if row.expires <= self._s.now():
            raise Refused("this enrolment token has expired: make a new one")
        row = await self._redeem(found, row, _hash(request.nonce))
        agent_id = str(row.agent)
        secret = keys.enrolled_secret(request.token, request.nonce, agent_id)
        await self._remember(agent_id, row.name, secret)
        text = base64.urlsafe_b64encode(secret).rstrip(b"=").decode()
        return EnrolAnswer(agent_id, self._s.controller, self._s.now().timestamp(), text)

    async def _redeem(self, found: Row, row: TokenRow, nonce_hash: str) -> TokenRow:
        if row.agent is not None:
            if row.nonce_hash != nonce_hash:
                raise Refused("this enrolment token was already used: make a new one")
            return row
        row = row.model_copy(update={"agent": self._s.ulid(), "nonce_hash": nonce_hash})
        try:
            write = Write(WriteKind.REPLACE, found.key, row.model_dump(mode="json"), found.etag)
            await self._s.store.transact(NAMES, TOKENS, [write])
        except StoreConflict as e:
            raise TemporaryError("this enrolment token is being used at this moment: try again", 1.0) from e
        return row

    async def _remember(self, agent_id: str, name: str, secret: bytes) -> None:
        for purpose in keys.Purpose:
            value = keys.derive(secret, purpose, agent_id, self._s.controller)
            if await self._s.vault.get(key_name(agent_id, purpose)) is None:
                await self._s.vault.set(key_name(agent_id, purpose), base64.b64encode(value).decode())
        row = AgentRow(id=agent_id, name=name, enrolled=self._s.now())
        with suppress(RowExists):  # the answer was lost and asked for again
            await self._s.store.transact(
                AGENTS, agent_id, [Write(WriteKind.INSERT, AGENT, row.model_dump(mode="json"))]
            )
        if (await self.id_of(name) or "") < agent_id:  # ids grow with time: a later enrolment keeps the name
            await self._s.store.transact(NAMES, AGENT_NAMES, [Write(WriteKind.UPSERT, name, {"agent": agent_id})])

    async def id_of(self, name: str) -> str | None:
        row = await self._s.store.get(NAMES, AGENT_NAMES, name)
        return None if row is None else str(row.data["agent"])

    async def load(self, agent_id: str) -> tuple[AgentRow, str]:
        """The agent and its row's ETag. Raises NotFound for one that never enrolled or was replaced since."""
        row = await self._s.store.get(AGENTS, agent_id, AGENT)
        if row is None:
            raise NotFound("no such agent has enrolled with this controller")
        agent = AgentRow.model_validate(row.data)
        if await self.id_of(agent.name) != agent_id:
            raise NotFound(f"agent {agent.name} was enrolled anew since: this enrolment is void")
        return agent, row.etag

    async def key(self, agent_id: str, purpose: keys.Purpose) -> bytes:
        """Raises NotFound."""
        if (agent_id, purpose) not in self._keys:
            secret = await self._s.vault.get(key_name(agent_id, purpose))
            if secret is None:
                raise NotFound("no such agent has enrolled with this controller")
            self._keys[agent_id, purpose] = base64.b64decode(secret.value)
        return self._keys[agent_id, purpose]

    async def grant_queue(self, agent_id: str, request: RenewRequest) -> QueueGrant:
        now = self._s.now()
        url = await self._s.queue.grant(queue_of(agent_id), limits.QUEUE_GRANT_S)
        return QueueGrant(request.nonce, now.timestamp(), url, now.timestamp() + limits.QUEUE_GRANT_S)

    async def grant_secret(self, agent: AgentRow, request: RenewRequest) -> SecretGrant:
        """Only a pre-shared key of a Connection that this agent serves. Raises NotFound."""
        name, version = request.secret_name or "", request.secret_version
        units = {str(r.data["gateway"]) for r in await self.served(agent.name)}
        rows = [row for u in units for row in (await load(self._s.store, u)).connections.values()]
        allowed = {psk_name(row) for row in rows if row.spec.agent == agent.name}
        secret = await self._s.vault.get(name, version) if name in allowed else None
        if secret is None:
            raise NotFound(f"agent {agent.name} serves no Connection with such a secret")
        return SecretGrant(request.nonce, self._s.now().timestamp(), secret.name, secret.version, secret.value)

    async def served(self, name: str) -> list[Row]:
        """One row per Connection of this agent: key = Connection, data = {gateway}. An index: the unit decides."""
        return await self._s.store.query(NAMES, SERVED + name)

    async def health(self, agent_id: str) -> dict[str, Any] | None:
        row = await self._s.store.get(AGENTS, agent_id, HEALTH)
        return None if row is None else row.data
